"""What was in the files of the recorded import jobs, and the collections that they went into.

A case names its files by the last part of their keys; the keys themselves are in the recording.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from tests.emulators.recorded_files import (
    DIM,
    KEY,
    NAME,
    SIMPLE,
    VECTOR,
    Case,
    Files,
    arrays,
    column,
    lists,
    parquet,
    records,
    table,
    text,
    vectors,
    with_value,
)


def _readable() -> Iterator[tuple[str, Case]]:
    """Files that are as they should be, and files that can't be read."""
    yield "ok_parquet", Case(table(500))
    yield "ok_numpy", Case(arrays(500))
    yield "ok_json_list", Case(records(500))
    yield "ok_json_rows", Case(records(50, wrapped=True))
    many = {f"{n}.parquet": table(100, 100 * n)["a.parquet"] for n in range(3)}
    yield "ok_many_groups", Case(many | arrays(100, 300))
    yield "csv", Case({"a.csv": b'id,vec,name\n1,"[1,2,3,4,5,6,7,8]",a\n'})
    yield "parquet_garbage", Case({"a.parquet": b"not parquet at all, on purpose"})
    yield "npy_garbage", Case(dict.fromkeys(arrays(1), b"not a numpy file, on purpose"))
    yield "npy_empty_object", Case(dict.fromkeys(arrays(1), b""))
    yield "json_garbage", Case(text("no json"))
    yield "json_other_shape", Case(text('{"x": 1}'))
    yield "json_zero_rows", Case(text("[]"))
    yield "npy_zero_rows", Case(arrays(0))
    yield "parquet_zero_rows", Case(table(0, name=pa.nulls(0)))
    for name in ("missing_file", "missing_file_npy", "missing_file_json", "full_url"):
        yield name, Case()
    yield "one_missing_of_two_groups", Case(table(30))


def _numpy() -> Iterator[tuple[str, Case]]:
    yield "npy_extra_file", Case(arrays(20, other=np.arange(20)))
    yield "npy_missing_field", Case(arrays(20, name=None))
    yield "npy_row_mismatch", Case(arrays(20, name=np.array(["x"] * 19)))
    yield "npy_wrong_type", Case(arrays(20, id=np.arange(20, dtype=np.int32)))
    yield "npy_wrong_dim", Case(arrays(20, vec=vectors(20, 4)))
    yield "npy_float64_vector", Case(arrays(20, vec=vectors(20).astype(np.float64)))
    yield "npy_fortran", Case(arrays(20, vec=np.asfortranarray(vectors(20))))
    yield "npy_too_long", Case(arrays(20, name=np.array(["x" * 17] * 20)))
    yield "npy_too_long_bytes", Case(arrays(20, name=np.array([b"x" * 17] * 20)))
    yield "npy_nan", Case(arrays(20, vec=with_value(np.nan)))
    yield "npy_inf", Case(arrays(20, vec=with_value(np.inf)))
    json_field = (*SIMPLE, column("j", "JSON"))
    yield "numpy_json_field", Case(arrays(3, j=np.array(['{"a":1}'] * 3)), json_field)
    array_field = (*SIMPLE, column("a", "Array", elementDataType="Int64", max_capacity=4))
    yield "numpy_array_field", Case(arrays(3, a=np.zeros((3, 2), np.int64)), array_field)


def _parquet() -> Iterator[tuple[str, Case]]:
    numbers = range(20)
    names = [f"n{number}" for number in numbers]
    for name, changes in {
        "wrong_type": {"id": pa.array([str(number) for number in numbers])},
        "int32_key": {"id": pa.array(numbers, pa.int32())},
        "double_vector": {"vec": lists(vectors(20), pa.float64())},
        "wrong_dim": {"vec": lists(vectors(20, 4))},
        "fixed_size_list": {"vec": pa.array(vectors(20).tolist(), pa.list_(pa.float32(), DIM))},
        "too_long": {"name": pa.array(["x" * 17] * 20)},
        "too_long_multibyte": {"name": pa.array(["é" * 9] * 20)},
        "missing_field": {"name": None},
        "extra_field": {"other": pa.array(numbers)},
        "large_string": {"name": pa.array(names, pa.large_string())},
        "dictionary": {"name": pa.array(names).dictionary_encode()},
        "nan": {"vec": lists(with_value(np.nan))},
        "inf": {"vec": lists(with_value(np.inf))},
    }.items():
        yield f"parquet_{name}", Case(table(20, **changes))
    ragged = pa.array([[1.0] * DIM, [1.0] * (DIM - 1)], pa.list_(pa.float32()))
    yield "parquet_ragged_dim", Case(table(2, vec=ragged))
    yield "parquet_null_in_not_null", Case(table(3, name=pa.array(["a", None, "b"])))
    hole = pa.array([[1.0] * DIM, None, [2.0] * DIM], pa.list_(pa.float32()))
    yield "parquet_null_vector", Case(table(3, vec=hole))


