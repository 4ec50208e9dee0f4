"""One way to read and write folders on a local disk and in S3-compatible buckets.

A URL is `file:///folder`, a plain path, or `s3://bucket/prefix` (AWS, MinIO, OSS, COS, R2: the
connection's `endpoint_url` says which). Every failure becomes an AirliftError that names the
address and what to look at, never the credentials.
"""

from __future__ import annotations

import io
import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import orjson
import pyarrow as pa
import pyarrow.fs as pafs

from airlift.connections import StorageConnection
from airlift.errors import AirliftError

# What a bucket's own words mean to the person who set the connection up.
_NO_BUCKET = "the bucket does not exist; check its name, region and endpoint"
_NO_KEY = "the access key is not known there; check the connection"
_NO_SECRET = "the secret key is wrong; check the connection"  # noqa: S105
_NO_TOKEN = "the session token has expired; put a fresh one into the connection"  # noqa: S105
_NO_RIGHTS = "access is denied; the key needs list, read and (for staging) write rights"
_NO_ANSWER = "the endpoint does not answer; check endpoint_url and the network"
_NO_PATIENCE = "the bucket asks for fewer requests; run again with fewer parallel tasks"
_NO_SPACE = "the disk is full; free space or stage elsewhere, then clear the task"
_S3_ADVICE = {
    "NoSuchBucket": _NO_BUCKET,
    "NO_SUCH_BUCKET": _NO_BUCKET,
    "InvalidAccessKeyId": _NO_KEY,
    "INVALID_ACCESS_KEY_ID": _NO_KEY,
    "XAdminUserNotFound": _NO_KEY,  # versitygw
    "SignatureDoesNotMatch": _NO_SECRET,
    "SIGNATURE_DOES_NOT_MATCH": _NO_SECRET,
    "ExpiredToken": _NO_TOKEN,
    "ACCESS_DENIED": _NO_RIGHTS,
    "AccessDenied": _NO_RIGHTS,
    "curlCode": _NO_ANSWER,
    "NETWORK_CONNECTION": _NO_ANSWER,
    "SlowDown": _NO_PATIENCE,
    "SLOW_DOWN": _NO_PATIENCE,
    "No space left on device": _NO_SPACE,
}


@contextmanager
def _explained(action: str, address: str) -> Iterator[None]:
    """Turns what pyarrow raises into an AirliftError that says what to look at."""
    try:
        yield
    except FileNotFoundError as error:
        raise AirliftError(f"cannot {action} {address}: it does not exist") from error
    except (OSError, pa.ArrowException) as error:
        text = str(error)
        advice = next((said for word, said in _S3_ADVICE.items() if word in text), None)
        raise AirliftError(f"cannot {action} {address}: {advice or text}") from error


class FileStat(NamedTuple):
    """A file's bytes, and when it was last changed (nanoseconds since 1970; 0 if unknown)."""

    size: int
    mtime_ns: int


class OutputFile(io.RawIOBase):
    """A file being written; it appears under its name only when `commit` returns.

    On a local disk it is written beside its place and renamed; in a bucket an object only exists
    once its upload is complete.
    """

    def __init__(
        self, filesystem: pafs.FileSystem, path: str, publish_as: str, address: str
    ) -> None:
        super().__init__()
        self._filesystem = filesystem
        self._path = path
        self._publish_as = publish_as
        self._stream = filesystem.open_output_stream(path)
        self.address = address
        self.size = 0

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, data: Any) -> int:
        """Appends bytes (anything with a buffer); returns how many."""
        with _explained("write", self.address):
            written: int = self._stream.write(data)
        self.size += written
        return written

    def commit(self) -> None:
        """Ends the file and gives it its name."""
        with _explained("write", self.address):
            self._stream.close()
            if self._path != self._publish_as:
                self._filesystem.move(self._path, self._publish_as)

    def abandon(self) -> None:
        """Removes what was written so far; for use after a failure, so it raises nothing."""
        with suppress(OSError, pa.ArrowException):
            self._stream.close()
        with suppress(OSError, pa.ArrowException):
            self._filesystem.delete_file(self._path)


