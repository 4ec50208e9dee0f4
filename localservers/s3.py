"""A real S3 server on this machine: versitygw, which keeps buckets as plain folders."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

from .cache import versitygw_binary
from .errors import LocalServerError, log_tail
from .port_server import PortServer
from .ports import LOOPBACK


class S3Server(PortServer):
    """One versitygw with random credentials; also a context manager.

    :param directory: buckets are folders in ``directory/buckets``; the log lies beside them.
    :param bucket: a bucket to make at the start (optional).

    :attr:`endpoint_url` and the credentials stay the same across kill() and restart().
    """

    NAME = "s3"
    TITLE = "S3 server"
    START_SECONDS = 20
    STOP_SECONDS = 5.0

    region = "us-east-1"

    def __init__(self, directory: str | Path, bucket: str | None = None) -> None:
        super().__init__(directory)
        self.bucket = bucket
        self.access_key = f"AIRLIFT{secrets.token_hex(6).upper()}"
        self.secret_key = secrets.token_hex(20)

    @property
    def endpoint_url(self) -> str:
        """e.g. http://127.0.0.1:40123"""
        return f"http://{LOOPBACK}:{self.port}"

    def start(self) -> S3Server:
        """Start the server and return when it answers to our credentials."""
        if self.running:
            return self
        program = versitygw_binary()
        (self.directory / "buckets").mkdir(parents=True, exist_ok=True)
        log = self.directory / "versitygw.log"
        env = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("VGW_", "LOGFILE"))},
            "ROOT_ACCESS_KEY": self.access_key,
            "ROOT_SECRET_KEY": self.secret_key,
        }
        # Not --keep-alive: v1.8.0 leaves the checksum that trails a small upload unread, and takes
        # it for the next request of the connection (400 BadRequest, every second time).
        command: list[str | Path] = [program, "--quiet", "--region", self.region]
        command += ["--port", f"{LOOPBACK}:{self._own_port()}", "posix", self.directory / "buckets"]
        self._serve(command, log, env)
        return self

    def _settle(self) -> None:
        self._check_it_is_ours()
        if self.bucket:
            self.make_bucket(self.bucket)

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
