"""Reads ahead in threads: what costs with a bucket or a server is the wait for its answer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

AHEAD = 4
"""Ranges asked for ahead of the reader, in a bucket."""

Range = tuple[int, int]
Found = TypeVar("Found")


def read_ahead(
    read: Callable[[int, int], Found], ranges: list[Range], ahead: int
) -> Iterator[tuple[Range, Found]]:
    """Yields each range and what `read` gives of it.

    Args:
        read: may be called from several threads.
        ahead: how many ranges are read before they are asked for; 0 for none, without threads.
    """
    if not ahead or len(ranges) < 2:
        yield from ((at, read(*at)) for at in ranges)
        return
    waiting: deque[tuple[Range, Future[Found]]] = deque()
    pool = ThreadPoolExecutor(ahead)
    try:
        for at in ranges:
            waiting.append((at, pool.submit(read, *at)))
            if len(waiting) >= ahead:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    finally:
        # Also when the reader stops early: nothing may read on in a file that is closed next.
        pool.shutdown(wait=True, cancel_futures=True)


def one_ahead(items: Iterator[Found]) -> Iterator[Found]:
    """Yields what an iterator gives; the next item is fetched while one is worked on."""
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(next, items, None)
        while (item := waiting.result()) is not None:
            waiting = pool.submit(next, items, None)
            yield item
