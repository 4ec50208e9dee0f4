"""Rows and bytes per second over time: many chunks in a bounded number of pieces of time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict

from airlift.report.time_axis import AXIS, Span, TimeAxis

PIECES = 100
"""Into how many pieces the time is cut, however many chunks there are."""

_SAME_LOOK = 0.5
"""Seconds between ends that were seen at once."""

_LEAST = 0.01
"""Length on the axis of the shortest work."""


@dataclass(frozen=True)
class Work:
    """A chunk that was moved: when, as seconds since 1970, and how much."""

    kind: str
    start: float
    seconds: float
    rows: int
    bytes: int

    @property
    def span(self) -> Span:
        """When it began and ended."""
        return self.start, self.start + self.seconds


class Piece(BaseModel):
    """What was done in a piece of time.

    Attributes:
        place: where the piece begins on the axis (0 to 1,000, see `airlift.report.time_axis`).
        seconds: how long it is.
    """

    model_config = ConfigDict(frozen=True)

    place: float
    seconds: float
    rows: float
    bytes: float


class Throughput(BaseModel):
    """Rows and bytes over time, by what was done: `convert` and `import`.

    A chunk's rows are spread evenly over the time that it took.

    Attributes:
        first: when the axis begins, as ISO 8601.
        seconds: from there to the end; breaks of `breaks_seconds` are drawn short, at `marks`.
        pieces: by kind; those without work are left out.
    """

    model_config = ConfigDict(frozen=True)

    first: str = ""
    seconds: float = 0.0
    breaks_seconds: float = 0.0
    marks: tuple[float, ...] = ()
    pieces: dict[str, tuple[Piece, ...]] = {}


def began(text: str) -> float:
    """An ISO 8601 time as seconds since 1970."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def one_after_another(works: Iterable[Work]) -> list[Work]:
    """Work that waits in a queue, each without the time in which those before it were done.

    Import jobs are submitted together, and Milvus runs them one after the other. Those that were
    found done at the same look share the time since the look before.
    """
    done: list[Work] = []
    start = end = 0.0
    for one in sorted(works, key=lambda one: one.span[1]):
        if not done or one.span[1] - end > _SAME_LOOK:
            start, end = max(one.start, end), one.span[1]
        done.append(replace(one, start=start, seconds=max(end - start, 0.001)))
    return done


def throughput(works: Iterable[Work]) -> Throughput:
    """Adds up what chunks took into pieces of time of equal length."""
    done = [one for one in works if one.rows and one.seconds > 0]
    if not done:
        return Throughput()
    axis = TimeAxis([one.span for one in done])
    width = AXIS / PIECES
    sums: dict[str, list[list[float]]] = {}
    for one in done:
        pieces = sums.setdefault(one.kind, [[0.0, 0.0] for _ in range(PIECES)])
        start, end = map(axis.place, one.span)
        # One that is too short to be seen counts all the same, also at the axis' end.
        start = min(start, AXIS - _LEAST)
        end = min(max(end, start + _LEAST), AXIS)
        for at in range(int(start // width), PIECES):
            left, right = at * width, (at + 1) * width
            share = (min(end, right) - max(start, left)) / (end - start)
            if share <= 0:
                break
            pieces[at][0] += one.rows * share
            pieces[at][1] += one.bytes * share
    seconds = axis.seconds(width)
    return Throughput(
        first=datetime.fromtimestamp(axis.first, UTC).isoformat(timespec="milliseconds"),
        seconds=axis.elapsed,
        breaks_seconds=axis.breaks_seconds,
        marks=tuple(axis.marks),
        pieces={
            kind: tuple(
                Piece(place=at * width, seconds=seconds, rows=rows, bytes=size)
                for at, (rows, size) in enumerate(pieces)
                if rows
            )
            for kind, pieces in sums.items()
        },
    )
