"""A real PostgreSQL server on this machine (Debian's postgresql)."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any, Self

from .debian import installed
from .errors import LocalServerError
from .port_server import PortServer
from .ports import LOOPBACK
from .unprivileged import NOBODY, not_as_root

_PACKAGE = "postgresql"


class PostgreSQL(PortServer):
    """One PostgreSQL server with a user and a database of one name; also a context manager.

    The data lies below `directory`; starting again with the same object gives the same data,
    address and password.

    Args:
        directory: for data and log; of this server alone.
        name: of the user, who may do everything, and of the database.
    """

    NAME = "postgresql"
    TITLE = "PostgreSQL"
    STOP_SIGNAL = signal.SIGINT  # waits for nobody who is connected

    def __init__(self, directory: str | Path, name: str = "airflow") -> None:
        super().__init__(directory)
        self.name = name
        self.password = secrets.token_hex(16)

    def start(self) -> Self:
        """Start the server and return when it answers to our password."""
        if self.running:
            return self
        server = installed("postgres", _PACKAGE)
        data = self.directory / "data"
        if not (data / "PG_VERSION").is_file():
            self._make_data_folder(data)
        # What a kill has left; another process may have its number by now.
        (data / "postmaster.pid").unlink(missing_ok=True)
        port, log = self._own_port(), self.directory / "postgresql.log"
        command: list[str | Path] = [*not_as_root(NOBODY), server, "-D", data]
        # Only a machine that loses its power would need fsync.
        settings = {"listen_addresses": LOOPBACK, "port": port, "unix_socket_directories": ""}
        for name, value in {**settings, "fsync": "off"}.items():
            command += ["-c", f"{name}={value}"]
        self._serve(command, log, cwd=data)
        return self

    def url(self, host: str, port: int) -> str:
        """User, password, address and database as SQLAlchemy has them, without the scheme.

        Args:
            host, port: where the server is for whoever connects.
        """
        return f"{self.name}:{self.password}@{host}:{port}/{self.name}"

    def connect(self, **options: Any) -> Any:
        """An open psycopg2 connection to the database."""
        import psycopg2

        return psycopg2.connect(
            host=self.host,
            port=self.port,
            user=self.name,
            password=self.password,
            dbname=self.name,
            **options,
        )

    def _answers(self) -> bool:
        import psycopg2

        try:
            self.connect(connect_timeout=2).close()
        except psycopg2.OperationalError:
            return False
        return True

    def _make_data_folder(self, data: Path) -> None:
        initdb, createdb = installed("initdb", _PACKAGE), installed("postgres", _PACKAGE)
        data.mkdir(parents=True)
        password = self.directory / "password"
        password.touch(mode=0o600)
        password.write_text(self.password)
        if os.geteuid() == 0:
            os.chown(data, NOBODY, NOBODY)
        options = ["-D", data, "-U", self.name, f"--pwfile={password}", "--auth=scram-sha-256"]
        options += ["--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
        made = _run([*not_as_root(NOBODY), initdb, *options])
        password.unlink()
        if made.returncode == 0:
            single = [*not_as_root(NOBODY), createdb, "--single", "-D", data, "postgres"]
            made = _run(single, f'CREATE DATABASE "{self.name}"\n')
        if made.returncode != 0:
            shutil.rmtree(data, ignore_errors=True)
            raise LocalServerError(
                f"initdb failed in {data}; is the disk full?\n"
                f"{made.stdout[-1000:]}{made.stderr[-1000:]}"
            )


def _run(command: list[Any], text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, input=text, cwd="/", capture_output=True, text=True, check=False)