def _json() -> Iterator[tuple[str, Case]]:
    yield "json_missing_field", Case(records(5, without="name"))
    for name, changes in {
        "extra_field": {"other": 1},
        "wrong_type": {"id": "x"},
        "wrong_dim": {"vec": [1.0, 2.0]},
        "too_long": {"name": "x" * 17},
        "null": {"name": None},
        "number_as_string": {"id": str},
    }.items():
        yield f"json_{name}", Case(records(5, **changes))


def _dynamic() -> Iterator[tuple[str, Case]]:
    def metas(*texts: str | None) -> Files:
        return table(5, **{"$meta": pa.array(texts)})

    for name, files in {
        "meta_parquet": metas(*(json.dumps({"a": n, "b": [1, None]}) for n in range(5))),
        "meta_null_parquet": metas('{"a": 1}', None, "{}", None, '{"z": "é"}'),
        "meta_absent_parquet": table(5),
        "meta_not_object": metas(*["[1]"] * 5),
        "meta_bad_json": metas(*["{bad"] * 5),
        "meta_has_static_name": metas(*['{"name": "x"}'] * 5),
        "extra_column_parquet": table(5, other=pa.array(range(5))),
        "json_extra": records(5, other=1),
        "json_meta": records(5, **{"$meta": {"a": 1}}),
    }.items():
        yield f"dyn_{name}", Case(files, dynamic=True)
    yield "meta_without_dynamic", Case(metas(*['{"a": 1}'] * 5))


def _nullable() -> Iterator[tuple[str, Case]]:
    fields = (
        KEY,
        VECTOR,
        NAME | {"nullable": True},
        column("n", "Int32", nullable=True),
        column("f", "Float", nullable=True),
        column("j", "JSON", nullable=True),
        column("a", "Array", nullable=True, elementDataType="Int64", max_capacity=8),
    )
    values = {
        "name": pa.array(["a", None, "b"]),
        "n": pa.array([1, None, 3], pa.int32()),
        "f": pa.array([None, 0.5, None], pa.float32()),
        "j": pa.array([None, '{"a":1}', "null"]),
        "a": pa.array([[1], None, []], pa.list_(pa.int64())),
    }
    yield "nullable_values", Case(table(3, **values), fields)
    yield "nullable_columns_absent", Case(table(3, name=None), fields)
    yield "nullable_all_null_type", Case(table(3, name=pa.nulls(3), n=pa.nulls(3)), fields)
    rows = [
        {"id": 0, "vec": [1.0] * DIM, "name": None},
        {"id": 1, "vec": [1.0] * DIM, "n": 5, "j": {"x": 1}, "a": [1, 2]},
    ]
    yield "nullable_json_rows", Case(text(rows), fields)
    numbers = {"n": np.array([1, 2, 3], np.int32), "f": np.zeros(3, np.float32)}
    yield "nullable_numpy", Case(arrays(3, **numbers), fields)
    defaults = (KEY, VECTOR, NAME | {"defaultValue": "dflt"}, column("n", "Int32", defaultValue=7))
    yield "default_absent", Case(table(3, name=None), defaults)
    nulls = {"name": pa.array(["a", None, "b"]), "n": pa.array([None, 1, None], pa.int32())}
    yield "default_null", Case(table(3, **nulls), defaults)
    yield "vector_nullable_create", Case(table(3), (KEY, VECTOR | {"nullable": True}, NAME))
    empty = tuple(
        column(name, "Array", nullable=True, elementDataType=kind, max_capacity=8, **more)
        for name, kind, more in (
            ("a", "Int64", {}),
            ("t", "VarChar", {"max_length": 9}),
            ("b", "Bool", {}),
        )
    )
    items = {"a": 1, "t": "x", "b": True}
    columns = {name: pa.array([[], None, [item]]) for name, item in items.items()}
    yield "empty_arrays_parquet", Case(table(3, name=None, **columns), (KEY, VECTOR, *empty))
    rows = [
        {"id": number, "vec": vectors(1)[0].tolist()} | values
        for number, values in enumerate(
            ({key: [] for key in items}, dict.fromkeys(items), {n: [v] for n, v in items.items()})
        )
    ]
    yield "empty_arrays_json", Case(text(rows), (KEY, VECTOR, *empty))


