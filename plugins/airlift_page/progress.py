"""Puts together how far a migration is, from what was planned and what the tasks have written.

Plain numbers in, plain numbers out: no Airflow and no storage here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from airlift.empty_collections import all_set_aside, is_all_set_aside
from airlift.progress import ChunkProgress, TaskProgress

READ, IMPORT = "convert", "bulk_insert"
"""The two steps that work on chunks."""

_CELLS = 300
_IN_WORK = {"running", "deferred", "queued", "scheduled", "success"}
_FAILED = {"failed", "up_for_retry", "upstream_failed"}


class ChunkState(IntEnum):
    """How far a chunk is; the numbers are the places in a cell of the strip."""

    WAITING = 0
    READING = 1
    READ = 2
    IMPORTING = 3
    DONE = 4
    FAILED = 5


@dataclass(frozen=True)
class PlannedChunk:
    """A chunk of the plan."""

    id: str
    rows: int


@dataclass(frozen=True)
class PlannedCollection:
    """A collection of the plan; `name` is the target's."""

    name: str
    source: str
    chunks: tuple[PlannedChunk, ...]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """Rows that its chunks hold."""
        return sum(chunk.rows for chunk in self.chunks)


@dataclass(frozen=True)
class TaskState:
    """A task instance; times in seconds since 1970, None when it has not begun or ended."""

    task: str
    index: int
    state: str
    started: float | None = None
    ended: float | None = None


@dataclass
class CollectionProgress:
    """How far one collection is. `read_share` and `import_share` go from 0 to 1.

    `warnings` tell that no row of it is moved, and why.
    """

    name: str
    source: str
    planned: int
    chunks: int
    read: int = 0
    converted: int = 0
    imported: int = 0
    indexed: int = 0
    bad_rows: int = 0
    bytes: int = 0
    chunks_done: int = 0
    read_share: float = 0.0
    import_share: float = 0.0
    counted: int | None = None
    problems: tuple[str, ...] = ()
    verified: bool | None = None
    warnings: tuple[str, ...] = ()


@dataclass
class _Known:
    """What the tasks wrote of one chunk."""

    read: ChunkProgress | None = None
    imported: ChunkProgress | None = None
    task: dict[str, TaskState | None] = field(default_factory=dict)


