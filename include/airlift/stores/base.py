"""What a disk or a bucket service must offer to `airlift.storage`."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, ClassVar, Protocol, Self
from urllib.parse import SplitResult, urlsplit

import pyarrow as pa
import pyarrow.fs as pafs

from airlift.connections import StorageConnection
from airlift.errors import AirliftError
from airlift.file_identity import FileIdentity
from airlift.storage_errors import own_words

FORBIDDEN = ("ACCESS_DENIED", "AccessDenied", "PERMISSION_DENIED", "[Authorization")
"""How the services say that a key may not do what was asked."""


class Writing(Protocol):
    """A file being written; it has its name once `commit` returns."""

    def write(self, data: Any) -> int:
        """Appends bytes (anything with a buffer); returns how many."""
        ...

    def commit(self) -> None:
        """Ends the file and gives it its name."""
        ...

    def abandon(self, whole: bool = False) -> None:
        """Removes what was written so far; raises nothing.

        Args:
            whole: all bytes were given at one stroke, so that nothing cut off can have the name:
                an earlier file keeps it.
        """
        ...


class ArrowWriting:
    """A file written by Arrow, for stores where it is seen only when its stream is closed.

    Args:
        path: where it is written.
        publish_as: what it is renamed to at its end, if that is another path.
        buffer_size: bytes that go to the store at one stroke; None for the store's own choice.
    """

    def __init__(
        self,
        filesystem: pafs.FileSystem,
        path: str,
        publish_as: str = "",
        buffer_size: int | None = None,
    ) -> None:
        self._filesystem = filesystem
        self._path = path
        self._publish_as = publish_as
        self._stream = filesystem.open_output_stream(path, buffer_size=buffer_size)

    def write(self, data: Any) -> int:
        """Appends bytes; returns how many."""
        written: int = self._stream.write(data)
        return written

    def commit(self) -> None:
        """Ends the file and gives it its name."""
        self._stream.close()
        if self._publish_as:
            self._filesystem.move(self._path, self._publish_as)

    def abandon(self, whole: bool = False) -> None:
        """Removes what was written so far; in a bucket that is whatever has the name.

        Arrow can't break an upload off: closing the stream, now or when Python drops it, ends it
        with the bytes that it has.
        """
        if whole and not self._publish_as:
            return
        with suppress(OSError, pa.ArrowException):
            self._stream.close()
        with suppress(OSError, pa.ArrowException):
            self._filesystem.delete_file(self._path)


class Store:
    """A disk, or a bucket service reached with certain credentials.

    Paths are those of the Arrow filesystem: `bucket/key`, or absolute ones on a disk. What can't be
    done raises OSError or pyarrow's errors, which `airlift.storage` explains.

    Attributes:
        name: what users call it.
        schemes: those of its addresses.
        connection_class: its credentials.
        conn_type: the type of the Airflow connection that gives them.
        example: an address.
        copies_up_to: bytes of the largest file that the store copies by itself.
        takes_empty_parts: whether keys may have empty parts, as `a//b` has.
        changed_key: under which name Arrow has an object's time of change.
        version_keys: what tells an object's states apart: Arrow's name -> what users call it.
    """

    name: ClassVar[str]
    schemes: ClassVar[tuple[str, ...]]
    connection_class: ClassVar[type[StorageConnection]] = StorageConnection
    conn_type: ClassVar[str] = ""
    example: ClassVar[str]
    is_local: ClassVar[bool] = False
    copies_up_to: ClassVar[float] = float("inf")
    takes_empty_parts: ClassVar[bool] = False
    changed_key: ClassVar[str] = "Last-Modified"
    version_keys: ClassVar[dict[str, str]] = {}

    connection: StorageConnection

    @classmethod
    def open(cls, url: str, parts: SplitResult, connection: Any) -> tuple[Self, str]:
        """Opens an address of one of the schemes.

        Args:
            parts: of the address, split.
            connection: of the class `connection_class`.

        Returns:
            The store, and the address's path in it.

        Raises:
            AirliftError: the address or the connection is none.
        """
        raise NotImplementedError

    @property
    def filesystem(self) -> pafs.FileSystem:
        """The Arrow filesystem, with credentials that are still good for a while."""
        raise NotImplementedError

    def filesystem_for(self, path: str) -> pafs.FileSystem:
        """The Arrow filesystem for a path; some stores need another one for odd keys."""
        return self.filesystem

    def infos(self, paths: list[str]) -> list[pafs.FileInfo]:
        """What each path is; one of type `NotFound` for none."""
        found: list[pafs.FileInfo] = self.filesystem.get_file_info(paths)
        return found

    def list(self, path: str, recursive: bool) -> list[pafs.FileInfo]:
        """What a folder holds; nothing where it is absent."""
        selector = pafs.FileSelector(path, allow_not_found=True, recursive=recursive)
        found: list[pafs.FileInfo] = self.filesystem_for(path).get_file_info(selector)
        return found

    def identity(self, path: str) -> FileIdentity | None:
        """What tells a file's states apart, by one request; None where there is no such file."""
        try:
            with self.filesystem.open_input_file(path) as stream:
                size, known = stream.size(), _texts(stream.metadata())
        except FileNotFoundError:
            return None
        version = [
            f"{name} {known[key]}" for key, name in self.version_keys.items() if known.get(key)
        ]
        return FileIdentity(size, _nanoseconds(known.get(self.changed_key, "")), ", ".join(version))

    def lacks(self, bucket: str) -> bool:
        """Whether there is no such bucket; a key that may not look at it could yet list it."""
        try:
            info = self.filesystem.get_file_info(bucket)
        except OSError as error:
            words = own_words(str(error), bucket)
            if any(word in words for word in FORBIDDEN):
                return False
            raise
        return bool(info.type == pafs.FileType.NotFound)

    def writing(self, path: str) -> Writing:
        """Starts writing a file."""
        raise NotImplementedError

    def delete_folder(self, path: str) -> None:
        """Removes a folder and all that it holds."""
        self.filesystem.delete_dir(path)

    def copy(self, source: str, target: str) -> None:
        """Copies a file of this store to another place in it, without reading it here."""
        self.filesystem.copy_file(source, target)

    def object_url(self, path: str) -> str:
        """How Zilliz Cloud calls a file."""
        raise NotImplementedError

    def import_keys(self) -> dict[str, str]:
        """What an import request of Zilliz Cloud carries, so that it can read the files.

        References: Zilliz Cloud, Storage Options; FAQ: Data Import.

        Raises:
            AirliftError: the connection has nothing that it takes.
        """
        raise NotImplementedError