def _scalars() -> Iterator[tuple[str, Case]]:
    floats = (*SIMPLE, column("f", "Float"), column("d", "Double"))
    f, d = np.array([np.nan, 1, 2], np.float32), np.array([1.0, np.inf, 2.0])
    # NaN, not null, which pandas' conversion would make of it.
    yield (
        "scalar_nan_parquet",
        Case(table(3, f=pa.array(f.tolist(), pa.float32()), d=pa.array(d)), floats),
    )
    yield "scalar_nan_numpy", Case(arrays(3, f=f, d=d), floats)
    whole = {"f": pa.array([1, 2, 3], pa.int32()), "d": pa.array([1, 2, 3], pa.float32())}
    yield "int_widening", Case(table(3, **whole), floats)
    small = (*SIMPLE, column("i8", "Int8"), column("i16", "Int16"))
    ints = {"i8": pa.array([1, 2, 3], pa.int32()), "i16": pa.array([1, 2, 3], pa.int16())}
    yield "int8_as_int32_parquet", Case(table(3, **ints), small)
    fields = (
        *SIMPLE,
        column("j", "JSON"),
        column("a", "Array", elementDataType="Int64", max_capacity=4),
        column("t", "Array", elementDataType="VarChar", max_capacity=4, max_length=5),
    )
    for name, changes in {
        "json_array_ok": {},
        "json_bad_text": {"j": "{bad"},
        "json_scalar_text": {"j": "5"},
        "json_string_text": {"j": '"s"'},
        "json_empty_text": {"j": ""},
        "json_dup_keys": {"j": '{"a":1,"a":2}'},
        "json_big_number": {"j": '{"n":123456789012345678901234567890}'},
        "json_nan_text": {"j": '{"n":NaN}'},
        "array_too_many": {"a": [1, 2, 3, 4, 5]},
        "array_item_too_long": {"t": ["x" * 6]},
        "array_null_item": {"a": [1, None]},
        "array_int32_for_int64": {"item": pa.int32()},
        "array_empty": {"a": [], "t": []},
    }.items():
        value = {"j": '{"a":1}', "a": [1, 2], "t": ["x"], "item": pa.int64()} | changes
        columns = {
            "j": pa.array([value["j"]] * 3),
            "a": pa.array([value["a"]] * 3, pa.list_(value["item"])),
            "t": pa.array([value["t"]] * 3, pa.list_(pa.string())),
        }
        yield name, Case(table(3, **columns), fields)
    long = pa.array(['{"a":"' + "x" * 70_000 + '"}'])
    yield "json_over_64k", Case(table(1, j=long), (*SIMPLE, column("j", "JSON")))


def _sparse() -> Iterator[tuple[str, Case]]:
    fields = (KEY, column("sp", "SparseFloatVector"), NAME)
    pair = {"id": pa.array([0, 1], pa.int64()), "name": pa.array(["a", "b"])}

    def structs(index: pa.DataType, value: pa.DataType) -> pa.Array:
        kind = pa.struct([("indices", pa.list_(index)), ("values", pa.list_(value))])
        return pa.array([{"indices": [1, 5], "values": [0.5, 0.25]}] * 2, kind)

    raw = np.array([1], "<u4").tobytes() + np.array([0.5], "<f4").tobytes()
    for name, values in {
        "json": pa.array(['{"1": 0.5, "100": 0.25}', '{"4294967294": 1.5}']),
        "json_indices": pa.array(['{"indices": [1, 5], "values": [0.5, 0.1]}'] * 2),
        "json_empty": pa.array(["{}", '{"1": 0.5}']),
        "json_negative": pa.array(['{"1": -0.5}', '{"1": 0.5}']),
        "json_max_index": pa.array(['{"4294967295": 1.5}'] * 2),
        "json_nan": pa.array(['{"1": NaN}'] * 2),
        "json_bad": pa.array(["nothing"] * 2),
        "unsorted": pa.array(['{"9": 1.5, "3": 2.5}'] * 2),
        "zero_value": pa.array(['{"9": 0.0, "3": 2.5}'] * 2),
        "struct_u32_f32": structs(pa.uint32(), pa.float32()),
        "struct_i64_f64": structs(pa.int64(), pa.float64()),
        "bytes_list": pa.array([list(raw)] * 2, pa.list_(pa.uint8())),
        "null": pa.array(['{"1": 0.5}', None]),
    }.items():
        yield f"sparse_{name}", Case({"a.parquet": parquet(pair | {"sp": values})}, fields)
    rows = [
        {"id": 0, "sp": {"1": 0.5}, "name": "a"},
        {"id": 1, "sp": {"indices": [1], "values": [0.5]}, "name": "b"},
    ]
    yield "sparse_json_file", Case(text(rows), fields)
    yield "sparse_numpy", Case(arrays(2, vec=None, sp=np.array(['{"1": 0.5}'] * 2)), fields)


