"""Folders on a worker's own disk that go with the process, also when it is killed.

`tempfile` removes a folder when its process ends by itself. One that is killed leaves it, and with
every further try of its task another one, until the disk is full. So a folder is locked while
somebody has it (the kernel gives the lock back when a process dies), and whoever makes one removes
those that nobody has.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Self

_PREFIX = "airlift-"
_LOCK = ".airlift-lock"


class TemporaryFolder:
    """A new, empty folder, readable by us only; also a context manager.

    Args:
        purpose: a word for its name.
        parent: where it is made; by default where `TMPDIR` says.

    Attributes:
        path: where it is.
    """

    def __init__(self, purpose: str, parent: Path | None = None) -> None:
        parent = parent or Path(tempfile.gettempdir())
        _remove_abandoned(parent)
        # It gets the name that others look for once it is locked, and not a moment before.
        made = Path(tempfile.mkdtemp(prefix=f".{_PREFIX}{purpose}-", dir=parent))
        descriptor = os.open(made / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        with suppress(OSError):  # a disk without locks: nobody will take it for abandoned
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.path = made.rename(made.with_name(made.name.removeprefix(".")))
        self._remove = weakref.finalize(self, _remove, self.path, descriptor)

    def close(self) -> None:
        """Removes it and all that it holds."""
        self._remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _remove(path: Path, descriptor: int) -> None:
    shutil.rmtree(path, ignore_errors=True)
    os.close(descriptor)


def _remove_abandoned(parent: Path) -> None:
    """Removes what processes that were killed have left."""
    for lock in parent.glob(f"{_PREFIX}*/{_LOCK}"):
        with suppress(OSError):  # somebody has it, or has just removed it
            folder = lock.parent.lstat()
            if not stat.S_ISDIR(folder.st_mode) or folder.st_uid != os.getuid():
                continue
            descriptor = os.open(lock, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.parent, ignore_errors=True)
            finally:
                os.close(descriptor)
