"""How numbers, sizes and times look in `report.html`, and the time axis of its steps."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from airlift.timing import StepTime

AXIS = 1000.0
"""Length of the time axis, in units of the drawing."""

_LONG_BREAK, _DRAWN_BREAK = 0.25, 0.03
"""Shares of the working time: a longer break than the one is drawn as long as the other."""


@dataclass
class StepLine:
    """A step on the time axis: its tasks' times, with those that touch made one."""

    name: str
    tasks: int
    work: float
    began: float
    took: float
    bars: list[tuple[float, float]]


class Timeline:
    """When each step ran. Long breaks (a run that failed and was resumed) are drawn short."""

    def __init__(self, steps: list[StepTime]) -> None:
        groups: dict[str, list[StepTime]] = {}
        for step in steps:
            groups.setdefault(step.step, []).append(step)
        spans = {name: _merged([_span(step) for step in group]) for name, group in groups.items()}
        busy = _merged([span for one in spans.values() for span in one])
        self.first = busy[0][0] if busy else 0.0
        self.elapsed = busy[-1][1] - self.first if busy else 0.0
        self.work = sum(step.seconds for step in steps)
        self.tasks = len(steps)
        self._place(busy)
        self.lines = [
            StepLine(
                name=name,
                tasks=len(groups[name]),
                work=sum(step.seconds for step in groups[name]),
                began=bars[0][0] - self.first,
                took=sum(end - start for start, end in bars),
                bars=_merged([(self._x(start), self._x(end)) for start, end in bars], gap=1.0),
            )
            for name, bars in sorted(spans.items(), key=lambda item: item[1][0])
        ]

    def _place(self, busy: list[tuple[float, float]]) -> None:
        """Finds the long breaks, and how many seconds a unit of the axis is."""
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
        self.marks = [self._x((start + end) / 2) for start, end in self.breaks]

    def _x(self, moment: float) -> float:
        """Where a moment is on the axis."""
        x = moment - self.first
        for start, end in self.breaks:
            if moment > start:
                inside = min(moment, end) - start
                x += inside * (self._break / (end - start) - 1)
        return round(x * self._scale, 2)


def _span(step: StepTime) -> tuple[float, float]:
    """When a task began and ended, in seconds since 1970."""
    began = datetime.fromisoformat(step.started)
    start = (began if began.tzinfo else began.replace(tzinfo=UTC)).timestamp()
    return start, start + max(step.seconds, 0.0)


def _merged(spans: list[tuple[float, float]], gap: float = 0.0) -> list[tuple[float, float]]:
    """Spans in order, with those that overlap, or are no more than `gap` apart, made one."""
    merged: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1] + gap:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def size_text(number: float) -> str:
    """Bytes for people: 999 B, 1.2 kB, 34.5 MB (powers of 1,000)."""
    if number < 1000:
        return f"{number:.0f} B"
    power = next((power for power in (1, 2, 3) if number < 999.95 * 1000**power), 4)
    return f"{number / 1000**power:,.1f} {('kB', 'MB', 'GB', 'TB')[power - 1]}"


def duration_text(seconds: float) -> str:
    """Seconds for people: 0.04 s, 2.5 s, 42 s, 3 min 20 s, 2 h 05 min."""
    if seconds < 0.005:
        return "0 s"
    if seconds < 0.995:
        return f"{seconds:.2f} s"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60:,} h {minutes % 60:02d} min"


def moment_text(text: str) -> str:
    """An ISO time for people, in UTC; anything else as it is."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    if moment.tzinfo:
        moment = moment.astimezone(UTC)
    return f"{moment.day} {moment:%B %Y, %H:%M} UTC"


def value_text(value: Any) -> str:
    """A param's value: text as it is, the rest as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
