"""Import jobs that a target still runs: no server can stop them, so they are waited for.

A collection must not be dropped under one: Milvus 2.3 then holds on to the job, and begins none
after it, until it expires (`rootCoord.importTaskExpiration`, 15 minutes).
"""

from __future__ import annotations

import logging
from collections.abc import Collection

from airlift.errors import AirliftError
from airlift.milvus.capabilities import capabilities_of
from airlift.milvus.database import MilvusDatabase
from airlift.storage import Storage
from airlift.targets.base import ImportJob, JobState
from airlift.targets.ways import IMPORT_WAYS
from airlift.waiting import wait_for

log = logging.getLogger("airlift")

_SECONDS = 3600.0


def wait_for_imports(
    target: MilvusDatabase, name: str, staging: Storage, task: str, own: Collection[str] = ()
) -> None:
    """Waits until nobody imports into a collection any more.

    Args:
        name: of the collection.
        staging: the migration's folder.
        task: the task to clear after it was in vain.
        own: ids of jobs that don't matter.

    Raises:
        AirliftError: somebody still does, an hour later; or somebody did, and the server does not
            tell any more.
    """
    can = capabilities_of(target.version())
    ways = [way for way in can.ways if way in IMPORT_WAYS] if can else []
    if not ways or not target.exists(name):
        return

    def running() -> list[ImportJob]:
        jobs = way.jobs(name)
        return [job for job in jobs if job.state is JobState.RUNNING and job.id not in own]

    try:
        way = IMPORT_WAYS[ways[0]](target, staging)
        jobs = running()
    except AirliftError as error:
        # Where rows are inserted, nothing else needs the right to ask, or the REST address.
        log.warning("whether anybody imports into %s can't be asked: %s", name, error)
        return
    if not jobs:
        return
    told = ", ".join(f"{job.id} ({job.progress} %)" for job in jobs)
    log.warning("%s: waiting for the import jobs %s, which can't be stopped", name, told)
    try:
        ended = wait_for(running, lambda jobs: not jobs, _SECONDS, slowest=5.0) is not None
    except AirliftError as error:
        raise AirliftError(
            f"whether the import jobs into the collection {name!r} still run ({told}) can't be "
            f"asked any more: {error}; when that is mended, clear the task {task}"
        ) from error
    if not ended:
        raise AirliftError(
            f"the target still imports into the collection {name!r} (jobs {told}); wait for their "
            f"end, then clear the task {task}"
        )
