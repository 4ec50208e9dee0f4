"""The source Milvus: a running server, Zilliz Cloud, or a Milvus Lite file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import ClassVar

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from airlift.chunk import Chunk, chunk_id
from airlift.connections import Connections
from airlift.datatypes import DataType
from airlift.errors import AirliftError, Refused
from airlift.mapping_params import CollectionMapping
from airlift.milvus.capabilities import Capabilities, capabilities_of
from airlift.milvus.client import address, ensure_supported
from airlift.milvus.database import MilvusDatabase
from airlift.milvus.expressions import literal
from airlift.milvus.rows import MilvusRows
from airlift.names import with_database, without_database
from airlift.params import IndexParams
from airlift.reading_ahead import one_ahead
from airlift.schema import DYNAMIC_FIELD, CollectionSchema, SourceCollection
from airlift.sources.base import BadRows, SourceFile, WithoutAccess
from airlift.sources.choosing import choose
from airlift.sources.milvus.cutting import Span, spans
from airlift.sources.milvus.describing import described
from airlift.sources.milvus.opening import CollectionOpener
from airlift.sources.milvus.params import MilvusParams, SourceLock
from airlift.sources.milvus.repeated import tell_repeated_keys
from airlift.storage import Storage

EVERY_DATABASE = "*"
"""The `source_database` that stands for all of them."""

# A page of a server that gives rows in no order must hold a whole range.
_UNORDERED_BYTES = 16 << 20

_GROWING = (
    DataType.INT8,
    DataType.INT16,
    DataType.INT32,
    DataType.INT64,
    DataType.VARCHAR,
)


class ReadPlan(BaseModel):
    """What a chunk's `read` holds."""

    model_config = ConfigDict(frozen=True)

    collection_schema: CollectionSchema
    spans: tuple[Span, ...]
    condition: str = ""


