"""A real S3 server on this machine: versitygw, which keeps buckets as plain folders."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path
from typing import Any

from .cache import versitygw_binary
from .errors import LocalServerError, log_tail
from .local_server import LocalServer
from .ports import LOOPBACK, free_port, listens, wait_until
from .supervisor import Supervisor


class S3Server(LocalServer):
    """One versitygw with random credentials; also a context manager.

    :param directory: buckets are folders in ``directory/buckets``; the log lies beside them.
    :param bucket: a bucket to make at the start (optional).

    :attr:`endpoint_url` and the credentials stay the same across kill() and restart().
    """

    NAME = "s3"
    STOP_SECONDS = 5.0

    region = "us-east-1"

    def __init__(self, directory: str | Path, bucket: str | None = None) -> None:
        self.directory = Path(directory).resolve()
        self.bucket = bucket
        self.access_key = f"AIRLIFT{secrets.token_hex(6).upper()}"
        self.secret_key = secrets.token_hex(20)
        self.start_seconds: float | None = None
        self._port: int | None = None
        self._supervisor = Supervisor(self.directory)

    def _forget_port(self) -> None:
        self._port = None

    @property
    def endpoint_url(self) -> str:
        """e.g. http://127.0.0.1:40123"""
        if self._port is None:
            raise LocalServerError("This S3 server is not started: call start() first.")
        return f"http://{LOOPBACK}:{self._port}"

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
            pid = self._supervisor.start(self.NAME, command, log, env, cwd=self.directory)
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

    def objects(self, bucket: str) -> dict[str, int]:
        """What is in a bucket, with its bytes; without the marks of empty folders."""
        listed = self.client().list_objects_v2(Bucket=bucket).get("Contents", [])
        return {one["Key"]: one["Size"] for one in listed if not one["Key"].endswith("/")}

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

    def _check_it_is_ours(self) -> None:
        """A signed ListBuckets with our random key: only our own server can accept it."""
        try:
            self.client().list_buckets()
        except Exception as error:
            raise LocalServerError(
                f"The S3 server at {self.endpoint_url} refuses our credentials ({error}). Its "
                f"log:\n{log_tail(self.directory / 'versitygw.log')}"
            ) from error
