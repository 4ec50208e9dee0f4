"""What every Airflow on this machine has: a home, a login, settings, and a page that answers."""

from __future__ import annotations

import base64
import json
import os
import secrets
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from .airflow_api import AirflowApi
from .errors import LocalServerError, log_tail
from .local_server import LocalServer
from .ports import LOOPBACK, wait_until

_COMPONENTS = ("metadatabase", "scheduler", "triggerer", "dag_processor")


class AirflowServer(LocalServer, AirflowApi):
    """One Airflow with its own home; also a context manager.

    Variables of our own environment whose names begin with AIRFLOW are not passed on; use `env`,
    which also overrides every setting made here (``AIRFLOW__SECTION__KEY``). Starting again with
    the same home gives the same login.
    """

    def __init__(
        self,
        home: str | Path,
        dags_folder: str | Path,
        plugins_folder: str | Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.home = Path(home).resolve()
        self.dags_folder = Path(dags_folder).resolve()
        self.plugins_folder = Path(plugins_folder or self.home / "plugins").resolve()
        self.env = dict(env or {})
        self.start_seconds: float | None = None
        self._began = 0.0
        self._secrets = self._load_secrets()
        AirflowApi.__init__(self, "", "admin", self._secrets["password"])

    @property
    def log(self) -> Path:
        """What the server prints."""
        raise NotImplementedError

    @property
    def program(self) -> Path:
        """The command `airflow` of our own environment."""
        program = Path(sys.executable).parent / "airflow"
        if not program.is_file():
            raise LocalServerError(
                f"There is no {program}: install apache-airflow into the environment of "
                f"{sys.executable}, or run this with the Python of the one that has it."
            )
        return program

    def settings(self) -> dict[str, str]:
        """The settings of this kind of Airflow, as variables."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """The environment of the server; with it, the `airflow` command acts on the same home."""
        bin_dir = Path(sys.executable).parent
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("AIRFLOW")}
        no_proxy = ",".join(filter(None, [inherited.get("NO_PROXY"), LOOPBACK, "localhost"]))
        return {
            **inherited,
            "PATH": f"{self.home / 'bin'}:{bin_dir}:{inherited.get('PATH', os.defpath)}",
            "NO_PROXY": no_proxy,
            "no_proxy": no_proxy,
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags_folder),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(self.plugins_folder),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__FERNET_KEY": self._secrets["fernet_key"],
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self.home / "passwords.json"),
            "AIRFLOW__API__HOST": LOOPBACK,
            "AIRFLOW__API__BASE_URL": self.base_url,
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API__SECRET_KEY": self._secrets["secret_key"],
            "AIRFLOW__API_AUTH__JWT_SECRET": self._secrets["jwt_secret"],
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
            # A task whose first answer is late on a machine with much to do would fail.
            "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            "SCARF_ANALYTICS": "false",
            "DO_NOT_TRACK": "1",
            **self.settings(),
            **self.env,
        }

    def wait_healthy(self, timeout: float = 480) -> Self:
        """Wait until the scheduler, the triggerer and the DAG processor are, and we can log in."""

        def healthy() -> bool:
            health = self.health()
            return all(health.get(part) == "healthy" for part in _COMPONENTS)

        def failure() -> str:
            return f"Airflow is not healthy: {self.health()}.\n{log_tail(self.log, 40)}"

        try:
            wait_until(healthy, timeout, failure, alive=lambda: self.running, interval=0.25)
            self._token = self.token()
        except BaseException:
            self.stop()
            raise
        self.start_seconds = time.monotonic() - self._began
        return self

    def restart(self) -> Self:
        """Start again on the same database and wait until it is healthy."""
        return super().restart().wait_healthy()

    def _load_secrets(self) -> dict[str, str]:
        """The passwords and keys of this home; made on first use, readable by us only."""
        self.home.mkdir(parents=True, exist_ok=True)
        store = self.home / "secrets.json"
        if store.is_file():
            return dict(json.loads(store.read_text()))
        made = {
            "password": secrets.token_urlsafe(16),
            "secret_key": secrets.token_hex(32),
            "jwt_secret": secrets.token_hex(32),
            "fernet_key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        }
        for path, content in (
            (store, made),
            (self.home / "passwords.json", {"admin": made["password"]}),
        ):
            path.touch(mode=0o600)
            path.write_text(json.dumps(content))
        return made

    def __enter__(self) -> Self:
        return self.start().wait_healthy()
