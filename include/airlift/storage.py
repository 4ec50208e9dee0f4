"""One way to read and write folders on a local disk and in buckets.

A URL is `file:///folder`, a plain path, `s3://bucket/prefix`, `gs://bucket/prefix`,
`abfss://container@account.dfs.core.windows.net/prefix` or `az://container/prefix`; `airlift.stores`
has a module for each kind. Every failure becomes an AirliftError that names the address and what to
look at, never the credentials.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from contextlib import AbstractContextManager, suppress
from pathlib import PurePosixPath
from typing import NamedTuple
from urllib.parse import urlsplit

import orjson
import pyarrow as pa
import pyarrow.fs as pafs

from airlift.connections import StorageConnection
from airlift.errors import AirliftError
from airlift.file_identity import FileIdentity
from airlift.output_file import OutputFile
from airlift.reading_ahead import AHEAD, SMALL_FILES_AHEAD, map_ahead
from airlift.storage_errors import explained
from airlift.stores.azure import AzureBlobs
from airlift.stores.base import Store
from airlift.stores.disk import UNFINISHED, Disk
from airlift.stores.google import GoogleStorage
from airlift.stores.s3 import S3


class FileStat(NamedTuple):
    """A file's bytes, and when it was last changed (nanoseconds since 1970; 0 if unknown)."""

    size: int
    mtime_ns: int


class Storage:
    """A folder on a disk or in a bucket; paths given to its methods are relative to it.

    Args:
        url: the folder's address.
        store: what holds it.
        root: the folder's path in the store.
    """

    def __init__(self, url: str, store: Store, root: str) -> None:
        self.store = store
        self.url, self.root = (self._without_end(text) for text in (url, root))

    def _without_end(self, text: str) -> str:
        """An address or path without the slash at its end; in S3 a second one is an empty part."""
        return text.removesuffix("/") if self.store.takes_empty_parts else text.rstrip("/")

    @property
    def is_local(self) -> bool:
        """Whether it is a disk of this machine."""
        return self.store.is_local

    @property
    def ranges_ahead(self) -> int:
        """How many ranges of a file are best read ahead; see `read_ahead`."""
        return 0 if self.is_local else AHEAD

    @property
    def small_files_ahead(self) -> int:
        """How many small files are best read ahead; see `map_ahead`."""
        return 0 if self.is_local else SMALL_FILES_AHEAD

    @property
    def bucket(self) -> str:
        """The bucket's name; empty for a local folder."""
        return "" if self.is_local else self.root.split("/", 1)[0]

    def path(self, relative: str = "") -> str:
        """The path in the filesystem: absolute on a disk, `bucket/key` in a bucket."""
        leaves = relative.startswith("/") and not self.store.takes_empty_parts
        if leaves or ".." in PurePosixPath(relative).parts:
            raise AirliftError(f"the path {relative!r} would leave {self.url}; refused")
        if not self.is_local and "." in relative.split("/"):
            raise AirliftError(f"{self.address(relative)} {_HAS_DOTS}")
        return f"{self.root}/{relative}" if relative else self.root

    def key(self, relative: str = "") -> str:
        """How a server that owns this storage calls the file: its bucket key or absolute path."""
        path = self.path(relative)
        return path if self.is_local else path.split("/", 1)[-1]

    def address(self, relative: str = "") -> str:
        """The file's URL, for messages."""
        return f"{self.url}/{relative}" if relative else self.url

    def folder(self, relative: str) -> Storage:
        """A folder below this one; itself for an empty path."""
        if not relative:
            return self
        return Storage(self.address(relative), self.store, self.path(relative))

    def stats(self, relatives: Iterable[str]) -> list[FileStat | None]:
        """Bytes and time of change of each file, in one go; None where there is no such file."""
        paths = [self.path(relative) for relative in relatives]
        with explained("look at files in", self.url):
            infos = self.store.infos(paths)
        return [_stat(info) for info in infos]

    def sizes(self, relatives: Iterable[str]) -> list[int | None]:
        """Bytes of each file; None where there is no such file."""
        return [stat.size if stat else None for stat in self.stats(relatives)]

    def identities(self, relatives: Iterable[str]) -> list[FileIdentity | None]:
        """What tells each file's states apart, as far as the store knows; None for no such file.

        One request a file; in a bucket many are asked for at the same time.
        """

        def look(relative: str) -> FileIdentity | None:
            with explained("look at", self.address(relative)):
                return self.store.identity(self.path(relative))

        return list(map_ahead(look, relatives, self.small_files_ahead))

    def explained(self, action: str, relative: str = "") -> AbstractContextManager[None]:
        """Within it, what pyarrow raises becomes an AirliftError that names the file."""
        return explained(action, self.address(relative))

    def exists(self, relative: str) -> bool:
        """Whether there is a file of that name."""
        return self.sizes([relative])[0] is not None

    def half_written(self) -> list[str]:
        """Files, here and in all folders below, that somebody began to write and did not end.

        In a bucket there are none: an object only exists once its upload is complete.
        """
        held = self._everything("", recursive=True) if self.is_local else {}
        return [path for path, stat in held.items() if stat and UNFINISHED.search(path)]

    def list(self, relative: str = "", recursive: bool = False) -> dict[str, int | None]:
        """What the folder holds: relative path -> bytes (None for folders); empty if absent.

        Files that are not written to their end are not among them; see `half_written`.
        """
        found = self.list_stats(relative, recursive)
        return {path: stat.size if stat else None for path, stat in found.items()}

    def list_stats(self, relative: str = "", recursive: bool = False) -> dict[str, FileStat | None]:
        """As `list`, with the time of change, which a bucket may tell in whole seconds only."""
        return {
            path: stat
            for path, stat in self._everything(relative, recursive).items()
            if not UNFINISHED.search(path)
        }

    def _everything(self, relative: str, recursive: bool) -> dict[str, FileStat | None]:
        path = self.path(relative)
        with explained("list", self.address(relative)):
            infos = self.store.list(path, recursive)
            # Arrow lists a bucket that does not exist as if it were an empty folder.
            if not infos and not self.is_local and self.store.lacks(self.bucket):
                raise OSError("NoSuchBucket")
        start = len(self.root) + 1
        return {
            info.path[start:]: _stat(info) for info in sorted(infos, key=lambda info: info.path)
        }

    def open_input(self, relative: str) -> pa.NativeFile:
        """Opens a file for reading at any place."""
        with explained("read", self.address(relative)):
            path = self.path(relative)
            return self.store.filesystem_for(path).open_input_file(path)

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
        path, address = self.path(relative), self.address(relative)
        with explained("write", address):
            return OutputFile(self.store.writing(path), address)

    def write_bytes(self, relative: str, data: bytes) -> None:
        """Writes a small file at one stroke; when that fails, an earlier one stays."""
        output = self.open_output(relative)
        try:
            output.write(data)
            output.commit()
        except BaseException:
            output.abandon(whole=True)
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
            # Another process may delete it at this moment.
            with explained("delete", self.address(relative)), suppress(FileNotFoundError):
                path = self.path(relative)
                self.store.filesystem_for(path).delete_file(path)

    def delete_files(self, relatives: Iterable[str]) -> int:
        """As `delete_file` for each; in a bucket many are removed at the same time.

        Returns:
            How many were named.
        """
        return sum(1 for _ in map_ahead(self.delete_file, relatives, self.small_files_ahead))

    def delete_folder(self, relative: str) -> None:
        """Removes a folder below this one and all that it holds; no error if it is absent."""
        if not relative:
            raise AirliftError(f"refusing to delete the whole of {self.url}")
        held = self._everything(relative, recursive=True)
        while held:
            before = len(held)
            with explained("delete", self.address(relative)):
                try:
                    self.store.delete_folder(self.path(relative))
                except OSError:
                    # Stores on a disk (versitygw) refuse folders that were not empty a moment ago.
                    if len(self._everything(relative, recursive=True)) >= before:
                        raise
            held = self._everything(relative, recursive=True)

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


