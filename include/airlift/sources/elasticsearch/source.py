"""The source Elasticsearch and OpenSearch."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import ClassVar

import orjson
import pyarrow as pa

from airlift.chunk import Chunk, chunk_id
from airlift.connections import Connections
from airlift.datatypes import DataType
from airlift.errors import AirliftError, Refused
from airlift.schema import DYNAMIC_FIELD, CollectionSchema, Field, SourceCollection
from airlift.sources.base import BATCH_BYTES, BadRows, SourceFile, StillSource
from airlift.sources.elasticsearch.choosing import Found, choose
from airlift.sources.elasticsearch.chunking import Chunker, Detail, ReadPlan
from airlift.sources.elasticsearch.client import SearchServer, connect
from airlift.sources.elasticsearch.describing import Describer
from airlift.sources.elasticsearch.description import Description
from airlift.sources.elasticsearch.kept_descriptions import KeptDescriptions
from airlift.sources.elasticsearch.measuring import (
    Measured,
    documents_without_objects,
    measure,
    row_bytes,
)
from airlift.sources.elasticsearch.missing_vectors import report_missing_vectors
from airlift.sources.elasticsearch.nested_rows import (
    check_rows,
    exploded,
    reasons_against,
    vectors_inside,
)
from airlift.sources.elasticsearch.notes import named
from airlift.sources.elasticsearch.outside_source import search_parts
from airlift.sources.elasticsearch.params import (
    DOCUMENT_ID,
    INDEX_AND_ID,
    ElasticsearchParams,
)
from airlift.sources.elasticsearch.reading import Reader
from airlift.sources.elasticsearch.refusals import ServerError
from airlift.sources.elasticsearch.rows import Layout, RowMaker
from airlift.sources.elasticsearch.sliced_points import SlicedPoints, reason_against_slices
from airlift.sources.elasticsearch.snapshots import Snapshots
from airlift.sources.elasticsearch.spans import ReadBy, Slice
from airlift.storage import Storage

log = logging.getLogger("airlift")

# Seconds to go on trying: with somebody waiting, and in a task that reads.
_CHECK_PATIENCE, _READ_PATIENCE = 10.0, 180.0

_PAGE_BYTES = 8 << 20
_SHOWN = 5
_OLDEST = {"Elasticsearch": (7,), "OpenSearch": (1,)}


class ElasticsearchSource(StillSource):
    """Reads indices of Elasticsearch and OpenSearch. See `airlift.sources.base.Source`.

    A point in time does lie still.
    """

    batch_bytes: ClassVar[int] = 512 << 20

    def __init__(
        self, params: ElasticsearchParams, connections: Connections, scratch: Storage
    ) -> None:
        self._params = params
        self._connections = connections
        self._scratch = scratch
        self._opened: SearchServer | None = None
        self._patience = _READ_PATIENCE

    def check(self) -> list[str]:
        """Connects, and looks for the indices; returns every reason against going on."""
        self._patience = _CHECK_PATIENCE
        try:
            version = self._server.version
            if version.order < _OLDEST[version.product]:
                return [f"{version.name} is too old: {version.product} 7.17 or newer is needed"]
            found, reasons = choose(self._server, self._params)
            for one in found:
                if unfit := self._unfit(one):
                    reasons += unfit
                    continue
                described = Describer(self._as_rows(one), self._params).from_mapping()
                reasons += _told(one, described)
            return reasons
        except Refused as error:
            return error.reasons
        except AirliftError as error:
            return [str(error)]

    def begin_after(self, moved: Mapping[str, int | str]) -> None:
        """Every run moves all documents that `query` finds."""

    def describe(self) -> list[SourceCollection]:
        """The chosen collections, counted at a point in time. Raises Refused."""
        found, reasons = choose(self._server, self._params)
        collections: list[SourceCollection] = []
        for one in found:
            collection, against = self._described(one)
            reasons += against
            if collection is not None:
                collections.append(collection)
        if reasons:
            raise Refused(reasons)
        return collections

    def _described(self, whole: Found) -> tuple[SourceCollection | None, list[str]]:
        """A collection, or why it can't be described."""
        if unfit := self._unfit(whole):
            return None, unfit
        if kept := self._kept.find(whole):
            return kept, []
        one = self._as_rows(whole)
        describer = Describer(one, self._params)
        made = describer.from_mapping()
        if made.reasons:
            return None, _told(one, made)
        points = self._begin_slices(one, made)
        measured = self._measured(one, made)
        if measured is None:
            return None, _told(one, made)
        layout = describer.measured(made, measured)
        report_missing_vectors(
            self._reader, one, layout, measured, made, self._params.on_missing_vector
        )
        self._note_explode(whole, made)
        if made.reasons:
            return None, _told(one, made)
        collection = self._collection(one, layout, measured, made, points)
        if points:
            self._kept.keep(whole, collection, points)
        return collection, []

    def _begin_slices(self, found: Found, made: Description) -> dict[str, str]:
        """Opens, or finds, the points in time of the indices that are read by slices of them."""
        points = {}
        for part in found.parts:
            if part.read_by is ReadBy.SLICES:
                point, replaces_lost = self._points.begin(part.index)
                points[part.index] = point.digest
                if replaces_lost:
                    made.notes.append(
                        f"the point in time of index {part.index!r} that an earlier run has read "
                        "in is lost: all of its documents are read anew, in a new one"
                    )
        return points

    def files(self, collections: list[SourceCollection]) -> list[SourceFile]:
        """None: the source is a server."""
        return []

    def folder(self) -> Storage | None:
        """None: the source is a server."""
        return None

    def address(self) -> str:
        """The server's hosts."""
        return self._connections.elasticsearch(self._params.source_conn_id).address

    def version(self) -> str:
        """What the server says it is."""
        return self._server.version.name

    def read_from(self, folder: Storage) -> None:
        """Not for a server: there are no files to copy."""
        raise AirliftError("Elasticsearch is read from the server itself; there is nothing to copy")

    def cut(self, collection: SourceCollection, chunk_bytes: int) -> list[Chunk]:
        """Cuts a collection; see `Source.cut`."""
        chunker = Chunker(self._reader, self._points, self._scratch, self._params.explode)
        return chunker.cut(collection, chunk_bytes)

    def read(self, chunk: Chunk) -> Iterator[pa.RecordBatch | BadRows]:
        """Yields a chunk's documents in the order of their last change, shard by shard.

        Raises:
            AirliftError: the server can't be reached, or its documents are not those planned.
        """
        plan = ReadPlan.model_validate(chunk.read)
        layout = Layout.model_validate(self._scratch.read_json(plan.layout))
        maker = RowMaker(layout)
        beside = search_parts(layout.columns)
        parts = {part.index: part for part in plan.parts}
        held: list[pa.RecordBatch] = []
        if not self._params.dry_run:
            for point in {span.point for span in plan.spans if isinstance(span, Slice)}:
                self._points.mark_begun(point)
        for span in plan.spans:
            pages = self._reader.pages(
                parts[span.index], span, plan.page_rows, maker.cutters, beside
            )
            made = 0
            for batch, bad in (rows for page in pages for rows in maker.batches(page)):
                made += batch.num_rows
                if bad is not None:
                    made += bad.rows.num_rows
                    yield bad
                held.append(batch)
                if sum(one.nbytes for one in held) >= BATCH_BYTES:
                    yield _joined(held)
                    held = []
            check_rows(span, made, layout.explode)
        if held:
            yield _joined(held)

    def close(self) -> None:
        """Closes the connection; the next call opens it again."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None
            for name in ("_snapshots", "_points", "_reader", "_kept"):
                self.__dict__.pop(name, None)

    def changes(self, collection: SourceCollection) -> list[str]:
        """None. Every row was read: no run that goes on needs the points in time any more."""
        for point in Detail.model_validate(collection.detail).points.values():
            self._points.mark_fully_read(point)
        return []

    def finish(self) -> None:
        """Closes the points in time, but for those that a run which goes on must read in."""
        if self._scratch.list("points_in_time"):
            self._patience = _CHECK_PATIENCE
            self._snapshots.finish(keeps=self._points.is_needed)

    @property
    def _server(self) -> SearchServer:
        if self._opened is None:
            connection = self._connections.elasticsearch(self._params.source_conn_id)
            self._opened = connect(connection, self._patience)
        return self._opened

    @cached_property
    def _snapshots(self) -> Snapshots:
        return Snapshots(self._server, self._scratch)

    @cached_property
    def _points(self) -> SlicedPoints:
        keep_alive = f"{self._params.keep_alive_minutes}m"
        return SlicedPoints(self._server, self._snapshots, self._scratch, keep_alive)

    @cached_property
    def _reader(self) -> Reader:
        return Reader(self._server, self._snapshots, self._points)

    @cached_property
    def _kept(self) -> KeptDescriptions:
        return KeptDescriptions(self._scratch, self._params, self._points)

    def _unfit(self, found: Found) -> list[str]:
        """Why a collection can't be read as asked: by slices, or by nested objects."""
        against = reason_against_slices(self._server.version)
        reasons = [
            f"index {part.index!r}: {against}"
            for part in found.parts
            if against and part.read_by is ReadBy.SLICES
        ]
        if self._params.explode:
            reasons += reasons_against(found, self._params.explode)
        return [f"collection {found.name!r}: {reason}" for reason in reasons]

    def _as_rows(self, found: Found) -> Found:
        """The collection whose documents are what becomes rows."""
        return exploded(found, self._params.explode) if self._params.explode else found

    def _note_explode(self, found: Found, made: Description) -> None:
        """What the user should know of the rows that `explode` makes."""
        explode = self._params.explode
        if not explode:
            return
        if without := documents_without_objects(self._reader, found, explode):
            made.notes.append(
                f"{without:,} documents have no object in {explode!r} and give no row (explode)"
            )
        if self._params.query:
            made.notes.append(
                f"query chooses documents: all of their objects in {explode!r} become rows, also "
                "those that it would not find by themselves"
            )

    def _measured(self, found: Found, made: Description) -> Measured | None:
        """What the documents tell; None, with a reason, when not all can be had from the server."""
        try:
            return measure(self._reader, found, made.columns, made.documents(), made.rows())
        except ServerError as error:
            beside = [column.name for column in made.columns if column.fetched_by]
            if error.passes or not error.status or not beside:
                raise
            made.reasons.append(
                f"the values of {named(beside)} are not in _source, and the server can't return "
                f"them beside it ({error}); reindex the documents with whole _source, or leave the "
                "fields out (by mapping fields and exclude)"
            )
            return None

    def _collection(
        self,
        found: Found,
        layout: Layout,
        measured: Measured,
        made: Description,
        points: dict[str, str],
    ) -> SourceCollection:
        fields = [column.field for column in layout.columns]
        if layout.dynamic:
            fields.append(Field(name=DYNAMIC_FIELD, type=DataType.JSON))
        vectors = [c.name for c in layout.columns if c.is_vector and not c.skipped]
        schema = CollectionSchema(
            name=found.name, fields=tuple(fields), dynamic_field=layout.dynamic or None
        )
        page = max(_PAGE_BYTES // max(measured.page_bytes, 1), 1)
        text = orjson.dumps(layout.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)
        path = f"layouts/{chunk_id(0, text.decode())}.json"
        self._scratch.write_bytes(path, text)
        detail = Detail(
            parts=found.parts,
            layout=path,
            row_bytes=max(row_bytes(layout, measured), 1),
            page_rows=min(self._params.page_rows, page),
            points=points,
        )
        if not vectors:
            made.notes.append("no field of the mapping is a vector; name one by mapping")
        return SourceCollection(
            collection_schema=schema,
            rows=measured.total,
            keys_unique=self._keys_unique(found, measured),
            partition_rows={"": measured.total},
            empty_because=_empty_because(found, self._params),
            vectors_inside="" if vectors else vectors_inside(found),
            notes=made.notes,
            detail=detail.model_dump(mode="json"),
        )

    def _keys_unique(self, found: Found, measured: Measured) -> bool:
        """Whether the server itself sees to it: an `_id` is unique in a shard, not beyond."""
        if measured.routed:
            return False
        key = self._params.primary_key
        return key == INDEX_AND_ID or (key == DOCUMENT_ID and len(found.parts) == 1)


def _empty_because(found: Found, params: ElasticsearchParams) -> str:
    query = params.query
    indices = ", ".join(part.index for part in found.parts[:_SHOWN])
    if params.explode:
        chosen = "" if query is None else f" that {orjson.dumps(query).decode()} finds"
        return f"no document of {indices}{chosen} has an object in {params.explode!r}"
    if query:
        return f"the query {orjson.dumps(query).decode()} finds none in {indices}"
    return f"no document is in {indices}"


def _told(found: Found, described: Description) -> list[str]:
    return [f"collection {found.name!r}: {reason}" for reason in described.reasons]


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    """One batch, in memory of its own."""
    if len(batches) == 1:
        return batches[0]
    [joined] = pa.Table.from_batches(batches).combine_chunks().to_batches()
    return joined
