"""A local server with one port."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from .errors import LocalServerError, log_tail
from .local_server import LocalServer
from .ports import LOOPBACK, free_port, listens, wait_until
from .supervisor import Supervisor


class PortServer(LocalServer):
    """A server on one port of 127.0.0.1, which stays the same across kill() and restart().

    Args:
        directory: of this server alone.

    Attributes:
        TITLE: what messages call it.
        START_SECONDS: how long it may take until it answers.
        start_seconds: how long it took.
    """

    TITLE: ClassVar[str]
    START_SECONDS: ClassVar[float] = 60

    host = LOOPBACK

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(directory).resolve()
        self.start_seconds: float | None = None
        self._port: int | None = None
        self._supervisor = Supervisor(self.directory)

    def _forget_port(self) -> None:
        self._port = None

    @property
    def port(self) -> int:
        """The port on 127.0.0.1."""
        if self._port is None:
            raise LocalServerError(f"This {self.TITLE} is not started: call start() first.")
        return self._port

    def _own_port(self) -> int:
        """The port; a free one, the first time."""
        if self._port is None:
            self._port = free_port()
        return self._port

    def _serve(
        self,
        command: Sequence[str | Path],
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        """Runs the program until it answers on `_own_port`; whatever fails stops it."""
        began, port = time.monotonic(), self._own_port()
        try:
            pid = self._supervisor.start(self.NAME, command, log, env, cwd or self.directory)
            wait_until(
                lambda: listens(pid, port) and self._answers(),
                self.START_SECONDS,
                lambda: f"{self.TITLE} does not answer on port {port}.\n{log_tail(log)}",
                alive=lambda: self.running,
                interval=0.02,
            )
            self._settle()
        except BaseException:
            self.stop()
            raise
        self.start_seconds = time.monotonic() - began

    def _answers(self) -> bool:
        """Whether it answers to our credentials, for a server that listens before it can."""
        return True

    def _settle(self) -> None:
        """What there is to do before others may use it."""
