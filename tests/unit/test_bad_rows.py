"""Rows that Milvus must not be given are found, each of them, and no others."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airlift.bad_rows import find_bad_rows
from airlift.datatypes import DataType
from airlift.schema import Field
from tests.unit.arrow_rows import EVERY_TYPE, batch_of, texts

VECTOR = Field(name="v", type=DataType.FLOAT_VECTOR, dim=5)
TEXT = Field(name="t", type=DataType.VARCHAR, max_length=4, nullable=True)


def vectors(values: np.ndarray) -> pa.RecordBatch:
    flat = pa.array(values.reshape(-1).astype(np.float32))
    return pa.record_batch({"v": pa.FixedSizeListArray.from_arrays(flat, 5)})


@given(
    st.lists(
        st.tuples(
            st.integers(0, 29),
            st.integers(0, 4),
            st.sampled_from([np.nan, -np.nan, np.inf, -np.inf]),
        ),
        max_size=6,
    ),
    st.integers(0, 29),
)
def test_every_vector_with_nan_or_infinity_is_found(bad, start):
    values = np.random.default_rng(1).standard_normal((30, 5))
    for row, column, value in bad:
        values[row, column] = value
    found = find_bad_rows(vectors(values).slice(start), (VECTOR,))
    expected = sorted({row - start for row, _, _ in bad if row >= start})
    if not expected:
        assert found is None
    else:
        marks, reasons = found
        assert np.flatnonzero(marks).tolist() == expected and len(marks) == 30 - start
        assert reasons == ["field 'v': a vector holds NaN or an infinity"] * len(expected)


@pytest.mark.parametrize("value", [3.4028235e38, -3.4028235e38, 1e-45, -0.0, 0.0])
def test_large_and_tiny_numbers_are_good(value):
    assert find_bad_rows(vectors(np.full((9, 5), value)), (VECTOR,)) is None


@given(st.lists(st.one_of(st.none(), texts), max_size=20))
def test_length_is_counted_in_bytes(values):
    batch = pa.record_batch({"t": pa.array(values, pa.string())})
    long = [n for n, text in enumerate(values) if text and len(text.encode()) > 4]
    found = find_bad_rows(batch, (TEXT,))
    if not long:
        assert found is None
    else:
        assert np.flatnonzero(found[0]).tolist() == long
        assert set(found[1]) == {"field 't': the text is longer than max_length bytes"}


def test_a_row_that_is_bad_twice_counts_once():
    values = np.zeros((3, 5))
    values[1] = np.nan
    batch = vectors(values).append_column("t", pa.array(["ok", "too long", "longer"]))
    marks, reasons = find_bad_rows(batch, (VECTOR, TEXT))
    assert marks.tolist() == [False, True, True]
    assert reasons == [
        "field 'v': a vector holds NaN or an infinity",
        "field 't': the text is longer than max_length bytes",
    ]


@pytest.mark.parametrize(
    ("field", "values", "bad", "reason"),
    [
        (Field(name="f", type=DataType.INT64), [1, None, 3], [1], "there is no value"),
        (Field(name="f", type=DataType.FLOAT), [1.0, np.nan, np.inf], [1, 2], "NaN or infinite"),
        (Field(name="f", type=DataType.DOUBLE, nullable=True), [None, -np.inf], [1], "NaN or inf"),
        (Field(name="f", type=DataType.JSON), ["{}", '"' + "x" * 65_535 + '"'], [1], "65,536 byt"),
        (Field(name="f", type=DataType.VARCHAR), ["a" * 65_535, "漢" * 21_846], [1], "max_length"),
        (
            Field(name="f", type=DataType.FLOAT16_VECTOR, dim=2),
            [np.array([1, 2], "<f2").tobytes(), np.array([1, np.inf], "<f2").tobytes()],
            [1],
            "NaN or an infinity",
        ),
        (
            Field(name="f", type=DataType.BFLOAT16_VECTOR, dim=2),
            [b"\x00\x3f\x00\x3f", b"\x80\x7f\x00\x00", b"\x00\x00\xc1\xff"],
            [1, 2],
            "NaN or an infinity",
        ),
        (
            Field(name="f", type=DataType.FLOAT_VECTOR, dim=2, nullable=True),
            [None, [1, 2], [np.nan, 0], None],
            [2],
            "NaN or an infinity",
        ),
    ],
    ids=lambda value: value.type.value if isinstance(value, Field) else "",
)
def test_every_kind_of_bad_value_is_found_and_no_other(field, values, bad, reason):
    batch = pa.record_batch([pa.array(values, field.arrow.type)], names=["f"])
    marks, reasons = find_bad_rows(batch, (field,))
    assert np.flatnonzero(marks).tolist() == bad
    assert all(reason in said for said in reasons) and len(reasons) == len(bad)


def test_items_of_arrays_are_looked_at():
    of = {"name": "f", "type": DataType.ARRAY, "nullable": True}
    texts = Field(**of, element_type=DataType.VARCHAR, max_length=2, max_capacity=2)
    batch = pa.record_batch({"f": [["a"], ["abc"], None, [], ["a", "b", "c"], ["a", None]]})
    marks, reasons = find_bad_rows(batch, (texts,))
    assert np.flatnonzero(marks).tolist() == [1, 4, 5]
    assert "longer than max_length" in reasons[0] and "more than max_capacity" in reasons[1]
    numbers = Field(**of, element_type=DataType.DOUBLE)
    batch = pa.record_batch({"f": [[1.0], [], None, [0.0, np.nan], [np.inf]]})
    assert np.flatnonzero(find_bad_rows(batch, (numbers,))[0]).tolist() == [3, 4]


@given(st.integers(0, 40), st.integers(0, 2**32))
@settings(max_examples=20)
def test_good_rows_of_every_type_pass(rows, seed):
    assert find_bad_rows(batch_of(EVERY_TYPE, rows, seed), EVERY_TYPE.fields) is None


def test_batches_of_many_sizes_cost_no_memory_each():
    """Deleted rows make every batch differ in length."""
    import tracemalloc

    batches = [vectors(np.zeros((n, 5))) for n in range(20_000, 20_100)]
    find_bad_rows(batches[0], (VECTOR,))
    tracemalloc.start()
    for batch in batches:
        find_bad_rows(batch, (VECTOR,))
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 2_000_000
