"""The fingerprint: it must not depend on order or batches, and must show every change."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airlift.datatypes import DataType
from airlift.fingerprint import combined, fingerprint, from_text, to_text
from tests.unit.arrow_rows import EVERY_TYPE, arrays, batch_of, field_of, slices

MASK = (1 << 64) - 1


def whole(batches: list[pa.RecordBatch]) -> int:
    return combined(*(fingerprint(batch) for batch in batches))


def vectors(rows: list[list[float]], dim: int) -> pa.Array:
    return pa.array(rows, pa.list_(pa.float32(), dim))


# --- what it does not depend on --------------------------------------------------------------


@given(slices(EVERY_TYPE), st.randoms(use_true_random=False))
def test_it_is_the_same_however_rows_are_ordered_and_split(batches, random):
    table = pa.Table.from_batches(batches, schema=EVERY_TYPE.arrow).combine_chunks()
    order = list(range(table.num_rows))
    random.shuffle(order)
    shuffled = table.take(pa.array(order, pa.int64())).combine_chunks().to_batches()
    assert whole(batches) == whole(table.to_batches()) == whole(shuffled)


@given(slices(EVERY_TYPE))
def test_it_is_the_same_however_columns_are_ordered(batches):
    names = EVERY_TYPE.arrow.names
    for batch in batches:
        assert fingerprint(batch) == fingerprint(batch.select(names[::-1]))


@given(st.integers(1, 200), st.integers(0, 2**32), st.data())
@settings(max_examples=50)
def test_vectors_of_any_length_in_any_slice(dim, seed, data):
    random = np.random.default_rng(seed)
    flat = random.standard_normal(7 * dim).astype(np.float32)
    floats = pa.FixedSizeListArray.from_arrays(pa.array(flat), dim)
    bits = pa.array([random.bytes(dim) for _ in range(7)], pa.binary(dim))
    start = data.draw(st.integers(0, 6))
    stop = data.draw(st.integers(start + 1, 7))
    for column in (floats, bits):
        part = column.slice(start, stop - start)
        copied = pa.array(part.to_pylist(), part.type)
        assert fingerprint(pa.record_batch({"v": part})) == fingerprint(
            pa.record_batch({"v": copied})
        )
        assert whole([pa.record_batch({"v": part.slice(n, 1)}) for n in range(len(part))]) == (
            fingerprint(pa.record_batch({"v": part}))
        )


def test_many_rows_take_several_blocks():
    batch = batch_of(EVERY_TYPE, 70_000)
    assert whole([batch.slice(n, 999) for n in range(0, 70_000, 999)]) == fingerprint(batch)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (pa.int64(), [5, None, 0, None, -7]),
        (pa.int8(), [5, None, 0, None, -7]),
        (pa.float64(), [5.0, None, 0.0, None, -7.5]),
        (pa.bool_(), [True, None, False, None, True]),
        (pa.string(), ["a", None, "", None, "漢"]),
        (pa.binary(3), [b"abc", None, b"\0\0\0", None, b"xyz"]),
        (pa.list_(pa.float32(), 2), [[1, 2], None, [0, 0], None, [3, 4]]),
    ],
    ids=str,
)
def test_nulls_have_a_place_of_their_own_and_depend_on_no_batch(kind, values):
    column = pa.array(values, kind)
    batch = pa.record_batch({"f": column})
    one_by_one = [batch.slice(n, 1) for n in range(5)]
    assert whole(one_by_one) == fingerprint(batch)
    assert whole([batch.slice(1, 3), batch.slice(0, 1), batch.slice(4)]) == fingerprint(batch)
    each = [fingerprint(one) for one in one_by_one]
    assert each[1] == each[3]  # both null
    assert len({each[0], each[1], each[2]}) == 3  # a null is no zero and no empty text


# --- what it shows ---------------------------------------------------------------------------


@given(st.integers(1, 12), st.integers(0, 2**32), st.data())
def test_any_flipped_bit_shows(rows, seed, data):
    batch = batch_of(EVERY_TYPE, rows, seed)
    row = data.draw(st.integers(0, rows - 1))
    name = data.draw(st.sampled_from(["id", "int64", "double", "binary_vector", "float_vector"]))
    at = batch.schema.names.index(name)
    column = batch.column(at)
    width = {"binary_vector": 3, "float_vector": 12}.get(name, 8)
    source = column.flatten() if name == "float_vector" else column
    raw = bytearray(source.buffers()[1].to_pybytes()[: rows * width])
    bit = data.draw(st.integers(0, 8 * width - 1))
    raw[row * width + bit // 8] ^= 1 << bit % 8
    if name == "float_vector":
        flat = pa.Array.from_buffers(pa.float32(), rows * 3, [None, pa.py_buffer(bytes(raw))])
        changed = pa.FixedSizeListArray.from_arrays(flat, 3)
    else:
        changed = pa.Array.from_buffers(column.type, rows, [None, pa.py_buffer(bytes(raw))])
    other = batch.set_column(at, batch.schema.field(at), changed)
    assert fingerprint(other) != fingerprint(batch)


@given(st.sampled_from(EVERY_TYPE.arrow.names), st.integers(0, 2**32))
def test_any_changed_value_of_any_type_shows(name, seed):
    batch, other = batch_of(EVERY_TYPE, 5, seed), batch_of(EVERY_TYPE, 5, seed + 1)
    at = batch.schema.names.index(name)
    mixed = batch.set_column(at, batch.schema.field(at), other.column(at))
    same = [a.as_py() for a in batch.column(at)] == [a.as_py() for a in other.column(at)]
    # 0.0 and -0.0 are equal to Python, and other bits.
    if not same:
        assert fingerprint(mixed) != fingerprint(batch)


@given(
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=2, max_size=64),
    st.data(),
)
def test_two_flipped_signs_in_one_row_show(values, data):
    places = st.integers(0, len(values) - 1)
    a, b = data.draw(st.tuples(places, places).filter(lambda pair: pair[0] != pair[1]))
    flipped = [-v if n in (a, b) else v for n, v in enumerate(values)]
    dim = len(values)
    before = pa.record_batch({"id": pa.array([1]), "v": vectors([values], dim)})
    after = pa.record_batch({"id": pa.array([1]), "v": vectors([flipped], dim)})
    assert fingerprint(before) != fingerprint(after)


@given(st.integers(0, 2**32), st.sampled_from(EVERY_TYPE.arrow.names[1:]))
def test_values_swapped_between_rows_show(seed, name):
    batch = batch_of(EVERY_TYPE, 2, seed)
    at = batch.schema.names.index(name)
    column = batch.column(at)
    swapped = batch.set_column(at, batch.schema.field(at), column.take(pa.array([1, 0])))
    bytes_of = [fingerprint(pa.record_batch({"v": column.slice(n, 1)})) for n in (0, 1)]
    assert (fingerprint(swapped) == fingerprint(batch)) == (bytes_of[0] == bytes_of[1])


def test_values_swapped_between_fields_show():
    one = pa.record_batch({"a": pa.array([1, 3]), "b": pa.array([2, 4])})
    two = pa.record_batch({"a": pa.array([2, 3]), "b": pa.array([1, 4])})
    assert fingerprint(one) != fingerprint(two)


def test_a_renamed_field_a_lost_row_and_a_doubled_row_show():
    batch = batch_of(EVERY_TYPE, 10)
    names = [name + "_" if name == "bool" else name for name in batch.schema.names]
    assert fingerprint(batch.rename_columns(names)) != fingerprint(batch)
    assert fingerprint(batch.slice(0, 9)) != fingerprint(batch)
    twice = batch.take(pa.array([*range(10), 4]))
    assert fingerprint(twice) != fingerprint(batch)
    # An exclusive or would lose pairs of equal rows.
    assert fingerprint(batch.take(pa.array([4, 4]))) != 0
    assert fingerprint(batch.take(pa.array([4, 4]))) == 2 * fingerprint(batch.slice(4, 1)) & MASK


def test_no_accident_among_many_similar_rows():
    rows = 200_000
    ids = np.arange(rows, dtype=np.int64)
    value = np.zeros(rows, np.float32)
    found = {
        fingerprint(pa.record_batch({"id": ids[n : n + 1], "v": value[n : n + 1]}))
        for n in range(5_000)
    }
    assert len(found) == 5_000
    assert fingerprint(pa.record_batch({"id": ids, "v": value})) != fingerprint(
        pa.record_batch({"id": ids ^ 1, "v": value[::-1].copy() + 1})
    )


# --- it stays what it is ---------------------------------------------------------------------


def _reference_mix(x: int) -> int:
    x ^= x >> 30
    x = x * 0xBF58476D1CE4E5B9 & MASK
    x ^= x >> 27
    x = x * 0x94D049BB133111EB & MASK
    return x ^ x >> 31


def _reference_value(value: Any, kind: pa.DataType) -> int:
    """The hash of one value, as the module's own words describe it, number by number."""
    if pa.types.is_string(kind) or pa.types.is_binary(kind) or pa.types.is_list(kind):
        raw = orjson.dumps(value) if isinstance(value, list) else value
        raw = raw.encode() if isinstance(raw, str) else raw
        return int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest(), "little")
    if pa.types.is_fixed_size_list(kind):
        raw = np.array(value, kind.value_type.to_pandas_dtype()).tobytes()
    elif pa.types.is_fixed_size_binary(kind):
        raw = value
    else:
        raw = np.array(value, np.dtype(kind.to_pandas_dtype()).newbyteorder("<")).tobytes()
    words = [int.from_bytes(raw[n : n + 8], "little") for n in range(0, len(raw), 8)]
    # Drawn as one long row, so this also shows that short rows use the beginning of it.
    drawn = np.random.Generator(np.random.PCG64(0x41524C49465431)).integers(
        0, 1 << 64, size=4096, dtype=np.uint64
    )
    return (
        sum((word ^ word >> 32) * (int(by) | 1) for word, by in zip(words, drawn, strict=False))
        & MASK
    )


