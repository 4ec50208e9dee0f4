"""A real MariaDB server on this machine (Debian's mariadb-server, which speaks MySQL)."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
from pathlib import Path
from typing import Any

from .debian import installed
from .errors import LocalServerError
from .port_server import PortServer
from .ports import LOOPBACK


class MariaDB(PortServer):
    """One MariaDB server with a random root password; also a context manager.

    The data lies below `directory`; starting again with the same folder gives the same data (and
    sets the new password).
    """

    NAME = "mariadb"
    TITLE = "MariaDB"

    user = "root"

    def __init__(self, directory: str | Path) -> None:
        super().__init__(directory)
        self.password = secrets.token_hex(16)

    def start(self) -> MariaDB:
        """Start the server and return when it answers to our password."""
        if self.running:
            return self
        program = installed("mariadbd", "mariadb-server")
        data = self.directory / "data"
        self.directory.mkdir(parents=True, exist_ok=True)
        if not (data / "mysql").is_dir():
            self._make_system_tables(data)
        port, log = self._own_port(), self.directory / "mariadb.log"
        first = self.directory / "first.sql"
        first.touch(mode=0o600)
        # Run by the server before it lets anybody in. 127.0.0.1 counts as a host of its own, as
        # names are not resolved.
        first.write_text(
            f"CREATE USER IF NOT EXISTS 'root'@'{LOOPBACK}';\n"
            f"GRANT ALL PRIVILEGES ON *.* TO 'root'@'{LOOPBACK}' "
            f"IDENTIFIED BY '{self.password}' WITH GRANT OPTION;\n"
            f"ALTER USER 'root'@'localhost' IDENTIFIED BY '{self.password}';\n"
            "DELETE FROM mysql.global_priv "
            f"WHERE user = 'root' AND host NOT IN ('localhost', '{LOOPBACK}');\n"
            "FLUSH PRIVILEGES;\n"
        )
        # The path of a socket may have 107 characters at most, so it is given relatively.
        command: list[str | Path] = [program, "--no-defaults", f"--datadir={data}"]
        command += [f"--bind-address={LOOPBACK}", f"--port={port}", "--socket=../mariadb.sock"]
        command += ["--skip-name-resolve", f"--init-file={first}", *self._user_option()]
        self._serve(command, log)
        return self

    def connect(self, database: str | None = None, **options: Any) -> Any:
        """An open PyMySQL connection as root (autocommit)."""
        import pymysql

        return pymysql.connect(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            database=database,
            autocommit=True,
            **options,
        )

    def create_database(self, name: str) -> None:
        """Make a database (UTF-8); it is no error if it exists."""
        if not re.fullmatch(r"[A-Za-z0-9_]{1,64}", name):
            raise LocalServerError(f"{name!r} is no name for a database: use letters, digits, _.")
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE IF NOT EXISTS `{name}` CHARACTER SET utf8mb4")

    def _answers(self) -> bool:
        import pymysql

        try:
            self.connect(connect_timeout=2).close()
        except pymysql.err.OperationalError:
            return False
        return True

    def _user_option(self) -> list[str]:
        return ["--user=root"] if os.geteuid() == 0 else []

    def _make_system_tables(self, data: Path) -> None:
        options = [f"--datadir={data}", "--auth-root-authentication-method=normal"]
        options += ["--skip-test-db", *self._user_option()]
        made = subprocess.run(
            [installed("mariadb-install-db", "mariadb-server"), "--no-defaults", *options],
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode != 0:
            shutil.rmtree(data, ignore_errors=True)
            raise LocalServerError(
                f"mariadb-install-db failed in {data}; is the disk full?\n"
                f"{made.stdout[-1000:]}{made.stderr[-1000:]}"
            )
