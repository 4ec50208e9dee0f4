"""Waits in the triggerer for work that the target does by itself: imports and index builds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

if TYPE_CHECKING:
    from airlift.migration import Migration

_FASTEST, _SLOWEST = 0.5, 10.0
_PATIENCE = 30
"""Answers in a row that may fail before the task is woken to say so."""
_LAST_ANSWER = 5.0
"""Seconds that the answer to a question is waited for when the trigger is stopped."""


def _imports(migration: Migration, batch: int) -> tuple[bool, str]:
    """Whether no import job of the batch runs, or one has failed; and how far they are.

    A failed one is told at once: others may run for hours.
    """
    from airlift.steps.import_chunks import BatchImport
    from airlift.targets.base import JobState

    jobs = [job for _, job in BatchImport(migration, batch).poll()]
    running = [job for job in jobs if job.state is JobState.RUNNING]
    told = ", ".join(f"job {job.id} {job.state} {job.progress} %" for job in jobs[:5])
    failed = any(job.state is JobState.FAILED for job in jobs)
    return (
        failed or not running,
        f"{len(jobs) - len(running)} of {len(jobs)} import jobs ended: {told}",
    )


def _indexes(migration: Migration, batch: int) -> tuple[bool, str]:
    """Whether all rows are indexed, and how many are not."""
    from airlift.steps.index import rows_to_index

    waiting = rows_to_index(migration)
    return waiting == 0, f"{max(waiting, 0):,} rows to index"


_WORKS: dict[str, Callable[[Migration, int], tuple[bool, str]]] = {
    "imports": _imports,
    "indexes": _indexes,
}


class ServerWorkTrigger(BaseTrigger):
    """Fires when the target has ended the work, or when it can't be asked any more.

    It carries the params, which hold no secret, and looks connections up by itself.

    Args:
        work: `imports` (of a batch) or `indexes`.
        source, params, migration_id: as of the operator.
        batch: the batch's number; -1 where there is none.
        started: when the task began; handed back with the event.
    """

    def __init__(
        self,
        *,
        work: str,
        source: str,
        params: dict[str, Any],
        migration_id: str,
        batch: int,
        started: str,
    ) -> None:
        super().__init__()
        self.work = work
        self.source = source
        self.params = params
        self.migration_id = migration_id
        self.batch = batch
        self.started = started

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """How Airflow stores the trigger."""
        return (
            "airlift_airflow.triggers.server_work.ServerWorkTrigger",
            {
                "work": self.work,
                "source": self.source,
                "params": self.params,
                "migration_id": self.migration_id,
                "batch": self.batch,
                "started": self.started,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Asks, ever less often, and tells the log when something has changed."""
        from airlift.errors import AirliftError
        from airlift_airflow.opening import open_migration

        migration = open_migration(self.source, self.params, self.migration_id)
        pause, failures, told = _FASTEST, 0, ""
        asking: asyncio.Future[tuple[bool, str]] | None = None
        try:
            while True:
                try:
                    ask = sync_to_async(_WORKS[self.work], thread_sensitive=False)
                    asking = asyncio.ensure_future(ask(migration, self.batch))
                    # Cancelled within it, asgiref would lose the word by which Airflow knows that
                    # somebody has stopped the task, and `on_kill` would not be called.
                    done, text = await asyncio.shield(asking)
                    failures = 0
                except AirliftError as error:
                    failures += 1
                    done, text = False, f"cannot ask ({failures} of {_PATIENCE} times): {error}"
                if text != told:
                    self.log.info("%s", text)
                    told = text
                if done:
                    yield TriggerEvent({"started": self.started})
                    return
                if failures >= _PATIENCE:
                    yield TriggerEvent({"started": self.started, "error": text})
                    return
                await asyncio.sleep(pause)
                pause = min(pause * 1.3, _SLOWEST)
        finally:
            if asking and not asking.done():
                await asyncio.wait([asking], timeout=_LAST_ANSWER)
            await asyncio.to_thread(migration.__exit__, None, None, None)

    async def on_kill(self) -> None:
        """Tells the task's log what the target goes on with; the triggerer stops asking for it.

        Called when the waiting task was marked failed or cleared.
        """
        for told in await sync_to_async(self._unfinished, thread_sensitive=False)():
            self.log.warning("%s", told)

    def _unfinished(self) -> list[str]:
        from airlift.errors import AirliftError
        from airlift.steps.unfinished import unfinished_imports
        from airlift_airflow.opening import open_migration

        if self.work != "imports":
            return ["told to stop: nobody waits any more, but the target goes on indexing"]
        try:
            with open_migration(self.source, self.params, self.migration_id) as migration:
                return [one.told for one in unfinished_imports(migration, self.batch)]
        except AirliftError as error:
            return [f"told to stop; what the target goes on with can't be asked: {error}"]
