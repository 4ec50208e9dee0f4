"""How fast a migration is and was: rows and bytes a second, and the time left."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from airlift.progress import ChunkProgress
from airlift_page.progress import IMPORT, READ, Progress

_RECENT = 120.0
"""Seconds over which the present speed is averaged."""


def plot(progress: Progress, start: float, end: float, bins: int = 60) -> dict[str, Any]:
    """Rows and bytes a second over time.

    Args:
        start, end: of what is shown, in seconds since 1970; what was done before is left out.

    Returns:
        `start`, `width` of a bin in seconds, `read` and `imported` rows/s, `bytes` read per s.
    """
    width = max((end - start) / bins, 1.0)
    count = max(int((end - start) / width + 0.999), 1)

    def line(step: str, amount: Callable[[ChunkProgress], int]) -> list[float]:
        sums = _spread(progress.chunks_of(step), amount, start, width, count)
        return [round(one / width, 1) for one in sums]

    return {
        "start": start,
        "width": width,
        "read": line(READ, _rows_read),
        "imported": line(IMPORT, _rows),
        "bytes": line(READ, _bytes),
    }


def speed(progress: Progress, now: float) -> dict[str, Any] | None:
    """The present speed of the step that is going on, and how long it will still take.

    Returns:
        `step`, `rows_per_second`, `bytes_per_second`, `seconds_left` (None while nothing can be
        said); None when no such step is going on.
    """
    for step, amount in ((IMPORT, _rows), (READ, _rows_read)):
        tasks = progress.tasks_of(step)
        began = min((one.started for one in tasks if one.started), default=None)
        if began is None or not any(one.state in ("running", "deferred") for one in tasks):
            continue
        since = max(began, now - _RECENT)
        seconds = max(now - since, 1.0)
        chunks = progress.chunks_of(step)
        (rows,) = _spread(chunks, amount, since, seconds, 1)
        (size,) = _spread(chunks, _bytes, since, seconds, 1)
        return {
            "step": step,
            "rows_per_second": rows / seconds,
            "bytes_per_second": size / seconds,
            "seconds_left": progress.rows_left(step) / rows * seconds if rows else None,
        }
    return None


def _rows_read(chunk: ChunkProgress) -> int:
    return chunk.read


def _rows(chunk: ChunkProgress) -> int:
    return chunk.rows


def _bytes(chunk: ChunkProgress) -> int:
    return chunk.bytes


def _spread(
    chunks: Iterable[ChunkProgress],
    amount: Callable[[ChunkProgress], int],
    start: float,
    width: float,
    bins: int,
) -> list[float]:
    """What was done in each bin of time: a chunk's amount, evenly over the time that it took."""
    sums = [0.0] * bins
    for chunk in chunks:
        began = chunk.ended - chunk.seconds
        if not chunk.ended or chunk.ended < start or began > start + bins * width:
            continue
        last = min(int((chunk.ended - start) // width), bins - 1)
        first = min(int(max(began - start, 0.0) // width), last)
        for place in range(first, last + 1):
            left = start + place * width
            took = min(left + width, chunk.ended) - max(left, began)
            share = took / chunk.seconds if chunk.seconds > 0 else 1.0
            sums[place] += amount(chunk) * min(max(share, 0.0), 1.0)
    return sums
