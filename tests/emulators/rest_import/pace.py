"""The stages of an import job, and how long it takes to get from one to the next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from .clock import Clock

STAGES = {
    "importing": 10,
    "read": 40,
    "told": 40,
    "running": 40,
    "loaded": 70,
    "stored": 70,
    "sorted": 80,
    "indexed": 90,
    "completed": 100,
}
"""What a job goes through, with its progress from then on: the files are read; they are told in
``details``; the groups are in progress; their rows are all read; the groups are completed; ..."""


class Pace(Protocol):
    """How a job moves on. `step` is by how many percent its progress grows at most at once."""

    step: int

    def wait(self, began: float, stage: str) -> float:
        """Seconds until a job that began then reaches a stage, beside what the percents take."""
        ...

    def seconds_of(self, percent: int) -> float:
        """Seconds that so many percents take."""
        ...


class Steady:
    """The pace by the machine's clock: every percent takes as long, `delay` seconds in all."""

    step = 5

    def __init__(self, delay: float) -> None:
        self.delay = delay

    def wait(self, began: float, stage: str) -> float:
        return 0.0

    def seconds_of(self, percent: int) -> float:
        return self.delay * percent / 100


class Recorded:
    """The pace of a server: a job stands still between its stages.

    Args:
        seconds: after the beginning, by stage.
    """

    step = 100

    def __init__(self, clock: Clock, seconds: Mapping[str, float]) -> None:
        self._clock, self._seconds = clock, seconds

    def wait(self, began: float, stage: str) -> float:
        return max(0.0, began + self._seconds[stage] - self._clock.now())

    def seconds_of(self, percent: int) -> float:
        return 0.0
