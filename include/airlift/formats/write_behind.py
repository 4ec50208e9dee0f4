"""Writes files in a thread of its own, so that reading and writing overlap, at bounded memory."""

from __future__ import annotations

import threading
from queue import Queue

from airlift.errors import AirliftError
from airlift.output_file import OutputFile

_QUEUED = 4
"""Buffers that may wait to be written; each is a record batch's column at most."""


class WriteBehind:
    """Several output files that one thread writes.

    Args:
        outputs: the files; `write` names them by their place in this list.
    """

    def __init__(self, outputs: list[OutputFile]) -> None:
        self._outputs = outputs
        self._queue: Queue[tuple[int, memoryview] | None] = Queue(_QUEUED)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="write-behind", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            if self._error:
                continue
            try:
                index, data = item
                self._outputs[index].write(data)
            except BaseException as error:  # handed over to the thread that writes
                self._error = error

    def write(self, index: int, data: memoryview) -> None:
        """Queues bytes for a file; raises what an earlier write raised."""
        if self._error:
            raise self._error
        self._queue.put((index, data))

    def abandon(self) -> None:
        """Stops writing and removes the files, after a failure."""
        self._error = self._error or AirliftError("writing was given up")
        self._queue.put(None)
        self._thread.join()
        for output in self._outputs:
            output.abandon()

    def commit(self) -> list[int]:
        """Waits until all is written, publishes the files, and returns their sizes in bytes."""
        self._queue.put(None)
        self._thread.join()
        if self._error:
            raise self._error
        for output in self._outputs:
            output.commit()
        return [output.size for output in self._outputs]
