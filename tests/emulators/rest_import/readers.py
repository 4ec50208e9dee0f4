"""Reads one file group (a set of .npy, one .parquet, one .json) the way Milvus 2.6 does.

Its oddities are kept: extra .npy files and Parquet columns are ignored without a word, a .npy in
Fortran order is read as if it were in C order, an empty .npy is 0 rows, bytes strings ("S") are not
checked against max_length.
"""

from __future__ import annotations

import io
import os

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from milvus_lite.schema.arrow_builder import _arrow_type
from milvus_lite.schema.types import CollectionSchema, DataType, FieldSchema

from . import fields as F
from .contract import ImportFailed, import_refused
from .json_reader import read_json
from .storage import Storage

NPY_TYPES = {
    "b1": "Bool",
    "u1": "BinaryVector",
    "i1": "Int8",
    "i2": "Int16",
    "i4": "Int32",
    "i8": "Int64",
    "f4": "Float",
    "f8": "Double",
}
TEXT = (DataType.VARCHAR, DataType.JSON, DataType.GEOMETRY, DataType.TIMESTAMPTZ)


def file_type(paths: list[str]) -> str:
    """One of json, npy and parquet; refuses at once what the proxy refuses at once."""
    exts = [os.path.splitext(p)[1] for p in paths]
    for path, ext in zip(paths, exts, strict=True):
        if ext != exts[0]:
            raise import_refused(f"inconsistency in file types, ({paths[0]}) vs ({path})")
    ext = exts[0]
    if ext in (".json", ".parquet", ".csv") and len(paths) != 1:
        name = {".json": "JSON", ".parquet": "Parquet", ".csv": "CSV"}[ext]
        raise import_refused(f"for {name} import, accepts only one file")
    if ext not in (".json", ".parquet", ".npy"):
        raise import_refused(f"unexpected file type, files=[{' '.join(paths)}]")
    return ext[1:]


def read_group(
    storage: Storage,
    paths: list[str],
    schema: CollectionSchema,
    *,
    nan: str = "vectors",
    fixed_size_list: bool = False,
) -> pa.Table:
    """The rows of one file group, in the columns of Lite's engine (without an auto-id)."""
    kind = file_type(paths)
    if kind == "npy":
        return _read_npy(storage, paths, schema, nan)
    data = storage.read(paths[0])
    if kind == "parquet":
        return _read_parquet(data, paths[0], schema, nan, fixed_size_list)
    return read_json(data, paths[0], schema)


def _read_npy(storage: Storage, paths: list[str], schema: CollectionSchema, nan: str) -> pa.Table:
    for field in schema.fields:
        if field.dtype in (DataType.ARRAY, DataType.SPARSE_FLOAT_VECTOR) and not F.may_be_absent(
            field
        ):
            raise ImportFailed(
                "unsupported importing numpy files for collection with data type: "
                f"{F.GO_NAMES[field.dtype]}"
            )
    given: dict[str, pa.Array] = {}
    rows: int | None = None
    for path in paths:
        name = os.path.splitext(os.path.basename(path))[0]
        field = F.check_given(schema, name)
        if field is None and name == F.META and schema.enable_dynamic_field:
            field = FieldSchema(name=F.META, dtype=DataType.JSON)
        if field is None:
            continue
        column = _npy_column(storage.read(path), field, nan)
        if rows is not None and len(column) != rows:
            raise ImportFailed(
                f"numpy row count mismatch, field={name}, rowCount={len(column)}, expected={rows}"
            )
        rows = len(column)
        given[name] = column
    for field in schema.fields:
        if field.name not in given and not F.may_be_absent(field):
            raise ImportFailed(f"no file for field: {field.name}, files: [{' '.join(paths)}]")
    return F.complete(schema, given, rows or 0)


def _npy_column(data: pa.Buffer, field: FieldSchema, nan: str) -> pa.Array:
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        read = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, _fortran_order_is_ignored, dtype = read(stream)
    except ValueError as err:
        raise ImportFailed(f"unexpected numpy header for field '{field.name}': '{err}'") from None
    text = dtype.kind in "US"
    element = "VarChar" if text else NPY_TYPES.get(dtype.str[1:])
    if element is None:
        raise ImportFailed(
            f"unexpected numpy header for field '{field.name}': "
            f"'the numpy file dtype '{dtype.str}' is not supported'"
        )
    vector = field.dtype == DataType.FLOAT_VECTOR
    fits = (
        element in ("Float", "Double")
        if vector
        else element == ("VarChar" if field.dtype in TEXT else F.GO_NAMES[field.dtype])
    )
    if not fits:
        raise ImportFailed(
            f"expected element type '{F.GO_NAMES[field.dtype]}' for field '{field.name}', "
            f"got type '{element}'"
        )
    if len(shape) != (2 if vector else 1):
        raise ImportFailed(
            f"expected shape '{2 if vector else 1}' for {F.GO_NAMES[field.dtype]} field "
            f"'{field.name}', got shape '{len(shape)}'"
        )
    if vector and shape[1] != field.dim:
        raise ImportFailed(
            f"expected dim '{field.dim}' for FloatVector field '{field.name}', got dim '{shape[1]}'"
        )
    count = int(np.prod(shape))
    raw = memoryview(data)[stream.tell() :]
    if len(raw) < count * dtype.itemsize:
        raise ImportFailed(f"failed to read numpy data for field '{field.name}': unexpected EOF")
    values = np.frombuffer(raw, dtype, count).reshape(shape)
    if vector:
        F.refuse_nan(values, nan, True, "npy")
        return F.vectors_array(values, field.dim)
    if not text:
        if dtype.kind == "f":
            F.refuse_nan(values, nan, False, "npy")
        return pa.array(values.astype(dtype.newbyteorder("=")))
    try:
        strings = pa.array(
            np.char.decode(values, "utf-8").tolist() if dtype.kind == "S" else values.tolist(),
            pa.string(),
        )
    except UnicodeDecodeError:
        raise ImportFailed(f"value of field '{field.name}' contains invalid UTF-8 data") from None
    if dtype.kind == "U":
        F.check_strings(strings, field)
    if field.dtype == DataType.JSON:
        F.check_json(strings, field.name)
    return F.times_array(strings.to_pylist()) if field.dtype == DataType.TIMESTAMPTZ else strings


