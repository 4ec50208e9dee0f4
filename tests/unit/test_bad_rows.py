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
TEXT = Field(name="t", type=DataType.VARCHAR, max_length=4)


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
