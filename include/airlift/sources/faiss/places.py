"""Where the files are that a URL, a pattern or several of them name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, Field

from airlift.errors import AirliftError, Refused
from airlift.file_identity import FileIdentity
from airlift.sources.stray_files import MINIO_DISK, is_minio_disk, is_stray
from airlift.sources.unchanged import DescribedFile
from airlift.storage import Storage, open_storage

_WILD = re.compile(r"[*?]")


class FileRef(BaseModel):
    """A file as it was when it was found.

    Attributes:
        root: the disk (`/`) or bucket (`s3://bucket`) that it lies in.
        path: relative to that.
        changed, version: what else its identity says; see `FileIdentity`.
        lists: of an index: the file beside it that has its inverted lists, or None.
    """

    model_config = ConfigDict(frozen=True)

    root: str
    path: str
    size: int
    changed: int | None
    version: str = ""
    # Left out where there is none: chunks of other indexes keep the ids that they had.
    lists: FileRef | None = Field(None, exclude_if=lambda lists: lists is None)

    @property
    def with_lists(self) -> tuple[FileRef, ...]:
        """The file, and the one of its inverted lists."""
        return (self, self.lists) if self.lists else (self,)

    @property
    def identity(self) -> FileIdentity:
        """What it was."""
        return FileIdentity(self.size, self.changed, self.version)


@dataclass(frozen=True)
class Place:
    """A URL in two: the disk or bucket, and the path in it."""

    root: str
    path: str


def place_of(url: str) -> Place:
    """Splits a URL; `?` may stand in it as a wildcard. Raises AirliftError."""
    scheme, there, rest = url.strip().partition("://")
    if not there or scheme == "file":
        path = unquote(rest) if there else url.strip()
        if not path.startswith("/"):
            raise AirliftError(
                f"{url!r} is not an absolute path; write it from the root, as /data/x.index"
            )
        return Place("/", path.strip("/"))
    bucket, _, key = rest.partition("/")
    # S3 has keys that begin with a slash, and folders that end with one.
    return Place(f"{scheme}://{bucket}", key.removesuffix("/"))


class Places:
    """Finds files, and opens the disks and buckets that they lie in.

    Args:
        open_root: opens a disk or bucket.
    """

    def __init__(self, open_root: Callable[[str], Storage] = open_storage) -> None:
        self._open_root = open_root
        self._opened: dict[str, Storage] = {}
        self._copied: tuple[str, Storage] | None = None

    def read_from(self, root: str, folder: Storage) -> None:
        """Reads what lies in `root` from a copy from now on."""
        self._copied = (root, folder)

    def original(self, root: str) -> Storage:
        """A disk or bucket itself."""
        if root not in self._opened:
            self._opened[root] = self._open_root(root)
        return self._opened[root]

    def folder(self, root: str) -> Storage:
        """A disk or bucket, or the copy of what is needed of it."""
        if self._copied and self._copied[0] == root:
            return self._copied[1]
        return self.original(root)

    def find(self, urls: str) -> list[FileRef]:
        """The files that a URL, a pattern, or several separated by commas name, each once.

        Raises:
            Refused: with a reason for each that names none.
        """
        found: dict[tuple[str, str], FileRef] = {}
        reasons = []
        for url in filter(None, (one.strip() for one in urls.split(","))):
            place = place_of(url)
            refs = self._refs(place, self._matches(place))
            if not refs:
                reasons.append(self._nothing(url, place))
            found.update(((ref.root, ref.path), ref) for ref in refs)
        if reasons:
            raise Refused(reasons)
        return list(found.values())

    def _matches(self, place: Place) -> list[str]:
        parts = place.path.split("/")
        wild = next((n for n, part in enumerate(parts) if _WILD.search(part)), None)
        if wild is None:
            return [place.path]
        depth = len(parts) - wild
        listed = self.original(place.root).list("/".join(parts[:wild]), recursive=depth > 1)
        names = [
            path
            for path, size in listed.items()
            if size is not None
            and not is_stray(path)
            and len(there := path.split("/")) == len(parts)
            and all(map(fnmatchcase, there, parts))
        ]
        return sorted(names, key=_naturally)

    def _refs(self, place: Place, paths: list[str]) -> list[FileRef]:
        identities = self.original(place.root).identities(paths)
        return [
            FileRef(
                root=place.root,
                path=path,
                size=identity.size,
                changed=identity.mtime_ns,
                version=identity.version,
            )
            for path, identity in zip(paths, identities, strict=True)
            if identity
        ]

    def _nothing(self, url: str, place: Place) -> str:
        folder = self.original(place.root)
        if not _WILD.search(place.path) and is_minio_disk(folder, place.path):
            return f"{url} can't be read: {MINIO_DISK}"
        if not _WILD.search(place.path) and folder.list(place.path):
            return f"{url} is a folder; name its files, as {url.removesuffix('/')}/*"
        return f"{url} names no file that is there; check the address"

    def lists_beside(self, index: FileRef, name: str) -> FileRef:
        """The file of an index' inverted lists.

        Args:
            name: a plain file name.

        Raises:
            AirliftError: there is none, or it is the index itself.
        """
        folder, slash, own = index.path.rpartition("/")
        path = f"{folder}{slash}{name}"
        found = self._refs(Place(index.root, path), [path]) if name != own else []
        if found:
            return found[0]
        original = self.original(index.root)
        raise AirliftError(
            f"{original.address(index.path)} keeps its inverted lists in a file of their own "
            f"(OnDiskInvertedLists): expected {original.address(path)} beside it, which "
            + ("is the index itself" if name == own else "is not there")
            + f"; put the file of the lists beside the index under the name {name!r} that the "
            "index has for it, wherever it was written"
        )

    def described(self, refs: Iterable[FileRef]) -> list[DescribedFile]:
        """Files where they are read from, to be compared with what they were."""
        copied = self._copied and self._copied[0]
        return [
            DescribedFile(self.folder(ref.root), ref.path, ref.identity, ref.root == copied)
            for ref in refs
        ]


def collection_name(urls: str, refs: list[FileRef]) -> str:
    """The name of the collection that the files make: their stem, or what their stems share."""
    stems = [re.sub(r"\.[^./]*$", "", ref.path.split("/")[-1]) for ref in refs]
    patterns = [one.strip() for one in urls.split(",") if one.strip()]
    if len(patterns) == 1 and _WILD.search(patterns[0]):
        last = re.sub(r"\.[^.]*$", "", patterns[0].split("/")[-1])
        shared = _WILD.split(last)[0]
    else:
        shared = stems[0] if len(stems) == 1 else re.sub(r"\d+$", "", _common_start(stems))
    folders = refs[0].path.split("/")[:-1]
    return shared.strip("-_. ") or (folders[-1] if folders else "") or "index"


def _common_start(texts: list[str]) -> str:
    first, last = min(texts), max(texts)
    length = next((n for n, one in enumerate(first) if last[n : n + 1] != one), len(first))
    return first[:length]


def _naturally(path: str) -> list[tuple[int, int | str]]:
    """A key that sorts `part-2` before `part-10`."""
    return [
        (0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", path) if part
    ]