def _other_vectors() -> Iterator[tuple[str, Case]]:
    """Half-precision, binary and int8 vectors; the last number is the bytes of one."""
    for short, kind, width in (
        ("f16", "Float16Vector", 16),
        ("bf16", "BFloat16Vector", 16),
        ("bin", "BinaryVector", 1),
        ("i8v", "Int8Vector", 8),
    ):
        fields = (KEY, column("v", kind, dim=DIM), NAME)

        def of_parquet(values: Any, item: pa.DataType, fields: Any = fields) -> Case:
            vector = pa.array([list(values)] * 2, pa.list_(item))
            return Case(table(2, vec=None, v=vector), fields)

        def of_numpy(values: np.ndarray, fields: Any = fields) -> Case:
            return Case(arrays(2, vec=None, v=values), fields)

        yield f"{short}_parquet_uint8", of_parquet([1] * width, pa.uint8())
        yield f"{short}_parquet_float32", of_parquet([1.0] * DIM, pa.float32())
        yield f"{short}_npy_uint8", of_numpy(np.ones((2, width), np.uint8))
        row = {"id": 0, "name": "a", "v": [1] * (1 if short == "bin" else DIM)}
        yield f"{short}_json", Case(text([row]), fields)
        if short == "i8v":
            yield "i8v_parquet_int8", of_parquet([1, -2, 3, 4, 5, 6, 7, -128], pa.int8())
            yield "i8v_npy_int8", of_numpy(np.ones((2, DIM), np.int8))
        if short == "f16":
            yield "f16_parquet_halffloat", of_parquet(np.ones(DIM, np.float16), pa.float16())
            yield "f16_npy_float16", of_numpy(np.ones((2, DIM), np.float16))
            nan = np.full(DIM, np.nan, np.float16).tobytes()
            yield "f16_parquet_nan", of_parquet(nan, pa.uint8())


def _placement() -> Iterator[tuple[str, Case]]:
    yield "partition_name", Case(table(20))
    yield "partition_missing", Case(table(20))
    keyed = (KEY, VECTOR, NAME | {"isPartitionKey": True})
    yield "partition_key", Case(table(200), keyed)
    yield "partition_key_with_name", Case(table(20), keyed)
    yield "auto_id_without", Case(table(20, id=None), auto_id=True)
    yield "auto_id_given", Case(table(20), auto_id=True)
    yield "auto_id_given_npy", Case(arrays(20), auto_id=True)
    yield "auto_id_given_json", Case(records(5), auto_id=True)
    fields = (column("id", "VarChar", isPrimary=True, max_length=64), VECTOR, NAME)
    keys = pa.array([f"k{number}" for number in range(20)])
    yield "varchar_key", Case(table(20, id=keys), fields)
    yield "varchar_key_empty", Case(table(2, id=pa.array(["", "x"])), fields)
    yield "same_key_twice_in_file", Case(table(2, id=pa.array([7, 7], pa.int64())))
    yield "leading_slash", Case(table(20))
    yield "same_file_in_two_groups", Case(table(20))
    yield "name_with_blank_and_brackets", Case({"a b.parquet": table(20)["a.parquet"]})


def _requests() -> Iterator[tuple[str, Case]]:
    """What is refused, or not, before a file is read."""
    for name in ("timeout", "timeout_bad", "unknown", "auto_commit", "not_string"):
        yield f"option_{name}", Case(table(20))
    yield "idempotency_key", Case(table(20))
    yield "upper_case_extension", Case({"a.PARQUET": table(20)["a.parquet"]})
    yield "folder_of_npy", Case(arrays(20))
    for name in (
        "mixed_types_in_group",
        "two_parquet_in_group",
        "unknown_extension",
        "no_extension",
        "no_files",
        "empty_group",
        "files_flat_list",
        "too_many_groups",
    ):
        yield name, Case()


_KINDS: tuple[Callable[[], Iterator[tuple[str, Case]]], ...] = (
    _readable,
    _numpy,
    _parquet,
    _json,
    _dynamic,
    _nullable,
    _scalars,
    _sparse,
    _other_vectors,
    _placement,
    _requests,
)
CASES: dict[str, Case] = {name: case for kind in _KINDS for name, case in kind()}
