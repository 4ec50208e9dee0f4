"""Google Cloud Storage."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Self
from urllib.parse import SplitResult

import pyarrow.fs as pafs

from airlift.connections import GoogleConnection, StorageConnection
from airlift.stores.base import ArrowWriting, Store, Writing, bucket_and_key, endpoint_of
from airlift.stores.google_tokens import READ, WRITE, new_token

_PATIENCE = timedelta(seconds=60)
"""How long a request is repeated; Arrow's own choice is a quarter of an hour."""

_PART_BYTES = 16 << 20
"""Parts of an upload go one after the other: Arrow's own of 256 KB would take a request each."""

_OF_A_LIFE = 6
"""A new token is taken when a sixth of the last one's life is over: what is opened with it may then
be read or written for fifty minutes, of the hour that a token lives."""


class GoogleStorage(Store):
    """Buckets of Google Cloud; an object exists once its upload is complete.

    Every write gives an object another generation.
    """

    name: ClassVar[str] = "Google Cloud Storage"
    schemes: ClassVar[tuple[str, ...]] = ("gs", "gcs")
    connection_class: ClassVar[type[StorageConnection]] = GoogleConnection
    conn_type: ClassVar[str] = "google_cloud_platform"
    example: ClassVar[str] = "gs://bucket/prefix"
    # The time of this generation; `updated` also changes with labels and access rights.
    changed_key: ClassVar[str] = "timeCreated"
    version_keys: ClassVar[dict[str, str]] = {"generation": "generation"}

    def __init__(self, connection: GoogleConnection) -> None:
        self.connection: GoogleConnection = connection
        endpoint = endpoint_of(connection)
        self._options: dict[str, Any] = {
            "scheme": endpoint.scheme or None,
            "endpoint_override": endpoint.netloc or None,
            "retry_time_limit": _PATIENCE,
        }
        self._lock = threading.Lock()
        self._opened: pafs.FileSystem | None = None
        self._renew: datetime | None = None

    @classmethod
    def open(cls, url: str, parts: SplitResult, connection: GoogleConnection) -> tuple[Self, str]:
        """Opens `gs://bucket/prefix`."""
        path = bucket_and_key(url, parts, cls.example)
        return cls(connection), path

    @property
    def filesystem(self) -> pafs.FileSystem:
        """The Arrow filesystem, with a token that is good for most of an hour."""
        with self._lock:
            if self._opened is None or (self._renew and datetime.now(UTC) >= self._renew):
                self._opened = self._open()
            return self._opened

    def _open(self) -> pafs.FileSystem:
        connection = self.connection
        if connection.anonymous:
            return pafs.GcsFileSystem(anonymous=True, **self._options)
        key = connection.key_json.get_secret_value() or connection.key_file
        if not key and not connection.impersonate:
            # Arrow finds the machine's credentials, and renews their tokens, by itself.
            return pafs.GcsFileSystem(**self._options)
        token = new_token(connection, WRITE)
        now = datetime.now(UTC)
        self._renew = now + (token.ends - now) / _OF_A_LIFE
        return pafs.GcsFileSystem(
            access_token=token.value, credential_token_expiration=token.ends, **self._options
        )

    def list(self, path: str, recursive: bool) -> list[pafs.FileInfo]:
        """What a folder holds; Arrow tells of no folder here that has no object of its own."""
        files = super().list(path, recursive=True)
        infos = {info.path: info for info in files}
        for info in files:
            parent = info.path.rpartition("/")[0]
            while len(parent) > len(path) and parent not in infos:
                infos[parent] = pafs.FileInfo(parent, pafs.FileType.Directory)
                parent = parent.rpartition("/")[0]
        if recursive:
            return list(infos.values())
        return [info for info in infos.values() if "/" not in info.path[len(path) + 1 :]]

    def writing(self, path: str) -> Writing:
        """Starts writing a file."""
        return ArrowWriting(self.filesystem, path, buffer_size=_PART_BYTES)

    def delete_folder(self, path: str) -> None:
        """Removes all objects below a folder, which is none itself."""
        self.filesystem.delete_dir_contents(path, missing_dir_ok=True)

    def object_url(self, path: str) -> str:
        """As `gs://bucket/key`."""
        return f"gs://{path}"

    def import_keys(self) -> dict[str, str]:
        """An access token that may only read, and ends within the hour."""
        if self.connection.anonymous:
            return {}
        return {"token": new_token(self.connection, READ).value}
