"""How numbers, sizes and times look in `report.html`, and the time axis of its steps."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from airlift.report.throughput import began
from airlift.report.time_axis import Span, TimeAxis, merged
from airlift.timing import StepTime


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
        spans = {name: merged([_span(step) for step in group]) for name, group in groups.items()}
        axis = TimeAxis([span for one in spans.values() for span in one])
        self.elapsed = axis.elapsed
        self.work = sum(step.seconds for step in steps)
        self.tasks = len(steps)
        self.breaks, self.breaks_seconds, self.marks = axis.breaks, axis.breaks_seconds, axis.marks
        self.lines = [
            StepLine(
                name=name,
                tasks=len(groups[name]),
                work=sum(step.seconds for step in groups[name]),
                began=bars[0][0] - axis.first,
                took=sum(end - start for start, end in bars),
                bars=merged([(axis.place(start), axis.place(end)) for start, end in bars], gap=1.0),
            )
            for name, bars in sorted(spans.items(), key=lambda item: item[1][0])
        ]


def _span(step: StepTime) -> Span:
    """When a task began and ended, in seconds since 1970."""
    start = began(step.started)
    return start, start + max(step.seconds, 0.0)


def size_text(number: float) -> str:
    """Bytes for people: 999 B, 1.2 kB, 34.5 MB (powers of 1,000)."""
    if number < 1000:
        return f"{number:.0f} B"
    power = next((power for power in (1, 2, 3) if number < 999.95 * 1000**power), 4)
    return f"{number / 1000**power:,.1f} {('kB', 'MB', 'GB', 'TB')[power - 1]}"


def figure_text(number: float) -> str:
    """A number for people, to three digits: 0.05, 1.25, 12.5, 1,250, 1.25 M."""
    if number >= 1e6:
        return f"{number / 1e6:,.4g} M"
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


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
