"""The hash of a row is the multilinear form that its module describes, number by number."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airlift import row_hash
from airlift.errors import AirliftError
from airlift.row_hash import RowHasher
from tests.unit.arrow_rows import EVERY_NULLABLE_TYPE, EVERY_TYPE, batch_of, slices

PRIME = 2**61 - 1
KEY = bytes(range(100, 132))


def _residues(purpose: str, count: int) -> list[int]:
    raw = hashlib.shake_256(KEY + purpose.encode()).digest(8 * count)
    words = [int.from_bytes(raw[at : at + 8], "little") for at in range(0, len(raw), 8)]
    return [word % 2**61 % PRIME for word in words]


def _value_bytes(value: Any, kind: pa.DataType) -> bytes:
    """A value's bytes; those of variable width are digested."""
    if pa.types.is_fixed_size_list(kind):
        return np.array(value, kind.value_type.to_pandas_dtype()).tobytes()
    if pa.types.is_fixed_size_binary(kind):
        return bytes(value)
    if pa.types.is_list(kind):
        if pa.types.is_string(kind.value_type):
            texts = [text.encode() for text in value]
            raw = b"".join(b"%d:%b" % (len(text), text) for text in texts)
        else:
            items = [_value_bytes(item, kind.value_type) for item in value]
            raw = len(items).to_bytes(8, "little") + b"".join(items)
        return hashlib.blake2b(raw, digest_size=16, key=KEY).digest()
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        raw = value.encode() if isinstance(value, str) else value
        return hashlib.blake2b(raw, digest_size=16, key=KEY).digest()
    return np.array(value, np.dtype(kind.to_pandas_dtype()).newbyteorder("<")).tobytes()


def _width(kind: pa.DataType) -> int:
    if pa.types.is_boolean(kind):
        return 1
    if pa.types.is_fixed_size_list(kind):
        return kind.list_size * kind.value_type.bit_width // 8
    is_fixed = pa.types.is_primitive(kind) or pa.types.is_fixed_size_binary(kind)
    return kind.bit_width // 8 if is_fixed else 16


def reference(row: dict[str, Any], schema: pa.Schema, partition: str) -> list[int]:
    """The two residues of a row."""
    totals = _residues(f"partition {partition}", 2)
    for field in schema:
        words = -(-_width(field.type) // 2)
        drawn = _residues(f"field {words} {field.name}", 2 * (words + 1))
        for lane in range(2):
            null, *own = drawn[lane * (words + 1) : (lane + 1) * (words + 1)]
            if row[field.name] is None:
                totals[lane] += null
                continue
            raw = _value_bytes(row[field.name], field.type)
            for at, coefficient in enumerate(own):
                totals[lane] += coefficient * int.from_bytes(raw[2 * at : 2 * at + 2], "little")
    return [total % PRIME for total in totals]


@pytest.mark.parametrize("schema", [EVERY_TYPE, EVERY_NULLABLE_TYPE], ids=["full", "nullable"])
@given(data=st.data(), partition=st.sampled_from(["", "p", "漢"]))
@settings(max_examples=25, deadline=None)
def test_it_is_what_it_is_said_to_be(schema, data, partition):
    hasher = RowHasher(KEY, "id")
    for batch in data.draw(slices(schema, most=6)):
        values = hasher.hash(batch, partition).values
        expected = [reference(row, batch.schema, partition) for row in batch.to_pylist()]
        assert values.T.tolist() == expected


def test_the_bucket_is_of_the_key_alone():
    batch, other = batch_of(EVERY_TYPE, 500, 1), batch_of(EVERY_TYPE, 500, 2)
    mixed = other.set_column(0, "id", batch.column("id"))
    buckets = RowHasher(KEY, "id").hash(batch, "").buckets
    assert (buckets == RowHasher(KEY, "id").hash(mixed, "p").buckets).all()
    assert (buckets != RowHasher(KEY, "id").hash(other, "").buckets).any()
    key, own = batch.select(["id"]), RowHasher(KEY, None).hash(batch.select(["id"]), "").values[0]
    constant = _residues("partition ", 2)[0]
    expected = [(value - constant) % PRIME >> 51 for value in own.tolist()]
    assert RowHasher(KEY, "id").hash(key, "").buckets.tolist() == expected


@pytest.mark.parametrize("keys", ["numbers", "texts"])
def test_buckets_are_filled_evenly(keys):
    numbers = range(200_000) if keys == "numbers" else range(50_000)
    column = pa.array(numbers) if keys == "numbers" else pa.array([f"doc-{n}" for n in numbers])
    buckets = RowHasher(KEY, "id").hash(pa.record_batch({"id": column}), "").buckets
    filled = np.bincount(buckets, minlength=1024)
    expected = len(numbers) / 1024
    # Six standard deviations of a random spread; regular keys may be spread better.
    assert filled.min() > expected - 6 * expected**0.5
    assert filled.max() < expected + 6 * expected**0.5


def test_a_value_as_wide_as_a_vector_can_be():
    dim = 32_768
    flat = np.arange(2 * dim, dtype=np.float32) * np.float32(-1.5)
    column = pa.FixedSizeListArray.from_arrays(pa.array(flat), dim)
    batch = pa.record_batch({"v": column})
    found = RowHasher(KEY, None).hash(batch, "").values
    assert found.T.tolist() == [reference(row, batch.schema, "") for row in batch.to_pylist()]


def test_a_blas_that_multiplies_wrongly_is_refused(monkeypatch):
    exact = row_hash._products

    def rounded(words, coefficients):
        return exact(words, coefficients) & ~np.uint64(1)

    row_hash._ensure_exact_products.cache_clear()
    monkeypatch.setattr(row_hash, "_products", rounded)
    with pytest.raises(AirliftError, match="multiplies matrices wrongly"):
        RowHasher(KEY, None)
    row_hash._ensure_exact_products.cache_clear()


@pytest.mark.parametrize(
    ("column", "refused"),
    [
        (pa.array([[1, None]], pa.list_(pa.float32(), 2)), True),
        (pa.array([[1, 2], [3, None], None], pa.list_(pa.int8(), 2)), True),
        (pa.array([[None, 1], [1, 2]], pa.list_(pa.float32(), 2)).slice(1), False),
        (pa.array([None, [1, 2]], pa.list_(pa.float32(), 2)), False),
        (pa.array([[1, 2], [3, None]], pa.list_(pa.float32(), 2)).slice(0, 1), False),
    ],
)
def test_a_null_inside_a_vector_is_refused(column, refused):
    """No bits stand for it: it would be taken for whatever lies there."""
    batch = pa.record_batch({"v": column})
    if refused:
        with pytest.raises(AirliftError, match="'v' has a vector with a null inside"):
            RowHasher(KEY, None).hash(batch, "")
    else:
        assert RowHasher(KEY, None).hash(batch, "").values.shape == (2, len(column))


def test_a_value_wider_than_any_vector(monkeypatch):
    monkeypatch.setattr(row_hash, "_MAX_WORDS", 100)
    batch = pa.record_batch({"v": pa.array([b"a" * 501, b"b" * 501], pa.binary(501))})
    found = RowHasher(KEY, None).hash(batch, "").values
    assert found.T.tolist() == [reference(row, batch.schema, "") for row in batch.to_pylist()]
