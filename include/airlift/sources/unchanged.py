"""Refuses files that are not as they were when the source was described."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from airlift.errors import AirliftError
from airlift.file_identity import FileIdentity
from airlift.storage import Storage

_SHOWN = 3


class FileChanged(AirliftError):
    """A file of the source is not what it was when the source was described."""


class DescribedFile(NamedTuple):
    """A file as it was when the source was described.

    Attributes:
        folder, path: where it is read from.
        identity: what it was then; None: it was not there.
        copied: whether `folder` holds a copy, which has a time and a version of its own.
    """

    folder: Storage
    path: str
    identity: FileIdentity | None
    copied: bool = False

    def change(self, now: FileIdentity | None) -> str:
        """What is different now; "" where nothing is."""
        before = self.identity
        if before and self.copied:
            before = FileIdentity(before.size)
        if now == before or (now and before and before.matches(now)):
            return ""
        touched = ""
        if now and before and (now.size, now.version) == (before.size, before.version):
            touched = " (its bytes may be the same; nobody can tell without the old ones)"
        return (
            f"{self.folder.address(self.path)} was changed since the migration was planned: then "
            f"{before or 'no such file'}; now {now or 'no such file'}{touched}"
        )


def ensure_unchanged(files: Iterable[DescribedFile]) -> None:
    """Compares files with what they were.

    Raises:
        FileChanged: a file was replaced, written to, touched or removed.
    """
    by_folder: dict[int, list[DescribedFile]] = {}
    for file in dict.fromkeys(files):
        by_folder.setdefault(id(file.folder), []).append(file)
    changes: list[str] = []
    for same in by_folder.values():
        found = same[0].folder.identities(file.path for file in same)
        changes += filter(None, (file.change(now) for file, now in zip(same, found, strict=True)))
    if changes:
        more = len(changes) - _SHOWN
        raise FileChanged(
            f"{'; '.join(changes[:_SHOWN])}{f'; and {more:,} more files' if more > 0 else ''}. "
            "Rows of the old and the new file can't be distinguished, so no rows of this run are "
            "used. Stop what writes to the source, or migrate from a copy or a snapshot of it that "
            "does not change, and run again with a new migration_id"
        )
