"""The time of a server: the machine's, or one that only moves when a test says so."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime


class Clock:
    """The machine's own time."""

    def now(self) -> float:
        """Seconds since 1970."""
        return time.time()

    def text(self) -> str:
        """Now, as the answers write it: ``2026-11-27T19:21:41Z``."""
        return datetime.fromtimestamp(self.now(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class SimulatedClock(Clock):
    """A clock that stands still until `advance` or `advance_to_next` is called.

    What happens meanwhile (jobs that read files and load rows) happens inside of that call, in the
    caller's thread: when it returns, the server is in the state of the new time. Nothing sleeps.
    """

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self._now = start
        self._due: list[Callable[[], float | None]] = []
        self._run: list[Callable[[], None]] = []

    def now(self) -> float:
        return self._now

    def attach(self, due: Callable[[], float | None], run: Callable[[], None]) -> None:
        """Adds something that acts by this clock.

        Args:
            due: when it has something to do next, in seconds since 1970; None for nothing.
            run: does what is due now.
        """
        self._due.append(due)
        self._run.append(run)

    def advance(self, seconds: float) -> float:
        """Moves on by so many seconds, through all that is due on the way; returns the new time."""
        end = self._now + seconds
        while (due := self._next()) is not None and due <= end:
            self._move(due)
        self._move(end)
        return self._now

    def advance_to_next(self) -> float | None:
        """Moves on to the next thing that is due; returns the new time, None if there is none."""
        due = self._next()
        if due is not None:
            self._move(due)
        return due

    def _next(self) -> float | None:
        times = [time for due in self._due if (time := due()) is not None]
        return min(times, default=None)

    def _move(self, to: float) -> None:
        self._now = max(self._now, to)
        for run in self._run:
            run()
