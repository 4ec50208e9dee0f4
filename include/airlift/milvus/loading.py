"""Waiting for a server to load a collection."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import ne

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from airlift.errors import AirliftError
from airlift.milvus.errors import Unavailable
from airlift.waiting import wait_for

PATIENCE = 120.0
"""Seconds for which a server may answer with failures when it is asked how far it is."""
STANDSTILL = 3600.0
"""Seconds after which a load that has not come on by a percent is taken for one that never will."""


def patiently(ask: Callable[[], int], patience: float = PATIENCE) -> int:
    """Asks a server that may be away for a moment how far it is.

    A Milvus whose store was away answers with that failure until it has read what it could not read
    then.

    Raises:
        Unavailable: it keeps to that for longer than `patience`.
    """
    attempts = Retrying(
        retry=retry_if_exception_type(Unavailable),
        wait=wait_exponential(multiplier=0.05, max=2),
        stop=stop_after_delay(patience),
        reraise=True,
    )
    percent: int = attempts(ask)
    return percent


def wait_loaded(
    name: str,
    ask: Callable[[], int],
    patience: float = PATIENCE,
    standstill: float = STANDSTILL,
) -> None:
    """Waits until a collection is loaded.

    Args:
        name: the collection, for the message.
        ask: tells how much of it is loaded, in percent.
        patience: see `patiently`.
        standstill: seconds without a change of the percent that end the wait.

    Raises:
        Unavailable: the server keeps to a failure.
        AirliftError: it does not come on.
    """
    percent = -1
    while percent < 100:
        now = wait_for(
            lambda: patiently(ask, patience), partial(ne, percent), standstill, slowest=0.5
        )
        if now is None:
            raise AirliftError(
                f"{name!r} is loaded to {percent} %, and has been for {standstill / 60:.0f} "
                "minutes: is the memory of the query nodes enough for it, are they all there, and "
                "has nobody released it? Look at the target's log, then clear this task"
            )
        percent = now
