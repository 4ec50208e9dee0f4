"""JSON values are taken strictly by type and range."""

from __future__ import annotations

import pytest

from airlift.datatypes import DataType
from airlift.json_values import column_of, literal
from airlift.schema import Field

VALUES = [True, 0, 1, 127, 128, 2**24, 2**24 + 1, 2**53 + 1, 2**63, 0.5, 1.0, 0.1, 1e300, "", "1"]
VALUES += [[], {}, [1], {"a": 1}]
FITS = {
    DataType.BOOL: [True],
    DataType.INT8: [0, 1, 127],
    DataType.INT16: [0, 1, 127, 128],
    DataType.INT32: [0, 1, 127, 128, 2**24, 2**24 + 1],
    DataType.INT64: [0, 1, 127, 128, 2**24, 2**24 + 1, 2**53 + 1],
    DataType.FLOAT: [0, 1, 127, 128, 2**24, 0.5, 1.0],
    DataType.DOUBLE: [0, 1, 127, 128, 2**24, 2**24 + 1, 0.5, 1.0, 0.1, 1e300],
    DataType.VARCHAR: ["", "1"],
}


def key(value: object) -> tuple[str, str]:
    return type(value).__name__, repr(value)


@pytest.mark.parametrize("kind", FITS, ids=str)
def test_what_does_not_fit_becomes_null(kind):
    field = Field(name="f", type=kind)
    made = column_of([None, *VALUES], field)
    assert made.type == field.arrow.type and not made[0].is_valid
    there = [value for value, found in zip(VALUES, made[1:], strict=True) if found.is_valid]
    assert list(map(key, there)) == list(map(key, FITS[kind]))
    assert made.drop_null().to_pylist() == there


def test_json_takes_all_and_arrays_take_items_of_their_type():
    made = column_of([{"b": 1, "a": 2}, 3, None, "x"], Field(name="f", type=DataType.JSON))
    assert made.to_pylist() == ['{"a":2,"b":1}', "3", None, '"x"']
    array = Field(name="f", type=DataType.ARRAY, element_type=DataType.INT8)
    made = column_of([[1, 2], [], [128], [1, None], 5, "12", [True]], array)
    assert made.to_pylist() == [[1, 2], [], None, None, None, None, None]


@pytest.mark.parametrize(
    ("kind", "value", "held"),
    [
        (DataType.FLOAT, 0.1, 0.10000000149011612),
        (DataType.FLOAT, 2, 2.0),
        (DataType.DOUBLE, 2, 2.0),
        (DataType.INT8, -128, -128),
        (DataType.BOOL, False, False),
        (DataType.VARCHAR, "ß", "ß"),
        (DataType.JSON, {"b": [], "a": None}, '{"a":null,"b":[]}'),
    ],
)
def test_what_the_user_writes_is_held_as_the_field_does(kind, value, held):
    found = literal(Field(name="f", type=kind), value)
    assert found == held and type(found) is type(held)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (DataType.INT8, 128),
        (DataType.INT64, 1.0),
        (DataType.INT64, "1"),
        (DataType.INT64, True),
        (DataType.FLOAT, 1e39),
        (DataType.FLOAT, True),
        (DataType.DOUBLE, float("nan")),
        (DataType.BOOL, 1),
        (DataType.VARCHAR, 1),
        (DataType.JSON, float("nan")),
        (DataType.JSON, {"a": [None, float("-inf")]}),
        (DataType.JSON, 2**64),
        (DataType.JSON, {"a": -(2**63) - 1}),
        (DataType.JSON, "\ud83d"),
    ],
)
def test_what_the_user_writes_wrong_is_told(kind, value):
    with pytest.raises(ValueError, match=f"is no {kind} value"):
        literal(Field(name="f", type=kind), value)


def test_a_text_is_no_longer_than_its_field():
    with pytest.raises(ValueError, match="'ßß' has 4 bytes, allowed are 3"):
        literal(Field(name="f", type=DataType.VARCHAR, max_length=3), "ßß")
