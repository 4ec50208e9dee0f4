"""Cuts a Milvus 1.x collection into chunks, and finds the ids that repeat in it."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from pydantic import BaseModel, ConfigDict

from airlift.chunk import Chunk, chunk_id
from airlift.errors import AirliftError, Refused
from airlift.repeated_keys import RepeatedKeys
from airlift.sources.milvus1x.dead_rows import DeadRows
from airlift.sources.milvus1x.params import OnDuplicateId
from airlift.sources.milvus1x.segment import SegmentFiles
from airlift.sources.milvus1x.segment_reader import (
    HEADER,
    SegmentReader,
    VectorKind,
    read_deleted,
)
from airlift.storage import Storage

_NPY_HEADER = 4096


class PlacedSegment(SegmentFiles):
    """A segment and the partition whose rows it holds ("" is the default one)."""

    partition: str

    @property
    def live(self) -> int:
        """Rows that are not deleted."""
        return self.rows - self.deleted


class Span(SegmentFiles):
    """A range of a segment's rows.

    Attributes:
        start, stop: the range of row offsets.
        live: rows in it that are read, exact.
        left_out: the file in scratch that holds the offsets of older rows of repeated ids; "" for
            none.
    """

    start: int
    stop: int
    live: int
    left_out: str = ""


class ReadPlan(BaseModel):
    """What a chunk's `read` holds."""

    model_config = ConfigDict(frozen=True)

    dim: int
    binary: bool
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Repeats:
    """Ids that stand in several live rows.

    Attributes:
        ids, extra: how many there are, and how many rows beyond one each.
        files: by the segment's place, the scratch file of the offsets to leave out.
        rows: by the segment's place, how many rows that are.
        note: what the user should know; "" if nothing repeats.
        keys_file: the scratch file of the sorted repeated ids (`keep_all`).
    """

    ids: int = 0
    extra: int = 0
    files: dict[int, str] = field(default_factory=dict)
    rows: dict[int, int] = field(default_factory=dict)
    note: str = ""
    keys_file: str = ""


def dead_rows(tables: Storage, scratch: Storage, files: SegmentFiles, left_out: str) -> DeadRows:
    """The rows of a segment that are not read.

    Raises:
        AirliftError: its deleted rows are not those that were found when it was described.
    """
    offsets = max(files.sizes[2] - HEADER, 0) // 4
    dead, wrong, _ = read_deleted(tables, files.paths[2], offsets, files.rows)
    if wrong or dead.digest() != files.dead:
        raise AirliftError(
            f"{tables.address(files.paths[2])} holds other deleted rows than when the migration "
            "was planned; stop Milvus 1.x, then run the migration again with a new migration_id"
        )
    if left_out:
        data = scratch.read_bytes(left_out, limit=8 * files.rows + _NPY_HEADER)
        try:
            lost = np.load(io.BytesIO(data), allow_pickle=False)
            if lost.dtype != np.int64 or lost.ndim != 1 or len(lost) == 0:
                raise ValueError(f"found {lost.dtype} of shape {lost.shape}")
            if lost.min() < 0 or lost.max() >= files.rows:
                raise ValueError(f"found offsets beyond {files.rows:,} rows")
        except (ValueError, EOFError) as error:
            raise AirliftError(
                f"{scratch.address(left_out)} is damaged: expected row offsets; {error}; plan the "
                "migration again"
            ) from error
        dead.add(lost)
    return dead


