"""One way to read and write folders on a local disk and in S3-compatible buckets.

A URL is `file:///folder`, a plain path, or `s3://bucket/prefix` (AWS, MinIO, OSS, COS, R2: the
connection's `endpoint_url` says which). Every failure becomes an AirliftError that names the
address and what to look at, never the credentials.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import orjson
import pyarrow as pa
import pyarrow.fs as pafs

from airlift.connections import StorageConnection
from airlift.errors import AirliftError
from airlift.output_file import OutputFile
from airlift.storage_errors import explained


class FileStat(NamedTuple):
    """A file's bytes, and when it was last changed (nanoseconds since 1970; 0 if unknown)."""

    size: int
    mtime_ns: int


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
        with explained("look at files in", self.url):
            infos = self.filesystem.get_file_info(paths)
        return [_stat(info) for info in infos]

    def sizes(self, relatives: Iterable[str]) -> list[int | None]:
        """Bytes of each file; None where there is no such file."""
        return [stat.size if stat else None for stat in self.stats(relatives)]

    def explained(self, action: str, relative: str = "") -> AbstractContextManager[None]:
        """Within it, what pyarrow raises becomes an AirliftError that names the file."""
        return explained(action, self.address(relative))

    def exists(self, relative: str) -> bool:
        """Whether there is a file of that name."""
        return self.sizes([relative])[0] is not None

    def list(self, relative: str = "", recursive: bool = False) -> dict[str, int | None]:
        """What the folder holds: relative path -> bytes (None for folders); empty if absent."""
        found = self.list_stats(relative, recursive)
        return {path: stat.size if stat else None for path, stat in found.items()}

    def list_stats(self, relative: str = "", recursive: bool = False) -> dict[str, FileStat | None]:
        """As `list`, with the time of change, which a bucket may tell in whole seconds only."""
        selector = pafs.FileSelector(self.path(relative), allow_not_found=True, recursive=recursive)
        with explained("list", self.address(relative)):
            infos = self.filesystem.get_file_info(selector)
            if not infos and not self.is_local:
                self._bucket_must_exist()
        start = len(self.root) + 1
        return {
            info.path[start:]: _stat(info) for info in sorted(infos, key=lambda info: info.path)
        }

    def _bucket_must_exist(self) -> None:
        """Arrow lists a bucket that does not exist as if it were an empty folder."""
        if self.filesystem.get_file_info(self.bucket).type == pafs.FileType.NotFound:
            raise OSError("NoSuchBucket")

    def open_input(self, relative: str) -> pa.NativeFile:
        """Opens a file for reading at any place."""
        with explained("read", self.address(relative)):
            return self.filesystem.open_input_file(self.path(relative))

    def read_bytes(self, relative: str, limit: int = 256 << 20) -> bytes:
        """A small file's content; refuses a file of more than `limit` bytes."""
        with self.open_input(relative) as stream, explained("read", self.address(relative)):
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
            with explained("make the folder of", self.address(relative)):
                Path(path).parent.mkdir(parents=True, exist_ok=True)
            temporary = f"{path}.part-{uuid.uuid4().hex}"
        with explained("write", self.address(relative)):
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
            with explained("delete", self.address(relative)):
                self.filesystem.delete_file(self.path(relative))

    def delete_folder(self, relative: str) -> None:
        """Removes a folder below this one and all that it holds; no error if it is absent."""
        if not relative:
            raise AirliftError(f"refusing to delete the whole of {self.url}")
        held = self.list(relative, recursive=True)
        while held:
            before = len(held)
            with explained("delete", self.address(relative)):
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


def _stat(info: pafs.FileInfo) -> FileStat | None:
    is_file = info.type == pafs.FileType.File
    return FileStat(info.size, info.mtime_ns or 0) if is_file else None


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
