"""The step `bulk_insert`: has the target import the chunks' files, each exactly once.

An import job that took a chunk's files is adopted, whoever submitted it: file names are unique to
the migration and the chunk.
"""

from __future__ import annotations

from collections.abc import Iterator

from airlift.errors import AirliftError
from airlift.migration import Migration, log
from airlift.plan import CollectionPlan
from airlift.progress import BatchProgress, ChunkClock
from airlift.sources.unchanged import FileChanged
from airlift.steps.pending_chunks import (
    STEP,
    PendingChunk,
    chunks_of,
    import_way,
    keep,
    now,
    record_done,
    tell_done,
)
from airlift.steps.unrecorded_jobs import jobs_with_files, recorded_jobs
from airlift.targets.base import ImportJob, ImportWay, JobState
from airlift.targets.ways import IMPORT_WAYS


class BatchImport:
    """The import jobs of one batch; chunks of collections that are inserted have none.

    Args:
        batch: its number in the plan.
    """

    def __init__(self, migration: Migration, batch: int) -> None:
        self._migration = migration
        self._batch = batch
        self._ways: dict[tuple[str, str], ImportWay] = {}
        self._chunks = chunks_of(migration, batch, IMPORT_WAYS)
        self.pending = [one for one in self._chunks if not one.record.done]

    def submit(self) -> list[str]:
        """Submits a job for every chunk that no job has taken; returns the ids of all the jobs."""
        known: dict[str, list[ImportJob]] = {}
        for one in self.pending:
            if one.manifest.rows == 0:
                record_done(self._migration, one, 0)
                continue
            name = one.collection.name
            if name not in known:
                known[name] = self._settled_jobs(one.collection)
            job = self._job_of(one, known[name])
            if job is None:
                self._submit_one(one, attempt=self._failed_jobs(one, known[name]))
            elif one.record.job != job.id:
                log.info("%s: adopting import job %s", one.what, job.id)
                keep(self._migration, one, job=job.id, adopted=True, started=now())
        self.pending = [one for one in self.pending if not one.record.done]
        begun = JobState.RUNNING
        self._tell({one.key: ImportJob(one.record.job, begun) for one in self.pending})
        return [one.record.job for one in self.pending]

    def _way(self, collection: CollectionPlan) -> ImportWay:
        """The way into a collection's database."""
        key = (collection.mapped.database, collection.way)
        if key not in self._ways:
            self._ways[key] = import_way(self._migration, collection)
        return self._ways[key]

    def _files(self, one: PendingChunk) -> list[str]:
        folder, way = f"{one.collection.name}/{one.chunk.id}", self._way(one.collection)
        if one.chunk.own_files:
            return [way.file_name(path) for path in one.chunk.own_files]
        return [way.file_name(f"{folder}/{file.name}") for file in one.manifest.files]

    def _settled_jobs(self, collection: CollectionPlan) -> list[ImportJob]:
        """All jobs of a collection, once each of those that are not recorded names its files."""
        way, name = self._way(collection), collection.target_name
        return jobs_with_files(
            lambda: way.jobs(name), lambda: recorded_jobs(self._migration, collection), name, STEP
        )

    def _job_of(self, one: PendingChunk, jobs: list[ImportJob]) -> ImportJob | None:
        """The job that took the chunk's files and did not fail."""
        files = set(self._files(one)) - {""}
        for job in jobs:
            if job.state is not JobState.FAILED and _same_files(files, job.files):
                return job
        recorded = self._way(one.collection).job(one.record.job) if one.record.job else None
        if one.record.job and recorded is None:
            raise AirliftError(
                f"{one.what}: the target has forgotten the import job {one.record.job}, so "
                "it can't be known whether its rows are in; drop the collection and run again "
                "with the same migration_id: what is converted is not read again"
            )
        return recorded if recorded and recorded.state is not JobState.FAILED else None

    def _failed_jobs(self, one: PendingChunk, jobs: list[ImportJob]) -> int:
        files = set(self._files(one)) - {""}
        failed = {job.id for job in jobs if _same_files(files, job.files)}
        return len(failed | ({one.record.job} - {""}))

    def _submit_one(self, one: PendingChunk, attempt: int) -> None:
        if not self._migration.staging.has_files(one.collection.name, one.manifest):
            raise AirliftError(f"{one.what}: its files are gone; clear the task convert")
        if one.chunk.own_files:
            self._migration.source.ensure_unchanged(one.chunk)
        # A server that knows such keys answers the key of a failed job with that job.
        key = f"airlift-{self._migration.id}-{one.record.collection_id}-{one.chunk.id}-{attempt}"
        started = now()
        way, files = self._way(one.collection), self._files(one)
        job_id = way.submit(one.collection.target_name, one.partition, files, key)
        keep(self._migration, one, job=job_id, adopted=False, started=started)
        log.info("%s: import job %s for %s rows", one.what, job_id, f"{one.manifest.rows:,}")

    def poll(self) -> list[tuple[PendingChunk, ImportJob]]:
        """The state of every pending chunk's job; also written down for the page."""
        polled = list(self._poll())
        self._tell({one.key: job for one, job in polled})
        return polled

    def _tell(self, jobs: dict[tuple[str, str], ImportJob]) -> None:
        """Writes how far the chunks are on the target.

        Args:
            jobs: of those in work, by the chunk's key.
        """
        if not self._chunks:
            return
        with BatchProgress(self._migration, STEP, self._batch) as progress:
            for one in self._chunks:
                if one.record.done:
                    tell_done(progress, one)
                elif job := jobs.get(one.key):
                    clock = ChunkClock(progress, one.collection, one.chunk, one.record.started)
                    if job.state is JobState.COMPLETED and job.rows == one.manifest.rows:
                        clock.is_seen_done(one.manifest, job.rows)
                    else:
                        rows = one.manifest.rows * job.progress // 100
                        clock.so_far(rows, rows)

    def _poll(self) -> Iterator[tuple[PendingChunk, ImportJob]]:
        for one in self.pending:
            job = self._way(one.collection).job(one.record.job)
            if job is None:
                raise AirliftError(
                    f"{one.what}: the target does not know the import job {one.record.job} any "
                    "more; clear the task to look for it again"
                )
            yield one, job

    def finish(self) -> int:
        """Writes down the jobs that are complete; returns how many still run.

        Raises:
            AirliftError: a job failed, or took another number of rows than the chunk has.
        """
        running: list[PendingChunk] = []
        failures: list[str] = []
        polled = list(self._poll())
        for one, job in polled:
            if job.state is JobState.FAILED:
                failures.append(f"{one.what}: import job {job.id} failed: {job.reason}")
            elif job.state is JobState.RUNNING:
                running.append(one)
            elif job.rows != one.manifest.rows:
                failures.append(
                    f"{one.what}: import job {job.id} took {job.rows:,} rows, its files hold "
                    f"{one.manifest.rows:,}; drop the collection and run again with the same "
                    "migration_id"
                )
            else:
                self._ensure_read_unchanged(one, job)
                record_done(self._migration, one, job.rows)
        self.pending = running
        self._tell({one.key: job for one, job in polled})
        if failures:
            raise AirliftError(
                "; ".join(failures)
                + " - mend the cause and clear the task: chunks that are in are "
                "not sent again"
            )
        return len(running)

    def _ensure_read_unchanged(self, one: PendingChunk, job: ImportJob) -> None:
        """Raises FileChanged when a job may have read files of the source that are others now."""
        if not one.chunk.own_files:
            return
        try:
            self._migration.source.ensure_unchanged(one.chunk)
        except FileChanged as error:
            raise FileChanged(
                f"{one.what}: import job {job.id} has read files of the source that were changed "
                f"meanwhile: drop the collection {one.collection.name!r}. {error}"
            ) from error


def _same_files(files: set[str], job_files: frozenset[str]) -> bool:
    """Whether a job took those files; some servers put the bucket before the names they tell."""
    return bool(job_files) and all(
        any(told == name or told.endswith("/" + name.lstrip("/")) for told in job_files)
        for name in files
    )
