"""One task of a migration: it is timed, and a failure stands in the report."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airlift.errors import AirliftError
from airlift.migration import Migration, log
from airlift.report.failures import forget_failure, read_failures, write_failure
from airlift.timing import timed


@contextmanager
def task(
    migration: Migration,
    step: str,
    index: int = -1,
    started: str | None = None,
    before_report: bool = True,
    run: str = "",
    attempt: int = 0,
) -> Iterator[timed]:
    """Runs what is inside as a task of the migration.

    When it fails, the report is written with the state `failed` and the reasons; when it succeeds
    after all, that report goes again. The error itself passes on unchanged.

    Args:
        step, index, started, run, attempt: as of `timed`.
        before_report: off for what comes after the report, and can't change it.
    """
    try:
        with timed(migration, step, index, started, before_report, run, attempt) as clock:
            yield clock
    except Exception as error:
        if before_report:
            _tell_failure(migration, step, index, error)
        raise
    if before_report and forget_failure(migration, step, index):
        _tell_recovery(migration)


def _tell_failure(migration: Migration, step: str, index: int, error: Exception) -> None:
    from airlift.steps.publish import write_report

    try:
        write_failure(migration, step, index, error)
        log.info("the report of what was done is %s", write_report(migration, "failed"))
    except Exception as second:
        # Such as a staging folder that can't be written: the first error tells more.
        told = second if isinstance(second, AirliftError) else type(second).__name__
        log.warning("no report could be written: %s", told)


def _tell_recovery(migration: Migration) -> None:
    from airlift.steps.publish import remove_failed_report, write_report

    if not remove_failed_report(migration):
        return  # a later report stands in its place
    if read_failures(migration):
        write_report(migration, "failed")
