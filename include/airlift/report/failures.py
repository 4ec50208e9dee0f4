"""What failed: one small file for each task in staging, until the task succeeds after all."""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict

from airlift.errors import AirliftError
from airlift.migration import Migration

_FOLDER = "failures"


class StepFailure(BaseModel):
    """How a task failed.

    Attributes:
        index: the number of a mapped task; -1 for one that is not mapped.
        at: when, as ISO 8601.
        reasons: each with what to do, as the task's log has them.
    """

    model_config = ConfigDict(frozen=True)

    step: str
    index: int = -1
    at: str
    reasons: tuple[str, ...]


def read_failures(migration: Migration) -> list[StepFailure]:
    """The tasks that have failed and did not succeed since, in the order in which they failed."""
    folder = migration.staging.folder
    read = migration.staging.read_for_people
    found = [failure for name in folder.list(_FOLDER) if (failure := read(name, StepFailure))]
    return sorted(found, key=lambda one: one.at)


def write_failure(migration: Migration, step: str, index: int, error: Exception) -> None:
    """Keeps why a task failed."""
    failure = StepFailure(
        step=step,
        index=index,
        at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        reasons=_reasons(error),
    )
    migration.staging.write(_file(step, index), failure)


def forget_failure(migration: Migration, step: str, index: int) -> bool:
    """Forgets that a task failed, since it succeeded now; returns whether it had."""
    had_failed = migration.staging.folder.exists(_file(step, index))
    if had_failed:
        migration.staging.folder.delete_file(_file(step, index))
    return had_failed


def _file(step: str, index: int) -> str:
    return f"{_FOLDER}/{step}.json" if index < 0 else f"{_FOLDER}/{step}-{index:05d}.json"


def _reasons(error: Exception) -> tuple[str, ...]:
    if isinstance(error, AirliftError):
        return tuple(getattr(error, "reasons", [str(error)]))
    # The text of an error that is not ours may hold anything, also what is secret.
    return (f"an unexpected error ({type(error).__name__}); the task's log has it in full",)
