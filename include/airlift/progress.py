"""How far the tasks are: one small file for each in staging, read by the migration page.

    progress/convert-00012.json

Manifests and import records are what a migration goes by; thousands of them would have to be read
each time somebody looks. A file of progress says in one piece how far all chunks of a batch are. It
is written every few seconds, and whatever becomes of it, the migration goes on.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from airlift.chunk import Chunk, Manifest
from airlift.errors import AirliftError
from airlift.migration import Migration, log
from airlift.plan import CollectionPlan
from airlift.staging import Staging

FOLDER = "progress"
_SECONDS = 3.0
"""At least so long between two writes of the same file."""


class ChunkProgress(BaseModel):
    """How far one chunk is.

    Attributes:
        collection: the target collection, as the plan names it.
        read: rows that the source gave; `rows` of them are converted, or in the target.
        bytes: of the data files; about, while the chunk is not done.
        ended: when it was done, or last heard of, in seconds since 1970; 0 when that is unknown.
        seconds: what it took so far.
    """

    model_config = ConfigDict(frozen=True)

    collection: str
    chunk: str
    done: bool
    read: int = 0
    rows: int = 0
    bytes: int = 0
    bad_rows: int = 0
    ended: float = 0.0
    seconds: float = 0.0

    @property
    def key(self) -> tuple[str, str]:
        """What names the chunk."""
        return self.collection, self.chunk


class TaskProgress(BaseModel):
    """How far a task is; `index` counts mapped tasks, -1 is one that is not mapped.

    Attributes:
        chunks: those that are done or in work.
        waiting: rows that are not indexed yet, by collection.
    """

    model_config = ConfigDict(frozen=True)

    step: str
    index: int = -1
    chunks: tuple[ChunkProgress, ...] = ()
    waiting: dict[str, int] = {}


def file_name(step: str, index: int = -1) -> str:
    """The file of a task's progress, below the migration's folder."""
    return f"{FOLDER}/{step}{'' if index < 0 else f'-{index:05d}'}.json"


def forget_progress(staging: Staging, step: str) -> None:
    """Removes what is known of a step's tasks: the collection that they worked on is another."""
    begin = f"{FOLDER}/{step}-"
    for name in staging.folder.list(FOLDER):
        if name.startswith(begin):
            staging.folder.delete_file(name)


def write_progress(staging: Staging, progress: TaskProgress) -> None:
    """Writes how far a task is; a failure is only logged: nothing depends on it."""
    try:
        staging.write(file_name(progress.step, progress.index), progress)
    except AirliftError as error:
        log.warning("the page will not show how far this task is: %s", error)


class BatchProgress:
    """Writes how far a batch is, every few seconds and at the end, also when it fails.

    What is known of its chunks from an earlier attempt is kept until there is news of them.

    Args:
        step: the task's name.
        index: the batch's number in the plan.
    """

    def __init__(self, migration: Migration, step: str, index: int) -> None:
        self._staging = migration.staging
        self._step = step
        self._index = index
        self._chunks = {one.key: one for one in self._earlier() if one.done}
        self._due = time.monotonic() + _SECONDS

    def _earlier(self) -> Iterable[ChunkProgress]:
        try:
            read = self._staging.read(file_name(self._step, self._index), TaskProgress)
        except AirliftError:
            return ()
        return read.chunks if read else ()

    def __enter__(self) -> BatchProgress:
        return self

    def __exit__(self, *error: object) -> None:
        self.write()

    def note(self, one: ChunkProgress) -> None:
        """Takes note of a chunk, and writes when it is time."""
        known = self._chunks.get(one.key)
        if known and one.done and not one.ended:
            one = one.model_copy(update={"ended": known.ended, "seconds": known.seconds})
        self._chunks[one.key] = one
        if time.monotonic() >= self._due:
            self.write()

    def is_done_since(self, key: tuple[str, str], began: float) -> bool:
        """Whether a chunk is known to have come to its end after a moment (a POSIX time)."""
        known = self._chunks.get(key)
        return known is not None and known.done and known.ended >= began

    def write(self) -> None:
        """Writes what is known by now."""
        progress = TaskProgress(
            step=self._step, index=self._index, chunks=tuple(self._chunks.values())
        )
        write_progress(self._staging, progress)
        self._due = time.monotonic() + _SECONDS


class ChunkClock:
    """Tells a batch's progress how far one chunk is.

    Args:
        collection: the plan of its collection.
        started: when the work on it began, as ISO 8601; now, where that is not given.
    """

    def __init__(
        self,
        progress: BatchProgress,
        collection: CollectionPlan,
        chunk: Chunk,
        started: str = "",
    ) -> None:
        self._progress = progress
        self._collection = collection.name
        self._chunk = chunk
        self._began = datetime.fromisoformat(started).timestamp() if started else time.time()

    def so_far(self, read: int, rows: int, bad_rows: int = 0) -> None:
        """The chunk is in work; its bytes are about the share of its rows."""
        share = read / self._chunk.rows if self._chunk.rows else 0.0
        now = time.time()
        self._note(
            done=False,
            read=read,
            rows=rows,
            bytes=int(self._chunk.bytes * share),
            bad_rows=bad_rows,
            ended=now,
            seconds=max(now - self._began, 0.0),
        )

    def done_before(self, manifest: Manifest) -> None:
        """It was done by an earlier attempt; when, is not known."""
        self.done(manifest, manifest.rows, -self._began)

    def is_seen_done(self, manifest: Manifest, rows: int) -> None:
        """Its rows are there; when, an earlier look has seen, or else this one."""
        key = (self._collection, self._chunk.id)
        if not self._progress.is_done_since(key, self._began):
            self.done(manifest, rows, time.time() - self._began)

    def done(self, manifest: Manifest, rows: int, seconds: float) -> None:
        """It is done, so many seconds after it began."""
        self._note(
            done=True,
            read=manifest.rows_read,
            rows=rows,
            bytes=manifest.bytes,
            bad_rows=manifest.bad_rows,
            ended=self._began + seconds,
            seconds=max(seconds, 0.0),
        )

    def _note(self, **known: Any) -> None:
        chunk = ChunkProgress(collection=self._collection, chunk=self._chunk.id, **known)
        self._progress.note(chunk)
