"""A disk of this machine, or one that is mounted on it."""

from __future__ import annotations

import os
import re
import stat
import uuid
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.parse import SplitResult, unquote

import pyarrow.fs as pafs

from airlift.connections import StorageConnection
from airlift.errors import AirliftError
from airlift.file_identity import FileIdentity
from airlift.stores.base import ArrowWriting, Store, Writing

UNFINISHED = re.compile(r"\.part-[0-9a-f]{32}$")
"""Ends the name of a file that is being written, or was when its process was killed."""

MAX_NAME_BYTES = 255
"""Of a file or a folder, on the usual file systems of Linux."""

_MOUNTS = Path("/proc/self/mountinfo")
_NUMBERED_ANEW = ("fuse", "cifs", "smb", "9p", "virtiofs")
"""File systems whose inode numbers may differ between machines, or from one look to the next."""


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

    def identity(self, path: str) -> FileIdentity | None:
        """Size, modification time and, where the file system keeps its number, the inode.

        Another inode shows a file that was replaced by one of the same size and time. The file is
        opened, not just looked at: so NFS asks its server.
        """
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            found = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        if not stat.S_ISREG(found.st_mode):
            return None
        version = f"inode {found.st_ino}" if _keeps_inodes(found.st_dev) else ""
        return FileIdentity(found.st_size, found.st_mtime_ns, version)

    def writing(self, path: str) -> Writing:
        """Starts writing a file; makes its folder."""
        parent, name = Path(path).parent, Path(path).name
        parent.mkdir(parents=True, exist_ok=True)
        end = f".part-{uuid.uuid4().hex}"
        begin = os.fsencode(name)[: MAX_NAME_BYTES - len(end)].decode(errors="ignore")
        return ArrowWriting(self.filesystem, str(parent / f"{begin}{end}"), publish_as=path)


@lru_cache(maxsize=64)
def _keeps_inodes(device: int) -> bool:
    """Whether a file keeps its inode's number as long as it is there, on whatever machine."""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = _MOUNTS.read_text(errors="replace").splitlines()
    except OSError:
        return True  # no Linux: a disk of this machine, as a rule
    for line in lines:
        # See proc_pid_mountinfo(5): the device is the third field, the type follows a lone hyphen.
        mount, _, rest = line.partition(" - ")
        if mount.split(" ")[2:3] == [wanted]:
            return not rest.startswith(_NUMBERED_ANEW)
    return True
