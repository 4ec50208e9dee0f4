"""What Elasticsearch and OpenSearch have in common: a Java server of a distribution's zip."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from .errors import LocalServerError, log_tail
from .local_server import LocalServer
from .ports import LOOPBACK, free_port, wait_until
from .supervisor import Supervisor
from .unprivileged import not_as_root

if TYPE_CHECKING:
    import httpx

START_TIMEOUT = 180.0


class SearchServer(LocalServer):
    """One node of its own; also a context manager. Subclasses say which program it is.

    :param directory: configuration, log and data go here; starting again with the same folder
        gives the same data. Without one, a temporary folder that :meth:`stop` removes.
    :param version: the version of the server.
    :param heap: Java's memory, e.g. "512m" or "1g".
    :param short_lived: let Java compile in its quick way only: the start takes half the time, and
        a server that works for minutes is slower.

    :attr:`url` and the credentials stay the same across kill() and start().

    Attributes:
        PREFIX: how the names of its environment variables begin.
        user, password: what to log in with; empty when everybody may come in.
        ca_file, fingerprint: the certificate to trust and its SHA-256; None and empty without TLS.
    """

    STOP_SECONDS = 20.0
    PREFIX: ClassVar[str]

    def __init__(
        self, directory: str | Path | None, version: str, heap: str, short_lived: bool
    ) -> None:
        self.version = version
        self.heap = heap
        self.short_lived = short_lived
        self.user = ""
        self.password = ""
        self.ca_file: Path | None = None
        self.fingerprint = ""
        self.start_seconds: float | None = None
        self._ports: tuple[int, int] | None = None
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        if directory is None:
            self._temporary = tempfile.TemporaryDirectory(prefix=f"airlift-{self.NAME}-")
            directory = self._temporary.name
        self.directory = Path(directory).resolve()
        self._node = ""
        self._supervisor = Supervisor(self.directory)

    def distribution(self) -> Path:
        """The folder with the program, its libraries and modules; fetched when not yet here."""
        raise NotImplementedError

    def java(self) -> Path:
        """The folder of a Java that it runs on."""
        raise NotImplementedError

    def settings(self) -> dict[str, Any]:
        """Settings of its own, on top of those that every server here has."""
        raise NotImplementedError

    def java_options(self) -> list[str]:
        """Further options of Java."""
        return []

    @property
    def url(self) -> str:
        """e.g. http://127.0.0.1:40123"""
        if self._ports is None:
            raise LocalServerError(f"This {self.NAME} is not started: call start() first.")
        return f"{'https' if self.ca_file else 'http'}://{LOOPBACK}:{self._ports[0]}"

    @property
    def log(self) -> Path:
        """What the server prints."""
        return self.directory / f"{self.NAME}.log"

    def start(self) -> Self:
        """Start the server and return when it answers, and has all of its data at hand.

        Raises LocalServerError when it can't be fetched or started, or when somebody else answers
        at its address.
        """
        if self.running:
            return self
        java, prefix = self.java(), not_as_root()
        program = self.distribution()
        began = time.monotonic()
        if self._ports is None:
            self._ports = free_port(), free_port()
        self._node = f"airlift-{secrets.token_hex(8)}"
        self._write_config(program / "config")
        variables = {
            "JAVA_HOME": java,
            "PATH_CONF": self.directory / "config",
            "TMPDIR": self.directory / "tmp",
        }
        # Nobody's own settings for another server of the kind, nor for Java: those print warnings.
        unwanted = (f"{self.PREFIX}_", "JAVA_", "_JAVA_", "JDK_JAVA_", "CLI_JAVA_")
        env = {key: value for key, value in os.environ.items() if not key.startswith(unwanted)}
        env |= {f"{self.PREFIX}_{key}": str(value) for key, value in variables.items()}
        try:
            command: list[str | Path] = [*prefix, program / "bin" / self.NAME]
            self._supervisor.start(self.NAME, command, self.log, env, cwd=self.directory)
            wait_until(
                self._answers,
                START_TIMEOUT,
                lambda: f"{self.NAME} does not answer at {self.url}.\n{log_tail(self.log)}",
                alive=lambda: self.running,
                interval=0.1,
            )
        except BaseException:
            self.stop()
            raise
        self.start_seconds = time.monotonic() - began
        return self

    def stop(self) -> None:
        """Stop the server, forget its ports, and remove its folder if that is a temporary one."""
        super().stop()
        if self._temporary is not None:
            shutil.rmtree(self.directory, ignore_errors=True)

    def request(self, method: str, path: str, **options: Any) -> Any:
        """Call the REST API as :attr:`user` and return the decoded answer.

        :param options: as httpx takes them: `json`, `content`, `headers`, `params`, `auth`, ...

        Raises LocalServerError with the server's words when it answers with an error.
        """
        with self._http(timeout=60) as http:
            answer = http.request(method, path, **options)
        if answer.is_error:
            raise LocalServerError(
                f"{self.NAME} answers {answer.status_code} to {method} {path}: {answer.text[:2000]}"
            )
        return answer.json() if answer.content else None

    def _http(self, timeout: float) -> httpx.Client:
        """A client that passes over proxies and whatever else is in the environment."""
        import ssl

        import httpx

        return httpx.Client(
            base_url=self.url,
            auth=(self.user, self.password) if self.user else None,
            verify=ssl.create_default_context(cafile=self.ca_file) if self.ca_file else False,
            timeout=timeout,
            trust_env=False,
        )

    def _answers(self) -> bool:
        """Is it up, with its cluster state and the primary shards of every index?"""
        import httpx

        try:
            with self._http(timeout=5) as http:
                root = http.get("/")
                if root.status_code != 200:
                    return False
                if root.json().get("name") != self._node:
                    raise LocalServerError(f"Somebody else answers at {self.url}: {root.text}")
                wait = {"wait_for_status": "yellow", "timeout": "2s"}
                return http.get("/_cluster/health", params=wait).status_code == 200
        except httpx.TransportError:
            return False

    def _write_config(self, template: Path) -> None:
        """Write the configuration anew; what the server itself keeps beside it stays."""
        config, temporary = self.directory / "config", self.directory / "tmp"
        shutil.copytree(template, config, dirs_exist_ok=True)
        temporary.mkdir(exist_ok=True)
        http_port, transport_port = self._ports or (0, 0)
        settings = {
            "cluster.name": "airlift",
            "node.name": self._node,
            "path.data": str(self.directory / "data"),
            "path.logs": str(self.directory / "logs"),
            "network.host": LOOPBACK,
            "http.port": http_port,
            "transport.port": transport_port,
            "discovery.type": "single-node",
            # A full disk is for the tests that make one; otherwise 95 % is no reason to refuse.
            "cluster.routing.allocation.disk.threshold_enabled": False,
            **self.settings(),
        }
        lines = [f"{key}: {json.dumps(value)}\n" for key, value in settings.items()]
        (config / f"{self.NAME}.yml").write_text("".join(lines))
        options = [
            f"-Xms{self.heap}",
            f"-Xmx{self.heap}",
            "-XX:-AlwaysPreTouch",  # takes memory when it is needed, not before
            "-XX:+UseSerialGC",  # the others' threads cost more than they give on a small machine
            "-XX:+ExitOnOutOfMemoryError",
            "18-23:-Djava.security.manager=allow",  # for those that still have one
            f"-Djava.io.tmpdir={temporary}",
            f"-Duser.home={self.directory}",
            *(["-XX:TieredStopAtLevel=1"] if self.short_lived else []),
            *self.java_options(),
        ]
        (config / "jvm.options").write_text("\n".join(options) + "\n")

    def _forget_port(self) -> None:
        self._ports = None
