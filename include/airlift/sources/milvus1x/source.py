"""The source Milvus 0.9-1.x: its `tables` folder and its metadata."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from airlift.chunk import Chunk
from airlift.connections import Connections
from airlift.datatypes import DataType
from airlift.errors import AirliftError, Refused
from airlift.file_identity import FileIdentity
from airlift.schema import CollectionSchema, Field, SourceCollection
from airlift.sources.base import BATCH_BYTES, FILE_BATCH_BYTES, FileSource, SourceFile
from airlift.sources.choosing import choose
from airlift.sources.milvus1x.cutting import (
    Cutter,
    PlacedSegment,
    ReadPlan,
    Repeats,
    dead_rows,
    find_repeats,
)
from airlift.sources.milvus1x.meta import BINARY_METRICS, Meta, Table
from airlift.sources.milvus1x.meta_sql import meta_files, read_meta_file, read_meta_mysql
from airlift.sources.milvus1x.params import Milvus1xParams
from airlift.sources.milvus1x.refusing import reasons_against
from airlift.sources.milvus1x.segment import look_at_segments
from airlift.sources.milvus1x.segment_reader import SegmentReader, VectorKind
from airlift.sources.unchanged import DescribedFile, ensure_unchanged
from airlift.storage import Storage, open_storage

_REPEATED = "repeated ids: "


class Detail(BaseModel):
    """What `SourceCollection.detail` holds; the segments are sorted, oldest first.

    Attributes:
        meta_files: what the metadata was read from, by name; None for one that was not there.
    """

    model_config = ConfigDict(frozen=True)

    dim: int
    binary: bool
    segments: tuple[PlacedSegment, ...]
    repeated_ids: int = 0
    repeated_rows: int = 0
    meta_files: dict[str, FileIdentity | None] = {}

    @property
    def kind(self) -> VectorKind:
        """How the vectors lie on disk."""
        return VectorKind.of(self.dim, self.binary)


class Milvus1xSource(FileSource):
    """Reads the collections of Milvus 0.9-1.x from its files. See `airlift.sources.base.Source`."""

    batch_bytes: ClassVar[int] = FILE_BATCH_BYTES

    def __init__(self, params: Milvus1xParams, connections: Connections, scratch: Storage) -> None:
        self._params = params
        self._connections = connections
        self._scratch = scratch
        self._original: Storage | None = None
        self._known: Meta | None = None
        self._meta_files: dict[str, FileIdentity | None] = {}

    def check(self) -> list[str]:
        """Reads the metadata and looks for the tables; returns every reason against going on."""
        tables: list[Table] = []
        needs_files = True
        try:
            tables, reasons = self._chosen()
            needs_files = any(part.segments for table in tables for part in table.partitions)
        except Refused as error:
            reasons = error.reasons
        except AirliftError as error:
            reasons = [str(error)]
        try:
            if not self._tables().list() and needs_files:
                reasons.append(
                    f"the tables folder {self._params.tables_url} is empty or does not exist; "
                    "check tables_url: it is the folder that holds a folder for each collection"
                )
        except AirliftError as error:
            reasons.append(str(error))
        return reasons + [reason for table in tables for reason in self._against(table)]

    def describe(self) -> list[SourceCollection]:
        """The chosen collections, their rows counted from the files. Raises Refused."""
        tables, reasons = self._chosen()
        collections: list[SourceCollection] = []
        for table in tables:
            against = self._against(table) or self._described(table, collections)
            reasons += against
        if reasons:
            raise Refused(reasons)
        if collections:
            collections[0].notes.extend(self._meta().notes)
        return collections

    def files(self, collections: list[SourceCollection]) -> list[SourceFile]:
        """The three files of every segment."""
        return [
            file
            for collection in collections
            for segment in Detail.model_validate(collection.detail).segments
            for file in segment.files
        ]

    def files_of(self, chunk: Chunk) -> list[DescribedFile]:
        """The files of its segments."""
        spans = ReadPlan.model_validate(chunk.read).spans
        return self.placed(file for span in spans for file in span.files)

    def described_files(self, collection: SourceCollection) -> list[DescribedFile]:
        """The files of all segments and, unless copies are read, the metadata's."""
        meta = {} if self._copy else Detail.model_validate(collection.detail).meta_files
        return [*super().described_files(collection), *self._placed_meta(meta)]

    def folder(self) -> Storage:
        """The `tables` folder, or its copy."""
        return self._tables()

    def address(self) -> str:
        """The `tables` folder's address."""
        return self._params.tables_url

    def cut(self, collection: SourceCollection, chunk_bytes: int) -> list[Chunk]:
        """Cuts a collection; see `Source.cut`. Raises Refused for repeated ids that must fail."""
        detail = Detail.model_validate(collection.detail)
        ensure_unchanged(self.described_files(collection))
        repeats = self._repeats(collection.name, detail)
        row_bytes = 8 + detail.kind.width
        cutter = Cutter(
            collection.name,
            detail.segments,
            repeats,
            self._tables(),
            self._scratch,
            max(chunk_bytes // row_bytes, 1),
            row_bytes,
        )
        partitions = ["", *collection.collection_schema.partitions]
        chunks = cutter.chunks(partitions, detail.dim, detail.binary)
        collection.left_out = sum(repeats.rows.values())
        collection.repeated_keys = repeats.keys_file
        rows = dict.fromkeys(partitions, 0)
        for place, segment in enumerate(detail.segments):
            rows[segment.partition] += cutter.live(place)
        collection.partition_rows = rows
        # Cutting again must not tell it twice.
        collection.notes = [note for note in collection.notes if not note.startswith(_REPEATED)]
        if repeats.note:
            collection.notes.append(_REPEATED + repeats.note)
        found = {
            "repeated_ids": repeats.ids,
            "repeated_rows": repeats.extra,
        }
        collection.detail = detail.model_copy(update=found).model_dump(mode="json")
        return chunks

    def rows(self, chunk: Chunk) -> Iterator[pa.RecordBatch]:
        """Yields batches of `id` and `vector`, over the very bytes that were read."""
        plan = ReadPlan.model_validate(chunk.read)
        kind = VectorKind.of(plan.dim, plan.binary)
        tables = self._tables()
        schema = pa.schema([field.arrow for field in _fields(plan.dim, plan.binary, None)])
        block = max(BATCH_BYTES // (8 + kind.width), 1)
        for span in plan.spans:
            dead = dead_rows(tables, self._scratch, span, span.left_out)
            reader = SegmentReader(tables, span.table_id, span.segment, kind, dead)
            rows = 0
            for ids, vectors in reader.rows(span.start, span.stop, block):
                rows += len(ids)
                yield _batch(schema, ids, vectors)
            if rows != span.live:
                raise AirliftError(
                    f"{tables.address(span.paths[0])}: expected {span.live:,} live rows from row "
                    f"{span.start:,} to {span.stop:,}, found {rows:,}; run the migration again "
                    "with a new migration_id"
                )

    def _tables(self) -> Storage:
        if self._copy is not None:
            return self._copy
        if self._original is None:
            self._original = self._storage(self._params.tables_url)
        return self._original

    def _storage(self, url: str) -> Storage:
        conn_id = self._params.source_conn_id
        return open_storage(url, self._connections.storage(conn_id) if conn_id else None)

    def _meta(self) -> Meta:
        if self._known is None:
            if self._params.meta_conn_id:
                self._known = read_meta_mysql(self._connections.sql(self._params.meta_conn_id))
            else:
                folder, name = self._meta_place
                names = meta_files(name)
                self._meta_files = dict(zip(names, folder.identities(names), strict=True))
                known = read_meta_file(folder, name)
                ensure_unchanged(self._placed_meta(self._meta_files))
                self._known = known
        return self._known

    @cached_property
    def _meta_place(self) -> tuple[Storage, str]:
        """The folder of the metadata's file, and its name."""
        folder, slash, name = self._params.meta_url.rpartition("/")
        if not name or not slash:
            raise AirliftError(
                f"meta_url {self._params.meta_url!r}: expected the whole address of a file, as "
                "s3://bucket/db/meta.sqlite or /var/lib/milvus/db/meta.sqlite"
            )
        name = unquote(name) if folder.startswith("file:") else name
        return self._storage(folder + slash), name

    def _placed_meta(self, files: Mapping[str, FileIdentity | None]) -> Iterable[DescribedFile]:
        return [DescribedFile(self._meta_place[0], *file) for file in files.items()]

    def _chosen(self) -> tuple[list[Table], list[str]]:
        return choose(self._meta().tables, self._params.collections)

    def _against(self, table: Table) -> list[str]:
        return reasons_against(table, self._params.allow_lossy)

    def _described(self, table: Table, collections: list[SourceCollection]) -> list[str]:
        """Appends the table's description, or returns the reasons why its files can't be read."""
        binary = table.metric in BINARY_METRICS
        placed = sorted(
            ((at, part.tag) for part in table.partitions for at in part.segments),
            key=lambda pair: pair[0].order,
        )
        kind = VectorKind.of(table.dim, binary)
        files, reasons = look_at_segments(self._tables(), [at for at, _ in placed], kind)
        if reasons:
            return [f"collection {table.name!r}: {reason}" for reason in reasons]
        segments = tuple(
            PlacedSegment(**found.model_dump(), partition=tag)
            for found, (_, tag) in zip(files, placed, strict=True)
        )
        detail = Detail(
            dim=table.dim, binary=binary, segments=segments, meta_files=self._meta_files
        )
        tags = [partition.tag for partition in table.partitions]
        rows = dict.fromkeys(tags, 0)
        for segment in segments:
            rows[segment.partition] += segment.live
        metric = "JACCARD" if table.metric == "TANIMOTO" else table.metric
        collections.append(
            SourceCollection(
                collection_schema=CollectionSchema(
                    name=table.name,
                    fields=_fields(table.dim, binary, metric),
                    partitions=tuple(tag for tag in tags if tag),
                ),
                rows=sum(segment.rows for segment in segments),
                deleted=sum(segment.deleted for segment in segments),
                partition_rows=rows,
                empty_because="" if segments else "the metadata has no live segment of it",
                notes=[*table.notes, *_notes(table, segments)],
                detail=detail.model_dump(mode="json"),
            )
        )
        return []

    def _repeats(self, name: str, detail: Detail) -> Repeats:
        mapping = self._params.mapping.get(name)
        if mapping and mapping.auto_id:
            return Repeats()  # the target makes new ids
        return find_repeats(
            name,
            detail.segments,
            detail.kind,
            self._tables(),
            self._scratch,
            self._params.on_duplicate_id,
        )


def _fields(dim: int, binary: bool, metric: str | None) -> tuple[Field, ...]:
    vector = DataType.BINARY_VECTOR if binary else DataType.FLOAT_VECTOR
    return (
        Field(name="id", type=DataType.INT64, primary_key=True),
        Field(
            name="vector",
            type=vector,
            dim=dim,
            metric_type=metric,
            unlike_index="an index of Milvus 1.x, which is not read",
        ),
    )


def _notes(table: Table, segments: Sequence[PlacedSegment]) -> list[str]:
    notes = []
    if table.metric == "TANIMOTO":
        notes.append(
            "TANIMOTO is carried as JACCARD: results come in the same order, with other distances"
        )
    if bare := sum(1 for segment in segments if segment.rows and not segment.sizes[2]):
        notes.append(f"{bare:,} segments have a deleted_docs of 0 bytes: read as no deleted rows")
    return notes


def _batch(
    schema: pa.Schema, ids: np.ndarray[Any, Any], vectors: np.ndarray[Any, Any]
) -> pa.RecordBatch:
    """A batch over the arrays' own memory."""
    rows = len(ids)
    keys = pa.Array.from_buffers(pa.int64(), rows, [None, pa.py_buffer(ids)])
    vector = schema.field("vector").type
    data = pa.py_buffer(vectors)
    if pa.types.is_fixed_size_list(vector):
        values = pa.Array.from_buffers(vector.value_type, vectors.size, [None, data])
        column = pa.Array.from_buffers(vector, rows, [None], children=[values])
    else:
        column = pa.Array.from_buffers(vector, rows, [None, data])
    return pa.RecordBatch.from_arrays([keys, column], schema=schema)
