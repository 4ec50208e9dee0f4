"""A real S3 server on this machine: versitygw, which keeps buckets as plain folders."""

from __future__ import annotations

import os
import secrets
import signal
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from .cache import versitygw_binary
from .errors import LocalServerError, log_tail
from .ports import LOOPBACK, free_port, listens, wait_until
from .supervisor import Supervisor

_NAME = "s3"


class S3Server:
    """One versitygw with random credentials; also a context manager.

    :param directory: buckets are folders in ``directory/buckets``; the log lies beside them.
    :param bucket: a bucket to make at the start (optional).

    :attr:`endpoint_url` and the credentials stay the same across kill() and restart().
    """

    region = "us-east-1"

    def __init__(self, directory: str | Path, bucket: str | None = None) -> None:
        self.directory = Path(directory).resolve()
        self.bucket = bucket
        self.access_key = f"AIRLIFT{secrets.token_hex(6).upper()}"
        self.secret_key = secrets.token_hex(20)
        self.start_seconds: float | None = None
        self._port: int | None = None
        self._supervisor = Supervisor(self.directory)

    @property
    def endpoint_url(self) -> str:
        """e.g. http://127.0.0.1:40123"""
        if self._port is None:
            raise LocalServerError("This S3 server is not started: call start() first.")
        return f"http://{LOOPBACK}:{self._port}"

    @property
    def pid(self) -> int | None:
        """Process id of the server, None when it is not started."""
        return self._supervisor.pid(_NAME)

    @property
    def running(self) -> bool:
        """Is the server's process alive?"""
        return self._supervisor.running(_NAME)

    def start(self) -> S3Server:
        """Start the server and return when it answers to our credentials."""
        if self.running:
            return self
        program = versitygw_binary()
        began = time.monotonic()
        (self.directory / "buckets").mkdir(parents=True, exist_ok=True)
        log = self.directory / "versitygw.log"
        if self._port is None:
            self._port = free_port()
        port = self._port
        env = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("VGW_", "LOGFILE"))},
            "ROOT_ACCESS_KEY": self.access_key,
            "ROOT_SECRET_KEY": self.secret_key,
        }
        # Not --keep-alive: v1.8.0 leaves the checksum that trails a small upload unread, and takes
        # it for the next request of the connection (400 BadRequest, every second time).
        command: list[str | Path] = [program, "--quiet", "--region", self.region]
        command += ["--port", f"{LOOPBACK}:{port}", "posix", self.directory / "buckets"]
        try:
            pid = self._supervisor.start(_NAME, command, log, env, cwd=self.directory)
            wait_until(
                lambda: listens(pid, port),
                20,
                lambda: f"The S3 server does not listen on port {port}.\n{log_tail(log)}",
                alive=lambda: self.running,
                interval=0.02,
            )
            self._check_it_is_ours()
            if self.bucket:
                self.make_bucket(self.bucket)
        except BaseException:
            self.stop()
            raise
        self.start_seconds = time.monotonic() - began
        return self

    def make_bucket(self, name: str) -> None:
        """Make a bucket; it is no error if we have it already."""
        client = self.client()
        if name not in {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}:
            client.create_bucket(Bucket=name)

    def client(self, **options: Any) -> Any:
        """A boto3 client for this server."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=self.region,
            config=Config(s3={"addressing_style": "path"}, proxies={}),
            **options,
        )

    def stop(self) -> None:
        """Stop the server and forget its port."""
        self._supervisor.stop(_NAME, timeout=5)
        self._supervisor.close()
        self._port = None

    def kill(self) -> None:
        """SIGKILL the server, as a crash would."""
        self._supervisor.stop(_NAME, signal.SIGKILL)

    def restart(self) -> S3Server:
        """Start again with the same buckets, address and credentials."""
        self._supervisor.stop(_NAME, timeout=5)
        return self.start()

    def _check_it_is_ours(self) -> None:
        """A signed ListBuckets with our random key: only our own server can accept it."""
        try:
            self.client().list_buckets()
        except Exception as error:
            raise LocalServerError(
                f"The S3 server at {self.endpoint_url} refuses our credentials ({error}). Its "
                f"log:\n{log_tail(self.directory / 'versitygw.log')}"
            ) from error

    def __enter__(self) -> S3Server:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
