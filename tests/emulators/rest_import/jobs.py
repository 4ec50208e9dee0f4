"""Import jobs: their states, the threads that run them, and the faults that hit them.

A job reads and checks all its files first (10-40 %, Milvus' pre-import), shows its file groups
from 40 % on, and puts its rows into the collection only at 90 %: as on a server, a failed job
leaves no row behind. A job whose server dies is run again from the start when the server comes
back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pyarrow as pa
from milvus_lite.exceptions import MilvusLiteError
from milvus_lite.schema.types import CollectionSchema

from . import contract as C
from .binlogs import read_segment
from .config import Faults
from .engine import Engine
from .readers import read_group
from .storage import Storage


class Stopped(Exception):
    """The server goes down while the job runs."""


@dataclass
class Group:
    """One file group, as describe's ``details`` show it."""

    paths: list[str]
    size: int = 0
    rows: int = 0
    state: str = C.PENDING
    progress: int = 0
    reason: str = ""
    complete_time: str = ""


@dataclass
class Job:
    """One import job. ``number`` counts the jobs of this server from 1."""

    job_id: str
    number: int
    database: str
    collection: str
    collection_id: int
    partition: str
    storage: Storage = field(repr=False)
    groups: list[Group] = field(default_factory=list)
    options: dict[str, str] = field(default_factory=dict)
    key: str | None = None
    state: str = C.PENDING
    progress: int = 0
    imported_rows: int = 0
    total_rows: int = 0
    reason: str = ""
    complete_time: str = ""
    details_visible: bool = False
    created: float = field(default_factory=time.monotonic)
    history: list[tuple[str, int]] = field(default_factory=list, repr=False)

    @property
    def done(self) -> bool:
        return self.state in (C.COMPLETED, C.FAILED)

    @property
    def files(self) -> list[list[str]]:
        return [g.paths for g in self.groups]