_INTS = (pa.int8(), pa.int16(), pa.int32(), pa.int64())


def _convertible(src: pa.DataType, field: FieldSchema, dst: pa.DataType, fixed: bool) -> bool:
    """``isArrowDataTypeConvertible`` of milvus ``parquet/util.go``."""
    if pa.types.is_null(src):
        return field.nullable or field.default_value is not None
    if pa.types.is_list(dst) or pa.types.is_fixed_size_list(dst):
        listlike = pa.types.is_list(src) or (fixed and pa.types.is_fixed_size_list(src))
        return listlike and _convertible(src.value_type, field, dst.value_type, fixed)
    if src in _INTS:
        return pa.types.is_floating(dst) or (dst in _INTS and _INTS.index(src) <= _INTS.index(dst))
    if src in (pa.float32(), pa.float64()):
        return pa.types.is_floating(dst)
    return src == dst and (pa.types.is_boolean(src) or pa.types.is_string(src))


def _read_parquet(
    data: pa.Buffer, path: str, schema: CollectionSchema, nan: str, fixed: bool
) -> pa.Table:
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
    except pa.ArrowException as err:
        raise ImportFailed(f"new parquet reader failed, path={path}, err={err}") from None
    arrow = {f.name: f.type for f in file.schema_arrow}
    wanted: dict[str, FieldSchema] = {}
    for field in schema.fields:
        if field.name not in arrow:
            if not F.may_be_absent(field):
                raise ImportFailed(
                    f"schema not equal, err=field '{field.name}' not in arrow schema"
                )
            continue
        F.check_given(schema, field.name)
        src, sparse = arrow[field.name], field.dtype == DataType.SPARSE_FLOAT_VECTOR
        dst = pa.string() if sparse or field.dtype in TEXT else _arrow_type(field)
        if not ((sparse and pa.types.is_struct(src)) or _convertible(src, field, dst, fixed)):
            raise ImportFailed(
                f"schema not equal, err=field '{field.name}' type mis-match, "
                f"expect arrow type '{dst}', get arrow data type '{src}'"
            )
        wanted[field.name] = field
    if schema.enable_dynamic_field and F.META in arrow:
        wanted[F.META] = FieldSchema(name=F.META, dtype=DataType.JSON, nullable=True)
    table = file.read(columns=list(wanted)) if wanted else pa.table({})
    given = {n: _parquet_column(table.column(n), f, nan) for n, f in wanted.items()}
    return F.complete(schema, given, file.metadata.num_rows)


def _parquet_column(chunked: pa.ChunkedArray, field: FieldSchema, nan: str) -> pa.Array:
    column = pa.concat_arrays(chunked.chunks) if chunked.num_chunks else pa.array([], chunked.type)
    if pa.types.is_null(column.type):
        return pa.nulls(len(column), _arrow_type(field))
    if field.dtype == DataType.FLOAT_VECTOR:
        valid = column.drop_null()
        lengths = pc.list_value_length(valid)
        wrong = pc.any(pc.not_equal(lengths, field.dim)).as_py() if len(valid) else False
        if wrong:
            bad = lengths.filter(pc.not_equal(lengths, field.dim))[0]
            raise ImportFailed(
                f"expected dim '{field.dim}' for FloatVector field '{field.name}', got dim '{bad}'"
            )
        flat = valid.flatten()
        if flat.null_count:
            raise ImportFailed(f"array element is not allowed to be null, fieldName={field.name}")
        values = flat.to_numpy(zero_copy_only=False)
        F.refuse_nan(values, nan, True, "parquet")
        if column.null_count == 0:
            return F.vectors_array(values, field.dim)
        return column.cast(_arrow_type(field))
    if field.dtype == DataType.SPARSE_FLOAT_VECTOR:
        return F.sparse_array(column.to_pylist(), field)
    if field.dtype == DataType.TIMESTAMPTZ:
        return F.times_array(column.to_pylist())
    if field.dtype == DataType.ARRAY and field.max_capacity and len(column):
        longest = pc.max(pc.list_value_length(column)).as_py()
        if longest is not None and longest > field.max_capacity:
            raise ImportFailed(
                f"array capacity({longest}) for field {field.name} "
                f"exceeds max_capacity({field.max_capacity})"
            )
    if pa.types.is_floating(column.type):
        F.refuse_nan(column.drop_null().to_numpy(zero_copy_only=False), nan, False, "parquet")
    if pa.types.is_string(column.type):
        F.check_strings(column, field)
        if field.dtype == DataType.JSON:
            F.check_json(column, field.name)
    return column
