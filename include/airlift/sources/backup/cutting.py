"""Cuts a collection of a backup into chunks of whole log files."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from airlift.chunk import Chunk, chunk_id
from airlift.schema import CollectionSchema, Field
from airlift.sources.backup.dead import Offsets
from airlift.sources.backup.segments import Segment, StoredLog


class CountedSegment(BaseModel):
    """A segment, and what reading its keys has told.

    Attributes:
        log_rows: of each of its logs, deleted ones too.
        deleted: how many rows are deleted.
        gone: scratch files with the places of the rows that are not read.
    """

    model_config = ConfigDict(frozen=True)

    segment: Segment
    log_rows: tuple[int, ...]
    deleted: int
    gone: tuple[str, ...] = ()


class Span(BaseModel):
    """Some neighbouring logs of a segment.

    Attributes:
        segment: with these logs only.
        start: the place of their first row in the whole segment.
        rows, live: rows in them, and those that are read, exact.
        segment_rows: of the whole segment.
        gone: as of `CountedSegment`.
    """

    model_config = ConfigDict(frozen=True)

    segment: Segment
    start: int
    rows: int
    live: int
    segment_rows: int
    gone: tuple[str, ...]


class ReadPlan(BaseModel):
    """What a chunk's `read` holds.

    Attributes:
        fields: to read: the dynamic one too, but none that a function makes.
        ids: their ids at the source, by name.
        beside: logs that are not read here, but by a target that imports the chunk's folders.
    """

    model_config = ConfigDict(frozen=True)

    fields: tuple[Field, ...]
    ids: dict[str, int]
    spans: tuple[Span, ...]
    beside: tuple[StoredLog, ...] = ()

    @property
    def logs(self) -> list[StoredLog]:
        """All files that the rows depend on."""
        return [*(log for span in self.spans for log in span.segment.files), *self.beside]


def chunks_of(
    schema: CollectionSchema,
    ids: dict[str, int],
    segments: Sequence[tuple[CountedSegment, Offsets]],
    chunk_bytes: int,
) -> list[Chunk]:
    """The chunks of all partitions, each of about `chunk_bytes`, or of one log file that has more.

    Args:
        segments: in order, with the sorted places of the rows that are not read.
    """
    rows = sum(sum(counted.log_rows) for counted, _ in segments)
    stored = sum(counted.segment.bytes for counted, _ in segments)
    row_bytes = max(schema.row_bytes, stored // max(rows, 1), 1)
    chunks: list[Chunk] = []
    for partition in ("", *schema.partitions):
        mine = [one for one in segments if one[0].segment.partition == partition]
        for spans in _grouped(mine, max(chunk_bytes // row_bytes, 1)):
            chunks.append(_chunk(len(chunks), schema, ids, spans, row_bytes))
    return chunks


def chunks_to_import(
    schema: CollectionSchema,
    ids: dict[str, int],
    segments: Sequence[tuple[CountedSegment, Offsets]],
) -> list[Chunk]:
    """A chunk for each pair of folders that a target imports by itself; arguments as above."""
    by_folders: dict[tuple[str, str], list[tuple[CountedSegment, Offsets]]] = {}
    for counted, gone in segments:
        by_folders.setdefault(folders(counted.segment), []).append((counted, gone))
    # The folder of the deletes is named by those of its segments that have some.
    deletes = dict(sorted(by_folders))
    chunks: list[Chunk] = []
    for insert, delta in deletes.items():
        mine = by_folders.get((insert, ""), []) + (by_folders[insert, delta] if delta else [])
        for spans in _grouped(mine, sys.maxsize):
            # The deletes, and the logs of which no row is left.
            read = {log for span in spans for log in span.segment.files}
            beside = [log for counted, _ in mine for log in counted.segment.files]
            beside = [log for log in beside if log not in read]
            row_bytes = max(schema.row_bytes, 1)
            chunk = _chunk(len(chunks), schema, ids, spans, row_bytes, beside)
            chunks.append(chunk.model_copy(update={"own_files": (insert, delta)}))
    return chunks


def folders(segment: Segment) -> tuple[str, str]:
    """The folders above a segment's: of the insert logs, and of the delta logs ("" for none)."""
    [insert, *_] = segment.logs[0].values()
    delta = segment.deltas[0].path if segment.deltas else ""
    return insert.path.rsplit("/", 3)[0], delta.rsplit("/", 2)[0] if delta else ""


def _chunk(
    number: int,
    schema: CollectionSchema,
    ids: dict[str, int],
    spans: list[Span],
    row_bytes: int,
    beside: Sequence[StoredLog] = (),
) -> Chunk:
    live = sum(span.live for span in spans)
    partition = spans[0].segment.partition
    plan = ReadPlan(fields=schema.written, ids=ids, spans=tuple(spans), beside=tuple(beside))
    read = plan.model_dump(mode="json")
    return Chunk(
        id=chunk_id(number, schema.name, partition, read),
        collection=schema.name,
        partition=partition,
        rows=live,
        bytes=live * row_bytes,
        read=read,
    )


def _grouped(segments: Sequence[tuple[CountedSegment, Offsets]], most: int) -> Iterator[list[Span]]:
    """Groups of spans with `most` live rows or fewer, but for single logs that have more."""
    held: list[Span] = []
    count = 0
    for counted, gone in segments:
        for span in _logs(counted, gone):
            if not span.live:
                continue
            if held and count + span.live > most:
                yield held
                held, count = [], 0
            if held and _follows(held[-1], span):
                held[-1] = _joined(held[-1], span)
            else:
                held.append(span)
            count += span.live
    if held:
        yield held


def _logs(counted: CountedSegment, gone: Offsets) -> Iterator[Span]:
    """A span for each log of a segment."""
    start = 0
    segment = counted.segment
    for rows, logs in zip(counted.log_rows, segment.logs, strict=True):
        first, last = np.searchsorted(gone, (start, start + rows))
        yield Span(
            segment=segment.model_copy(update={"logs": (logs,), "deltas": ()}),
            start=start,
            rows=rows,
            live=rows - int(last - first),
            segment_rows=sum(counted.log_rows),
            gone=counted.gone,
        )
        start += rows


def _follows(one: Span, other: Span) -> bool:
    return (
        one.segment.id == other.segment.id
        and one.segment.older == other.segment.older
        and one.start + one.rows == other.start
    )


def _joined(one: Span, other: Span) -> Span:
    logs = (*one.segment.logs, *other.segment.logs)
    return one.model_copy(
        update={
            "segment": one.segment.model_copy(update={"logs": logs}),
            "rows": one.rows + other.rows,
            "live": one.live + other.live,
        }
    )
