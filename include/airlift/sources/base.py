"""What a source system must offer; one module (or package) per source follows it.

A source knows neither targets nor Airflow. It is found by its name through the entry-point group
`airlift.sources` (see `airlift.sources.registry`), so that others can add one of their own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import pyarrow as pa

from airlift.access import AccessControl
from airlift.chunk import Chunk
from airlift.connections import Connections
from airlift.file_identity import FileIdentity
from airlift.schema import SourceCollection
from airlift.sources.unchanged import DescribedFile, FileChanged, ensure_unchanged
from airlift.storage import Storage

BATCH_BYTES = 4 << 20
"""About how many bytes of rows a record batch holds."""

FILE_BATCH_BYTES = 4 << 30
"""A source's `batch_bytes` where rows are read from files at the disk's speed."""


class SourceFile(NamedTuple):
    """A file that the source reads, as it was when it was looked at; it can be kept as JSON.

    Attributes:
        path: relative to the source's folder.
        size: bytes.
        changed, version: what else its identity says, if that was asked for; see `FileIdentity`.
    """

    path: str
    size: int
    changed: int | None = None
    version: str = ""

    @property
    def identity(self) -> FileIdentity:
        """What it was."""
        return FileIdentity(self.size, self.changed, self.version)


@dataclass(frozen=True)
class BadRows:
    """Rows that can't be turned into the collection's columns.

    Attributes:
        rows: any columns that help a person to mend them at the source.
        keys: their primary keys, as far as they are known.
        reasons: for each of them, which names the field.
    """

    rows: pa.RecordBatch
    keys: Sequence[Any]
    reasons: Sequence[str]


class Source(Protocol):
    """A system that collections are moved from.

    Attributes:
        batch_bytes: of a batch, which one task converts: what takes a minute or more to read.
        takes_filter: whether it heeds the `filter` of a collection's mapping.
    """

    batch_bytes: ClassVar[int]
    takes_filter: ClassVar[bool]

    def __init__(self, params: Any, connections: Connections, scratch: Storage) -> None:
        """Makes the source; connects to nothing yet.

        Args:
            params: of the model that the entry-point group `airlift.params` names.
            connections: looks connections up.
            scratch: a folder in staging for what `cut` finds and `read` needs.
        """

    def check(self) -> list[str]:
        """Connects and returns every reason why the source can't be read; empty when it can."""
        ...

    def begin_after(self, moved: Mapping[str, int | str]) -> None:
        """Tells the source, before `describe`, what earlier runs have moved.

        Args:
            moved: collection -> the largest value of its `since_field`; empty unless the params are
                incremental.
        """

    def describe(self) -> list[SourceCollection]:
        """The chosen collections. Raises Refused when one of them can't be described."""
        ...

    def files(self, collections: list[SourceCollection]) -> list[SourceFile]:
        """The files that the collections are read from; empty for a source that is a server."""
        ...

    def folder(self) -> Storage | None:
        """The folder that the files lie in; None for a source that is a server."""
        ...

    def address(self) -> str:
        """Where the source is, for the report; without credentials."""
        ...

    def version(self) -> str:
        """What the source says it is, for the report, such as `Milvus 2.3.5`; "" if nothing."""
        ...

    def read_from(self, folder: Storage) -> None:
        """Reads the source's files from a copy of its folder."""
        ...

    def cut(self, collection: SourceCollection, chunk_bytes: int) -> list[Chunk]:
        """Cuts a collection into chunks of about `chunk_bytes`.

        Looks at all that can be wrong without reading every row, and raises Refused with all of it.
        What it finds on the way it puts into `collection`: `left_out`, `partition_rows`, `notes`
        and `detail`; the sum of the chunks' rows is `collection.live` afterwards.
        """
        ...

    def read(self, chunk: Chunk) -> Iterator[pa.RecordBatch | BadRows]:
        """Yields a chunk's live rows, with the source's field names, in a fixed order.

        Batches own their memory. Rows that can't be put into columns come as `BadRows`, which count
        as rows of the chunk. Raises AirliftError (FileSource: FileChanged) where what is read is
        not, or does not stay, what was described; after the last batch at the latest.
        """
        ...

    def ensure_unchanged(self, chunk: Chunk) -> None:
        """Raises FileChanged where the files of a chunk are not as they were described.

        Called before and after a target imports a chunk's `own_files`.
        """

    def access(self) -> AccessControl | None:
        """Users, roles and grants to restore on the target; None where the params ask for none."""
        ...

    def changes(self, collection: SourceCollection) -> list[str]:
        """What has changed in a collection while it was read, as far as the source can tell.

        Called once, when every row was read and nothing is written to the target yet. Raises
        Refused where the params don't allow it, FileChanged for a file that was changed.
        """
        ...

    def close(self) -> None:
        """Closes connections; called at the end of every step that used the source."""

    def finish(self) -> None:
        """Ends what the source's server keeps for this migration, such as a point in time.

        Called when every row was read, and again at the end of the run, also of a failed one.
        """


