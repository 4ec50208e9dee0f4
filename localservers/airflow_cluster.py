"""Airflow on several machines: CeleryExecutor, PostgreSQL, Redis, and workers in a network."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from .airflow_server import AirflowServer
from .errors import LocalServerError, log_tail
from .lan import BRIDGE, Lan
from .ports import LOOPBACK, wait_until
from .postgresql import PostgreSQL
from .redis import Redis

_API, _POSTGRESQL, _REDIS = 8080, 5432, 6379
_PARTS = ("api-server", "scheduler", "dag-processor", "triggerer")
_READY = " ready."
"""What a Celery worker prints once it takes tasks."""


class AirflowCluster(AirflowServer):
    """One Airflow of parts; see `AirflowServer` and `Lan`.

    API server, scheduler, DAG processor and triggerer run at the bridge, each worker on a machine
    of its own with a home of its own: what a worker writes to its logs, only its log server reads.

    Args:
        servers: port at the bridge -> (host, port) of this machine: what the workers are to reach.

    Attributes:
        workers: the addresses of their machines.
    """

    NAME = "scheduler"
    STOP_SIGNAL = signal.SIGKILL  # some never end by themselves

    workers = ("10.77.0.11", "10.77.0.12")

    def __init__(
        self,
        home: str | Path,
        dags_folder: str | Path,
        plugins_folder: str | Path | None = None,
        env: Mapping[str, str] | None = None,
        servers: Mapping[int, tuple[str, int]] | None = None,
    ) -> None:
        super().__init__(home, dags_folder, plugins_folder, env)
        self._servers = dict(servers or {})
        self._postgresql = PostgreSQL(self.home / "postgresql")
        self._redis = Redis(self.home / "redis")
        self._supervisor: Lan = Lan(self.home, {}, [_API])
        self._database = self._postgresql.url(BRIDGE, _POSTGRESQL)

    @property
    def log(self) -> Path:
        """What the scheduler prints; the other parts' lie beside it."""
        return self._log_of(self.NAME)

    def _log_of(self, name: str) -> Path:
        return self.home / f"{name}.log"

    @property
    def running(self) -> bool:
        """Are all parts alive? Workers don't count: they come and go."""
        return all(self._supervisor.running(name) for name in _PARTS)

    def settings(self) -> dict[str, str]:
        """The settings of this kind of Airflow, as variables."""
        return {
            "NO_PROXY": "*",
            "no_proxy": "*",
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://{BRIDGE}:{_API}/execution/",
            "AIRFLOW__API__HOST": "0.0.0.0",  # noqa: S104 - of the private network
            "AIRFLOW__API__PORT": str(_API),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{self._database}",
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+postgresql+psycopg2://{self._database}",
            "AIRFLOW__CELERY__BROKER_URL": self._redis.url(BRIDGE, _REDIS),
        }

    def start(self) -> Self:
        """Start everything; returns when the parts are under way."""
        if self.running:
            return self
        self._began = time.monotonic()
        self.plugins_folder.mkdir(parents=True, exist_ok=True)
        try:
            self._postgresql.start()
            self._redis.start()
            self._migrate_database()
            self._supervisor.reachable = {
                **self._servers,
                _POSTGRESQL: (self._postgresql.host, self._postgresql.port),
                _REDIS: (self._redis.host, self._redis.port),
            }
            self._supervisor.open()
            self.base_url = f"http://{LOOPBACK}:{self._supervisor.host_ports[_API]}"
            environment = self.environment()
            for name in _PARTS:
                command: list[str | Path] = [self.program, name]
                self._supervisor.start(name, command, self._log_of(name), environment, self.home)
            for worker in self.workers:
                self.start_worker(worker)
        except BaseException:
            self.stop()
            raise
        return self

    def start_worker(self, address: str) -> None:
        """Start a worker, again if it was killed."""
        home = self.home / address
        home.mkdir(exist_ok=True)
        environment = {**self.environment(), "AIRFLOW_HOME": str(home)}
        command: list[str | Path] = [self.program, "celery", "worker"]
        self._supervisor.start_machine(address, command, self._log_of(address), environment, home)

    def kill_worker(self, address: str) -> None:
        """SIGKILL every process of a worker; its machine ends with it."""
        self._supervisor.stop(address, signal_number=signal.SIGKILL)

    def wait_healthy(self, timeout: float = 480) -> Self:
        """Wait until every part is healthy, all workers take tasks, and we can log in."""
        super().wait_healthy(timeout)
        for worker in self.workers:
            self._wait_worker(worker, timeout)
        self.start_seconds = time.monotonic() - self._began
        return self

    def _wait_worker(self, address: str, timeout: float) -> None:
        log = self._log_of(address)
        wait_until(
            lambda: _READY in log.read_text(errors="replace"),
            timeout,
            lambda: f"The Celery worker takes no tasks.\n{log_tail(log, 40)}",
            alive=lambda: self._supervisor.running(address),
            interval=0.25,
        )

    def stop(self) -> None:
        """End every process of this Airflow, its database and its queue."""
        super().stop()
        self._redis.stop()
        self._postgresql.stop()

    def _end(self, signal_number: signal.Signals | None = None) -> None:
        for name in (*self.workers, *_PARTS):
            self._supervisor.stop(name, signal_number or self.STOP_SIGNAL)

    def _migrate_database(self) -> None:
        here = self._postgresql.url(self._postgresql.host, self._postgresql.port)
        database = f"postgresql+psycopg2://{here}"
        made = subprocess.run(
            [self.program, "db", "migrate"],
            env={**self.environment(), "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database},
            cwd=self.home,
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            raise LocalServerError(
                f"Airflow can't make its tables in PostgreSQL:\n{made.stderr[-2000:]}"
            )