_HAS_DOTS = (
    "has a part . or .., which is left out on the way to a bucket, so that another file would be "
    "read; name it without"
)
_STORES: tuple[type[Store], ...] = (Disk, S3, GoogleStorage, AzureBlobs)
_BY_SCHEME = {scheme: store for store in _STORES for scheme in store.schemes}


def _stat(info: pafs.FileInfo) -> FileStat | None:
    is_file = info.type == pafs.FileType.File
    return FileStat(info.size, info.mtime_ns or 0) if is_file else None


def open_storage(url: str, connection: StorageConnection | None = None) -> Storage:
    """Opens a folder by its address.

    Raises:
        AirliftError: the address is of an unknown kind or names no bucket, or the connection is for
            another kind.
    """
    parts = urlsplit(url)
    kind = _BY_SCHEME.get(parts.scheme)
    if kind is None:
        known = ", ".join(f"{scheme}://" for scheme in _BY_SCHEME if scheme)
        raise AirliftError(f"{url!r}: addresses are paths, or begin with {known}")
    connection = connection or StorageConnection()
    # One without credentials will do for any kind.
    if type(connection) is StorageConnection:
        connection = kind.connection_class(endpoint_url=connection.endpoint_url)
    if not kind.is_local and not isinstance(connection, kind.connection_class):
        raise AirliftError(
            f"{url!r} is on {kind.name}, which needs a connection of type {kind.conn_type}; the "
            "one that was given is of another type"
        )
    store, root = kind.open(url, parts, connection)
    if not store.is_local and {".", ".."} & set(root.split("/")):
        raise AirliftError(f"{url!r} {_HAS_DOTS}")
    if "//" in root.rstrip("/") and not (store.is_local or store.takes_empty_parts):
        raise AirliftError(
            f"{url!r} has an empty part (//), and such keys can't be used on {kind.name}; copy the "
            "files to a prefix without one"
        )
    return Storage(url, store, root)
