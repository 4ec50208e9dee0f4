"""The source-neutral description of a collection.

A source gives it, the mapping edits it, a target creates it. It is JSON (pydantic), so that it can
stand in `meta.json` and `plan.json`.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from airlift.datatypes import TYPES, DataType
from airlift.names import without_database

DYNAMIC_FIELD = "$meta"
"""The name of the hidden JSON field that holds what has no field of its own, as Milvus names it."""


class Field(BaseModel):
    """One field of a collection.

    Attributes:
        dim: dimension of a vector field (bits for a binary vector); 0 for scalars.
        max_length: bytes of the longest VARCHAR value (of an array's longest); 0 for other types,
            and where the rows must tell: `create` sets it once all are read.
        element_type: of an ARRAY's items.
        max_capacity: items of the longest ARRAY; 0 where the rows must tell.
        default: the value that the server puts where a later row has none; None for no such.
        partition_key: whether the server spreads the rows over its own partitions by this field.
        clustering_key: whether it sorts them into segments by this field.
        is_function_output: whether a function of the collection makes the values: they are never
            written, nor read.
        metric_type: the metric that the source searches this vector field by.
        index: the source's own index in Milvus' words (`index_type`, `params`); None where it has
            none, or Milvus has no counterpart.
        unlike_index: the source's own index that Milvus has no counterpart of, for messages.
        params: what else Milvus keeps of a field: `mmap_enabled`, `enable_analyzer`, ….
    """

    model_config = ConfigDict(frozen=True)

    name: str
    type: DataType
    dim: int = 0
    max_length: int = 0
    element_type: DataType | None = None
    max_capacity: int = 0
    nullable: bool = False
    default: Any = None
    primary_key: bool = False
    partition_key: bool = False
    clustering_key: bool = False
    auto_id: bool = False
    is_function_output: bool = False
    metric_type: str | None = None
    index: dict[str, Any] | None = None
    unlike_index: str = ""
    params: dict[str, Any] = {}
    description: str = ""

    @property
    def is_vector(self) -> bool:
        """Whether the field holds vectors."""
        return TYPES[self.type].is_vector

    @property
    def metric(self) -> str:
        """The metric that a vector field is searched by; "" for a scalar field."""
        return (self.metric_type or TYPES[self.type].metric_types[0]) if self.is_vector else ""

    @property
    def is_dynamic(self) -> bool:
        """Whether it is the dynamic field, which Milvus makes by itself."""
        return self.name == DYNAMIC_FIELD

    @property
    def holds_text(self) -> bool:
        """Whether it is a VARCHAR or an array of such, and so has a `max_length`."""
        return DataType.VARCHAR in (self.type, self.element_type)

    @property
    def width(self) -> int | None:
        """Bytes of one value, or None where values differ in length."""
        width = TYPES[self.type].width
        return width(self.dim) if width and not self.nullable else None

    @property
    def arrow(self) -> pa.Field:
        """The field of the Arrow batches that carry it."""
        kind = TYPES[self.type].arrow(self.dim)
        if self.element_type:
            kind = pa.list_(TYPES[self.element_type].arrow(0))
        return pa.field(self.name, kind, nullable=self.nullable)


class Function(BaseModel):
    """A function that makes fields of others, such as BM25.

    Attributes:
        type: as pymilvus' `FunctionType` spells it.
        inputs, outputs: names of fields.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    params: dict[str, Any] = {}
    description: str = ""


class CollectionSchema(BaseModel):
    """A collection: its fields, partitions and settings.

    Attributes:
        name: at a source that tells several databases apart with the database before it: `db.name`.
        database: that database; "" where the source has one, and for a target.
        fields: with the dynamic field (`$meta`) as the last one where rows have values in it.
        functions: make the fields with `is_function_output`.
        num_partitions: into how many partitions the server spreads the rows by the partition key; 0
            where there is no such key, or the server's own default will do.
        dynamic_field: whether the collection takes values without a field of their own; None for a
            source that knows no such thing.
        makes_keys: of a source: whether its server makes the primary keys itself (autoID).
        properties: as Milvus spells them, such as `collection.ttl.seconds`.
        aliases: other names that the collection is found by.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    database: str = ""
    fields: tuple[Field, ...]
    functions: tuple[Function, ...] = ()
    partitions: tuple[str, ...] = ()
    num_partitions: int = 0
    dynamic_field: bool | None = None
    makes_keys: bool = False
    shards: int = 1
    consistency_level: str = "Bounded"
    description: str = ""
    properties: dict[str, str] = {}
    aliases: tuple[str, ...] = ()

    @property
    def plain_name(self) -> str:
        """The name without the database."""
        return without_database(self.database, self.name)

    @property
    def primary_key(self) -> Field:
        """The primary key field."""
        return next(field for field in self.fields if field.primary_key)

    @property
    def vectors(self) -> tuple[Field, ...]:
        """The vector fields, in order."""
        return tuple(field for field in self.fields if field.is_vector)

    @property
    def written(self) -> tuple[Field, ...]:
        """The fields that are written: all but what the target makes by itself."""
        return tuple(one for one in self.fields if not one.auto_id and not one.is_function_output)

    @property
    def row_bytes(self) -> int:
        """Bytes of one written row; a value of unknown length is counted as 64 bytes."""
        return sum(64 if field.width is None else field.width for field in self.written)

    @property
    def arrow(self) -> pa.Schema:
        """The Arrow schema of the written fields."""
        return pa.schema([field.arrow for field in self.written])


class OwnFiles(BaseModel):
    """Files of the source that a target can import as they are.

    Attributes:
        reasons: why they can't be imported after all.
    """

    model_config = ConfigDict(frozen=True)

    reasons: tuple[str, ...] = ()


class SourceCollection(BaseModel):
    """A collection as the source holds it.

    Attributes:
        rows: live rows and deleted ones.
        deleted: rows that the source holds but has deleted.
        left_out: live rows that the params tell to leave out (older rows of a repeated id). Known
            once the collection is cut: `Source.cut` sets it.
        keys_unique: whether the source vouches that no two rows share a primary key; if not, all
            keys are looked at before anything is written to the target.
        repeated_keys: file in the source's scratch folder with the primary keys (`.npy`, sorted)
            that several rows share and keep; "" when there are none. `Source.cut` sets it.
        partition_rows: rows of each partition that must arrive ("" is the default partition).
        since_field: the field whose largest value is remembered, so that the next run begins
            there; "" for none.
        since: the value that this run begins with; None for all rows.
        empty_because: what explains that there are no rows, for the warning where it has none: the
            filter that chooses none, a backup of metadata alone.
        vectors_inside: where vectors are that are no fields, and which param makes fields of them,
            for the message that the collection has no vector field; "" for none.
        own_files: what a target could import without conversion; None for a source without such.
        imports_own_files: whether it does. The step `plan` sets it before `Source.cut`, which then
            makes a chunk of each job.
        notes: what the user should know, e.g. a metric that is carried as another.
        detail: what the source itself needs later to read the collection (JSON).
    """

    collection_schema: CollectionSchema
    rows: int
    deleted: int = 0
    left_out: int = 0
    keys_unique: bool = True
    repeated_keys: str = ""
    partition_rows: dict[str, int] = {}
    since_field: str = ""
    since: int | str | None = None
    empty_because: str = ""
    vectors_inside: str = ""
    own_files: OwnFiles | None = None
    imports_own_files: bool = False
    notes: list[str] = []
    detail: dict[str, Any] = {}

    @property
    def name(self) -> str:
        """The collection's name at the source."""
        return self.collection_schema.name

    @property
    def live(self) -> int:
        """Rows that must arrive."""
        return self.rows - self.deleted - self.left_out
