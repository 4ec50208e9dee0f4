"""Google Cloud Storage on this machine: fake-gcs-server, behind a gate that asks for logins."""

from __future__ import annotations

import json
import sys
import urllib.request
from pathlib import Path
from typing import Any

from . import google_gate
from .cache import fake_gcs_server_binary
from .errors import LocalServerError, log_tail
from .google_gate import Rules
from .local_server import LocalServer
from .ports import LOOPBACK, free_port, listens, wait_until
from .supervisor import Supervisor

_GATE = "google-gate"
_ROOT = Path(__file__).resolve().parent.parent


class GoogleStorage(LocalServer):
    """One fake-gcs-server, which keeps buckets as plain folders; also a context manager.

    It lets everybody in, so clients talk to its gate, which wants an access token for the key
    :attr:`key` of a service account, as Google does.

    :param directory: buckets are folders in ``directory/buckets``; the log lies beside them.
    :param token_seconds: how long the access tokens live that the gate gives.

    :attr:`endpoint_url` and the key stay the same across kill() and restart().
    """

    NAME = "fake-gcs-server"
    STOP_SECONDS = 5.0

    account = "mover@airlift.iam.gserviceaccount.com"

    def __init__(self, directory: str | Path, token_seconds: float = 3600) -> None:
        self.directory = Path(directory).resolve()
        self.token_seconds = token_seconds
        self._private_key, self._public_key = _key_pair()
        self._ports: tuple[int, int] | None = None
        self._supervisor = Supervisor(self.directory)

    def _forget_port(self) -> None:
        self._ports = None

    @property
    def endpoint_url(self) -> str:
        """e.g. http://127.0.0.1:40123"""
        if self._ports is None:
            raise LocalServerError("This GoogleStorage is not started: call start() first.")
        return f"http://{LOOPBACK}:{self._ports[0]}"

    @property
    def key(self) -> dict[str, str]:
        """The key of a service account that may do everything, as Google's console gives it."""
        return {
            "type": "service_account",
            "project_id": "airlift",
            "private_key_id": "1",
            "private_key": self._private_key,
            "client_email": self.account,
            "token_uri": f"{self.endpoint_url}/token",
        }

    @property
    def tokens_given(self) -> int:
        """How many access tokens the gate has given."""
        return int(_ask(f"{self.endpoint_url}/tokens-given")["count"])

    def start(self) -> GoogleStorage:
        """Start the server and return when it answers."""
        if self.running:
            return self
        program = fake_gcs_server_binary()
        self.directory.mkdir(parents=True, exist_ok=True)
        gate, port = self._ports = self._ports or (free_port(), free_port())
        command: list[str | Path] = [program, "-scheme", "http", "-host", LOOPBACK]
        command += ["-port", str(port), "-public-host", f"{LOOPBACK}:{gate}", "-log-level", "error"]
        command += ["-backend", "filesystem", "-filesystem-root", self.directory / "buckets"]
        try:
            self._start(self.NAME, command, port)
            if not self._supervisor.running(_GATE):
                rules = Rules(gate, port, self.account, self._public_key, self.token_seconds)
                asked = json.dumps(rules._asdict())
                self._start(_GATE, [sys.executable, "-m", google_gate.__name__, asked], gate)
        except BaseException:
            self.stop()
            raise
        return self

    def _start(self, name: str, command: list[str | Path], port: int) -> None:
        log = self.directory / f"{name}.log"
        pid = self._supervisor.start(name, command, log, cwd=_ROOT)
        wait_until(
            lambda: listens(pid, port),
            60,
            lambda: f"{name} does not listen on port {port}.\n{log_tail(log)}",
            alive=lambda: self._supervisor.running(name),
            interval=0.02,
        )

    def make_bucket(self, name: str) -> None:
        """Make a bucket; it is no error if we have it already."""
        made = {bucket["name"] for bucket in _ask(f"{self._behind}/storage/v1/b").get("items", [])}
        if name in made:
            return
        _ask(f"{self._behind}/storage/v1/b?project=airlift", json.dumps({"name": name}).encode())

    def objects(self, bucket: str) -> dict[str, int]:
        """What the server itself says is in a bucket, with its bytes."""
        items = _ask(f"{self._behind}/storage/v1/b/{bucket}/o").get("items", [])
        return {item["name"]: int(item["size"]) for item in items}

    @property
    def _behind(self) -> str:
        """The server behind the gate."""
        if self._ports is None:
            raise LocalServerError("This GoogleStorage is not started: call start() first.")
        return f"http://{LOOPBACK}:{self._ports[1]}"


def _ask(url: str, body: bytes | None = None) -> Any:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=60) as answer:
        return json.load(answer)


def _key_pair() -> tuple[str, str]:
    """A private and a public RSA key in PEM, as Google makes them for a service account."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    secret = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return secret.decode(), public.decode()
