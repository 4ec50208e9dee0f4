"""A time axis on which long breaks, such as between a failed run and the next, are drawn short."""

from __future__ import annotations

from itertools import pairwise

AXIS = 1000.0
"""Length of the time axis, in units of the drawing."""

Span = tuple[float, float]
"""When something began and ended, in seconds since 1970."""

_LONG_BREAK, _DRAWN_BREAK = 0.25, 0.03
"""Shares of the working time: a longer break than the one is drawn as long as the other."""


class TimeAxis:
    """Where moments are on an axis from 0 to AXIS.

    Args:
        spans: when there was work, in any order.

    Attributes:
        first: the moment at 0, in seconds since 1970.
        elapsed: seconds from the first moment to the last.
        breaks_seconds: of them, in breaks that are drawn short.
        marks: where those breaks are on the axis.
    """

    def __init__(self, spans: list[Span]) -> None:
        busy = merged(spans)
        self.first = busy[0][0] if busy else 0.0
        self.elapsed = busy[-1][1] - self.first if busy else 0.0
        working = sum(end - start for start, end in busy)
        self.breaks = [
            (end, following)
            for (_, end), (following, _) in pairwise(busy)
            if following - end > max(_LONG_BREAK * working, 60.0)
        ]
        self.breaks_seconds = sum(end - start for start, end in self.breaks)
        self._break = _DRAWN_BREAK * working
        drawn = self.elapsed - self.breaks_seconds + self._break * len(self.breaks)
        self._scale = AXIS / drawn if drawn else 0.0
        self.marks = [self.place((start + end) / 2) for start, end in self.breaks]

    def place(self, moment: float) -> float:
        """Where a moment is on the axis."""
        x = moment - self.first
        for start, end in self.breaks:
            if moment > start:
                inside = min(moment, end) - start
                x += inside * (self._break / (end - start) - 1)
        return round(x * self._scale, 2)

    def seconds(self, length: float) -> float:
        """How long a length of the axis is, outside of the breaks."""
        return length / self._scale if self._scale else 0.0


def merged(spans: list[Span], gap: float = 0.0) -> list[Span]:
    """Spans in order, with those that overlap, or are no more than `gap` apart, made one."""
    made: list[Span] = []
    for start, end in sorted(spans):
        if made and start <= made[-1][1] + gap:
            made[-1] = (made[-1][0], max(end, made[-1][1]))
        else:
            made.append((start, end))
    return made