class Progress:
    """A migration's progress.

    Args:
        plan: what was planned.
        written: what the tasks wrote into staging.
        tasks: the run's task instances.
    """

    def __init__(
        self,
        plan: Sequence[PlannedCollection],
        written: Iterable[TaskProgress],
        tasks: Iterable[TaskState],
    ) -> None:
        self._plan = plan
        self._tasks = {(one.task, one.index): one for one in tasks}
        self._known: dict[tuple[str, str], _Known] = {}
        self._waiting: Mapping[str, int] | None = None
        for one in written:
            if one.step == "index":
                self._waiting = one.waiting
            for chunk in one.chunks:
                self._take(one, chunk)

    def _take(self, task: TaskProgress, chunk: ChunkProgress) -> None:
        known = self._known.setdefault(chunk.key, _Known())
        if task.step == READ:
            known.read = chunk
        elif task.step == IMPORT:
            known.imported = chunk
        known.task[task.step] = self._tasks.get((task.step, task.index))

    def collections(self) -> list[CollectionProgress]:
        """Each collection's numbers, as planned; what is verified is for the caller to add."""
        return [self._collection(one) for one in self._plan]

    def _collection(self, plan: PlannedCollection) -> CollectionProgress:
        one = CollectionProgress(plan.name, plan.source, plan.rows, len(plan.chunks))
        read_rows = import_rows = 0.0
        for chunk in plan.chunks:
            known = self._known.get((plan.name, chunk.id))
            if known is None:
                continue
            if known.read:
                one.read += known.read.read
                one.converted += known.read.rows
                one.bad_rows += known.read.bad_rows
                one.bytes += known.read.bytes
                read_rows += chunk.rows if known.read.done else known.read.read
            if known.imported:
                one.imported += known.imported.rows
                one.chunks_done += known.imported.done
                import_rows += chunk.rows if known.imported.done else known.imported.rows
        one.read_share = _share(read_rows, one.planned, one.chunks, self._step_done(READ))
        one.import_share = _share(import_rows, one.planned, one.chunks, self._step_done(IMPORT))
        if self._step_done("index"):
            one.indexed = one.imported
        elif self._waiting is not None:
            one.indexed = max(one.imported - max(self._waiting.get(plan.name, 0), 0), 0)
        one.warnings = plan.warnings
        if is_all_set_aside(one.planned, one.bad_rows):
            one.warnings += (all_set_aside(plan.source, one.planned, one.bad_rows),)
        return one

    def _step_done(self, step: str) -> bool:
        states = [one.state for one in self.tasks_of(step)]
        return bool(states) and all(state == "success" for state in states)

    # --- chunks ------------------------------------------------------------------------------

    def strip(self) -> dict[str, Any]:
        """The chunks in a strip of at most 300 cells.

        Returns:
            `cells`: for each the chunks in each ChunkState, and last those that an earlier attempt
            had done; `counts` the same for all; `starts`: where in the strip collections begin.
        """
        total = sum(len(one.chunks) for one in self._plan)
        size = max(1, -(-total // _CELLS))
        cells: list[list[int]] = []
        starts: list[tuple[int, str]] = []
        counts = [0] * (len(ChunkState) + 1)
        place = 0
        for plan in self._plan:
            starts.append((place // size, plan.name))
            for chunk in plan.chunks:
                if place % size == 0:
                    cells.append([0] * len(counts))
                state, resumed = self._state(self._known.get((plan.name, chunk.id)))
                for numbers in (cells[-1], counts):
                    numbers[state] += 1
                    numbers[-1] += resumed
                place += 1
        return {
            "total": total,
            "per_cell": size,
            "cells": cells,
            "counts": counts,
            "starts": _thinned(starts),
        }

    def _state(self, known: _Known | None) -> tuple[ChunkState, bool]:
        """A chunk's state, and whether an earlier attempt had done its last step."""
        if known is None:
            return ChunkState.WAITING, False
        steps = (
            (IMPORT, known.imported, ChunkState.IMPORTING, ChunkState.DONE),
            (READ, known.read, ChunkState.READING, ChunkState.READ),
        )
        for step, chunk, in_work, done in steps:
            if chunk is None:
                continue
            task = known.task.get(step)
            if chunk.done:
                return done, _was_before(chunk, task)
            if task and task.state in _FAILED:
                return ChunkState.FAILED, False
            if task and task.state in _IN_WORK:
                return in_work, False
        return ChunkState.WAITING, False

    # --- what speed is computed from ---------------------------------------------------------

    def chunks_of(self, step: str) -> list[ChunkProgress]:
        """What the tasks of a step wrote of their chunks."""
        known = self._known.values()
        found = (one.read if step == READ else one.imported for one in known)
        return [chunk for chunk in found if chunk]

    def tasks_of(self, step: str) -> list[TaskState]:
        """The task instances of a step."""
        return [one for (task, _), one in self._tasks.items() if task == step]

    def rows_left(self, step: str) -> float:
        """Rows that a step has still to do."""
        left = 0.0
        for one in self.collections():
            share = one.read_share if step == READ else one.import_share
            left += one.planned * (1.0 - share)
        return left


def totals(collections: Sequence[CollectionProgress]) -> dict[str, Any]:
    """The numbers of all collections together; shares are weighed by rows."""
    planned = sum(one.planned for one in collections)
    sums: dict[str, Any] = {
        name: sum(getattr(one, name) for one in collections)
        for name in ("read", "converted", "imported", "indexed", "bad_rows", "bytes", "chunks")
    }
    for name in ("read_share", "import_share"):
        weighed = sum(getattr(one, name) * (one.planned or 1) for one in collections)
        sums[name] = weighed / (sum(one.planned or 1 for one in collections) or 1)
    verified = sum(one.counted or 0 for one in collections if one.verified)
    return sums | {"planned": planned, "verified": verified, "collections": len(collections)}


def _share(done: float, planned: int, chunks: int, step_done: bool) -> float:
    """From 0 to 1; a collection without rows is done with its step."""
    if not planned or not chunks:
        return 1.0 if step_done else 0.0
    return min(done / planned, 1.0)


def _was_before(chunk: ChunkProgress, task: TaskState | None) -> bool:
    """Whether a chunk was done before its task began (the last time)."""
    return not chunk.ended or (
        task is not None and task.started is not None and chunk.ended < task.started
    )


def _thinned(starts: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """The first collection of each cell."""
    first: dict[int, str] = {}
    for cell, name in starts:
        first.setdefault(cell, name)
    return list(first.items())
