"""Cuts the shards of indices into ranges of about the same number of documents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from airlift.sources.elasticsearch.pages import page_of
from airlift.sources.elasticsearch.reading import SEQ_NO, IndexPart, Reader, Span

_CELLS = 256

# A chunk is an import of its own, which costs Milvus seconds: so no more than pay.
_TWO_WORKERS, _FOUR_WORKERS = 128 << 20, 2 << 30


def pieces(size: int, chunk_bytes: int) -> int:
    """Into how many chunks to cut so many bytes."""
    shared = 4 if size >= _FOUR_WORKERS else 2 if size >= _TWO_WORKERS else 1
    return max(-(-size // chunk_bytes), shared)


def count_cells(reader: Reader, part: IndexPart) -> list[Span]:
    """Counts each shard's documents in up to 256 ranges of their numbers, exactly."""
    cells: list[Span] = []
    for shard in range(part.shards):
        limits = {"low": {"min": {"field": SEQ_NO}}, "high": {"max": {"field": SEQ_NO}}}
        found = _aggregated(reader, part, shard, limits)
        if found["low"]["value"] is None:
            continue
        low, high = int(found["low"]["value"]), int(found["high"]["value"])
        width = max(-(-(high + 1 - low) // _CELLS), 1)
        cut = {"histogram": {"field": SEQ_NO, "interval": width, "offset": low % width}}
        # Not beyond the highest: there, new documents arrive.
        below = {"range": {SEQ_NO: {"lte": high}}}
        buckets = _aggregated(reader, part, shard, {"cells": cut}, below)["cells"]["buckets"]
        for bucket in buckets:
            start = int(bucket["key"])
            stop = min(start + width, high + 1)
            if bucket["doc_count"] and start < stop:
                span = Span(
                    index=part.index, shard=shard, start=start, stop=stop, rows=bucket["doc_count"]
                )
                cells.append(span)
    return cells


def _aggregated(
    reader: Reader, part: IndexPart, shard: int, wanted: object, *filters: object
) -> dict[str, Any]:
    answer = reader.search(part, shard, filters, {"size": 0, "aggs": wanted})
    page_of(answer, f"index {part.index!r}")  # tells of shards that are missing
    found: dict[str, Any] = orjson.loads(answer)["aggregations"]
    return found


def group(cells: Sequence[Span], count: int) -> Iterator[list[Span]]:
    """Puts ranges together into `count` groups of about the same number of rows, or fewer."""
    total = sum(cell.rows for cell in cells)
    held: list[Span] = []
    rows = made = 0
    for cell in cells:
        held.append(cell)
        rows += cell.rows
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
            spans[-1] = last.model_copy(update=joined)
        else:
            spans.append(cell)
    return spans
