"""The identity of a file, which shows whether the file has changed.

A file that is changed while it is read gives rows of its old and of its new content, and nothing in
the rows shows it. So its identity is recorded when it is described, and compared with that of the
file before and after it is read. `airlift.stores` says what each store offers for that.

Not detected: a change on a disk that keeps size and inode and sets mtime back, or that comes within
one tick of the file system's clock after another change (some milliseconds on ext4 and XFS, 1 or
2 s on FAT and old network shares); in S3 without versions, an object that is replaced and put back
again within one second.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

_SECOND = 10**9


class FileIdentity(NamedTuple):
    """One state of a file. It is written as JSON, and part of the ids of chunks.

    Attributes:
        size: bytes.
        mtime_ns: when it was last changed (nanoseconds since 1970); None if unknown.
        version: what else the store has that changes with the file, such as `inode 12` or
            `ETag "5d41…"`; "" if nothing.
    """

    size: int
    mtime_ns: int | None = None
    version: str = ""

    def matches(self, other: FileIdentity) -> bool:
        """Whether both can be the same state: what both know is equal."""
        return (
            self.size == other.size
            and (None in (self.mtime_ns, other.mtime_ns) or self.mtime_ns == other.mtime_ns)
            and (not self.version or not other.version or self.version == other.version)
        )

    def __str__(self) -> str:
        known = [f"{self.size:,} bytes", _when(self.mtime_ns), self.version]
        return ", ".join(filter(None, known))


def _when(mtime_ns: int | None) -> str:
    if mtime_ns is None:
        return ""
    seconds, nanoseconds = divmod(mtime_ns, _SECOND)
    try:
        when = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return f"changed {mtime_ns} ns after 1970"  # a disk takes years that a calendar lacks
    return f"changed {when}.{nanoseconds:09d}Z"