class WithoutAccess:
    """What sources have in common that hold no users and roles, or don't give them."""

    def access(self) -> AccessControl | None:
        """None."""
        return None

    def ensure_unchanged(self, chunk: Chunk) -> None:
        """A source whose files no target imports has none to look at."""


class StillSource(WithoutAccess):
    """What sources have in common whose data lies still, such as files."""

    takes_filter: ClassVar[bool] = False

    def begin_after(self, moved: Mapping[str, int | str]) -> None:
        """Files have no rows that came later."""

    def version(self) -> str:
        """Most files don't tell what wrote them."""
        return ""

    def changes(self, collection: SourceCollection) -> list[str]:
        """None: to read what has changed fails."""
        return []

    def close(self) -> None:
        """Files are closed as soon as they are read."""

    def finish(self) -> None:
        """Files hold nothing for a migration."""


class FileSource(StillSource, ABC):
    """What sources have in common that read files: they give no rows of a file that changes.

    Each file's identity is kept from the first look at it, in `SourceCollection.detail` and
    `Chunk.read`, and so in the ids of chunks. It is compared before and after a chunk is read, and
    for all files before anything is written to the target. Whoever reads a file to describe it asks
    for its identity before that.
    """

    _copy: Storage | None = None

    @abstractmethod
    def folder(self) -> Storage:
        """The folder that the files lie in."""

    @abstractmethod
    def files(self, collections: list[SourceCollection]) -> list[SourceFile]:
        """The files that the collections are read from, with their identities."""

    @abstractmethod
    def files_of(self, chunk: Chunk) -> Iterable[DescribedFile]:
        """The files that a chunk is read from; see `placed`."""

    @abstractmethod
    def rows(self, chunk: Chunk) -> Iterator[pa.RecordBatch | BadRows]:
        """Yields a chunk's rows; see `Source.read`. Its files are compared around it."""

    def read_from(self, folder: Storage) -> None:
        """Reads from a copy of the folder from now on."""
        self._copy = folder

    def look_at(self, paths: Iterable[str]) -> list[SourceFile]:
        """Files of the folder as they are now; to be called before anything of them is read."""
        paths = list(paths)
        found = zip(paths, self.folder().identities(paths), strict=True)
        files = [SourceFile(path, *identity) for path, identity in found if identity]
        if gone := set(paths) - {file.path for file in files}:
            raise FileChanged(
                f"{self.folder().address(min(gone))} was removed since it was listed; run again "
                "when nothing writes to the source"
            )
        return files

    def placed(self, files: Iterable[SourceFile]) -> list[DescribedFile]:
        """Files of the folder, or of its copy, to be compared."""
        folder, copied = self._copy or self.folder(), self._copy is not None
        return [DescribedFile(folder, file.path, file.identity, copied) for file in files]

    def described_files(self, collection: SourceCollection) -> list[DescribedFile]:
        """All that is known of a collection was read from these; metadata may come on top."""
        return self.placed(self.files([collection]))

    def read(self, chunk: Chunk) -> Iterator[pa.RecordBatch | BadRows]:
        """Yields a chunk's rows.

        Raises:
            FileChanged: a file is not as it was described, or was changed meanwhile.
        """
        files = list(self.files_of(chunk))
        ensure_unchanged(files)
        try:
            yield from self.rows(chunk)
        except Exception:
            # A file that was cut off looks damaged: that it was changed says more.
            ensure_unchanged(files)
            raise
        ensure_unchanged(files)

    def ensure_unchanged(self, chunk: Chunk) -> None:
        """Raises FileChanged where a file of a chunk is not as it was described."""
        ensure_unchanged(self.files_of(chunk))

    def changes(self, collection: SourceCollection) -> list[str]:
        """None. Raises FileChanged when a file of the collection is not as it was described."""
        ensure_unchanged(self.described_files(collection))
        return []
