"""Record batches with a column of every type, for tests that go through all of them."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from airlift.datatypes import TYPES, DataType
from airlift.fingerprint import Fingerprint, FingerprintKey
from airlift.schema import CollectionSchema, Field
from airlift.sparse_vectors import to_bytes

DIMS = {
    DataType.FLOAT_VECTOR: 3,
    DataType.FLOAT16_VECTOR: 3,
    DataType.BFLOAT16_VECTOR: 3,
    DataType.INT8_VECTOR: 5,
    DataType.BINARY_VECTOR: 24,
}
ITEMS = (DataType.INT8, DataType.BOOL, DataType.FLOAT, DataType.VARCHAR)
ALPHABET = "aß漢😀 \n\"'\\{},[]\0"

texts = st.text(ALPHABET, max_size=6)


def field_of(kind: DataType, dim: int | None = None) -> Field:
    """A field named after its type."""
    return Field(
        name=kind.value.lower(),
        type=kind,
        dim=(DIMS.get(kind, 0) if dim is None else dim),
        max_length=64 if kind is DataType.VARCHAR else 0,
    )


def arrays() -> list[Field]:
    """Fields of arrays, of items of different widths."""
    return [
        Field(name=f"array_{item.value.lower()}", type=DataType.ARRAY, element_type=item)
        for item in ITEMS
    ]


def schema_of(*kinds: DataType, nullable: bool = False) -> CollectionSchema:
    """A collection with a primary key `id` and a field of each type; several for ARRAY."""
    key = Field(name="id", type=DataType.INT64, primary_key=True)
    fields = [field_of(kind) for kind in kinds if kind is not DataType.ARRAY]
    fields += arrays() if DataType.ARRAY in kinds else []
    changed = [field.model_copy(update={"nullable": nullable}) for field in fields]
    return CollectionSchema(name="c", fields=(key, *changed))


EVERY_TYPE = schema_of(*DataType)
EVERY_NULLABLE_TYPE = schema_of(*DataType, nullable=True)
FIXED_WIDTH = schema_of(*(kind for kind in DataType if TYPES[kind].numpy))


def column_of(field: Field, rows: int, random: np.random.Generator) -> pa.Array:
    """Random values, the extreme ones of the type among them; some nulls where they may be."""
    column = values_of(field, rows, random)
    if field.nullable:
        places = pa.array(np.arange(rows), mask=random.random(rows) < 0.3)
        column = column.take(places)
    return column


def values_of(field: Field, rows: int, random: np.random.Generator) -> pa.Array:
    """Random values, the extreme ones of the type among them."""
    kind = field.arrow.type
    if field.element_type:
        lengths = random.integers(0, 4, rows)
        item = Field(name="item", type=field.element_type)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        return pa.ListArray.from_arrays(
            pa.array(offsets), values_of(item, int(offsets[-1]), random)
        )
    if field.type is DataType.SPARSE_FLOAT_VECTOR:
        return pa.array(
            [
                to_bytes({int(at): float(np.float32(random.random())) for at in indices})
                for indices in random.integers(0, (1 << 32) - 1, (rows, 3))
            ],
            kind,
        )
    if field.type is DataType.JSON:
        texts = ["{}", '{"a":[1,null]}', '{"a":{},"b":"\\n漢😀"}', "0.1"]
        return pa.array([texts[n] for n in random.integers(0, len(texts), rows)], kind)
    if field.type in (DataType.FLOAT16_VECTOR, DataType.BFLOAT16_VECTOR):
        floats = random.standard_normal((rows, field.dim)).astype(np.float32)
        halves = floats.astype(np.float16)
        if field.type is DataType.BFLOAT16_VECTOR:
            halves = (floats.view(np.uint32) >> 16).astype(np.uint16)
        return pa.array([row.tobytes() for row in halves], kind)
    if field.type is DataType.INT8_VECTOR:
        flat = random.integers(-128, 128, rows * field.dim, np.int16).astype(np.int8)
        return pa.FixedSizeListArray.from_arrays(pa.array(flat), field.dim)
    if pa.types.is_string(kind):
        words = ["", "{}", '{"a": [1, null]}', "a", "ß漢😀", "\0", "x" * 40]
        return pa.array([words[n] for n in random.integers(0, len(words), rows)], kind)
    if pa.types.is_fixed_size_binary(kind):
        return pa.array([random.bytes(kind.byte_width) for _ in range(rows)], kind)
    if pa.types.is_fixed_size_list(kind):
        flat = random.standard_normal(rows * kind.list_size).astype(np.float32)
        flat[random.random(len(flat)) < 0.1] = -0.0
        return pa.FixedSizeListArray.from_arrays(pa.array(flat), kind.list_size)
    if pa.types.is_boolean(kind):
        return pa.array(random.random(rows) < 0.5)
    if pa.types.is_floating(kind):
        dtype = np.dtype(kind.to_pandas_dtype())
        limits = np.finfo(dtype)
        special = np.array([0, -0.0, limits.max, limits.min, limits.tiny, 0.1], dtype)
        return pa.array(random.choice(special, rows))
    limits = np.iinfo(kind.to_pandas_dtype())
    return pa.array(random.integers(limits.min, limits.max, rows, limits.dtype, endpoint=True))


def batch_of(schema: CollectionSchema, rows: int, seed: int = 0) -> pa.RecordBatch:
    """Random rows of a collection."""
    random = np.random.default_rng(seed)
    columns = [column_of(field, rows, random) for field in schema.written]
    return pa.RecordBatch.from_arrays(columns, schema=schema.arrow)


@st.composite
def slices(draw: st.DrawFn, schema: CollectionSchema, most: int = 40) -> list[pa.RecordBatch]:
    """Batches that are slices of one larger batch, as arrays with offsets; some may be empty."""
    whole = batch_of(schema, draw(st.integers(0, most)), draw(st.integers(0, 2**32)))
    start = draw(st.integers(0, whole.num_rows))
    cuts = sorted(draw(st.lists(st.integers(start, whole.num_rows), max_size=3)))
    ends = [start, *cuts, whole.num_rows]
    return [whole.slice(a, b - a) for a, b in itertools.pairwise(ends)]


def table_of(batches: list[pa.RecordBatch], schema: CollectionSchema) -> pa.Table:
    """The rows of all batches in one piece."""
    return pa.Table.from_batches(batches, schema=schema.arrow).combine_chunks()


KEY = FingerprintKey(key=bytes(range(32)).hex())


def fingerprint_of(
    *batches: pa.RecordBatch,
    partition: str = "",
    primary_key: str | None = None,
    key: FingerprintKey = KEY,
) -> Fingerprint:
    """The fingerprint of all rows of the batches."""
    rows = key.fingerprinter(primary_key)
    for batch in batches:
        rows.add(batch, partition)
    return rows.fingerprint