def _texts(metadata: dict[Any, bytes] | None) -> dict[str, str]:
    return {
        key.decode() if isinstance(key, bytes) else key: value.decode(errors="replace")
        for key, value in (metadata or {}).items()
    }


def _nanoseconds(text: str) -> int | None:
    """A time in ISO 8601 as nanoseconds since 1970; None for none."""
    try:
        since = datetime.fromisoformat(text) - datetime.fromtimestamp(0, UTC)
    except (ValueError, TypeError):
        return None
    return (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1000


def bucket_and_key(url: str, parts: SplitResult, example: str) -> str:
    """The path `bucket/key` of an address. Raises AirliftError when it names no bucket."""
    if not parts.netloc:
        raise AirliftError(f"{url!r} names no bucket; expected {example}")
    return parts.netloc + parts.path


def endpoint_of(connection: StorageConnection) -> SplitResult:
    """The connection's endpoint, split. Raises AirliftError when it is no address."""
    parts = urlsplit(connection.endpoint_url)
    known = parts.scheme in ("http", "https") and parts.netloc and "@" not in parts.netloc
    if connection.endpoint_url and not known:
        shown = "" if "@" in connection.endpoint_url else f" {connection.endpoint_url!r}"
        raise AirliftError(
            f"endpoint_url{shown} is not an address; write it as http://host:port or https://host, "
            "without a login"
        )
    return parts
