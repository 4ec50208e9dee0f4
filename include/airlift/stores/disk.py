"""A disk of this machine, or one that is mounted on it."""

from __future__ import annotations

import os
import re
import uuid
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.parse import SplitResult, unquote

import pyarrow.fs as pafs

from airlift.connections import StorageConnection
from airlift.errors import AirliftError
from airlift.stores.base import ArrowWriting, Store, Writing

UNFINISHED = re.compile(r"\.part-[0-9a-f]{32}$")
"""Ends the name of a file that is being written, or was when its process was killed."""


class Disk(Store):
    """The machine's own disk; a file is written beside its place and renamed."""

    name: ClassVar[str] = "the disk"
    schemes: ClassVar[tuple[str, ...]] = ("", "file")
    example: ClassVar[str] = "/data/folder"
    is_local: ClassVar[bool] = True

    def __init__(self) -> None:
        self.connection = StorageConnection()
        self._filesystem = pafs.LocalFileSystem()

    @classmethod
    def open(cls, url: str, parts: SplitResult, connection: Any) -> tuple[Self, str]:
        """Opens a path, or a file:// address."""
        path = unquote(parts.path) if parts.scheme else url
        if not path.startswith("/"):
            raise AirliftError(
                f"{url!r} is not an absolute path; write it from the root, as /data/x"
            )
        return cls(), os.path.normpath(path)

    @property
    def filesystem(self) -> pafs.FileSystem:
        """The Arrow filesystem."""
        return self._filesystem

    def writing(self, path: str) -> Writing:
        """Starts writing a file; makes its folder."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        return ArrowWriting(self.filesystem, f"{path}.part-{uuid.uuid4().hex}", publish_as=path)
