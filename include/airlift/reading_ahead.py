"""Reads ahead in threads: what costs with a bucket or a server is the wait for its answer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import TypeVar

AHEAD = 4
"""Ranges asked for ahead of the reader, in a bucket."""
SMALL_FILES_AHEAD = 32
"""Files so small that little but the wait for the answer counts."""

Item = TypeVar("Item")
Range = tuple[int, int]
Found = TypeVar("Found")


def map_ahead(
    call: Callable[[Item], Found], items: Iterable[Item], ahead: int
) -> Generator[Found, None, None]:
    """Yields what `call` gives of each item, in the order of the items.

    Args:
        call: may be called from several threads.
        ahead: how many are called for before they are asked for; 0 for none, without threads.
    """
    if not ahead:
        yield from map(call, items)
        return
    waiting: deque[Future[Found]] = deque()
    pool = ThreadPoolExecutor(ahead)
    try:
        for item in items:
            waiting.append(pool.submit(call, item))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        # Also when the reader stops early: nothing may read on in a file that is closed next.
        pool.shutdown(wait=True, cancel_futures=True)


def read_ahead(
    read: Callable[[int, int], Found], ranges: list[Range], ahead: int
) -> Iterator[tuple[Range, Found]]:
    """Yields each range and what `read` gives of it; see `map_ahead`."""
    ahead = ahead if len(ranges) > 1 else 0
    with closing(map_ahead(lambda at: read(*at), ranges, ahead)) as found:
        yield from zip(ranges, found, strict=True)


def one_ahead(items: Iterator[Found]) -> Iterator[Found]:
    """Yields what an iterator gives; the next item is fetched while one is worked on."""
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(next, items, None)
        while (item := waiting.result()) is not None:
            waiting = pool.submit(next, items, None)
            yield item
