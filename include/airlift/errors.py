"""The two kinds of failure that a user of the engine sees."""

from __future__ import annotations

from collections.abc import Iterable


class AirliftError(Exception):
    """Something stopped the work.

    The message names the thing (collection, file, field, row, job), what was expected, what was
    found, and what to do. It is written for the person who runs the migration, so the Airflow side
    shows it without a stack trace.
    """


class Refused(AirliftError):
    """The migration cannot work as asked; nothing was written to the target.

    Args:
        reasons: every reason that was found, one sentence or more each. They are told at once, so
            that the user mends them in one go.
    """

    def __init__(self, reasons: Iterable[str]) -> None:
        self.reasons = list(reasons)
        if len(self.reasons) == 1:
            message = self.reasons[0]
        else:
            numbered = "\n".join(f"  {n}. {reason}" for n, reason in enumerate(self.reasons, 1))
            message = f"refused for {len(self.reasons)} reasons:\n{numbered}"
        super().__init__(message)


class Unfinished(AirliftError):
    """A run did not come to its end; the task that says so can't change that."""


class Mismatch(AirliftError):
    """The target does not hold what the source held."""
