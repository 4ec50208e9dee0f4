"""Import jobs: their states, what runs them, and the faults that hit them.

A job goes through `pace.STAGES`. It reads and checks all its files first (10-40 %, Milvus'
pre-import), shows its file groups some time after that, and puts its rows into the collection only
at the end: as on a server, a failed job leaves no row behind. A job whose server dies is run again
from the start when the server comes back.

By the machine's clock each job has a thread, and its stages are spread evenly over `delay`. By a
`SimulatedClock` a job reaches its stages when a server of its version did, and only while the clock
is moved on, in the thread that does so.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pyarrow as pa
from milvus_lite.exceptions import MilvusLiteError

from . import contract as C
from .binlogs import read_segment
from .clock import Clock, SimulatedClock
from .config import Faults
from .engine import Engine
from .pace import STAGES, Pace, Recorded, Steady
from .readers import read_group
from .schema import Schema
from .storage import MissingFile, Storage
from .versions import Behaviour

_KEY_SECONDS = 24 * 3600


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
    schema: Schema = field(repr=False)
    groups: list[Group] = field(default_factory=list)
    options: dict[str, str] = field(default_factory=dict)
    key: str | None = None
    asked_name: str = ""
    created: float = 0.0
    began: float = 0.0
    create_time: str = ""
    state: str = C.PENDING
    progress: int = 0
    imported_rows: int = 0
    total_rows: int = 0
    reason: str = ""
    complete_time: str = ""
    details_visible: bool = False
    history: list[tuple[str, int]] = field(default_factory=list, repr=False)

    @property
    def done(self) -> bool:
        return self.state in (C.COMPLETED, C.FAILED)

    @property
    def files(self) -> list[list[str]]:
        return [g.paths for g in self.groups]


@dataclass
class _Timed:
    """A job by a simulated clock: what it does next, and when."""

    steps: Iterator[float]
    due: float


class JobRunner:
    """Holds all jobs and runs them. `delay` is how many seconds a job takes at least."""

    def __init__(
        self,
        faults: Faults,
        delay: float,
        behaviour: Behaviour,
        clock: Clock,
        die: Callable[[], None],
        id_prefix: str = "",
    ) -> None:
        self.jobs: list[Job] = []
        self.faults, self.behaviour, self.clock = faults, behaviour, clock
        self.steady = Steady(delay)
        self.engine: Engine | None = None
        self._die, self._prefix = die, id_prefix
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._released: set[int] = set()
        self._threads: list[threading.Thread] = []
        self._timed: list[_Timed] = []
        self._insert_lock = threading.Lock()
        self._pace: Pace = self.steady
        if isinstance(clock, SimulatedClock):
            self._pace = Recorded(clock, behaviour.seconds)
            clock.attach(self._next_due, self._run_due)

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
        asked_name: str,
    ) -> Job:
        with self._lock:
            if sum(1 for j in self.jobs if not j.done) >= C.MAX_JOBS:
                raise self.behaviour.refuse("too_many_jobs")
            number = len(self.jobs) + 1
            created = self.clock.now()
            clock = int(created * 1_000_000) % 10**15
            job = Job(
                job_id=f"{self._prefix}{459_000_000_000_000_000 + clock + number}",
                number=number,
                database=database,
                collection=collection,
                collection_id=collection_id,
                partition=partition,
                storage=storage,
                schema=self.engine.schema(database, collection),
                groups=[Group(list(p)) for p in files],
                options=options,
                key=key,
                asked_name=asked_name,
                created=created,
                create_time=self.clock.text(),
            )
            self.jobs.append(job)
            self._start(job)
            return job

    def get(self, job_id: str) -> Job | None:
        return next((j for j in self.jobs if j.job_id == job_id), None)

    def by_key(self, collection_id: int, key: str) -> Job | None:
        since = self.clock.now() - _KEY_SECONDS
        return next(
            (
                job
                for job in self.jobs
                if job.collection_id == collection_id and job.key == key and job.created > since
            ),
            None,
        )

    def forget(self, job_id: str) -> None:
        """Drops a job from memory, as ``dataCoord.import.taskRetention`` does."""
        with self._lock:
            self.jobs = [j for j in self.jobs if j.job_id != job_id]

    def release(self, number: int) -> None:
        """Lets a hanging job go on."""
        self._released.add(number)

    def stop(self) -> None:
        """Ends what runs; the jobs stay as they are."""
        self._stopping.set()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(10)
        self._threads.clear()
        self._timed.clear()

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
        job.began = self.clock.now()
        steps = self._run(job, self._stopping)
        if isinstance(self.clock, SimulatedClock):
            self._timed.append(_Timed(steps, self.clock.now()))
            self._run_due()
            return
        thread = threading.Thread(
            target=self._live,
            args=(steps, self._stopping),
            daemon=True,
            name=f"emulator-job-{job.number}",
        )
        self._threads.append(thread)
        thread.start()

    def _live(self, steps: Iterator[float], stopping: threading.Event) -> None:
        for seconds in steps:
            if stopping.wait(seconds):
                return

    def _next_due(self) -> float | None:
        return min((timed.due for timed in self._timed), default=None)

    def _run_due(self) -> None:
        for timed in list(self._timed):
            while timed in self._timed and timed.due <= self.clock.now():
                seconds = next(timed.steps, None)
                if seconds is None:
                    self._timed.remove(timed)
                    break
                timed.due += seconds

    def _run(self, job: Job, stopping: threading.Event) -> Iterator[float]:
        """Runs a job; yields the seconds to wait before it goes on."""
        try:
            yield from self._import(job, stopping)
        except Stopped:
            return
        except (C.ImportFailed, MilvusLiteError) as err:
            self._fail(job, str(err))
        except Exception as err:
            self._fail(job, f"emulator error: {type(err).__name__}: {err}")

    def _fail(self, job: Job, reason: str) -> None:
        with self._lock:
            for group in job.groups:
                group.state, group.reason = C.FAILED, reason
            job.reason = reason
            job.progress = job.imported_rows = job.total_rows = 0
            self._to(job, C.FAILED)

    def _to(self, job: Job, state: str) -> None:
        job.state = state
        job.history.append((state, job.progress))

    def _reach(self, job: Job, stage: str, stopping: threading.Event) -> Iterator[float]:
        """Waits until a job reaches a stage, and sets its progress."""
        yield self._pace.wait(job.began, stage)
        yield from self._advance(job, STAGES[stage], stopping)

    def _advance(self, job: Job, percent: int, stopping: threading.Event) -> Iterator[float]:
        """Moves the progress on, taking the time it should, and runs into the faults on the way."""
        while job.progress < percent:
            step = min(percent, job.progress + self._pace.step)
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
                        yield 0.02
                elif act == "die":
                    del self.faults.die_at_job[job.number]
                    threading.Thread(target=self._die, daemon=True).start()
                    stopping.wait(30)
                    raise Stopped
                else:
                    raise C.ImportFailed(self.faults.fail_job[job.number])
            yield self._pace.seconds_of(step - job.progress)
            job.progress = step

    def _read(self, job: Job, group: Group) -> pa.Table:
        """Reads a group of files.

        Raises:
            ImportFailed: with the job's whole reason.
        """
        try:
            if job.options.get("backup", "").lower() == "true":
                logs = job.storage.list(group.paths[0])  # those of deletes don't count
                table = read_segment(job.storage, group.paths, job.schema, self.behaviour)
            else:
                logs = group.paths
                table = read_group(job.storage, group.paths, job.schema, self.behaviour)
            group.size = sum(job.storage.size(name) for name in logs)
        except MissingFile as err:
            raise C.ImportFailed(f"key not found[key={err}]") from err
        except C.ImportFailed as err:
            number = 459_000_000_000_000_000 + job.number
            reason = self.behaviour.reason_of(err, number, group.paths)
            raise C.ImportFailed(reason, exact=True) from err
        return table

    def _import(self, job: Job, stopping: threading.Event) -> Iterator[float]:
        engine = self.engine
        assert engine is not None
        yield from self._reach(job, "importing", stopping)
        self._to(job, C.IMPORTING)
        yield self._pace.wait(job.began, "read")
        tables: list[pa.Table] = []
        for i, group in enumerate(job.groups):
            table = self._read(job, group)
            group.rows = table.num_rows
            tables.append(table)
            yield from self._advance(job, 10 + 30 * (i + 1) // len(job.groups), stopping)
        yield from self._reach(job, "told", stopping)
        if any(group.rows for group in job.groups):
            job.total_rows = sum(group.rows for group in job.groups)
            job.details_visible = True
            yield from self._load(job, stopping)
        with self._insert_lock:
            if stopping.is_set():
                raise Stopped
            name = engine.name_of(job.database, job.collection_id)
            if name is not None:
                engine.load(job.database, name, job.partition, tables)
            with self._lock:
                if job.details_visible:  # servers leave it out when there are no rows
                    job.complete_time = self.clock.text()
                job.progress = 100
                self._to(job, C.COMPLETED)

    def _load(self, job: Job, stopping: threading.Event) -> Iterator[float]:
        """What a job goes through once its files are told."""
        yield from self._reach(job, "running", stopping)
        for group in job.groups:
            group.state = C.IN_PROGRESS
        yield self._pace.wait(job.began, "loaded")
        for i, group in enumerate(job.groups):
            yield from self._advance(job, 40 + 30 * (i + 1) // len(job.groups), stopping)
            group.progress = 100
            job.imported_rows += group.rows
        yield from self._reach(job, "stored", stopping)
        for group in job.groups:
            group.state, group.complete_time = C.COMPLETED, self.clock.text()
        self._check_dropped(job)
        yield from self._reach(job, "sorted", stopping)
        yield from self._reach(job, "indexed", stopping)
        yield self._pace.wait(job.began, "completed")
        self._check_dropped(job)

    def _check_dropped(self, job: Job) -> None:
        """Some versions' jobs fail when their collection is dropped; others complete."""
        assert self.engine is not None
        gone = self.engine.name_of(job.database, job.collection_id) is None
        if gone and self.behaviour.dropped:
            raise C.ImportFailed(f"collection {job.collection_id} dropped", exact=True)
