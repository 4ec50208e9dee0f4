"""Reads a Parquet file."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from . import fields as F
from .contract import ImportFailed
from .schema import META, TEXT, Field, Schema
from .versions import Behaviour

_INTS = (pa.int8(), pa.int16(), pa.int32(), pa.int64())
_FLOATS = (pa.float32(), pa.float64())
# Go's names of Arrow types, where they differ.
_GO_NAMES = {
    pa.string(): "utf8",
    pa.large_string(): "large_utf8",
    pa.float16(): "float16",
    pa.float32(): "float32",
    pa.float64(): "float64",
}


def read_parquet(data: pa.Buffer, schema: Schema, behaviour: Behaviour) -> pa.Table:
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
    except pa.ArrowException as err:
        raise behaviour.fail("parquet", parser=err) from None
    wanted = _fields(file.schema_arrow, schema, behaviour)
    table = file.read(columns=list(wanted)) if wanted else pa.table({})
    given = {name: _column(table.column(name), field, behaviour) for name, field in wanted.items()}
    return F.complete(schema, given, file.metadata.num_rows, behaviour)


def _fields(arrow: pa.Schema, schema: Schema, behaviour: Behaviour) -> dict[str, Field]:
    """The fields of the collection that are in the file, whose columns fit."""
    wanted: dict[str, Field] = {}
    for field in schema.fields:
        if field.name not in arrow.names:
            if not field.optional:
                raise behaviour.fail("parquet_missing", field=field.name)
            continue
        F.check_given(schema, field.name, behaviour)
        found, expected = arrow.field(field.name).type, _expected(field)
        sparse = field.type == "SparseFloatVector" and pa.types.is_struct(found)
        if not sparse and not _fits(found, field, expected, behaviour):
            raise behaviour.fail(
                "parquet_type",
                field=field.name,
                type=field.type,
                expected=_go_name(expected, "item"),
                arrow=_go_name(found, "list"),
            )
        wanted[field.name] = field
    if schema.dynamic and META in arrow.names:
        wanted[META] = Field(META, "JSON", nullable=behaviour.null_meta)
    for name in arrow.names:
        if name not in wanted and not behaviour.extra_columns:
            raise behaviour.fail("parquet_extra", field=name)
    return wanted


def _expected(field: Field) -> pa.DataType:
    """The type that a column of a file should have."""
    if field.type in TEXT or field.type == "SparseFloatVector":
        return pa.string()
    if field.type == "FloatVector":
        return pa.list_(pa.float32())
    if field.width:
        return pa.list_(pa.int8() if field.type == "Int8Vector" else pa.uint8())
    return field.arrow


def _fits(found: pa.DataType, field: Field, expected: pa.DataType, behaviour: Behaviour) -> bool:
    """``isArrowDataTypeConvertible`` of milvus ``parquet/util.go``."""
    if pa.types.is_null(found):
        return field.nullable or field.default is not None
    if pa.types.is_list(expected):
        is_list = pa.types.is_list(found) or (
            behaviour.fixed_size_lists and pa.types.is_fixed_size_list(found)
        )
        return is_list and _fits(found.value_type, field, expected.value_type, behaviour)
    if found in _INTS and expected in _INTS:
        return _INTS.index(found) <= _INTS.index(expected)
    if expected in _FLOATS:
        return found in _INTS or found in _FLOATS
    return found == expected


def _go_name(kind: pa.DataType, item: str) -> str:
    """A type as Go's Arrow prints it; `item` is what it calls the items of a list."""
    if pa.types.is_fixed_size_list(kind):
        return (
            f"fixed_size_list<item: {_go_name(kind.value_type, item)}, nullable>[{kind.list_size}]"
        )
    if pa.types.is_list(kind):
        return f"list<{item}: {_go_name(kind.value_type, item)}, nullable>"
    if pa.types.is_dictionary(kind):
        values = _go_name(kind.value_type, item)
        return f"dictionary<values={values}, indices={kind.index_type}, ordered=false>"
    return _GO_NAMES.get(kind, str(kind))


