"""The chunks of a collection: how its indices are cut, and what each chunk needs to be read."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

from airlift.chunk import Chunk, chunk_id
from airlift.schema import SourceCollection
from airlift.sources.elasticsearch.cutting import (
    count_cells,
    count_slices,
    group,
    pieces,
    slice_count,
)
from airlift.sources.elasticsearch.reading import Reader
from airlift.sources.elasticsearch.sliced_points import SlicedPoints
from airlift.sources.elasticsearch.spans import IndexPart, ReadBy, Slice, Span
from airlift.storage import Storage


class Detail(BaseModel):
    """What `SourceCollection.detail` holds.

    Attributes:
        parts: the indices of the collection.
        layout: path of the scratch file with the columns.
        row_bytes: about how many bytes a row takes when converted.
        page_rows: documents to ask for at once.
        points: of each index that is read by slices, the point in time that it was described in
            (`Snapshot.digest`).
    """

    model_config = ConfigDict(frozen=True)

    parts: tuple[IndexPart, ...]
    layout: str
    row_bytes: int
    page_rows: int
    points: dict[str, str] = Field({}, exclude_if=lambda points: not points)


class ReadPlan(BaseModel):
    """What a chunk's `read` holds.

    Attributes:
        parts: the indices that it has documents of.
        spans: the ranges or slices to read, in order.
        layout, page_rows: as of `Detail`.
    """

    model_config = ConfigDict(frozen=True)

    parts: tuple[IndexPart, ...]
    spans: tuple[Span | Slice, ...]
    layout: str
    page_rows: int


class _CountedSlices(BaseModel):
    """A scratch file: slices are counted once, as later their point in time may be closed."""

    model_config = ConfigDict(frozen=True)

    slices: tuple[Slice, ...]


class Chunker:
    """Cuts collections into chunks.

    Args:
        reader: counts documents on the server.
        points: the points in time of indices that are read by slices.
        scratch: the folder that keeps the counted slices.
        explode: the path of nested objects that become rows; empty where documents do.
    """

    def __init__(
        self, reader: Reader, points: SlicedPoints, scratch: Storage, explode: str
    ) -> None:
        self._reader = reader
        self._points = points
        self._scratch = scratch
        self._explode = explode

    def cut(self, collection: SourceCollection, chunk_bytes: int) -> list[Chunk]:
        """Cuts a collection; see `Source.cut`."""
        detail = Detail.model_validate(collection.detail)
        wanted = pieces(collection.rows * detail.row_bytes, chunk_bytes)
        cells: list[Span | Slice] = []
        for part in detail.parts:
            if part.read_by is ReadBy.SLICES:
                share = -(-wanted // len(detail.parts))
                cells += self._slices(part, detail.points[part.index], share)
            else:
                cells += count_cells(self._reader, part, self._explode)
        rows = sum(cell.rows_made for cell in cells)
        collection.rows = rows
        collection.partition_rows = {"": rows}
        uuids = {part.index: part.uuid for part in detail.parts}
        chunks: list[Chunk] = []
        for spans in group(cells, pieces(rows * detail.row_bytes, chunk_bytes)):
            chunks.append(_chunk(len(chunks), collection.name, detail, spans, uuids))
        return chunks

    def _slices(self, part: IndexPart, point: str, share: int) -> list[Slice]:
        count = slice_count(part, share)
        shaped_by = (part.model_dump(mode="json"), point, self._explode)
        path = f"slices/{chunk_id(count, *shaped_by)}.json"
        if self._scratch.exists(path):
            return list(_CountedSlices.model_validate(self._scratch.read_json(path)).slices)
        self._points.pin(part.index, point)
        slices = count_slices(self._reader, part, point, count, self._explode)
        self._scratch.write_json(path, _CountedSlices(slices=tuple(slices)).model_dump(mode="json"))
        return slices


def _chunk(
    place: int, name: str, detail: Detail, spans: list[Span | Slice], uuids: Mapping[str, str]
) -> Chunk:
    plan = ReadPlan(
        parts=tuple(p for p in detail.parts if p.index in {span.index for span in spans}),
        spans=tuple(spans),
        layout=detail.layout,
        page_rows=detail.page_rows,
    )
    read = plan.model_dump(mode="json")
    shaped_by = {key: value for key, value in read.items() if key != "page_rows"}
    rows = sum(span.rows_made for span in spans)
    return Chunk(
        id=chunk_id(place, name, shaped_by, uuids),
        collection=name,
        partition="",
        rows=rows,
        bytes=rows * detail.row_bytes,
        read=read,
    )
