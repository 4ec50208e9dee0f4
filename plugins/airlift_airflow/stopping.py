"""Ends a task's process soon after Airflow tells it to.

Airflow sends SIGTERM to a task that was marked failed or cleared, lets the operator's `on_kill`
run, and goes on with the task; five seconds later it kills it. Here the task gives up at once, so
that it removes its half-written files, closes what it holds open at a server, and says what the
target goes on with; a watchdog ends what does not give up in time, such as a read that waits for a
bucket.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from types import TracebackType

GIVE_UP_SECONDS = 2.0
"""How long a stopped task may take to clean up. Airflow itself would kill it after five."""


class Stopped(SystemExit):
    """The task is to end now.

    Nothing in the engine catches it. To Airflow it is a task that may be tried again, as after the
    shutdown of a worker; where somebody has set the task's state, that stands.
    """

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)


class ends_soon_when_told:
    """Within it, the process has ended `GIVE_UP_SECONDS` after a SIGTERM at the latest.

    Signals are told to Python's main thread, and it hears of them when it comes back from a call
    into a library. The file descriptor that Python writes signals to is told at once.
    """

    def __enter__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self._before: int | None = None
        if threading.current_thread() is threading.main_thread():  # others can't hear signals
            self._before = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._watcher = threading.Thread(target=self._watch, name="ends-soon", daemon=True)
        self._watcher.start()

    def _watch(self) -> None:
        while number := os.read(self._reader, 1):
            if number[0] == signal.SIGTERM:
                time.sleep(GIVE_UP_SECONDS)
                os._exit(128 + signal.SIGTERM)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._before is not None:
            signal.set_wakeup_fd(self._before)
        if not isinstance(error, Stopped):
            os.close(self._writer)
            self._watcher.join()
            os.close(self._reader)
