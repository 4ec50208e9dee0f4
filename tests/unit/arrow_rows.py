"""Record batches with a column of every type, for tests that go through all of them."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from airlift.datatypes import TYPES, DataType
from airlift.schema import CollectionSchema, Field

DIMS = {DataType.FLOAT_VECTOR: 3, DataType.BINARY_VECTOR: 24}
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


def schema_of(*kinds: DataType) -> CollectionSchema:
    """A collection with a primary key `id` and a field of each type."""
    key = Field(name="id", type=DataType.INT64, primary_key=True)
    return CollectionSchema(name="c", fields=(key, *(field_of(kind) for kind in kinds)))


EVERY_TYPE = schema_of(*DataType)
FIXED_WIDTH = schema_of(*(kind for kind in DataType if TYPES[kind].width))


def column_of(field: Field, rows: int, random: np.random.Generator) -> pa.Array:
    """Random values, the extreme ones of the type among them."""
    kind = field.arrow.type
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