class Storage:
    """A folder on a disk or in a bucket; paths given to its methods are relative to it.

    Args:
        url: the folder's address.
        filesystem: the Arrow filesystem that reaches it.
        root: the folder's path in that filesystem.
        connection: the credentials that it was opened with.
    """

    def __init__(
        self,
        url: str,
        filesystem: pafs.FileSystem,
        root: str,
        connection: StorageConnection | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self.connection = connection or StorageConnection()
        self.filesystem = filesystem
        self.root = root.rstrip("/")

    @property
    def is_local(self) -> bool:
        """Whether it is a disk of this machine."""
        return isinstance(self.filesystem, pafs.LocalFileSystem)

    @property
    def bucket(self) -> str:
        """The bucket's name; empty for a local folder."""
        return "" if self.is_local else self.root.split("/", 1)[0]

    def path(self, relative: str = "") -> str:
        """The path in the filesystem: absolute on a disk, `bucket/key` in a bucket."""
        if ".." in PurePosixPath(relative).parts or relative.startswith("/"):
            raise AirliftError(f"the path {relative!r} would leave {self.url}; refused")
        return f"{self.root}/{relative}" if relative else self.root

    def key(self, relative: str = "") -> str:
        """How a server that owns this storage calls the file: its bucket key or absolute path."""
        path = self.path(relative)
        return path if self.is_local else path.split("/", 1)[-1]

    def address(self, relative: str = "") -> str:
        """The file's URL, for messages."""
        return f"{self.url}/{relative}" if relative else self.url

    def folder(self, relative: str) -> Storage:
        """A folder below this one."""
        return Storage(
            self.address(relative), self.filesystem, self.path(relative), self.connection
        )

    def stats(self, relatives: Iterable[str]) -> list[FileStat | None]:
        """Bytes and time of change of each file, in one go; None where there is no such file."""
        paths = [self.path(relative) for relative in relatives]
        with _explained("look at files in", self.url):
            infos = self.filesystem.get_file_info(paths)
        return [
            FileStat(info.size, info.mtime_ns or 0) if info.type == pafs.FileType.File else None
            for info in infos
        ]

    def sizes(self, relatives: Iterable[str]) -> list[int | None]:
        """Bytes of each file; None where there is no such file."""
        return [stat.size if stat else None for stat in self.stats(relatives)]

    def explained(self, action: str, relative: str = "") -> AbstractContextManager[None]:
        """Within it, what pyarrow raises becomes an AirliftError that names the file."""
        return _explained(action, self.address(relative))

    def exists(self, relative: str) -> bool:
        """Whether there is a file of that name."""
        return self.sizes([relative])[0] is not None

    def list(self, relative: str = "", recursive: bool = False) -> dict[str, int | None]:
        """What the folder holds: relative path -> bytes (None for folders); empty if absent."""
        selector = pafs.FileSelector(self.path(relative), allow_not_found=True, recursive=recursive)
        with _explained("list", self.address(relative)):
            infos = self.filesystem.get_file_info(selector)
            if not infos and not self.is_local:
                self._bucket_must_exist()
        start = len(self.root) + 1
        return {
            info.path[start:]: info.size if info.type == pafs.FileType.File else None
            for info in sorted(infos, key=lambda info: info.path)
        }

    def _bucket_must_exist(self) -> None:
        """Arrow lists a bucket that does not exist as if it were an empty folder."""
        if self.filesystem.get_file_info(self.bucket).type == pafs.FileType.NotFound:
            raise OSError("NoSuchBucket")

    def open_input(self, relative: str) -> pa.NativeFile:
        """Opens a file for reading at any place."""
        with _explained("read", self.address(relative)):
            return self.filesystem.open_input_file(self.path(relative))

    def read_bytes(self, relative: str, limit: int = 256 << 20) -> bytes:
        """A small file's content; refuses a file of more than `limit` bytes."""
        with self.open_input(relative) as stream, _explained("read", self.address(relative)):
            size = stream.size()
            if size > limit:
                raise AirliftError(
                    f"{self.address(relative)} has {size:,} bytes; at most {limit:,} are expected"
                )
            data: bytes = stream.read()
        return data

    def open_output(self, relative: str) -> OutputFile:
        """Starts writing a file; see OutputFile."""
        path = self.path(relative)
        temporary = path
        if self.is_local:
            with _explained("make the folder of", self.address(relative)):
                Path(path).parent.mkdir(parents=True, exist_ok=True)
            temporary = f"{path}.part-{uuid.uuid4().hex}"
        with _explained("write", self.address(relative)):
            return OutputFile(self.filesystem, temporary, path, self.address(relative))

    def write_bytes(self, relative: str, data: bytes) -> None:
        """Writes a small file at one stroke."""
        output = self.open_output(relative)
        try:
            output.write(data)
            output.commit()
        except BaseException:
            output.abandon()
            raise

    def read_json(self, relative: str) -> object:
        """A JSON file's value."""
        try:
            return orjson.loads(self.read_bytes(relative))
        except orjson.JSONDecodeError as error:
            raise AirliftError(f"{self.address(relative)} is not JSON: {error}") from error

    def write_json(self, relative: str, value: object) -> None:
        """Writes a value as JSON, readable by people."""
        self.write_bytes(relative, orjson.dumps(value, option=orjson.OPT_INDENT_2))

    def delete_file(self, relative: str) -> None:
        """Removes a file; no error if it is absent."""
        if self.exists(relative):
            with _explained("delete", self.address(relative)):
                self.filesystem.delete_file(self.path(relative))

    def delete_folder(self, relative: str) -> None:
        """Removes a folder below this one and all that it holds; no error if it is absent."""
        if not relative:
            raise AirliftError(f"refusing to delete the whole of {self.url}")
        held = self.list(relative, recursive=True)
        while held:
            before = len(held)
            with _explained("delete", self.address(relative)):
                try:
                    self.filesystem.delete_dir(self.path(relative))
                except OSError:
                    # Stores on a disk (versitygw) refuse folders that were not empty a moment ago.
                    if len(self.list(relative, recursive=True)) >= before:
                        raise
            held = self.list(relative, recursive=True)

    def check(self, write: bool) -> str | None:
        """Tries the folder; returns the reason why it can't be used, or None."""
        try:
            self.list()
            if write:
                name = f".airlift-{uuid.uuid4().hex}"
                self.write_bytes(name, b"airlift")
                self.delete_file(name)
        except AirliftError as error:
            return str(error)
        return None


def open_storage(url: str, connection: StorageConnection | None = None) -> Storage:
    """Opens a folder by its address.

    Raises:
        AirliftError: the address is of an unknown kind or names no bucket.
    """
    parts = urlsplit(url)
    if parts.scheme in ("", "file"):
        path = unquote(parts.path) if parts.scheme else url
        if not path.startswith("/"):
            raise AirliftError(
                f"{url!r} is not an absolute path; write it from the root, as /data/x"
            )
        return Storage(url, pafs.LocalFileSystem(), os.path.normpath(path))
    if parts.scheme not in ("s3", "s3a"):
        raise AirliftError(f"{url!r}: only file:// and s3:// addresses are known")
    if not parts.netloc:
        raise AirliftError(f"{url!r} names no bucket; expected s3://bucket/prefix")
    connection = connection or StorageConnection()
    return Storage(url, _s3(connection), parts.netloc + parts.path, connection)


def _s3(connection: StorageConnection) -> pafs.S3FileSystem:
    endpoint = urlsplit(connection.endpoint_url)
    if connection.endpoint_url and not endpoint.netloc:
        raise AirliftError(
            f"endpoint_url {connection.endpoint_url!r} is not an address; write it as "
            "http://host:port or https://host"
        )
    if bool(connection.access_key) != bool(connection.secret_key.get_secret_value()):
        raise AirliftError(
            "the connection to the bucket has only one of access key and secret key; give both, or "
            "neither to use the machine's own role"
        )
    return pafs.S3FileSystem(
        access_key=connection.access_key or None,
        secret_key=connection.secret_key.get_secret_value() or None,
        session_token=connection.session_token.get_secret_value() or None,
        role_arn=connection.role_arn or None,
        region=connection.region or ("us-east-1" if endpoint.netloc else None),
        scheme=endpoint.scheme or "https",
        endpoint_override=endpoint.netloc or None,
        connect_timeout=10,
        request_timeout=120,
        # Arrow's own background writes queue without bound; a chunk writer has its bounded queue.
        background_writes=False,
        # A small file is one request then, instead of three.
        allow_delayed_open=True,
    )


_COPY_BYTES = 8 << 20


def copy_file(source: Storage, target: Storage, relative: str, size: int) -> None:
    """Copies a file of one folder to the same place in another.

    Between buckets of one store, by the same credentials, the store copies it by itself.

    Raises:
        AirliftError: a side can't be used, or the file is not `size` bytes long.
    """
    if not source.is_local and not target.is_local and source.connection == target.connection:
        _copy_in_store(source, target, relative)
        [copied] = target.sizes([relative])
        if copied != size:
            target.delete_file(relative)
            raise AirliftError(_changed(source.address(relative), copied or 0, size))
        return
    output = target.open_output(relative)
    try:
        with source.open_input(relative) as stream:
            while data := stream.read_buffer(_COPY_BYTES):
                output.write(data)
        if output.size != size:
            raise AirliftError(_changed(source.address(relative), output.size, size))
        output.commit()
    except BaseException:
        output.abandon()
        raise


def _changed(address: str, found: int, expected: int) -> str:
    return (
        f"{address} has {found:,} bytes, {expected:,} were expected: it changed while it was "
        "copied; stop writing to the source and clear the task"
    )


def _copy_in_store(source: Storage, target: Storage, relative: str) -> None:
    """S3's server-side copy; boto3 divides what is too large for one CopyObject call."""
    import boto3
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    connection = target.connection
    client = boto3.client(
        "s3",
        endpoint_url=connection.endpoint_url or None,
        region_name=connection.region or None,
        aws_access_key_id=connection.access_key or None,
        aws_secret_access_key=connection.secret_key.get_secret_value() or None,
        aws_session_token=connection.session_token.get_secret_value() or None,
    )
    try:
        client.copy(
            {"Bucket": source.bucket, "Key": source.key(relative)},
            target.bucket,
            target.key(relative),
        )
    except (Boto3Error, BotoCoreError, ClientError) as error:
        raise AirliftError(
            f"cannot copy {source.address(relative)} to {target.address(relative)}: {error}; the "
            "connection needs to read the one and write the other"
        ) from error
