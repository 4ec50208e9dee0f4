"""S3-compatible buckets: AWS, MinIO, OSS, COS, R2; the connection's endpoint says which."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Self
from urllib.parse import SplitResult

import pyarrow.fs as pafs

from airlift.connections import S3Connection, StorageConnection
from airlift.errors import AirliftError
from airlift.file_identity import FileIdentity
from airlift.stores.base import ArrowWriting, Store, Writing, bucket_and_key, endpoint_of
from airlift.stores.s3_client import client_of
from airlift.stores.s3_empty_parts import EmptyPartsHandler, s3_errors

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_ATTEMPTS = 6


class S3(Store):
    """Buckets of one S3 service; an object exists once its upload is complete.

    Every write gives an object another version where the bucket keeps versions. Without, its ETag
    is a hash of the content, and the time of change has whole seconds.
    """

    name: ClassVar[str] = "S3"
    schemes: ClassVar[tuple[str, ...]] = ("s3", "s3a")
    connection_class: ClassVar[type[StorageConnection]] = S3Connection
    conn_type: ClassVar[str] = "aws"
    example: ClassVar[str] = "s3://bucket/prefix"
    takes_empty_parts: ClassVar[bool] = True
    version_keys: ClassVar[dict[str, str]] = {"ETag": "ETag", "VersionId": "version"}

    def __init__(self, connection: S3Connection) -> None:
        self.connection: S3Connection = connection
        endpoint = endpoint_of(connection)
        if connection.has_one_key_only:
            raise AirliftError(
                "the connection to the bucket has only one of access key and secret key; give "
                "both, or neither to use the machine's own role"
            )
        if connection.access_key and connection.role_arn:
            raise AirliftError(
                "the connection to the bucket has keys and role_arn, but a bucket's role can only "
                "be assumed with what the worker has itself; leave the keys or role_arn out"
            )
        self._filesystem = pafs.S3FileSystem(
            access_key=connection.access_key or None,
            secret_key=connection.secret_key.get_secret_value() or None,
            session_token=connection.session_token.get_secret_value() or None,
            role_arn=connection.role_arn or None,
            region=connection.region or ("us-east-1" if endpoint.netloc else None),
            scheme=endpoint.scheme or "https",
            endpoint_override=endpoint.netloc or None,
            # With jitter, and pauses that double: some 15 s in all. Arrow's own three attempts are
            # over in a second, while a bucket that says SlowDown means it for longer.
            retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS),
            connect_timeout=10,
            request_timeout=120,
            # Arrow's own background writes queue without bound; a chunk writer has its bounded
            # queue.
            background_writes=False,
            # A small file is one request then, instead of three.
            allow_delayed_open=True,
        )

    @classmethod
    def open(cls, url: str, parts: SplitResult, connection: S3Connection) -> tuple[Self, str]:
        """Opens `s3://bucket/prefix`."""
        path = bucket_and_key(url, parts, cls.example)
        return cls(connection), path

    @property
    def filesystem(self) -> pafs.FileSystem:
        """The Arrow filesystem."""
        return self._filesystem

    @cached_property
    def _client(self) -> S3Client:
        return client_of(self.connection)

    @cached_property
    def _objects(self) -> EmptyPartsHandler:
        return EmptyPartsHandler(self._client)

    def filesystem_for(self, path: str) -> pafs.FileSystem:
        """Arrow's own; for a key with empty parts, which that refuses, one that reads by boto3."""
        return pafs.PyFileSystem(self._objects) if _has_empty_part(path) else self._filesystem

    def infos(self, paths: list[str]) -> list[pafs.FileInfo]:
        """What each path is."""
        if not any(map(_has_empty_part, paths)):
            return super().infos(paths)
        return [self.filesystem_for(path).get_file_info(path) for path in paths]

    def identity(self, path: str) -> FileIdentity | None:
        """What tells a file's states apart, by one request; None where there is no such file."""
        if _has_empty_part(path):
            return self._objects.identity(path)
        return super().identity(path)

    def writing(self, path: str) -> Writing:
        """Starts writing a file."""
        return ArrowWriting(self.filesystem_for(path), path)

    def copy(self, source: str, target: str) -> None:
        """S3's server-side copy; boto3 divides what is too large for one CopyObject call."""
        from boto3.exceptions import Boto3Error

        bucket, key = source.split("/", 1)
        to_bucket, to_key = target.split("/", 1)
        try:
            with s3_errors():
                self._client.copy({"Bucket": bucket, "Key": key}, to_bucket, to_key)
        except (Boto3Error, OSError) as error:
            raise OSError(
                f"{error}; the connection needs to read the one and write the other"
            ) from error

    def object_url(self, path: str) -> str:
        """As `s3://bucket/key`."""
        return f"s3://{path}"

    def import_keys(self) -> dict[str, str]:
        """The keys that Zilliz Cloud reads the bucket with."""
        connection = self.connection
        keys = {
            "accessKey": connection.access_key,
            "secretKey": connection.secret_key.get_secret_value(),
            "token": connection.session_token.get_secret_value(),
        }
        return {name: value for name, value in keys.items() if value}


def _has_empty_part(path: str) -> bool:
    """Whether Arrow takes it for no path, or for that of the folder above."""
    return "//" in f"{path}/"
