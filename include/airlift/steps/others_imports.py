"""Import jobs of others that still bring rows into a collection that rows are added to.

A run that was stopped leaves its jobs running: they can't be stopped. Rows that they bring must not
be taken for ours, nor be missed among those that were there before.
"""

from __future__ import annotations

from functools import partial

from airlift.errors import AirliftError
from airlift.migration import Migration, log
from airlift.plan import CollectionPlan
from airlift.targets.base import ImportJob, JobState
from airlift.targets.ways import IMPORT_WAYS
from airlift.waiting import wait_for

_SECONDS = 3600.0


def wait_for_others_imports(migration: Migration) -> None:
    """Waits until nobody else imports into the collections that this migration appends to.

    Raises:
        AirliftError: they still do, an hour later.
    """
    if migration.params.dry_run:
        return
    for collection in migration.staging.plan().collections:
        if not collection.appends:
            continue
        running = _running(migration, collection)
        if not running:
            continue
        told = ", ".join(f"{job.id} ({job.progress} %)" for job in running)
        log.warning("%s: waiting for import jobs of others: %s", collection.name, told)
        ask = partial(_running, migration, collection)
        left = wait_for(ask, lambda jobs: not jobs, _SECONDS, slowest=5.0)
        if left is None:
            raise AirliftError(
                f"others still import into the collection {collection.name!r} (jobs {told}); wait "
                "for their end, then clear the task plan"
            )


def _running(migration: Migration, collection: CollectionPlan) -> list[ImportJob]:
    """The jobs that run and are not this migration's."""
    target = migration.target(collection.mapped)
    ways = [name for name in migration.capabilities.ways if name in IMPORT_WAYS]
    if not ways or not target.exists(collection.target_name):
        return []
    staging = migration.staging
    records = (staging.import_record(collection.name, chunk.id) for chunk in collection.chunks)
    own = {record.job for record in records if record}
    jobs = IMPORT_WAYS[ways[0]](target, staging.folder).jobs(collection.target_name)
    return [job for job in jobs if job.state is JobState.RUNNING and job.id not in own]
