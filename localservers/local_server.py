"""What every local server has: one process of its supervisor, and a life as a context manager."""

from __future__ import annotations

import signal
from types import TracebackType
from typing import ClassVar, Self

from .supervisor import Supervisor


class LocalServer:
    """One server process; a server's own class says how it starts.

    Attributes:
        NAME: what its supervisor calls the process.
        STOP_SIGNAL: what asks it to end; SIGKILL follows after `STOP_SECONDS`.
    """

    NAME: ClassVar[str]
    STOP_SIGNAL: ClassVar[signal.Signals] = signal.SIGTERM
    STOP_SECONDS: ClassVar[float] = 10.0

    _supervisor: Supervisor

    @property
    def pid(self) -> int | None:
        """Process id of the server, None when it is not started."""
        return self._supervisor.pid(self.NAME)

    @property
    def running(self) -> bool:
        """Is the server's process alive?"""
        return self._supervisor.running(self.NAME)

    def start(self) -> Self:
        """Start the server and return when it answers."""
        raise NotImplementedError

    def stop(self) -> None:
        """Stop the server and forget its port."""
        self._end()
        self._supervisor.close()
        self._forget_port()

    def kill(self) -> None:
        """SIGKILL the server, as a crash would."""
        self._end(signal.SIGKILL)

    def restart(self) -> Self:
        """Start again with the same data, address and credentials."""
        self._end()
        return self.start()

    def _end(self, signal_number: signal.Signals | None = None) -> None:
        """Ends the process, by `STOP_SIGNAL` unless told otherwise; what it was remains known."""
        number = signal_number or self.STOP_SIGNAL
        self._supervisor.stop(self.NAME, number, timeout=self.STOP_SECONDS)

    def _forget_port(self) -> None:
        """Called when the server is stopped for good."""

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
