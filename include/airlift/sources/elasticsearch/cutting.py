"""Cuts indices into ranges or slices of about the same number of documents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import TypeAdapter

from airlift.sources.elasticsearch.answers import (
    ANYTHING,
    COUNTED,
    OBJECTS,
    SEQUENCE_CELLS,
    SEQUENCE_LIMITS,
    Shape,
    parsed,
    understood,
    unexpected,
)
from airlift.sources.elasticsearch.pages import complete
from airlift.sources.elasticsearch.reading import Reader
from airlift.sources.elasticsearch.spans import SEQ_NO, IndexPart, Slice, Span, slice_clause

_CELLS = 256

_MOST_SLICES = 1024
"""Of an index: each is counted by a request of its own."""

# A chunk is an import of its own, which costs Milvus seconds: so no more than pay.
_TWO_WORKERS, _FOUR_WORKERS = 128 << 20, 2 << 30


def pieces(size: int, chunk_bytes: int) -> int:
    """Into how many chunks to cut so many bytes."""
    shared = 4 if size >= _FOUR_WORKERS else 2 if size >= _TWO_WORKERS else 1
    return max(-(-size // chunk_bytes), shared)


def count_cells(reader: Reader, part: IndexPart, explode: str = "") -> list[Span]:
    """Counts each shard's documents in up to 256 ranges of their numbers, exactly.

    Args:
        explode: the path of nested objects to count besides; empty for none.
    """
    cells: list[Span] = []
    for shard in range(part.shards):
        if limits := _limits(reader, part, shard):
            cells += _cells(reader, part, shard, *limits, explode)
    return cells


def _cells(
    reader: Reader, part: IndexPart, shard: int, low: int, high: int, explode: str
) -> list[Span]:
    """The ranges of a shard that hold documents, whose numbers go from `low` to `high`."""
    what = f"index {part.index!r}, shard {shard}"
    width = max(-(-(high + 1 - low) // _CELLS), 1)
    cut: dict[str, Any] = {"histogram": {"field": SEQ_NO, "interval": width, "offset": low % width}}
    if explode:
        cut["aggs"] = {"objects": {"nested": {"path": explode}}}
    # Not beyond the highest: there, new documents arrive.
    below = {"range": {SEQ_NO: {"lte": high}}}
    total, found = _aggregated(reader, part, shard, SEQUENCE_CELLS, {"cells": cut}, below)
    buckets = found.cells.buckets
    if (counted := sum(bucket.doc_count for bucket in buckets)) != total:
        problem = f"{total:,} documents, but {counted:,} in the ranges of their numbers"
        raise unexpected(what, problem, cut)
    cells: list[Span] = []
    for bucket in buckets:
        if not low - width < bucket.key <= high:
            problem = f"a range from {bucket.key} where numbers go from {low} to {high}"
            raise unexpected(what, problem, cut)
        start = int(bucket.key)
        stop = min(start + width, high + 1)
        objects = understood(bucket.objects, COUNTED, what).doc_count if explode else None
        if rows := bucket.doc_count:
            cells.append(
                Span(
                    index=part.index,
                    shard=shard,
                    start=start,
                    stop=stop,
                    rows=rows,
                    objects=objects,
                )
            )
    return cells


def _limits(reader: Reader, part: IndexPart, shard: int) -> tuple[int, int] | None:
    """The least and the largest number of a shard's documents; None where it has none."""
    wanted = {"low": {"min": {"field": SEQ_NO}}, "high": {"max": {"field": SEQ_NO}}}
    total, found = _aggregated(reader, part, shard, SEQUENCE_LIMITS, wanted)
    low, high = found.low.value, found.high.value
    if low is None and high is None and not total:
        return None
    if low is None or high is None or not total or not 0 <= low <= high < 1 << 63:
        raise unexpected(
            f"index {part.index!r}, shard {shard}",
            f"the numbers of {total:,} documents can't be from {low} to {high}",
            wanted,
        )
    return int(low), int(high)


def slice_count(part: IndexPart, chunks: int) -> int:
    """How many slices to cut an index into for that many chunks.

    Two or more a chunk, so that chunks get about the same size: slices of one number of documents
    hold different numbers of deleted ones. A multiple of the shards, so that each slice lies in one
    of them; but at most 1,024.
    """
    return min(max(-(-2 * chunks // part.shards), 1) * part.shards, _MOST_SLICES)


def count_slices(
    reader: Reader, part: IndexPart, point: str, count: int, explode: str = ""
) -> list[Slice]:
    """Counts the documents of each slice of an index in a point in time, exactly.

    Args:
        point: its `Snapshot.digest`; `SlicedPoints.pin` was called with it.
        explode: the path of nested objects to count besides; empty for none.
    """
    what = f"index {part.index!r}"
    wanted = {"objects": {"nested": {"path": explode}}} if explode else {}
    total, _ = _aggregated(reader, part, None, ANYTHING, {})
    slices: list[Slice] = []
    for number in range(count if total else 0):
        clause = slice_clause(number, count)
        rows, found = _aggregated(reader, part, None, ANYTHING, wanted, **clause)
        objects = understood(found, OBJECTS, what).objects.doc_count if explode else None
        if rows:
            slices.append(
                Slice(
                    index=part.index,
                    point=point,
                    number=number,
                    of=count,
                    rows=rows,
                    objects=objects,
                )
            )
    if (counted := sum(cell.rows for cell in slices)) != total:
        raise unexpected(what, f"{total:,} documents, but {counted:,} in its slices", wanted)
    return slices


def _aggregated(
    reader: Reader,
    part: IndexPart,
    shard: int | None,
    shape: TypeAdapter[Shape],
    wanted: object,
    *filters: object,
    **more: object,
) -> tuple[int, Shape]:
    """How many documents there are, and the aggregations of them.

    Args:
        wanted: aggregations.
        more: other keys of the request's body.
    """
    what = f"index {part.index!r}"
    body = {"size": 0, "track_total_hits": True, **({"aggs": wanted} if wanted else {}), **more}
    answer = reader.search(part, shard, filters, body)
    found = complete(parsed(answer, what), what)
    return found.total, understood(found.aggregations, shape, what)


def group(cells: Sequence[Span | Slice], count: int) -> Iterator[list[Span | Slice]]:
    """Puts pieces together into `count` groups of about the same number of rows, or fewer."""
    total = sum(cell.rows_made for cell in cells)
    held: list[Span | Slice] = []
    rows = made = 0
    for cell in cells:
        held.append(cell)
        rows += cell.rows_made
        # Without any, as where no document has a nested object, all are one group.
        if total and rows * count >= total * (made + 1):
            yield _joined(held)
            made = rows * count // total
            held = []
    if held:
        yield _joined(held)


def _joined(cells: Sequence[Span | Slice]) -> list[Span | Slice]:
    """Neighbours in one shard as one range; slices stay what they are."""
    spans: list[Span | Slice] = []
    for cell in cells:
        last = spans[-1] if spans else None
        if (
            isinstance(last, Span)
            and isinstance(cell, Span)
            and (last.index, last.shard) == (cell.index, cell.shard)
        ):
            joined: dict[str, int] = {"stop": cell.stop, "rows": last.rows + cell.rows}
            if cell.objects is not None:
                joined["objects"] = last.rows_made + cell.objects
            spans[-1] = last.model_copy(update=joined)
        else:
            spans.append(cell)
    return spans
