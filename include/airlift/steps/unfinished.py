"""What goes on at the servers when a run ends before its time: import jobs, points in time.

An import job can't be stopped (Milvus has no call for it). So it is told what it does, in the
task's log and in `unfinished.json`, and the next run of the migration finds it and waits for it.
"""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict

from airlift.errors import AirliftError
from airlift.migration import Migration, log
from airlift.steps.import_chunks import BatchImport
from airlift.target_changes import Created
from airlift.targets.base import JobState

_RECORD = "unfinished.json"


class UnfinishedImport(BaseModel):
    """An import job that still runs.

    Attributes:
        progress: percent.
        rows: rows of the chunk.
    """

    model_config = ConfigDict(frozen=True)

    collection: str
    chunk: str
    job: str
    progress: int
    rows: int

    @property
    def told(self) -> str:
        """For the log."""
        return (
            f"collection {self.collection!r}, chunk {self.chunk}: import job {self.job} "
            f"({self.rows:,} rows, {self.progress} %) goes on at the target and can't be stopped; "
            "clear the task or run again with the same migration_id, which finds this job and "
            "waits for it, or wait for its end and roll the migration back"
        )


class Unfinished(BaseModel):
    """`unfinished.json`: what went on at the target when the run ended, in UTC."""

    model_config = ConfigDict(frozen=True)

    asked: str
    imports: tuple[UnfinishedImport, ...]


def unfinished_imports(migration: Migration, batch: int) -> list[UnfinishedImport]:
    """The import jobs of a batch that still run, as the target tells now."""
    if migration.staging.read("created.json", Created) is None:
        return []
    jobs = BatchImport(migration, batch)
    jobs.pending = [one for one in jobs.pending if one.record.job]
    return [
        UnfinishedImport(
            collection=one.collection.name,
            chunk=one.chunk.id,
            job=job.id,
            progress=job.progress,
            rows=one.manifest.rows,
        )
        for one, job in jobs.poll()
        if job.state is JobState.RUNNING
    ]


def end_unfinished(migration: Migration, is_whole: bool) -> list[UnfinishedImport]:
    """Removes what tasks have half written, and writes down what can't be ended.

    Args:
        is_whole: whether the run came to its end, so that no job can be left.

    Returns:
        The import jobs that still run.
    """
    folder = migration.staging.folder
    for path in folder.half_written():
        log.info("removing the half-written %s", path)
        folder.delete_file(path)
    if is_whole:
        folder.delete_file(_RECORD)
        return []
    if not folder.exists("plan.json") or not folder.exists("created.json"):
        return []
    try:
        batches = range(len(migration.staging.plan().batches))
        running = [one for index in batches for one in unfinished_imports(migration, index)]
    except AirliftError as error:
        log.warning("what the target goes on with can't be asked: %s", error)
        return []
    if running:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        migration.staging.write(_RECORD, Unfinished(asked=now, imports=tuple(running)))
    else:
        folder.delete_file(_RECORD)
    return running
