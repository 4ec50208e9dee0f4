"""How long the steps took: one small file for each in staging, read by the report."""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict

from airlift.migration import Migration


class StepTime(BaseModel):
    """How long one task of a step took; `index` counts mapped tasks."""

    model_config = ConfigDict(frozen=True)

    step: str
    index: int = -1
    started: str
    seconds: float


def read_steps(migration: Migration) -> list[StepTime]:
    """How long the tasks took so far, in the order in which they began."""
    folder = migration.staging.folder
    steps = [StepTime.model_validate_json(folder.read_bytes(name)) for name in folder.list("steps")]
    return sorted(steps, key=lambda step: step.started)


def write_step(migration: Migration, step: StepTime) -> None:
    """Keeps how long a task took."""
    suffix = "" if step.index < 0 else f"-{step.index:05d}"
    migration.staging.write(f"steps/{step.step}{suffix}.json", step)


class timed:
    """Writes into staging how long a step took, when it succeeds.

    Args:
        index: the number of a mapped task; -1 for one that is not mapped.
        started: when the step began, where it was handed to the triggerer in between.
        keep: whether to write it; off for what comes after the report.
    """

    def __init__(
        self,
        migration: Migration,
        step: str,
        index: int = -1,
        started: str | None = None,
        keep: bool = True,
    ) -> None:
        self._migration = migration
        self._step = step
        self._index = index
        self._keep = keep
        self._started = datetime.fromisoformat(started) if started else datetime.now(UTC)

    @property
    def started(self) -> str:
        """When the step began, as ISO 8601."""
        return self._started.isoformat(timespec="milliseconds")

    def __enter__(self) -> timed:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is None and self._keep:
            seconds = (datetime.now(UTC) - self._started).total_seconds()
            step = StepTime(
                step=self._step, index=self._index, started=self.started, seconds=seconds
            )
            write_step(self._migration, step)
