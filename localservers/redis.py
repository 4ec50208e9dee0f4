"""A real Redis server on this machine (Debian's redis-server)."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any, Self

from .debian import installed
from .port_server import PortServer


class Redis(PortServer):
    """One Redis server with a random password, which keeps nothing; also a context manager.

    Args:
        directory: for its settings and its log.
    """

    NAME = "redis"
    TITLE = "Redis"
    START_SECONDS = 30

    def __init__(self, directory: str | Path) -> None:
        super().__init__(directory)
        self.password = secrets.token_hex(16)

    def start(self) -> Self:
        """Start the server and return when it answers to our password."""
        if self.running:
            return self
        server = installed("redis-server", "redis-server")
        self.directory.mkdir(parents=True, exist_ok=True)
        port, log = self._own_port(), self.directory / "redis.log"
        config = self.directory / "redis.conf"
        config.touch(mode=0o600)
        config.write_text(
            f"bind {self.host}\nport {port}\nrequirepass {self.password}\nsave ''\n"
            f"dir {self.directory}\n"
        )
        self._serve([server, config], log)
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
