"""Where the server reads the files of an import: a local folder or one S3 bucket."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol
from urllib.parse import urlparse

import pyarrow as pa
from pyarrow import fs

from .contract import ImportFailed


class MissingFile(Exception):
    """There is no such file."""


class Storage(Protocol):
    """A bucket, by keys relative to it. `words`: how a server speaks of a file that is missing."""

    words: str

    def read(self, key: str) -> pa.Buffer: ...

    def size(self, key: str) -> int: ...

    def list(self, prefix: str) -> list[str]: ...


@dataclass
class LocalStorage:
    """Keys below ``root``; absolute paths too, where they lie below ``root`` or ``data_dir``.

    With ``words="s3"`` it stands for a bucket: keys may begin with a slash, and a file that is
    missing is told as servers do whose storage is S3.
    """

    root: str
    data_dir: str | None = None
    words: Literal["local", "s3"] = "local"

    def _path(self, key: str) -> str:
        if self.words == "s3":
            key = key.lstrip("/")
        path = os.path.realpath(os.path.join(self.root, key))
        if not os.path.exists(path):
            raise MissingFile(key)
        for base in filter(None, (self.root, self.data_dir)):
            base = os.path.realpath(base)
            if path == base or path.startswith(base + os.sep):
                return path
        raise ImportFailed(
            f"failed to read the file '{key}', error: it lies outside of the storage"
        )

    def read(self, key: str) -> pa.Buffer:
        path = self._path(key)
        if os.path.isdir(path):
            raise IsADirectoryError(path)
        try:
            with pa.OSFile(path) as f:
                return f.read_buffer()
        except OSError as err:
            raise ImportFailed(f"failed to read the file '{key}', error: {err}") from None

    def size(self, key: str) -> int:
        return os.path.getsize(self._path(key))

    def list(self, prefix: str) -> list[str]:
        try:
            top = self._path(prefix)
        except MissingFile:
            return []
        found = [os.path.join(d, n) for d, _, names in os.walk(top) for n in names]
        return sorted(os.path.relpath(p, os.path.realpath(self.root)) for p in found)


@dataclass
class S3Storage:
    """One bucket of an S3 server (versitygw, MinIO, moto)."""

    endpoint: str
    bucket: str
    access_key: str
    secret_key: str
    session_token: str | None = None
    region: str = "us-east-1"
    words: ClassVar[str] = "s3"
    _fs: fs.S3FileSystem | None = field(default=None, repr=False)

    @property
    def fs(self) -> fs.S3FileSystem:
        if self._fs is None:
            url = urlparse(self.endpoint if "://" in self.endpoint else f"http://{self.endpoint}")
            self._fs = fs.S3FileSystem(
                endpoint_override=url.netloc,
                scheme=url.scheme,
                region=self.region,
                access_key=self.access_key,
                secret_key=self.secret_key,
                session_token=self.session_token,
            )
        return self._fs

    def read(self, key: str) -> pa.Buffer:
        self.size(key)
        try:
            with self.fs.open_input_file(f"{self.bucket}/{key.lstrip('/')}") as f:
                return f.read_buffer()
        except OSError as err:
            raise ImportFailed(f"failed to read the file '{key}', error: {err}") from None

    def size(self, key: str) -> int:
        info = self.fs.get_file_info(f"{self.bucket}/{key.lstrip('/')}")
        if info.type != fs.FileType.File:
            raise MissingFile(key)
        return info.size

    def list(self, prefix: str) -> list[str]:
        select = fs.FileSelector(
            f"{self.bucket}/{prefix.strip('/')}", recursive=True, allow_not_found=True
        )
        infos = self.fs.get_file_info(select)
        return sorted(i.path[len(self.bucket) + 1 :] for i in infos if i.type == fs.FileType.File)


def split_object_url(url: str) -> tuple[str, str]:
    """Bucket and key of ``s3://b/k``, ``gs://b/k`` or a path-style / virtual-hosted https URL."""
    parsed = urlparse(url)
    if parsed.scheme in ("s3", "gs", "oss"):
        return parsed.netloc, parsed.path.lstrip("/")
    if parsed.scheme in ("http", "https"):
        host = parsed.netloc.split(".")
        if (
            len(host) > 2
            and host[0] not in ("s3", "storage", "127")
            and not host[0].startswith("s3-")
        ):
            return host[0], parsed.path.lstrip("/")
        bucket, _, key = parsed.path.lstrip("/").partition("/")
        return bucket, key
    raise ValueError(f"not an object URL: {url}")
