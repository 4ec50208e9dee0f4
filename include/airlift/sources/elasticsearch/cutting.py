"""Cuts the shards of indices into ranges of about the same number of documents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import TypeAdapter

from airlift.sources.elasticsearch.answers import (
    COUNTED,
    SEQUENCE_CELLS,
    SEQUENCE_LIMITS,
    Shape,
    parsed,
    understood,
    unexpected,
)
from airlift.sources.elasticsearch.pages import complete
from airlift.sources.elasticsearch.reading import SEQ_NO, IndexPart, Reader, Span

_CELLS = 256

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


def _aggregated(
    reader: Reader,
    part: IndexPart,
    shard: int,
    shape: TypeAdapter[Shape],
    wanted: object,
    *filters: object,
) -> tuple[int, Shape]:
    """How many documents there are, and the aggregations of them."""
    what = f"index {part.index!r}"
    body = {"size": 0, "track_total_hits": True, "aggs": wanted}
    answer = reader.search(part, shard, filters, body)
    found = complete(parsed(answer, what), what)
    return found.total, understood(found.aggregations, shape, what)


def group(cells: Sequence[Span], count: int) -> Iterator[list[Span]]:
    """Puts ranges together into `count` groups of about the same number of rows, or fewer."""
    total = sum(cell.rows_made for cell in cells)
    held: list[Span] = []
    rows = made = 0
    for cell in cells:
        held.append(cell)
        rows += cell.rows_made
        if rows * count >= total * (made + 1):
            yield _joined(held)
            made = rows * count // total
            held = []
    if held:
        yield _joined(held)


def _joined(cells: Sequence[Span]) -> list[Span]:
    """Neighbours in one shard as one range."""
    spans: list[Span] = []
    for cell in cells:
        last = spans[-1] if spans else None
        if last and (last.index, last.shard) == (cell.index, cell.shard):
            joined = {"stop": cell.stop, "rows": last.rows + cell.rows}
            if cell.objects is not None:
                joined["objects"] = last.rows_made + cell.objects
            spans[-1] = last.model_copy(update=joined)
        else:
            spans.append(cell)
    return spans
