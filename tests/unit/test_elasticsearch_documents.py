"""Keys of documents in every spelling: nothing is lost, and nothing overwrites anything."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlift.datatypes import DataType
from airlift.errors import AirliftError
from airlift.sources.elasticsearch.columns import Column
from airlift.sources.elasticsearch.documents import Documents, find, merged, without
from airlift.sources.elasticsearch.pages import Page
from airlift.sources.elasticsearch.params import OtherFields
from airlift.sources.elasticsearch.rows import Layout, RowMaker

KEYS = st.sampled_from(["a", "b", "c", "a.b", "a.c", "b.c", "a.b.c", "c.a", "a.b.c.a"])
VALUES = st.recursive(
    st.integers(0, 9) | st.none() | st.lists(st.integers(0, 9), max_size=2),
    lambda inner: st.dictionaries(KEYS, inner, max_size=3) | st.lists(inner, max_size=2),
    max_leaves=5,
)
DOCUMENTS = st.dictionaries(KEYS, VALUES, max_size=4)
FLAT = st.sets(st.sampled_from(["a", "b", "a.b", "b.c"]))


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Full names and single values."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{name}.{key}" if name else key)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, name)
    elif value is not None:
        yield name, value


@given(DOCUMENTS, FLAT, st.booleans())
def test_no_value_is_lost_in_any_spelling(
    document: dict[str, Any], flat: set[str], is_flat: bool
) -> None:
    known = {"a", "b", "a.b", "a.b.c", "c.a"} if is_flat else {"a", "b"}
    documents = Documents(known, flat | {""} if is_flat else flat)
    before = copy.deepcopy(document)
    normal = documents.normal(document)
    assert sorted(leaves(normal)) == sorted(leaves(before))
    assert document == before
    if not is_flat:
        assert not any(key.split(".")[0] in known for key in normal if "." in key)


@given(DOCUMENTS, DOCUMENTS)
def test_merging_keeps_all_values_of_both(first: dict[str, Any], second: dict[str, Any]) -> None:
    both = merged(first, second)
    assert sorted(leaves(both)) == sorted([*leaves(first), *leaves(second)])


@given(DOCUMENTS)
def test_a_field_is_found_in_every_spelling_and_the_rest_is_kept(document: dict[str, Any]) -> None:
    names = ("a", "b", "c")
    found = [*leaves(find(document, names), "a.b.c")]
    rest = [*leaves(without(document, [names]))]
    assert sorted([*found, *rest]) == sorted(leaves(document))
    assert "a.b.c" not in dict(rest)


@pytest.mark.parametrize(
    ("document", "wanted"),
    [
        ({"a.b": 1, "a": {"c": 2}}, {"a": {"b": 1, "c": 2}}),
        ({"a.b.c": 1, "a.b.d": 2}, {"a": {"b": {"c": 1, "d": 2}}}),
        ({"q.r": 2, "a.": 3, ".a": 4, "a..b": 5}, {"q.r": 2, "a.": 3, ".a": 4, "a..b": 5}),
        ({"a.b": 1, "a": [1]}, {"a": [1, {"b": 1}]}),
        ({"a.b": 1, "a": [{"b": 2}, {"b": 3}]}, {"a": [{"b": 2}, {"b": 3}, {"b": 1}]}),
        ({"a.b": 1, "a": "text"}, {"a": ["text", {"b": 1}]}),
        ({"a.b": 1, "a": {"b": {"c": 2}}}, {"a": {"b": [{"c": 2}, 1]}}),
        ({"a.b": [1], "a": {"b": 2}}, {"a": {"b": [2, 1]}}),
        ({"a.b": 1, "a": None}, {"a": {"b": 1}}),
        ({"a.b": 1, "a": []}, {"a": {"b": 1}}),
        ({"a.b": None, "a": {"b": 1}}, {"a": {"b": 1}}),
        ({"m.time": 1, "m.time.max": 2}, {"m": {"time": 1, "time.max": 2}}),
        ({"m.time.max": 2, "m": {"time": {"max": 1}}}, {"m": {"time": {"max": 1}, "time.max": 2}}),
        ({"a.m.t": 1, "a.m.t.x": 2, "a.p": 3}, {"a": {"m": {"t": 1, "t.x": 2}, "p": 3}}),
    ],
)
def test_dotted_names_are_objects(document: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert Documents({"a", "m"}, {"m", "a.m"}).normal(document) == wanted


@pytest.mark.parametrize(
    ("document", "wanted"),
    [
        ({"m": {"t": 1, "t.x": 2}}, {"m.t": 1, "m.t.x": 2}),
        ({"m": {"t": {"x": 2}}}, {"m.t.x": 2}),
        ({"m.t": {"x": 2}, "m": {"t": 1}}, {"m.t.x": 2, "m.t": 1}),
        ({"m": [{"t": 1}, {"t": 2}]}, {"m.t": [1, 2]}),
        ({"m.t": 1, "m": {"t": 5}}, {"m.t": [1, 5]}),
        ({"m": {"other": {"z": 1}}}, {"m.other": {"z": 1}}),
        ({"z": {"y": [{"x": 1, "w": 2}]}}, {"z": {"y": [{"x": 1, "w": 2}]}}),
        ({"f": {"g": 1}}, {"f": {"g": 1}}),
        ({"m": {}, "m.t": []}, {"m.t": []}),
        ({"m": [5, {"t": 1}]}, {"m.t": 1, "m": [5]}),
    ],
)
def test_objects_are_dotted_names_where_the_document_is_flat(
    document: dict[str, Any], wanted: dict[str, Any]
) -> None:
    documents = Documents({"m.t", "m.t.x", "f", "f.g"}, {""}, whole={"f"})
    assert documents.normal(document) == wanted


def test_constants_are_filled_in_by_index() -> None:
    documents = Documents(
        {"kind", "s"}, constants={"i": {"kind": "K", "s.set": "S"}, "j": {"kind": "J"}}
    )
    filled = {"kind": "K", "s": {"set": "S"}}
    assert documents.normal({}, "i") == filled
    assert documents.normal({"kind": None, "s": None}, "i") == filled
    assert documents.normal({"kind": [], "s.set": "S"}, "i") == filled
    assert documents.normal({"s": {"n": 1}}, "i") == {"kind": "K", "s": {"n": 1, "set": "S"}}
    assert documents.normal({"kind": "own"}, "j") == {"kind": "own"}
    assert documents.normal({}, "k") == {}
    flat = Documents({"s.set"}, {""}, constants={"i": {"s.set": "S"}})
    assert flat.normal({"s": {"n": 1}}, "i") == {"s.n": 1, "s.set": "S"}


def rows(documents: list[dict[str, Any]], **layout: Any) -> tuple[list[dict[str, Any]], list[str]]:
    """Rows and reasons of bad ones."""
    columns = [
        Column(name="_id", type=DataType.VARCHAR, is_key=True, nullable=False),
        Column(name="a", path=("a",), type=DataType.JSON),
        Column(name="b.c", path=("b", "c"), type=DataType.JSON),
    ]
    given = {"known": ("a",), "dynamic": True, "flat": (), **layout}
    maker = RowMaker(Layout(columns=tuple(columns), **given))
    hits = [{"_index": "i", "_id": str(n), "_source": one} for n, one in enumerate(documents)]
    answer = json.dumps({"hits": {"hits": [hit | {"sort": [0]} for hit in hits]}}).encode()
    batch, bad = maker.rows(Page(hits, -1, answer))
    return batch.to_pylist(), list(bad.reasons) if bad else []


@given(st.lists(DOCUMENTS, max_size=3), FLAT)
def test_rows_hold_all_that_documents_hold(documents: list[dict[str, Any]], flat: set[str]) -> None:
    made, bad = rows(documents, flat=tuple(flat))
    assert not bad
    for document, row in zip(documents, made, strict=True):
        found = [*leaves(json.loads(row["$meta"]))]
        for name in ("a", "b.c"):
            found += leaves(json.loads(row[name] or "null"), name)
        assert sorted(found) == sorted(leaves(document))


def test_fields_beside_a_column_inside_an_unlisted_object_are_refused_or_left_out() -> None:
    documents = [{"b": {"c": 1}}, {"b.c": 1, "b": {"d": 2}}, {"b": {"c": 1, "e": []}}]
    made, bad = rows(documents, dynamic=False, other_fields=OtherFields.REFUSE)
    assert [row["_id"] for row in made] == ["0", "2"]
    assert bad == [
        "field 'b': the mapping of the index does not list it, and there is no dynamic field for "
        "it; set other_fields to dynamic or leave_out, let mapping have the dynamic field, or name "
        "the field there with a type",
    ]
    made, bad = rows(documents, dynamic=False, other_fields=OtherFields.LEAVE_OUT)
    assert [row["b.c"] for row in made] == ["1", "1", "1"]
    assert not bad


def test_a_document_without_its_source_is_no_empty_row() -> None:
    layout = Layout(
        columns=(Column(name="_id", type=DataType.VARCHAR, is_key=True, nullable=False),),
        known=(),
        dynamic=False,
    )
    page = Page([{"_index": "i", "_id": "7"}], -1, b"")
    with pytest.raises(AirliftError, match="document '7' of 'i' comes without its _source"):
        RowMaker(layout).rows(page)
