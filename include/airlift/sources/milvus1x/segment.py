"""The three files of a Milvus 1.x segment, and whether they are whole.

What is in them, `segment_reader` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from pydantic import BaseModel, ConfigDict

from airlift.errors import AirliftError
from airlift.file_identity import FileIdentity
from airlift.sources.base import SourceFile
from airlift.sources.milvus1x.dead_rows import DeadRows
from airlift.sources.milvus1x.meta import Segment
from airlift.sources.milvus1x.segment_reader import (
    HEADER,
    VectorKind,
    read_deleted,
    segment_paths,
)
from airlift.storage import Storage

_PARALLEL = 16  # segments looked at at once; what costs is a bucket's latency


class SegmentFiles(BaseModel):
    """A segment whose files were found whole.

    Attributes:
        rows: live and deleted ones.
        sizes: bytes of the vectors', the ids' and the deleted rows' file.
        changed, versions: what else their identities say; see `FileIdentity`.
        dead: a hash of the set of deleted rows.
    """

    model_config = ConfigDict(frozen=True)

    table_id: str
    segment: str
    rows: int
    deleted: int
    sizes: tuple[int, int, int]
    changed: tuple[int | None, int | None, int | None]
    versions: tuple[str, str, str] = ("", "", "")
    dead: str

    @property
    def paths(self) -> tuple[str, str, str]:
        """The files, relative to the `tables` folder."""
        return segment_paths(self.table_id, self.segment)

    @property
    def files(self) -> list[SourceFile]:
        """The files as they were found."""
        found = zip(self.paths, self.sizes, self.changed, self.versions, strict=True)
        return [SourceFile(*file) for file in found]


def look_at_segments(
    storage: Storage, segments: Sequence[Segment], kind: VectorKind
) -> tuple[list[SegmentFiles], list[str]]:
    """Checks the files of segments without reading their vectors and ids.

    Args:
        storage: the `tables` folder.
        segments: as the metadata has them.

    Returns:
        The segments that are whole, in the order given, and every reason why others are not.
    """
    paths = [path for at in segments for path in segment_paths(at.table_id, at.segment)]
    identities = storage.identities(paths)
    grouped = [identities[n : n + 3] for n in range(0, len(identities), 3)]

    def look(at: Segment, found: list[FileIdentity | None]) -> SegmentFiles | list[str]:
        return _Look(storage, at, kind).whole(found)

    with ThreadPoolExecutor(_PARALLEL if not storage.is_local else 1) as pool:
        results = list(pool.map(look, segments, grouped))
    whole = [result for result in results if isinstance(result, SegmentFiles)]
    return whole, [
        reason for result in results if not isinstance(result, SegmentFiles) for reason in result
    ]


class _Look:
    """Looks at one segment's files; the reasons pile up."""

    def __init__(self, storage: Storage, segment: Segment, kind: VectorKind) -> None:
        self.storage = storage
        self.segment = segment
        self.kind = kind
        self.paths = segment_paths(segment.table_id, segment.segment)
        self.reasons: list[str] = []

    def whole(self, found: list[FileIdentity | None]) -> SegmentFiles | list[str]:
        """The segment, or every reason why it can't be read."""
        try:
            return self._whole(found) or self.reasons
        except AirliftError as error:
            return [*self.reasons, str(error)]

    def _whole(self, found: list[FileIdentity | None]) -> SegmentFiles | None:
        there = [identity for identity in found if identity is not None]
        if len(there) < len(found):
            self._missing(found)
            return None
        widths = (self.kind.width, 8, 4)
        counts = [
            self._count(path, identity.size, width)
            for path, identity, width in zip(self.paths, there, widths, strict=True)
        ]
        vectors, ids, offsets = counts
        if vectors is not None and ids is not None and vectors != ids:
            self._reason(0, f"holds {vectors:,} vectors, but {self.paths[1]} holds {ids:,} ids")
        if self.reasons or vectors is None or offsets is None:
            return None
        dead = self._dead(offsets, vectors)
        if dead is None:
            return None
        deleted = len(dead)
        # 1.x counted with or without the deleted rows, by version; an offset that is repeated was
        # taken off twice.
        if self.segment.rows not in (vectors, vectors - deleted, vectors - offsets):
            self._reason(
                0,
                f"holds {vectors:,} rows, {deleted:,} of them deleted; the metadata says "
                f"{self.segment.rows:,}; expected {vectors:,} or {vectors - deleted:,}; export the "
                "metadata and copy the files again at one moment, with Milvus 1.x stopped",
            )
            return None
        return SegmentFiles(
            table_id=self.segment.table_id,
            segment=self.segment.segment,
            rows=vectors,
            deleted=deleted,
            sizes=(there[0].size, there[1].size, there[2].size),
            changed=(there[0].mtime_ns, there[1].mtime_ns, there[2].mtime_ns),
            versions=(there[0].version, there[1].version, there[2].version),
            dead=dead.digest(),
        )

    def _reason(self, file: int, text: str) -> None:
        self.reasons.append(f"{self.storage.address(self.paths[file])} {text}")

    def _missing(self, found: list[FileIdentity | None]) -> None:
        if not any(found):
            folder = f"{self.segment.table_id}/{self.segment.segment}"
            self.reasons.append(
                f"the segment folder {self.storage.address(folder)} is missing or empty, though "
                f"the metadata lists it with {self.segment.rows:,} rows; copy it, or check "
                "tables_url"
            )
            return
        for file, identity in enumerate(found):
            if identity is None:
                self._reason(file, "is missing; copy it from the Milvus 1.x server")

    def _count(self, path: str, size: int, width: int) -> int | None:
        """How many values of `width` bytes the file says and has; None when they disagree."""
        file = self.paths.index(path)
        if size == 0:
            return 0  # 1.x may leave a file of no values without its header
        if size < HEADER:
            self._reason(file, f"is truncated: it has {size} bytes, its header alone has {HEADER}")
            return None
        with self.storage.open_input(path) as stream, self.storage.explained("read", path):
            said = int.from_bytes(stream.read_at(HEADER, 0), "little")
        if said != (found := size - HEADER):
            wrong = "truncated" if found < said else "over-long"
            self._reason(
                file,
                f"is {wrong}: its header says {said:,} bytes, {found:,} follow; copy it again from "
                "the Milvus 1.x server",
            )
            return None
        if said % width:
            self._reason(
                file,
                f"has {said:,} bytes of values; expected a multiple of {width} bytes a value "
                "(check the dimension and the metric in the metadata)",
            )
            return None
        return said // width

    def _dead(self, offsets: int, rows: int) -> DeadRows | None:
        if rows >= 1 << 31:
            self._reason(1, f"holds {rows:,} rows; Milvus 1.x can hold 2^31 - 1 in a segment")
            return None
        dead, wrong, example = read_deleted(self.storage, self.paths[2], offsets, rows)
        if wrong:
            self._reason(
                2,
                f"holds {wrong:,} offsets out of range, such as {example}; expected 0 to "
                f"{rows - 1:,}, as the segment has {rows:,} rows; copy the segment again",
            )
            return None
        return dead
