"""Values that this target, load method or chunk file would change or refuse."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlift.datatypes import DataType
from airlift.mapping import MappedCollection
from airlift.schema import CollectionSchema, Field
from airlift.sparse_vectors import Pairs, column_of, pairs_of, to_bytes, to_dict
from airlift.transform import Transform
from airlift.value_rules import ValueRule, broken_rules, null_for_empty

KEY = Field(name="id", type=DataType.INT64, primary_key=True)
LIST = Field(name="v", type=DataType.ARRAY, element_type=DataType.INT64, nullable=True)
TEXTS = Field(name="v", type=DataType.ARRAY, element_type=DataType.VARCHAR, nullable=True)
SPARSE = Field(name="v", type=DataType.SPARSE_FLOAT_VECTOR)
LISTS = [[], [1], None, [], [2, 3], None, []]

lists = st.lists(st.none() | st.lists(st.integers(-5, 5), max_size=3), max_size=20)
vectors = st.dictionaries(st.integers(0, 9), st.sampled_from([0.0, 0.5, 2.0]), max_size=3)


def mapped(field: Field, **changes: Any) -> MappedCollection:
    return MappedCollection(
        source="c",
        target=CollectionSchema(name="c", fields=(KEY, field)),
        fields={"id": "id", "v": "v"},
        types={"id": DataType.INT64, "v": field.type},
        partitions={"": ""},
        **changes,
    )


def applied(one: MappedCollection, values: list[Any]) -> tuple[list[Any], dict[int, str]]:
    keys = pa.array(range(len(values)), pa.int64())
    batch = pa.record_batch({"id": keys, "v": pa.array(values, one.target.fields[1].arrow.type)})
    made, unfit = Transform(one).apply(batch)
    return made.column("v").to_pylist(), unfit


@given(lists, st.integers(0, 20))
def test_empty_lists_are_found_and_nulls_are_none(values, start):
    column = pa.array(values, pa.list_(pa.int64())).slice(start)
    expected = {row for row, value in enumerate(values[start:]) if value == []}
    assert set(broken_rules(column, (ValueRule.NO_EMPTY_LIST,))) == expected


@given(lists, st.integers(0, 20))
def test_null_for_empty_changes_nothing_else(values, start):
    column = pa.array(values, pa.list_(pa.int64())).slice(start)
    made = null_for_empty(column)
    assert made.to_pylist() == [None if value == [] else value for value in values[start:]]
    if [] not in values[start:]:
        assert made is column


@given(st.lists(st.none() | vectors, max_size=12), st.integers(0, 12))
def test_sparse_vectors_without_anything_or_with_zeros_are_found(rows, start):
    column = pa.array([None if row is None else to_bytes(row) for row in rows], pa.binary())
    rules = (ValueRule.NO_EMPTY_SPARSE, ValueRule.NO_ZERO_WEIGHT)
    expected = {}
    for place, row in enumerate(rows[start:]):
        if row == {}:
            expected[place] = rules[0]
        elif row and 0.0 in row.values():
            expected[place] = rules[1]
    assert broken_rules(column.slice(start), rules) == expected


@given(st.lists(st.none() | vectors, max_size=12), st.integers(0, 12))
def test_pairs_of_a_column_and_back(rows, start):
    column = pa.array([None if row is None else to_bytes(row) for row in rows], pa.binary())
    part = column.slice(start)
    pairs = pairs_of(part)
    assert pairs.counts.tolist() == [len(row or {}) for row in rows[start:]]
    assert list(zip(pairs.indices.tolist(), pairs.values.tolist(), strict=True)) == [
        pair for row in part.to_pylist() if row for pair in to_dict(row).items()
    ]
    valid = pa.array(part.is_valid()).to_numpy(zero_copy_only=False)
    assert column_of(pairs, valid).equals(part)
    assert column_of(Pairs(pairs.indices, pairs.values, pairs.counts)).null_count == 0


@pytest.mark.parametrize(
    ("field", "values"),
    [
        (LIST, LISTS),
        (TEXTS, [[], ["a"], None, [], [""], None, []]),
        (LIST.model_copy(update={"element_type": DataType.BOOL}), [[], [True], None, [], [False]]),
        (LIST.model_copy(update={"element_type": DataType.DOUBLE}), [[], [0.5], None, []]),
        (LIST.model_copy(update={"element_type": DataType.INT8}), [[]] * 5),
    ],
)
def test_an_empty_list_is_a_bad_row_or_with_allow_lossy_null(field, values):
    rules = {"v": (ValueRule.NO_EMPTY_LIST,)}
    made, unfit = applied(mapped(field, value_rules=rules), values)
    assert made == values
    assert set(unfit) == {row for row, value in enumerate(values) if value == []}
    assert all("field 'v': the list is empty" in reason for reason in unfit.values())
    assert all("file_format auto or json" in reason for reason in unfit.values())
    made, unfit = applied(mapped(field, null_for_empty=("v",)), values)
    assert (made, unfit) == ([None if value == [] else value for value in values], {})
    assert applied(mapped(field), values) == (values, {})


@pytest.mark.parametrize(
    ("rule", "bad"),
    [
        (ValueRule.NO_EMPTY_SPARSE, {}),
        (ValueRule.NO_ZERO_WEIGHT, {1: 0.0}),
        (ValueRule.NO_ZERO_WEIGHT, {1: -0.0}),
        (ValueRule.NO_ZERO_WEIGHT, {1: 0.5, 2: 0.0}),
        (ValueRule.NO_ZERO_WEIGHT, {0: 0.0, 9: 0.5}),
    ],
)
def test_a_sparse_vector_that_the_target_does_not_keep_is_a_bad_row(rule, bad):
    values = [to_bytes(one) for one in ({1: 0.5}, bad, {0: 1e-45, 7: 3.0})]
    made, unfit = applied(mapped(SPARSE, value_rules={"v": (rule,)}), values)
    assert made == values and unfit == {1: f"field 'v': {rule.reason}"}


@pytest.mark.parametrize(
    "values", [[None], [None, 1], [0, None, 2], [None, None], [1, 2, None, None, 5]]
)
def test_a_null_for_which_the_target_has_a_default_is_a_bad_row(values):
    field = Field(name="v", type=DataType.INT64, nullable=True)
    made, unfit = applied(mapped(field, value_rules={"v": (ValueRule.NO_NULL,)}), values)
    assert made == values
    assert set(unfit) == {row for row, value in enumerate(values) if value is None}
    assert all("has a default" in reason for reason in unfit.values())


JSONS = ["{}", None, "[1]", '"{}"', "1", "null", '{"a":"\\n"}', "true", "[]", "-1.5"]


@pytest.mark.parametrize("start", range(5))
@pytest.mark.parametrize(
    ("rule", "kept"), [(ValueRule.NO_PLAIN_JSON, "{["), (ValueRule.ONLY_JSON_OBJECTS, "{")]
)
def test_json_of_other_kinds_is_found(rule, kept, start):
    column = pa.array(JSONS).slice(start)
    bad = {row for row, text in enumerate(JSONS[start:]) if text and text[0] not in kept}
    assert broken_rules(column, (rule,)) == dict.fromkeys(bad, rule)


def test_the_rules_stand_in_the_plan():
    one = mapped(LIST, value_rules={"v": (ValueRule.NO_EMPTY_LIST,)}, null_for_empty=("v",))
    assert MappedCollection.model_validate_json(one.model_dump_json()) == one
    assert '"no_empty_list"' in one.model_dump_json()
