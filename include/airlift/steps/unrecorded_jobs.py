"""Finds import jobs that took a migration's files and that it has not recorded.

A request of a process that was killed can reach the target after the resumed run has looked for
jobs and sent the files again: then two jobs take them, and every row is there twice. So the
collection's jobs are listed again before it counts as verified, and once more before it is
published. No client can see a request that is delivered after that: see `docs/guarantees.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from airlift.chunk import APPENDED_KEYS
from airlift.errors import AirliftError
from airlift.migration import Migration
from airlift.plan import CollectionPlan
from airlift.steps.pending_chunks import import_way
from airlift.targets.base import ImportJob, ImportWay, JobState
from airlift.targets.ways import IMPORT_WAYS
from airlift.waiting import wait_for

_NAMES_FILES_SECONDS = 600.0
_LISTED = 10
"""Problems, and chunks of a job, that are listed one by one."""


def jobs_with_files(
    list_jobs: Callable[[], list[ImportJob]],
    recorded: Callable[[], Collection[str]],
    name: str,
    task: str,
) -> list[ImportJob]:
    """The jobs of a collection, once each names its files, has failed or has taken no row.

    A job that was just accepted may not name its files yet, and it could be one of this migration
    that was never recorded. Recorded jobs are not waited for.

    Args:
        list_jobs: lists them, as they are now.
        recorded: the ids of the jobs that are recorded now; other tasks record more meanwhile.
        name: of the collection, for the message.
        task: the task to clear after it was in vain.

    Raises:
        AirliftError: one names no files for ten minutes.
    """

    def are_named(jobs: list[ImportJob]) -> bool:
        unknown = {job.id for job in jobs if job.has_unknown_files}
        return not unknown or unknown <= set(recorded())

    jobs = wait_for(list_jobs, are_named, _NAMES_FILES_SECONDS)
    if jobs is None:
        raise AirliftError(
            f"an import job of the collection {name!r} does not tell its files, so it can't be "
            "known whether it is one of this migration; wait for it to end, then clear the task "
            f"{task}"
        )
    return jobs


def recorded_jobs(migration: Migration, collection: CollectionPlan) -> dict[str, str]:
    """The import job that a migration has recorded for each chunk of a collection, job -> chunk."""
    records = migration.staging.import_records(collection.chunk_refs)
    return {
        record.job: chunk.id
        for chunk, record in zip(collection.chunks, records, strict=True)
        if record and record.job
    }


def unrecorded_jobs(migration: Migration, collection: CollectionPlan, task: str) -> list[str]:
    """What is wrong with a collection's import jobs, as sentences; empty when nothing is.

    Args:
        task: the task that asks, to be cleared when the jobs can't be known.

    Returns:
        A problem for each job that took files of this migration, did not fail, and is not the one
        that the chunk's `import.json` names; the last one says what to do.

    Raises:
        AirliftError: the jobs can't be listed, or one does not name its files.
    """
    if collection.way not in IMPORT_WAYS:
        return []
    way, name = import_way(migration, collection), collection.target_name
    files = MigrationFiles.of(migration, collection, way)

    def recorded() -> dict[str, str]:
        return recorded_jobs(migration, collection)

    jobs = jobs_with_files(lambda: way.jobs(name, recorded()), recorded, name, task)
    ours = {job: chunks for job in jobs if (chunks := files.chunks_of(job))}
    if not ours:
        return []
    known = {chunk: job for job, chunk in recorded().items()}
    problems = [_problem(job, chunks, known) for job, chunks in ours.items()]
    if len(problems) > _LISTED:
        problems[_LISTED:] = [f"and {len(problems) - _LISTED:,} more such import jobs"]
    problems[-1] += f"; {_advice(migration, collection, list(ours))}"
    return problems


def _problem(job: ImportJob, chunks: list[str], recorded: Mapping[str, str]) -> str:
    """What is wrong with a job.

    Args:
        recorded: the job that is recorded for a chunk.
    """
    names = [
        f"{chunk} (recorded: job {recorded[chunk]})" if chunk in recorded else chunk
        for chunk in chunks[:_LISTED]
    ]
    more = f" and {len(chunks) - _LISTED:,} more" if len(chunks) > _LISTED else ""
    what = f"the chunk{'s' if len(chunks) > 1 else ''} {', '.join(names)}{more}"
    begin = f"import job {job.id} took the files of {what} and is not recorded"
    if job.state is JobState.COMPLETED:
        return f"{begin}: its {job.rows:,} rows came in addition to those of the recorded jobs"
    return f"{begin}: it still runs ({job.progress} %), and will add their rows once more"


def _advice(migration: Migration, collection: CollectionPlan, jobs: list[ImportJob]) -> str:
    """Why there may be such jobs, and what to do."""
    wait = (
        f"wait until {'it has' if len(jobs) == 1 else 'they have'} ended, then "
        if any(job.state is JobState.RUNNING for job in jobs)
        else ""
    )
    why = "a request of a killed process has reached the target late, or somebody sent the files"
    made = migration.staging.created().find(collection.name)
    if made and made.made:
        return (
            f"{why}: {wait}drop the collection {collection.name!r} and run again with the same "
            "migration_id (what is converted is not read again), or roll the migration back"
        )
    if collection.mapped.target.primary_key.auto_id:
        return (
            f"{why}: {wait}restore the collection {collection.name!r} as it was before this "
            "migration (it makes its own keys, so the rows that came twice can't be told apart), "
            "and append them again with a new migration_id"
        )
    return (
        f"{why}: {wait}delete the rows that this migration has added (the others were there "
        f"before; {APPENDED_KEYS} of each chunk in staging has their keys), and append them again "
        "with a new migration_id"
    )


class MigrationFiles:
    """Which chunk a file belongs to, as the target names files.

    Args:
        collection: the one whose chunks are named by their ids alone.
        own_files: chunk of each folder of the source that the target reads as it is.
        folders: collection of each folder of the migration. Whatever lies below belongs to the
            migration, also by an earlier plan.
    """

    def __init__(
        self, collection: str, own_files: Mapping[str, str], folders: Mapping[str, str]
    ) -> None:
        self._collection = collection
        self._chunks = {_bare(name): chunk for name, chunk in own_files.items()}
        self._folders = {_bare(folder): name for folder, name in folders.items()}

    @classmethod
    def of(cls, migration: Migration, collection: CollectionPlan, way: ImportWay) -> MigrationFiles:
        """Those of a migration, as a target knows them."""
        own_files = {
            way.file_name(path): chunk.id
            for chunk in collection.chunks
            for path in chunk.own_files
            if path
        }
        if own_files:  # then nothing is written to staging
            return cls(collection.name, own_files, {})
        names = (planned.name for planned in migration.staging.plan().collections)
        return cls(collection.name, {}, {way.file_name(f"{name}/"): name for name in names})

    def chunks_of(self, job: ImportJob) -> list[str]:
        """The chunks whose files a job has taken; none of one that brings no rows."""
        if job.state is JobState.FAILED or (job.state is JobState.COMPLETED and not job.rows):
            return []
        names = {_bare(name) for name in job.files}
        # Some servers put the bucket before the names.
        names |= {name.partition("/")[2] for name in names}
        found = {self._chunks[name] for name in names & self._chunks.keys()}
        for folder, collection in self._folders.items():
            for name in names:
                if name.startswith(folder):
                    chunk = name.removeprefix(folder).partition("/")[0]
                    found.add(chunk if collection == self._collection else f"{collection}/{chunk}")
        return sorted(found)


def _bare(name: str) -> str:
    return name.lstrip("/")
