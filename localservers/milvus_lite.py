"""Milvus Lite (pure Python, the gRPC surface of Milvus 2.6) as a server process on 127.0.0.1.

Milvus Lite also works without any server: give pymilvus a path that ends in ``.db`` as the URI
(``MilvusClient("/data/my.db")``), and the engine runs as threads of that process, on a TCP port of
127.0.0.1 that it picks. Only one process can have a folder open at a time, so several processes
(Airflow's tasks, say) need the server of this module. It uses TCP; there is no unix socket.
"""

from __future__ import annotations

import importlib.util
import signal
import sys
from pathlib import Path
from typing import Any

from .errors import LocalServerError
from .port_server import PortServer
from .ports import LOOPBACK


class MilvusLite(PortServer):
    """One Milvus Lite server; also a context manager. The data lies in ``directory/data.db``."""

    NAME = "milvus-lite"
    TITLE = "Milvus Lite"
    STOP_SIGNAL = signal.SIGINT  # on which it closes its files

    @property
    def data_dir(self) -> Path:
        """What a plain-path URI would be; usable as one only while the server is stopped."""
        return self.directory / "data.db"

    @property
    def address(self) -> str:
        """host:port of the gRPC service."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def uri(self) -> str:
        """The address as pymilvus wants it."""
        return f"http://{self.address}"

    def start(self) -> MilvusLite:
        """Start the server and return when it answers."""
        if self.running:
            return self
        if importlib.util.find_spec("milvus_lite") is None:
            raise LocalServerError("Milvus Lite is not installed: pip install milvus-lite==3.2.2")
        self.directory.mkdir(parents=True, exist_ok=True)
        log = self.directory / "milvus-lite.log"
        command: list[str | Path] = [
            sys.executable,
            "-m",
            "milvus_lite",
            "server",
            "--data-dir",
            self.data_dir,
        ]
        command += ["--host", LOOPBACK, "--port", str(self._own_port())]
        self._serve(command, log)
        return self

    def client(self, **options: Any) -> Any:
        """A pymilvus MilvusClient for this server."""
        from pymilvus import MilvusClient

        # The server hangs up on clients that ping while they are idle.
        channel = {"grpc.keepalive_permit_without_calls": 0, "grpc.use_local_subchannel_pool": 1}
        return MilvusClient(uri=self.uri, grpc_options=channel, dedicated=True, **options)

    def _answers(self) -> bool:
        import grpc
        from pymilvus.grpc_gen import milvus_pb2, milvus_pb2_grpc

        options = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(self.address, options=options) as channel:
            stub = milvus_pb2_grpc.MilvusServiceStub(channel)
            try:
                return bool(stub.GetVersion(milvus_pb2.GetVersionRequest(), timeout=2).version)
            except grpc.RpcError:
                return False
