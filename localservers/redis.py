"""A real Redis server on this machine (Debian's redis-server)."""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import Any, Self

from .debian import installed
from .errors import LocalServerError, log_tail
from .local_server import LocalServer
from .ports import LOOPBACK, free_port, listens, wait_until
from .supervisor import Supervisor


class Redis(LocalServer):
    """One Redis server with a random password, which keeps nothing; also a context manager.

    Args:
        directory: for its settings and its log.
    """

    NAME = "redis"

    host = LOOPBACK

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(directory).resolve()
        self.password = secrets.token_hex(16)
        self.start_seconds: float | None = None
        self._port: int | None = None
        self._supervisor = Supervisor(self.directory)

    def _forget_port(self) -> None:
        self._port = None

    @property
    def port(self) -> int:
        """The port on 127.0.0.1."""
        if self._port is None:
            raise LocalServerError("This Redis is not started: call start() first.")
        return self._port

    def start(self) -> Self:
        """Start the server and return when it answers to our password."""
        if self.running:
            return self
        server = installed("redis-server", "redis-server")
        began = time.monotonic()
        self.directory.mkdir(parents=True, exist_ok=True)
        if self._port is None:
            self._port = free_port()
        port, log = self._port, self.directory / "redis.log"
        config = self.directory / "redis.conf"
        config.touch(mode=0o600)
        config.write_text(
            f"bind {self.host}\nport {port}\nrequirepass {self.password}\nsave ''\n"
            f"dir {self.directory}\n"
        )
        try:
            pid = self._supervisor.start(self.NAME, [server, config], log, cwd=self.directory)
            wait_until(
                lambda: listens(pid, port) and self._answers(),
                30,
                lambda: f"Redis does not answer on port {port}.\n{log_tail(log)}",
                alive=lambda: self.running,
            )
        except BaseException:
            self.stop()
            raise
        self.start_seconds = time.monotonic() - began
        return self

    def url(self, host: str, port: int) -> str:
        """The address as Celery has it.

        Args:
            host, port: where the server is for whoever connects.
        """
        return f"redis://:{self.password}@{host}:{port}/0"

    def client(self, **options: Any) -> Any:
        """A client of this server."""
        import redis

        return redis.Redis(host=self.host, port=self.port, password=self.password, **options)

    def _answers(self) -> bool:
        import redis

        try:
            with self.client(socket_timeout=2) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False
