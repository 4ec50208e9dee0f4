"""`airflow standalone` on this machine: one command, a real scheduler, tasks and the web page."""

from __future__ import annotations

import shlex
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from .airflow_server import AirflowServer
from .ports import LOOPBACK, free_port
from .supervisor import Supervisor

_AIRFLOW = """#!/bin/sh
# Airflow's two log servers listen on every interface and can't be told not to. Logs are read from
# the disk here, so nobody needs them.
#
# The API server writes its audit log in its event loop, and waits there for a write lock that
# another request may hold, which needs the loop to end: it must not wait long.
case "$1" in
  scheduler | triggerer) {forever} {airflow} "$@" --skip-serve-logs {again} ;;
  api-server)
    AIRFLOW__DATABASE__SQL_ALCHEMY_CONN={impatient} exec {airflow} "$@" ;;
  *) exec {airflow} "$@" ;;
esac
"""


class AirflowStandalone(AirflowServer):
    """One Airflow with its own home, SQLite and LocalExecutor; see `AirflowServer`.

    Starting again with the same home gives the same database and login. With `restarting` a
    scheduler or triggerer that ends is started again, as systemd or Kubernetes would.
    """

    NAME = "airflow"
    STOP_SIGNAL = signal.SIGINT
    STOP_SECONDS = 4.0

    def __init__(
        self,
        home: str | Path,
        dags_folder: str | Path,
        plugins_folder: str | Path | None = None,
        port: int | None = None,
        env: Mapping[str, str] | None = None,
        restarting: bool = False,
    ) -> None:
        super().__init__(home, dags_folder, plugins_folder, env)
        self.port = port or free_port()
        self.base_url = f"http://{LOOPBACK}:{self.port}"
        self._restarting = restarting
        self._supervisor = Supervisor(self.home)

    @property
    def log(self) -> Path:
        """What the server prints."""
        return self.home / "standalone.log"

    def settings(self) -> dict[str, str]:
        """The settings of this kind of Airflow, as variables."""
        return {
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": "8",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.base_url}/execution/",
            # 5 s, which is usual, are too few on a busy machine.
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self._database(wait_seconds=60),
            "AIRFLOW__API__PORT": str(self.port),
            # What its database refused, in place of the number of a line in a log.
            "AIRFLOW__API__EXPOSE_STACKTRACE": "True",
        }

    def _database(self, wait_seconds: int) -> str:
        """The URL of the database for a process that waits so long for another one's write."""
        return f"sqlite:///{self.home / 'airflow.db'}?timeout={wait_seconds}"

    def start(self) -> Self:
        """Start Airflow; returns at once, so that other servers can be started meanwhile."""
        if self.running:
            return self
        program = self.program
        self.plugins_folder.mkdir(parents=True, exist_ok=True)
        shim = self.home / "bin" / "airflow"
        shim.parent.mkdir(exist_ok=True)
        forever, again = ("while sleep 0.2; do", "; done") if self._restarting else ("exec", "")
        shim.write_text(
            _AIRFLOW.format(
                airflow=shlex.quote(str(program)),
                forever=forever,
                again=again,
                impatient=shlex.quote(self._database(wait_seconds=2)),
            )
        )
        shim.chmod(0o755)
        self._began = time.monotonic()
        self._supervisor.start(
            self.NAME, [program, "standalone"], self.log, self.environment(), cwd=self.home
        )
        return self

    def stop(self) -> None:
        """End every process of this Airflow: as Ctrl-C would, and by SIGKILL after 4 s.

        Some never end by themselves (the scheduler may wait for idle workers for ever); whatever
        is left, whoever its parent is by now, is killed by its process id.
        """
        super().stop()
