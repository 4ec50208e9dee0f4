"""Finds import jobs that took a migration's files and that it has not recorded.

A request of a process that was killed can reach the target after the resumed run has looked for
jobs and sent the files again: then two jobs take them, and every row is there twice. So the
collection's jobs are listed again before it counts as verified, and once more before it is
published. No client can see a request that is delivered after that: see `docs/guarantees.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

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

    A job that was just accepted may not name its files yet, and it could be one of ours that was
    never recorded. Those that are need not be waited for.

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


def recorded_jobs(migration: Migration, collection: CollectionPlan) -> set[str]:
    """The ids of all jobs that a migration has recorded for a collection."""
    records = migration.staging.import_records(collection.chunk_refs)
    return {record.job for record in records if record} - {""}


def unrecorded_jobs(migration: Migration, collection: CollectionPlan, task: str) -> list[str]:
    """What is wrong with a collection's import jobs, as sentences; empty when nothing is.

    Args:
        task: the task that asks, to be cleared when the jobs can't be known.

    Returns:
        A problem for each job that took files of this migration, did not fail, and is not the one
        that the chunk's `import.json` names; first the jobs, then what to do about them.

    Raises:
        AirliftError: the jobs can't be listed, or one does not name its files.
    """
    if collection.way not in IMPORT_WAYS:
        return []
    way, name = import_way(migration, collection), collection.target_name
    files = _MigrationFiles(migration, collection, way)

    def recorded() -> set[str]:
        return recorded_jobs(migration, collection)

    jobs = jobs_with_files(lambda: way.jobs(name, recorded()), recorded, name, task)
    ours = {job: chunks for job in jobs if (chunks := files.chunks_of(job))}
    if not ours:
        return []
    problems = [_problem(job, chunks) for job, chunks in ours.items()]
    if len(problems) > _LISTED:
        problems[_LISTED:] = [f"and {len(problems) - _LISTED:,} more such import jobs"]
    return [*problems, _advice(migration, collection, list(ours))]


def _problem(job: ImportJob, chunks: list[str]) -> str:
    more = f" and {len(chunks) - _LISTED:,} more" if len(chunks) > _LISTED else ""
    what = f"the chunk{'s' if len(chunks) > 1 else ''} {', '.join(chunks[:_LISTED])}{more}"
    if job.state is JobState.COMPLETED:
        return (
            f"import job {job.id} took the files of {what} and is not recorded: its {job.rows:,} "
            "rows are there besides those that the recorded jobs brought"
        )
    return (
        f"import job {job.id} has taken the files of {what} and is not recorded: it still runs "
        f"({job.progress} %), and will bring their rows once more"
    )


def _advice(migration: Migration, collection: CollectionPlan, jobs: list[ImportJob]) -> str:
    """What to do; the last of the problems."""
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


class _MigrationFiles:
    """Which chunk a file belongs to, as the target names files."""

    def __init__(self, migration: Migration, collection: CollectionPlan, way: ImportWay) -> None:
        # A chunk's own files are folders of the source that the target reads as they are.
        self._chunks = {
            _bare(way.file_name(path)): chunk.id
            for chunk in collection.chunks
            for path in chunk.own_files
            if path
        }
        # Whatever lies in the folders of this migration is its own, also by an earlier plan.
        self._folders = (
            {}
            if self._chunks
            else {
                _bare(way.file_name(f"{one.name}/")): one.name
                for one in migration.staging.plan().collections
            }
        )
        self._own = collection.name

    def chunks_of(self, job: ImportJob) -> list[str]:
        """The chunks whose files a job has taken, if it may have brought rows of them."""
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
                    found.add(chunk if collection == self._own else f"{collection}/{chunk}")
        return sorted(found)


def _bare(name: str) -> str:
    return name.lstrip("/")