def _column(chunked: pa.ChunkedArray, field: Field, behaviour: Behaviour) -> pa.Array:
    column = pa.concat_arrays(chunked.chunks) if chunked.num_chunks else pa.array([], chunked.type)
    if pa.types.is_null(column.type):
        return pa.nulls(len(column), field.arrow)
    if column.null_count and not (field.nullable or field.default is not None):
        dense = field.is_vector and field.type != "SparseFloatVector"
        what = "null_vector" if dense else "null"
        raise behaviour.fail(what, field=field.name, dim=field.dim, type=field.type)
    if field.type == "SparseFloatVector":
        return pa.array([_sparse(v, behaviour) for v in column.to_pylist()], pa.binary())
    if field.is_vector:
        return _vectors(column, field, behaviour)
    if field.type == "Array":
        return _arrays(column, field, behaviour)
    if field.type == "Timestamptz":
        return F.times_array(column.to_pylist())
    if pa.types.is_floating(column.type):
        F.check_finite(column.drop_null().to_numpy(zero_copy_only=False), behaviour)
    if field.type == "VarChar":
        F.check_length(column, field, behaviour)
    if field.type == "JSON":
        F.check_json(column, field.name, behaviour)
    return column


def _vectors(column: pa.Array, field: Field, behaviour: Behaviour) -> pa.Array:
    """Dense vectors. NaN and Inf in them are taken."""
    valid = column.drop_null()
    wanted = field.width or field.dim
    lengths = pc.list_value_length(valid)
    wrong = lengths.filter(pc.not_equal(lengths, wanted))
    if len(wrong):
        raise behaviour.fail("parquet_dim", dim=wanted, found=wrong[0], type=field.type)
    flat = valid.flatten()
    if flat.null_count:
        raise ImportFailed(f"array element is not allowed to be null, fieldName={field.name}")
    if field.width:
        rows = flat.to_numpy(zero_copy_only=False).reshape(-1, wanted)
        vectors = iter(row.tobytes() for row in rows)
        return pa.array(
            [next(vectors) if v else None for v in column.is_valid().to_pylist()], field.arrow
        )
    if column.null_count:
        return column.cast(field.arrow)
    return F.vectors_array(flat.to_numpy(zero_copy_only=False), field.dim)


def _arrays(column: pa.Array, field: Field, behaviour: Behaviour) -> pa.Array:
    """Arrays, with what servers make of them.

    An empty list in a nullable field becomes null. Where a null item is taken, it becomes what
    stood before it (``[1, null]`` was read back as ``[1, 1]``), or the type's zero.
    """
    F.check_array(column, field, behaviour)
    if pa.types.is_floating(column.type.value_type):
        F.check_finite(column.flatten().drop_null().to_numpy(zero_copy_only=False), behaviour)
    lengths = pc.list_value_length(column)
    if field.nullable:
        column = pc.if_else(pc.equal(lengths, 0), pa.scalar(None, column.type), column)
    if column.flatten().null_count:
        zero = np.zeros(1, column.type.value_type.to_pandas_dtype())[0]
        rows = [v if v is None else _without_nulls(v, zero) for v in column.to_pylist()]
        column = pa.array(rows, column.type)
    return column


def _without_nulls(items: list, zero: object) -> list:
    last = zero
    found = []
    for item in items:
        last = last if item is None else item
        found.append(last)
    return found


def _sparse(value: object, behaviour: Behaviour) -> bytes | None:
    if value is None:
        return None
    try:
        pairs = F.parse_json(value) if isinstance(value, str) else value
        return F.sparse_bytes(pairs, behaviour)
    except ImportFailed as err:
        raise behaviour.fail("sparse", text=value, error=err) from None
    except (ValueError, TypeError, AttributeError) as err:
        raise behaviour.fail("sparse", text=value, error=err) from None
