"""The report of a migration: what stands in it, and how it is drawn."""
