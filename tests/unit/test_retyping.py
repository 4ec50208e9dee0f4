"""A value that is given another type stays the same value, or becomes null."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlift.bad_rows import find_bad_rows
from airlift.datatypes import DataType
from airlift.json_text import canonical
from airlift.retyping import RETYPES, WHOLE_NUMBERS
from airlift.schema import Field

WHOLE = (DataType.INT8, DataType.INT16, DataType.INT32, DataType.INT64)
EDGES = sorted(
    {
        edge + off
        for low, high in WHOLE_NUMBERS.values()
        for edge in (low, high)
        for off in (-1, 0, 1)
        if -(2**63) <= edge + off < 2**63
    }
)
# JSON, but none that a parser of doubles keeps: as a text it stays as it is.
NO_CANONICAL = ['{"b":1, "a":2,"b":1}', "123456789012345678901", "[0.12345678901234567890]"]
ODD_FLOATS = [0.0, -0.0, 0.5, 1e300, -1e-300, float("nan"), float("inf"), 2.0**63, -(2.0**63)]


def values_of(kind: DataType) -> st.SearchStrategy[Any]:
    if kind is DataType.BOOL:
        return st.booleans()
    if kind is DataType.VARCHAR:
        odd = ["", "-0", "007", "+1", " 1", "1 ", "1\n", "٣", "1e3", "true", "True", str(2**63)]
        return st.sampled_from(odd) | st.sampled_from(EDGES).map(str) | st.text(max_size=4)
    if kind is DataType.JSON:
        plain = st.sampled_from(["null", '{"b" : 1, "a":[]}', "3", '"x"', "{", "", "[NaN]"])
        return plain | st.sampled_from(NO_CANONICAL)
    if kind is DataType.FLOAT:
        return st.floats(width=32) | st.sampled_from([0.5, 3.0, -128.0, 2.0**63])
    if kind is DataType.DOUBLE:
        return st.floats() | st.sampled_from(ODD_FLOATS) | st.sampled_from(EDGES).map(float)
    low, high = WHOLE_NUMBERS[kind]
    return st.sampled_from([edge for edge in EDGES if low <= edge <= high]) | st.integers(low, high)


def expected(value: Any, before: DataType, after: DataType) -> Any:
    """What must come out, worked out in plain Python; None where the value does not fit."""
    if value is None:
        return None
    if before is DataType.JSON:
        import orjson

        if value in NO_CANONICAL:
            return value
        try:
            return canonical(orjson.loads(value))
        except orjson.JSONDecodeError:
            return None
    if before is DataType.VARCHAR:
        if after is DataType.BOOL:
            return {"true": True, "false": False}.get(value)
        is_plain = value.isascii() and value.lstrip("-").isdigit() and str(int(value)) == value
        low, high = WHOLE_NUMBERS[after]
        return int(value) if is_plain and low <= int(value) <= high else None
    if after is DataType.VARCHAR:
        return value
    if after is DataType.FLOAT and before is DataType.DOUBLE:
        with np.errstate(over="ignore"):
            return float(np.float32(value))
    if before is DataType.FLOAT and after is DataType.DOUBLE:
        return value
    if not np.isfinite(value) or value != int(value):
        return None
    low, high = WHOLE_NUMBERS[after]
    return value if low <= int(value) <= high else None


SCALARS = [pair for pair in RETYPES if pair[0] in {*WHOLE_NUMBERS, DataType.VARCHAR, DataType.JSON}]


@pytest.mark.parametrize(("before", "after"), SCALARS, ids=lambda kind: kind.value)
@given(st.data())
def test_every_value_is_kept_or_null(before, after, data):
    given_values = data.draw(st.lists(values_of(before) | st.none(), max_size=12))
    start = data.draw(st.integers(0, len(given_values)))
    column = pa.array(given_values, Field(name="f", type=before).arrow.type).slice(start)
    field = Field(name="f", type=after)
    made = RETYPES[before, after].convert(column, field)
    assert made.type == field.arrow.type and len(made) == len(column)
    for value, found in zip(column.to_pylist(), made.to_pylist(), strict=True):
        wanted = expected(value, before, after)
        if after is DataType.VARCHAR and before in WHOLE_NUMBERS and value is not None:
            assert same(as_number(found, before), value), (value, found)
        else:
            assert same(found, wanted), (value, found, wanted)


def as_number(text: str, kind: DataType) -> Any:
    """The value that a text stands for, read by Python."""
    if kind is DataType.BOOL:
        return {"true": True, "false": False}[text]
    if kind is DataType.FLOAT:
        return float(np.float32(text))
    return float(text) if kind is DataType.DOUBLE else int(text)


def same(found: Any, wanted: Any) -> bool:
    if found is None or wanted is None:
        return found is wanted
    return found == wanted or (found != found and wanted != wanted)


@given(st.lists(st.floats(width=32), min_size=8, max_size=8))
def test_vectors_are_rounded_to_the_nearest_half(values):
    import ml_dtypes

    field = Field(name="v", type=DataType.FLOAT_VECTOR, dim=4)
    column = pa.array([values[:4], values[4:]], field.arrow.type).slice(1)
    flat = np.array(values[4:], np.float32)
    for kind, numpy_type in (
        (DataType.FLOAT16_VECTOR, np.float16),
        (DataType.BFLOAT16_VECTOR, ml_dtypes.bfloat16),
    ):
        after = Field(name="v", type=kind, dim=4)
        retype = RETYPES[DataType.FLOAT_VECTOR, kind]
        made = retype.convert(column, after)
        assert retype.lossy and made.type == after.arrow.type
        found = np.frombuffer(made[0].as_py(), numpy_type).astype(np.float32)
        with np.errstate(all="ignore"):
            wanted = flat.astype(numpy_type).astype(np.float32)
        assert np.array_equal(found, wanted, equal_nan=True)


def test_rows_without_a_vector_stay_without():
    field = Field(name="v", type=DataType.FLOAT_VECTOR, dim=2)
    column = pa.array([[1, 2], None, [3, 4]], field.arrow.type)
    for kind in (DataType.FLOAT16_VECTOR, DataType.BFLOAT16_VECTOR):
        after = Field(name="v", type=kind, dim=2)
        there = RETYPES[DataType.FLOAT_VECTOR, kind].convert(column, after)
        back = RETYPES[kind, DataType.FLOAT_VECTOR].convert(there, field)
        assert there.null_count == 1 and back.to_pylist() == column.to_pylist()


def test_only_what_rounds_is_lossy():
    assert {pair for pair, retype in RETYPES.items() if retype.lossy} == {
        (DataType.DOUBLE, DataType.FLOAT),
        (DataType.FLOAT_VECTOR, DataType.FLOAT16_VECTOR),
        (DataType.FLOAT_VECTOR, DataType.BFLOAT16_VECTOR),
    }


ITEMS = {
    DataType.BOOL: st.booleans(),
    DataType.INT8: st.integers(-(1 << 7), (1 << 7) - 1),
    DataType.INT64: st.integers(-(1 << 63), (1 << 63) - 1),
    DataType.FLOAT: st.floats(width=32),
    DataType.DOUBLE: st.floats(),
    DataType.VARCHAR: st.text(),
}


@pytest.mark.parametrize("kind", ITEMS)
@given(st.data())
def test_lists_become_json_of_the_same_values(kind, data):
    lists = data.draw(st.lists(st.lists(ITEMS[kind] | st.none()) | st.none(), max_size=8))
    start = data.draw(st.integers(0, len(lists)))
    before = Field(name="f", type=DataType.ARRAY, element_type=kind)
    column = pa.array(lists, before.arrow.type).slice(start)
    made = RETYPES[DataType.ARRAY, DataType.JSON].convert(
        column, Field(name="f", type=DataType.JSON)
    )
    for items, text in zip(column.to_pylist(), made.to_pylist(), strict=True):
        if items is None or any(isinstance(i, float) and not np.isfinite(i) for i in items):
            assert text is None
        else:
            assert json.loads(text) == items


def test_a_list_of_more_items_than_an_array_may_have_fits_json():
    before = Field(name="f", type=DataType.ARRAY, element_type=DataType.INT16)
    after = Field(name="f", type=DataType.JSON)
    column = pa.array([list(range(5000))], before.arrow.type)
    made = RETYPES[DataType.ARRAY, DataType.JSON].convert(column, after)
    assert find_bad_rows(pa.record_batch({"f": column}), (before,)) is not None
    assert find_bad_rows(pa.record_batch({"f": made}), (after,)) is None
    assert json.loads(made[0].as_py()) == list(range(5000))