class JobRunner:
    """Holds all jobs, runs each in a thread. `delay` is how many seconds a job takes at least."""

    def __init__(
        self,
        faults: Faults,
        delay: float,
        nan: str,
        fixed_size_list: bool,
        die: Callable[[], None],
        id_prefix: str = "",
    ) -> None:
        self.jobs: list[Job] = []
        self.faults, self.delay, self.nan, self.fixed_size_list = (
            faults,
            delay,
            nan,
            fixed_size_list,
        )
        self.engine: Engine | None = None
        self._die, self._prefix = die, id_prefix
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._released: set[int] = set()
        self._threads: list[threading.Thread] = []
        self._insert_lock = threading.Lock()

    def create(
        self,
        *,
        database: str,
        collection: str,
        collection_id: int,
        partition: str,
        storage: Storage,
        files: list[list[str]],
        options: dict[str, str],
        key: str | None,
    ) -> Job:
        with self._lock:
            if sum(1 for j in self.jobs if not j.done) >= C.MAX_JOBS:
                raise C.import_refused(
                    "The number of jobs has reached the limit, please try again later. If your "
                    "request is set to only import a single file, please consider importing "
                    "multiple files in one request for better efficiency."
                )
            number = len(self.jobs) + 1
            clock = time.time_ns() // 1000 % 10**15
            job_id = f"{self._prefix}{459_000_000_000_000_000 + clock + number}"
            job = Job(
                job_id,
                number,
                database,
                collection,
                collection_id,
                partition,
                storage,
                [Group(list(p)) for p in files],
                options,
                key,
            )
            self.jobs.append(job)
            self._start(job)
            return job

    def get(self, job_id: str) -> Job | None:
        return next((j for j in self.jobs if j.job_id == job_id), None)

    def by_key(self, collection_id: int, key: str) -> Job | None:
        return next(
            (j for j in self.jobs if j.collection_id == collection_id and j.key == key), None
        )

    def forget(self, job_id: str) -> None:
        """Drops a job from memory, as ``dataCoord.import.taskRetention`` does."""
        with self._lock:
            self.jobs = [j for j in self.jobs if j.job_id != job_id]

    def release(self, number: int) -> None:
        """Lets a hanging job go on."""
        self._released.add(number)

    def stop(self) -> None:
        """Ends the threads of running jobs; the jobs stay as they are."""
        self._stopping.set()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(10)
        self._threads.clear()

    def resume(self) -> None:
        """Starts the unfinished jobs again, from the beginning."""
        self._stopping = threading.Event()
        with self._lock:
            for job in self.jobs:
                if not job.done:
                    job.state, job.progress, job.details_visible = C.PENDING, 0, False
                    job.imported_rows = job.total_rows = 0
                    job.groups = [Group(g.paths) for g in job.groups]
                    self._start(job)

    def _start(self, job: Job) -> None:
        thread = threading.Thread(
            target=self._run,
            args=(job, self._stopping),
            daemon=True,
            name=f"emulator-job-{job.number}",
        )
        self._threads.append(thread)
        thread.start()

    def _run(self, job: Job, stopping: threading.Event) -> None:
        try:
            self._import(job, stopping)
        except Stopped:
            return
        except (C.ImportFailed, MilvusLiteError) as err:
            self._fail(job, str(err))
        except Exception as err:
            self._fail(job, f"emulator error: {type(err).__name__}: {err}")

    def _fail(self, job: Job, reason: str) -> None:
        with self._lock:
            for group in job.groups:
                if group.state != C.COMPLETED:
                    group.state, group.reason = C.FAILED, reason
            job.reason, job.complete_time = reason, C.now()
            job.progress = job.imported_rows = job.total_rows = 0
            self._to(job, C.FAILED)

    def _to(self, job: Job, state: str) -> None:
        job.state = state
        job.history.append((state, job.progress))

    def _advance(self, job: Job, percent: int, stopping: threading.Event) -> None:
        """Moves the progress on, taking the time it should, and runs into the faults on the way."""
        while job.progress < percent:
            step = min(percent, job.progress + 5)
            for at, act in (
                (self.faults.hang_job.get(job.number), "hang"),
                (self.faults.die_at_job.get(job.number), "die"),
                (self.faults.fail_at if job.number in self.faults.fail_job else None, "fail"),
            ):
                if at is None or not job.progress <= at < step:
                    continue
                job.progress = at
                if act == "hang":
                    while job.number not in self._released:
                        if stopping.wait(0.02):
                            raise Stopped
                elif act == "die":
                    del self.faults.die_at_job[job.number]
                    threading.Thread(target=self._die, daemon=True).start()
                    stopping.wait(30)
                    raise Stopped
                else:
                    raise C.ImportFailed(self.faults.fail_job[job.number])
            if stopping.wait(self.delay * (step - job.progress) / 100):
                raise Stopped
            job.progress = step

    def _read(self, job: Job, group: Group, schema: CollectionSchema) -> pa.Table:
        if job.options.get("backup", "").lower() == "true":
            logs = [name for folder in group.paths for name in job.storage.list(folder)]
            group.size = sum(job.storage.size(name) for name in logs)
            return read_segment(job.storage, group.paths, schema)
        group.size = sum(job.storage.size(p) for p in group.paths)
        return read_group(
            job.storage, group.paths, schema, nan=self.nan, fixed_size_list=self.fixed_size_list
        )

    def _import(self, job: Job, stopping: threading.Event) -> None:
        engine = self.engine
        assert engine is not None
        self._advance(job, 10, stopping)
        self._to(job, C.IMPORTING)
        schema = engine.collection(job.database, job.collection).schema
        tables: list[pa.Table] = []
        for i, group in enumerate(job.groups):
            table = self._read(job, group, schema)
            group.rows = table.num_rows
            tables.append(table)
            self._advance(job, 10 + 30 * (i + 1) // len(job.groups), stopping)
        job.total_rows = sum(t.num_rows for t in tables)
        job.details_visible = True
        for i, group in enumerate(job.groups):
            group.state = C.IN_PROGRESS
            self._advance(job, 40 + 30 * (i + 1) // len(job.groups), stopping)
            group.progress = 100
            job.imported_rows += group.rows
        self._advance(job, 90, stopping)
        with self._insert_lock:
            if stopping.is_set():
                raise Stopped
            if engine.identity(job.database, job.collection) != job.collection_id:
                raise C.ImportFailed(f"collection {job.collection_id} dropped")
            engine.load(job.database, job.collection, job.partition, tables)
            with self._lock:
                for group in job.groups:
                    group.state, group.complete_time = C.COMPLETED, C.now()
                job.complete_time, job.progress = C.now(), 100
                self._to(job, C.COMPLETED)
