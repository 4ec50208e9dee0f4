"""A real Milvus standalone server on this machine, out of a PyPI wheel, without Docker."""

from __future__ import annotations

import base64
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from .errors import LocalServerError, log_tail
from .local_server import LocalServer
from .milvus_config import METRICS_PORT, PROXY_PORT, S3_PORT_INSIDE, S3Settings, write_config
from .milvus_sessions import ETCD_PORT, Sessions
from .milvus_wheels import INSTALLED, milvus_binaries
from .ports import LOOPBACK, wait_until
from .s3 import S3Server
from .supervisor import Supervisor

START_TIMEOUT = 180.0


class Milvus(LocalServer):
    """One Milvus server; also a context manager.

    It runs in a private network namespace, because the wheel listens on every interface and on
    fixed ports. :attr:`address` is a port of 127.0.0.1 that is forwarded to it, and stays the
    same across :meth:`kill` and :meth:`restart`. It is always ended by SIGKILL: one with loaded
    collections never ends by itself, and nothing is lost.

    :param base_dir: configuration, logs and data go here; starting again with the same folder
        gives the same data.
    :param storage: "local" (below :attr:`data_dir`) or an S3 server that the host can reach.
    :param auth: demand a login (user root, password Milvus).
    :param config: further settings, dotted keys of milvus.yaml -> values.
    :param version: of the wheel; see `milvus_wheels`.
    """

    NAME = "milvus"
    STOP_SIGNAL = signal.SIGKILL

    def __init__(
        self,
        base_dir: str | Path,
        storage: Literal["local"] | S3Settings = "local",
        auth: bool = False,
        config: Mapping[str, object] | None = None,
        version: str = INSTALLED,
    ) -> None:
        self.version = version
        self.base_dir = Path(base_dir).resolve()
        self.storage = storage
        self.auth = auth
        self.config = dict(config or {})
        self.start_seconds: float | None = None
        logs = self.base_dir / "logs"
        forwards = [PROXY_PORT, ETCD_PORT]
        self._supervisor = Supervisor(logs, private_network=True, forwards=forwards)

    @property
    def address(self) -> str:
        """host:port of the gRPC (and REST) service, e.g. 127.0.0.1:41234."""
        if PROXY_PORT not in self._supervisor.host_ports:
            raise LocalServerError("This Milvus is not started: call start() first.")
        return f"{LOOPBACK}:{self._supervisor.host_ports[PROXY_PORT]}"

    @property
    def uri(self) -> str:
        """The address as pymilvus wants it."""
        return f"http://{self.address}"

    @property
    def token(self) -> str:
        """What to log in with; empty without auth."""
        return "root:Milvus" if self.auth else ""

    @property
    def data_dir(self) -> Path:
        """Folder of the local storage; files for a bulk insert go below it, named absolutely."""
        return self.base_dir / "data"

    def start(self) -> Self:
        """Start the server and return when it really answers; raises LocalServerError if not."""
        if self.running:
            return self
        began = time.monotonic()
        binaries = milvus_binaries(self.version)
        s3 = self.storage if isinstance(self.storage, S3Settings) else None
        write_config(self.version, self.base_dir, s3, self.auth, self.config)
        self._supervisor.reachable = {S3_PORT_INSIDE: s3.host_and_port()} if s3 else {}
        env = {
            **os.environ,
            "DEPLOY_MODE": "STANDALONE",
            "METRICS_PORT": str(METRICS_PORT),
            "MILVUS_RUN_DIR": str(self.base_dir / "run"),
            "MILVUSCONF": str(self.base_dir / "configs"),
            "LD_LIBRARY_PATH": f"{binaries}:{os.environ.get('LD_LIBRARY_PATH', '')}",
        }
        log = self.base_dir / "logs" / "milvus-output.log"
        command: list[str | Path] = [binaries / "milvus", "run", "standalone"]
        try:
            self._supervisor.start(self.NAME, command, log, env, cwd=self.base_dir)
            self._wait_ready()
        except BaseException:
            self.stop()
            raise
        self.start_seconds = time.monotonic() - began
        return self

    def _end(self, signal_number: signal.Signals | None = None) -> None:
        pid = self.pid
        super()._end(signal_number)
        # The server's own litter, at a place that it doesn't let us choose.
        Path(f"/tmp/milvus/server_id_{pid}").unlink(missing_ok=True)  # noqa: S108

    def client(self, **options: Any) -> Any:
        """A pymilvus MilvusClient for this server."""
        from pymilvus import MilvusClient

        return MilvusClient(uri=self.uri, token=self.token, **options)

    def _wait_ready(self) -> None:
        """Wait until the proxy answers and says that every part of the server is healthy.

        Both calls are the ones pymilvus makes (get_server_version is GetVersion); asked by the
        bare stub, as MilvusClient would wait and retry by itself and log each failure.
        """
        import grpc
        from pymilvus.grpc_gen import milvus_pb2, milvus_pb2_grpc

        login = base64.b64encode(self.token.encode()).decode()
        metadata = [("authorization", login)] if self.auth else None

        etcd = f"{LOOPBACK}:{self._supervisor.host_ports[ETCD_PORT]}"
        sessions = Sessions(self.base_dir / "data")
        revoked = False

        def answers() -> bool:
            nonlocal revoked
            revoked = revoked or sessions.revoke_old(etcd)
            if not revoked:
                return False
            channel = grpc.insecure_channel(
                self.address,
                options=[("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)],
            )
            with channel:
                stub = milvus_pb2_grpc.MilvusServiceStub(channel)
                try:
                    options = {"timeout": 2, "metadata": metadata}
                    version = stub.GetVersion(milvus_pb2.GetVersionRequest(), **options).version
                    health = stub.CheckHealth(milvus_pb2.CheckHealthRequest(), **options)
                except grpc.RpcError:
                    return False
                return bool(version) and health.isHealthy

        def failure() -> str:
            logs = self.base_dir / "logs"
            output = log_tail(logs / "milvus-output.log")
            return (
                f"Milvus did not get ready; see {logs}. Usual causes: the disk is full, less "
                f"than 2 GB of memory are free, or the S3 server is down.\n{output}\n"
                f"{log_tail(_newest_log(logs))}"
            )

        wait_until(answers, START_TIMEOUT, failure, alive=lambda: self.running)
        sessions.note(etcd)


class MilvusOnS3(Milvus):
    """A Milvus that keeps its data in an S3 server of its own (versitygw), :attr:`s3`.

    Files for a bulk insert go to the bucket `s3.bucket`, under any key; the names given to
    `do_bulk_insert` are keys relative to the bucket (not to `root_path`).
    """

    def __init__(
        self,
        base_dir: str | Path,
        bucket: str = "milvus",
        root_path: str = "files",
        auth: bool = False,
        config: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(base_dir, auth=auth, config=config)
        self.root_path = root_path
        self.s3 = S3Server(self.base_dir / "s3", bucket=bucket)

    def start(self) -> Self:
        """Start the S3 server, then Milvus."""
        try:
            self.s3.start()
            self.storage = S3Settings(
                self.s3.endpoint_url,
                self.s3.access_key,
                self.s3.secret_key,
                self.s3.bucket or "milvus",
                self.root_path,
            )
            super().start()
        except BaseException:
            self.s3.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop Milvus, then its S3 server."""
        super().stop()
        self.s3.stop()


def _newest_log(folder: Path) -> Path:
    logs = [path for path in folder.glob("*.log") if path.name != "milvus-output.log"]
    return max(logs, key=lambda path: path.stat().st_mtime, default=folder / "milvus.log")
