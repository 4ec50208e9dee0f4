"""Takes items from an iterator in a thread of its own, so that reading and working overlap."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from queue import Empty, Full, Queue
from typing import TypeVar

T = TypeVar("T")

_WAITING = 2
"""Items read ahead at most; each is a record batch."""
_LOOK_SECONDS = 0.1


class _End:
    """What follows the last item: the error that ended the reading, if one did."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def read_ahead(items: Iterator[T]) -> Iterator[T]:
    """Yields the same items in the same order; raises what reading them raised.

    When it is closed early, the thread ends with the item that it is reading.
    """
    queue: Queue[T | _End] = Queue(_WAITING)
    given_up = threading.Event()

    def put(item: T | _End) -> None:
        while not given_up.is_set():
            try:
                queue.put(item, timeout=_LOOK_SECONDS)
            except Full:
                continue
            return

    def run() -> None:
        try:
            for item in items:
                put(item)
                if given_up.is_set():
                    return
        except BaseException as error:  # handed over to the thread that works
            put(_End(error))
        else:
            put(_End())

    thread = threading.Thread(target=run, name="read-ahead", daemon=True)
    thread.start()
    try:
        while not isinstance(item := queue.get(), _End):
            yield item
        if item.error:
            raise item.error
    finally:
        given_up.set()
        while thread.is_alive():
            try:
                queue.get(timeout=_LOOK_SECONDS)
            except Empty:
                thread.join(timeout=_LOOK_SECONDS)
