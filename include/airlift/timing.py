"""How long the steps took: one small file for each in staging, read by the report."""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict

from airlift.migration import Migration


class StepTime(BaseModel):
    """How long one task of a step took.

    Attributes:
        index: counts mapped tasks.
        run, attempt: which run's which try it was; empty outside of Airflow.
    """

    model_config = ConfigDict(frozen=True)

    step: str
    index: int = -1
    started: str
    seconds: float
    run: str = ""
    attempt: int = 0

    @property
    def file(self) -> str:
        """Where it is kept in staging."""
        suffix = "" if self.index < 0 else f"-{self.index:05d}"
        return f"steps/{self.step}{suffix}.json"


def read_steps(migration: Migration) -> list[StepTime]:
    """How long the tasks took so far, in the order in which they began."""
    folder = migration.staging.folder
    read = migration.staging.read_for_people
    steps = [step for name in folder.list("steps") if (step := read(name, StepTime))]
    return sorted(steps, key=lambda step: step.started)


class timed:
    """Writes into staging how long a step took, when it succeeds.

    Args:
        index: the number of a mapped task; -1 for one that is not mapped.
        started: when the step began, where it was handed to the triggerer in between.
        keep: whether to write it; off for what comes after the report.
        run, attempt: see StepTime.

    Attributes:
        set_back: whether staging knows that this very try has succeeded before: Airflow's database
            was set back since, or its record of the run was deleted.
    """

    def __init__(
        self,
        migration: Migration,
        step: str,
        index: int = -1,
        started: str | None = None,
        keep: bool = True,
        run: str = "",
        attempt: int = 0,
    ) -> None:
        self._migration = migration
        self._keep = keep
        self._now = StepTime(
            step=step, index=index, started="", seconds=0, run=run, attempt=attempt
        )
        self.set_back = False
        self._started = datetime.fromisoformat(started) if started else datetime.now(UTC)

    @property
    def started(self) -> str:
        """When the step began, as ISO 8601."""
        return self._started.isoformat(timespec="milliseconds")

    def __enter__(self) -> timed:
        if self._now.run:
            known = self._migration.staging.read_for_people(self._now.file, StepTime)
            same = known is not None and known.run == self._now.run
            self.set_back = bool(known and same and known.attempt >= self._now.attempt)
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is None and self._keep:
            seconds = (datetime.now(UTC) - self._started).total_seconds()
            done = self._now.model_copy(update={"started": self.started, "seconds": seconds})
            self._migration.staging.write(done.file, done)