def find_repeats(
    name: str,
    segments: Sequence[PlacedSegment],
    kind: VectorKind,
    tables: Storage,
    scratch: Storage,
    on_duplicate_id: OnDuplicateId,
) -> Repeats:
    """Finds ids that stand in several live rows of a collection.

    Args:
        name: the collection's name; also its folder in scratch.
        segments: oldest first.

    Raises:
        Refused: there are some, and they were not allowed.
    """
    keep_last = on_duplicate_id is OnDuplicateId.KEEP_LAST
    with RepeatedKeys(keep_last) as finder:
        for place, files in enumerate(segments):
            if files.live:
                dead = dead_rows(tables, scratch, files, "")
                reader = SegmentReader(tables, files.table_id, files.segment, kind, dead)
                for offsets, ids in reader.ids(0, files.rows):
                    finder.add(place, offsets, ids)
        finder.finish()
        if not finder.keys:
            return Repeats()
        found = f"{finder.keys:,} ids stand in several live rows ({finder.extra:,} rows too many)"
        if on_duplicate_id is OnDuplicateId.FAIL:
            examples = ", ".join(str(key) for key in finder.examples)
            raise Refused(
                [
                    f"collection {name!r}: {found}, such as {examples}; Milvus 2.x expects one row "
                    "for an id; set on_duplicate_id to keep_last (the newest row) or keep_all, or "
                    "mapping.<collection>.auto_id to have new ids"
                ]
            )
        if keep_last:
            paths = {place: f"{name}/left_out/{place:06d}.npy" for place in finder.losers}
            for place, path in paths.items():
                finder.save_losers(place, scratch, path)
            note = f"{found}; the newest row of each is kept, {finder.extra:,} rows are left out"
            return Repeats(finder.keys, finder.extra, paths, dict(finder.losers), note)
        keys_file = f"{name}/repeated_keys.npy"
        finder.save_keys(scratch, keys_file)
        note = f"{found}; all rows are kept, as on_duplicate_id says"
        return Repeats(finder.keys, finder.extra, note=note, keys_file=keys_file)


class Cutter:
    """Cuts the partitions of one collection.

    Args:
        segments: oldest first.
        chunk_rows: the most rows of a chunk.
        row_bytes: bytes of a row.
    """

    def __init__(
        self,
        name: str,
        segments: Sequence[PlacedSegment],
        repeats: Repeats,
        tables: Storage,
        scratch: Storage,
        chunk_rows: int,
        row_bytes: int,
    ) -> None:
        self._name = name
        self._segments = segments
        self._repeats = repeats
        self._tables = tables
        self._scratch = scratch
        self._chunk_rows = chunk_rows
        self._row_bytes = row_bytes

    def live(self, place: int) -> int:
        """Rows of a segment that are read."""
        return self._segments[place].live - self._repeats.rows.get(place, 0)

    def chunks(self, partitions: Sequence[str], dim: int, binary: bool) -> list[Chunk]:
        """The chunks of all partitions, of about equal rows in each partition."""
        chunks: list[Chunk] = []
        for partition in partitions:
            places = [n for n, at in enumerate(self._segments) if at.partition == partition]
            for spans in self._cut(places):
                read = ReadPlan(dim=dim, binary=binary, spans=tuple(spans))
                rows = sum(span.live for span in spans)
                plan = read.model_dump(mode="json")
                chunks.append(
                    Chunk(
                        id=chunk_id(len(chunks), self._name, partition, plan),
                        collection=self._name,
                        partition=partition,
                        rows=rows,
                        bytes=rows * self._row_bytes,
                        read=plan,
                    )
                )
        return chunks

    def _cut(self, places: Sequence[int]) -> Iterator[list[Span]]:
        live = sum(self.live(place) for place in places)
        count = -(-live // self._chunk_rows)
        if not count:
            return
        fewest, more = divmod(live, count)
        wanted = iter([fewest + (n < more) for n in range(count)])
        spans: list[Span] = []
        room = next(wanted)
        for place in places:
            start, left = 0, self.live(place)
            dead: DeadRows | None = None
            while left:
                taken = min(room, left)
                stop = self._segments[place].rows
                if taken < left:
                    dead = self._dead(place) if dead is None else dead
                    stop = dead.stop_after(start, taken)
                spans.append(self._span(place, start, stop, taken))
                start, left, room = stop, left - taken, room - taken
                if not room:
                    yield spans
                    spans, room = [], next(wanted, 0)

    def _dead(self, place: int) -> DeadRows:
        left_out = self._repeats.files.get(place, "")
        return dead_rows(self._tables, self._scratch, self._segments[place], left_out)

    def _span(self, place: int, start: int, stop: int, live: int) -> Span:
        return Span(
            **self._segments[place].model_dump(exclude={"partition"}),
            start=start,
            stop=stop,
            live=live,
            left_out=self._repeats.files.get(place, ""),
        )
