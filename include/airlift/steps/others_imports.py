"""Import jobs of others that still bring rows into a collection that rows are added to.

A run that was stopped leaves its jobs running. Rows that they bring must not be taken for ours, nor
be missed among those that were there before.
"""

from __future__ import annotations

from airlift.migration import Migration
from airlift.targets.running_imports import wait_for_imports


def wait_for_others_imports(migration: Migration) -> None:
    """Waits until nobody else imports into the collections that this migration appends to.

    Raises:
        AirliftError: they still do, an hour later, or the server does not tell any more.
    """
    if migration.params.dry_run:
        return
    staging = migration.staging
    for collection in staging.plan().collections:
        if not collection.appends:
            continue
        records = staging.import_records(collection.chunk_refs)
        own = {record.job for record in records if record}
        target = migration.target(collection.mapped)
        wait_for_imports(target, collection.target_name, staging.folder, "plan", own)