class MilvusSource(WithoutAccess):
    """Reads collections of a running Milvus. See `airlift.sources.base.Source`."""

    batch_bytes: ClassVar[int] = 1 << 30
    takes_filter: ClassVar[bool] = True

    def __init__(self, params: MilvusParams, connections: Connections, scratch: Storage) -> None:
        self._params = params
        self._connections = connections
        self._scratch = scratch
        self._databases: dict[str, MilvusDatabase] = {}
        self._moved: Mapping[str, int | str] = {}

    def check(self) -> list[str]:
        """Connects, and describes the collections; returns every reason against going on."""
        try:
            ensure_supported(self._server.version())
            found, reasons = self._chosen()
            reasons += [reason for _, _, some in found for reason in some]
            return reasons + self._unfit_to_tell_new_rows([schema for schema, _, _ in found])
        except AirliftError as error:
            return [str(error)]

    def begin_after(self, moved: Mapping[str, int | str]) -> None:
        """Takes the largest values that earlier runs have moved; see `Source.begin_after`."""
        self._moved = moved

    def describe(self) -> list[SourceCollection]:
        """The chosen collections, loaded where they were not, and counted. Raises Refused."""
        found, reasons = self._chosen()
        reasons += [reason for _, _, some in found for reason in some]
        reasons += self._unfit_to_tell_new_rows([schema for schema, _, _ in found])
        if reasons:
            raise Refused(reasons)
        return [self._counted(schema, notes) for schema, notes, _ in found]

    def files(self, collections: list[SourceCollection]) -> list[SourceFile]:
        """None: the source is a server."""
        return []

    def folder(self) -> Storage | None:
        """None: the source is a server."""
        return None

    def address(self) -> str:
        """The server's address, and the database."""
        where = address(self._connections.milvus(self._params.source_conn_id))
        if self._params.source_database == EVERY_DATABASE:
            return f"{where}, all databases"
        return f"{where}, database {self._server.database or 'default'}"

    def version(self) -> str:
        """What the server says it is."""
        return self._server.version().name

    def read_from(self, folder: Storage) -> None:
        """Not for a server: there are no files to copy."""
        raise AirliftError("Milvus is read from the server itself; there is nothing to copy")

    def cut(self, collection: SourceCollection, chunk_bytes: int) -> list[Chunk]:
        """Cuts a collection by ranges of its keys; see `Source.cut`.

        Raises:
            Refused: rows share a primary key, and the params don't say which to keep.
        """
        schema = collection.collection_schema
        condition = collection.detail["condition"]
        chunk_rows = max(chunk_bytes // max(schema.row_bytes, 1), 1)
        page_rows = chunk_rows
        if not self._can.ordered_pages:
            page_rows = max(min(_UNORDERED_BYTES // max(schema.row_bytes, 1), chunk_rows), 1)
        by_partition = ["", *schema.partitions] if schema.partitions else [None]
        chunks: list[Chunk] = []
        for partition in by_partition:
            held: list[Span] = []
            for span in spans(self._rows(schema), schema, partition, condition, page_rows):
                held.append(span)
                if sum(one.rows for one in held) + page_rows > chunk_rows:
                    chunks.append(self._chunk(len(chunks), schema, held, condition))
                    held = []
            if held:
                chunks.append(self._chunk(len(chunks), schema, held, condition))
        tell_repeated_keys(collection, chunks, self._params)
        return chunks

    def read(self, chunk: Chunk) -> Iterator[pa.RecordBatch | BadRows]:
        """Yields a chunk's rows in the order of their keys, page by page."""
        plan = ReadPlan.model_validate(chunk.read)
        schema = plan.collection_schema
        rows, key = self._rows(schema), schema.primary_key
        for span in plan.spans:
            keys = span.keys(plan.condition)
            # JSON as it is: whether it can be carried is decided for the fields that are.
            pages = rows.scan(
                schema.plain_name, schema.written, key, span.partition, keys, canonical=False
            )
            yield from one_ahead(pages)

    def changes(self, collection: SourceCollection) -> list[str]:
        """How many rows came or went since the collection was counted."""
        now = self._count(collection.collection_schema, collection.detail["condition"])
        if now == collection.rows:
            return []
        told = (
            f"collection {collection.name!r} had {collection.rows:,} rows before it was read, and "
            f"{now:,} after: it was written to meanwhile"
        )
        if self._params.source_lock is SourceLock.CHECK:
            raise Refused([f"{told}; stop writing, then run again with a new migration_id"])
        return [told]

    def close(self) -> None:
        """Closes the connections."""
        while self._databases:
            self._databases.popitem()[1].close()

    def finish(self) -> None:
        """Releases the collections that were loaded to be read."""
        if self._scratch.list("opened"):
            self._opener.undo()

    def _database(self, name: str) -> MilvusDatabase:
        """A database of the source; "" is the one that the params name."""
        if name not in self._databases:
            connection = self._connections.milvus(self._params.source_conn_id)
            given = self._params.source_database
            wanted = name or (given if given != EVERY_DATABASE else "")
            self._databases[name] = MilvusDatabase(connection, wanted)
        return self._databases[name]

    @cached_property
    def _opener(self) -> CollectionOpener:
        return CollectionOpener(self._database, self._scratch)

    @property
    def _server(self) -> MilvusDatabase:
        return self._database("")

    def _rows(self, schema: CollectionSchema) -> MilvusRows:
        return MilvusRows(self._database(schema.database))

    @cached_property
    def _can(self) -> Capabilities:
        can = capabilities_of(self._server.version())
        if can is None:
            raise AirliftError(f"{self._server.version().name} is too old to be read from")
        return can

    def _chosen(self) -> tuple[list[tuple[CollectionSchema, list[str], list[str]]], list[str]]:
        """Each chosen collection as `described` gives it, and reasons against the choice."""
        every = self._params.source_database == EVERY_DATABASE
        names = {
            with_database(database, name): (database, name)
            for database in (sorted(self._server.databases()) if every else [""])
            for name in sorted(self._database(database).collections())
        }
        notes: dict[tuple[str, str], str] = {}
        patterns = []
        for pattern in self._params.collections:
            place = self._found_by_alias(pattern, names)
            if place:
                notes[place] = f"the alias {pattern!r} in collections stands for it"
            patterns.append(with_database(*place) if place else pattern)
        chosen, reasons = choose(names, patterns)
        found = []
        for database, name in chosen:
            schema, more, unfit = described(self._database(database), name, database)
            if (database, name) in notes:
                more.append(notes[database, name])
            found.append((self._opener.as_found(schema), more, unfit))
        return found, reasons

    def _found_by_alias(
        self, pattern: str, names: Mapping[str, tuple[str, str]]
    ) -> tuple[str, str] | None:
        """Database and collection of an alias in the param `collections`; None for another name."""
        if pattern in names or set(pattern) & set("*?["):
            return None
        databases = {database for database, _ in names.values()}
        database = next((one for one in databases if one and pattern.startswith(f"{one}.")), "")
        if not database and "" not in databases:
            return None
        found = self._database(database).found_by(without_database(database, pattern))
        return (database, found) if found else None

    def _unfit_to_tell_new_rows(self, schemas: list[CollectionSchema]) -> list[str]:
        wanted = self._params.since_field
        if not wanted:
            return []
        types = {s.name: {field.name: field.type for field in s.fields} for s in schemas}
        return [
            f"collection {name!r}: since_field {wanted!r} must be a field of integers or texts; it "
            f"is {fields.get(wanted, 'not there')}"
            for name, fields in types.items()
            if fields.get(wanted) not in _GROWING
        ]

    def _count(self, schema: CollectionSchema, condition: str) -> int:
        return self._rows(schema).count(schema.plain_name, None, condition)

    def _condition(self, schema: CollectionSchema) -> str:
        """What the rows must fulfil: the filter, and to be new since the last run."""
        parts = []
        if given := self._params.mapping.get(schema.name, CollectionMapping()).filter:
            parts.append(f"({given})")
        moved = self._moved.get(schema.name)
        if moved is not None:
            # Rows with the same value may have come since; an upsert may write them again.
            beyond = ">" if self._params.since_pk else ">="
            parts.append(f"{self._since_field(schema)} {beyond} {literal(moved)}")
        return " and ".join(parts)

    def _since_field(self, schema: CollectionSchema) -> str:
        return schema.primary_key.name if self._params.since_pk else self._params.since_field

    def _counted(self, schema: CollectionSchema, notes: list[str]) -> SourceCollection:
        bare = {one.name: self._can.autoindex(one.type) for one in schema.vectors if not one.index}
        flat = {
            name: index if index.index_type != "AUTOINDEX" else IndexParams(index_type="FLAT")
            for name, index in bare.items()
        }
        if opened := self._opener.open(schema, flat):
            notes.append(opened)
        if not self._can.counts:
            notes.append(
                "this Milvus has no count(*): its keys are counted, so rows that share a primary "
                "key can't be told"
            )
        condition = self._condition(schema)
        rows = self._count(schema, condition)
        return SourceCollection(
            collection_schema=schema,
            rows=rows,
            since_field=self._since_field(schema),
            since=self._moved.get(schema.name),
            empty_because=f"the condition {condition!r} chooses none" if condition else "",
            detail={"condition": condition},
            # Within a partition `cut` finds out.
            keys_unique=not schema.partitions,
            partition_rows={"": rows},
            notes=notes,
        )

    def _read_fields(self, schema: CollectionSchema) -> CollectionSchema:
        """The schema with the fields that the mapping needs: others are not asked for."""
        mapping = self._params.mapping.get(schema.name, CollectionMapping())
        if mapping.transform:  # which may look at all of them
            return schema
        needed = {self._since_field(schema)}
        if any(edit.source_key for edit in mapping.fields):
            needed.add(DYNAMIC_FIELD)
        fields = (
            field
            for field in schema.fields
            if field.primary_key or field.name in needed or mapping.takes(field.name)
        )
        return schema.model_copy(update={"fields": tuple(fields)})

    def _chunk(
        self, number: int, schema: CollectionSchema, held: list[Span], condition: str
    ) -> Chunk:
        plan = ReadPlan(
            collection_schema=self._read_fields(schema), spans=tuple(held), condition=condition
        )
        rows = sum(span.rows for span in held)
        read = plan.model_dump(mode="json")
        return Chunk(
            id=chunk_id(number, read),
            collection=schema.name,
            partition=held[0].partition or "",
            rows=rows,
            bytes=rows * schema.row_bytes,
            read=read,
        )
