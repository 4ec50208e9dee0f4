"""Waits until something is so, asking ever less often."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_exponential

T = TypeVar("T")


def wait_for(
    ask: Callable[[], T], is_so: Callable[[T], bool], seconds: float, slowest: float = 2.0
) -> T | None:
    """Asks until the answer is as wanted.

    Args:
        ask: asks.
        is_so: whether the answer is the wanted one.
        seconds: gives up after this long.
        slowest: seconds between two questions, at most; the first come every 0.05 s.

    Returns:
        The wanted answer, or None when it did not come.
    """
    waiting = Retrying(
        retry=retry_if_result(lambda answer: not is_so(answer)),
        wait=wait_exponential(multiplier=0.05, max=slowest),
        stop=stop_after_delay(seconds),
    )
    try:
        return waiting(ask)
    except RetryError:
        return None