def _reference(batch: pa.RecordBatch) -> int:
    total = 0
    for row in batch.to_pylist():
        hashed = 0
        for field in batch.schema:
            salt = int.from_bytes(hashlib.blake2b(field.name.encode(), digest_size=8).digest())
            hashed += _reference_mix(_reference_value(row[field.name], field.type) + salt & MASK)
        total += _reference_mix(hashed & MASK)
    return total & MASK


@given(slices(EVERY_TYPE, most=6))
@settings(max_examples=25, deadline=None)
def test_it_is_what_it_is_said_to_be(batches):
    assert whole(batches) == sum(map(_reference, batches)) & MASK


KNOWN = {
    "BOOL": "86fa707534dc134f",
    "INT8": "9af2c030cebc4f03",
    "INT16": "b23fee9d6ae48479",
    "INT32": "3c37dffeb3031bcc",
    "INT64": "284817f75c9d0910",
    "FLOAT": "5e5eaf62b3ca41c0",
    "DOUBLE": "8c55e9a56701717d",
    "VARCHAR": "f77f46d045c066d4",
    "JSON": "fba9246c6554a4ea",
    "FLOAT_VECTOR": "b3d9fc9543d4945f",
    "BINARY_VECTOR": "95f24a776054724e",
    "ARRAY": "7eaf0393a3da2d83",
    "FLOAT16_VECTOR": "4375e85fc4f8e98c",
    "BFLOAT16_VECTOR": "4375e85fc4f8e98c",
    "INT8_VECTOR": "3375807879eac900",
    "SPARSE_FLOAT_VECTOR": "db012a7f384f88ba",
    "129": "2ea524e80fd03373",
}


