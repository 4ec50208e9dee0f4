"""What a dry run tells: what a migration would make, take and need."""