@pytest.mark.parametrize("kind", list(DataType), ids=str)
def test_known_answers(kind):
    """Manifests of migrations that are under way hold these: they must never change."""
    field = arrays()[-1] if kind is DataType.ARRAY else field_of(kind)
    values: dict[DataType, list[Any]] = {
        DataType.BOOL: [True, False, True],
        DataType.FLOAT: [0.5, -0.0, 3e38],
        DataType.DOUBLE: [0.5, -0.0, 1e300],
        DataType.VARCHAR: ["", "airlift", "漢字"],
        DataType.JSON: ["{}", '{"a":1}', "[]"],
        DataType.FLOAT_VECTOR: [[1, -2, 3], [0, 0, 0], [0.1, 0.2, 0.3]],
        DataType.BINARY_VECTOR: [b"\0\1\2", b"\xff\xff\xff", b"abc"],
        DataType.ARRAY: [["a", "漢"], [], ["a"]],
        DataType.FLOAT16_VECTOR: [b"\0\1\2\3\4\5", b"\xff" * 6, b"abcdef"],
        DataType.BFLOAT16_VECTOR: [b"\0\1\2\3\4\5", b"\xff" * 6, b"abcdef"],
        DataType.INT8_VECTOR: [[1, -2, 3, 4, 5], [0] * 5, [-128, 127, 0, 0, 0]],
        DataType.SPARSE_FLOAT_VECTOR: [b"", b"abcdefgh", b"abcdefgh" * 2],
    }
    column = pa.array(values.get(kind, [1, -1, 100]), field.arrow.type)
    batch = pa.record_batch({"id": pa.array([10, 11, 12]), "value": column})
    assert to_text(fingerprint(batch)) == KNOWN[kind.value]


def test_known_answer_of_long_vectors():
    flat = np.arange(2 * 129, dtype=np.float32)
    batch = pa.record_batch({"v": pa.FixedSizeListArray.from_arrays(pa.array(flat), 129)})
    assert to_text(fingerprint(batch)) == KNOWN["129"]


@given(st.integers(0, MASK))
def test_text_and_back(value):
    assert from_text(to_text(value)) == value
    assert len(to_text(value)) == 16


def test_nothing_is_zero():
    assert fingerprint(batch_of(EVERY_TYPE, 0)) == 0 == combined()
