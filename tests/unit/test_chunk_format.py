"""Which format a collection's chunk files get, and what is said of it."""

from __future__ import annotations

from typing import Any

import pytest

from airlift.datatypes import DataType
from airlift.errors import Refused
from airlift.mapping import MappedCollection
from airlift.milvus.capabilities import Capabilities, capabilities_of
from airlift.milvus.client import ServerVersion
from airlift.params import MigrationParams
from airlift.schema import CollectionSchema, Field
from airlift.steps.chunk_format import as_it_is_there, choose_format, with_value_rules
from airlift.value_rules import ValueRule

KEY = Field(name="id", type=DataType.INT64, primary_key=True)
VECTOR = Field(name="vector", type=DataType.FLOAT_VECTOR, dim=4)
TEXT = Field(name="text", type=DataType.VARCHAR, nullable=True)
ARRAY = Field(name="tags", type=DataType.ARRAY, element_type=DataType.VARCHAR)
MAYBE = ARRAY.model_copy(update={"name": "maybe", "nullable": True})
SPARSE = Field(name="sparse", type=DataType.SPARSE_FLOAT_VECTOR)
IMPORTS = ("rest_import", "grpc_bulk_insert")
WRITES = ("insert", "upsert")


def mapped(*fields: Field) -> MappedCollection:
    target = CollectionSchema(name="c", fields=(KEY, VECTOR, *fields))
    return MappedCollection(source="c", target=target, fields={}, partitions={"": ""})


def params(**given: Any) -> MigrationParams:
    return MigrationParams(staging_url="/s", **given)


def can_of(version: str) -> Capabilities:
    can = capabilities_of(ServerVersion.parse(version))
    assert can
    return can


def choose(
    one: MappedCollection,
    way: str,
    leaves_out: bool = False,
    version: str = "2.6.20",
    **given: Any,
) -> tuple[str, list[str]]:
    return choose_format(params(**given), can_of(version), one.target, way, leaves_out)


def chosen(one: MappedCollection, way: str, leaves_out: bool = False, **given: Any) -> str:
    return choose(one, way, leaves_out, **given)[0]


@pytest.mark.parametrize("way", IMPORTS)
def test_a_nullable_array_that_is_imported_makes_it_json(way):
    name, [note] = choose(mapped(MAYBE, ARRAY), way)
    assert name == "json"
    assert "collection 'c': the format of its chunk files is json" in note and "['maybe']" in note
    assert "file_format parquet is faster" in note


@pytest.mark.parametrize("fields", [(), (ARRAY,), (TEXT,), (TEXT, ARRAY), (SPARSE, TEXT)])
@pytest.mark.parametrize("way", IMPORTS + WRITES)
def test_other_collections_are_as_before(way, fields):
    expected = "parquet" if fields else "numpy"
    assert choose(mapped(*fields), way) == (expected, [])


@pytest.mark.parametrize("way", WRITES)
def test_rows_that_are_sent_keep_their_empty_lists_in_parquet(way):
    assert choose(mapped(MAYBE), way) == ("parquet", [])


def test_rows_that_may_go_rule_numpy_out():
    assert chosen(mapped(), "rest_import", on_bad_row="set_aside") == "parquet"
    assert chosen(mapped(), "rest_import", leaves_out=True) == "parquet"
    assert chosen(mapped(MAYBE), "rest_import", on_bad_row="set_aside") == "json"


@pytest.mark.parametrize("file_format", ["parquet", "json"])
@pytest.mark.parametrize("way", IMPORTS + WRITES)
def test_what_is_asked_for_is_taken(file_format, way):
    assert choose(mapped(MAYBE), way, file_format=file_format) == (file_format, [])


def test_what_can_t_hold_the_rows_is_refused():
    for one in (mapped(TEXT), mapped(MAYBE), mapped(SPARSE)):
        with pytest.raises(Refused, match=r"collection 'c': numpy files hold .*file_format auto"):
            chosen(one, "rest_import", file_format="numpy")
    with pytest.raises(Refused, match="need the number of rows before"):
        chosen(mapped(), "rest_import", leaves_out=True, file_format="numpy")


DOUBLES = ARRAY.model_copy(update={"name": "doubles", "element_type": DataType.DOUBLE})


@pytest.mark.parametrize(
    ("version", "way", "refused"),
    [
        ("2.3.5", "grpc_bulk_insert", True),
        ("2.3.0", "grpc_bulk_insert", True),
        ("2.3.5", "insert", False),
        ("2.4.0", "rest_import", False),
        ("2.5.27", "rest_import", False),
    ],
)
def test_json_that_the_target_would_round_is_refused(version, way, refused):
    """Milvus 2.3 parses every item of an ARRAY of DOUBLE as a float32."""
    asked = {"file_format": "json", "version": version}
    assert chosen(mapped(ARRAY), way, **asked) == "json"
    if refused:
        message = r"import of json files rounds the items of \['doubles'\]; use file_format auto"
        with pytest.raises(Refused, match=message):
            chosen(mapped(DOUBLES, ARRAY), way, **asked)
        assert chosen(mapped(DOUBLES), way, version=version) == "parquet"
        # It has no nullable fields either.
        maybe = DOUBLES.model_copy(update={"nullable": True})
        with pytest.raises(Refused, match="no format of chunk files carries every value"):
            chosen(mapped(maybe), way, version=version)
    else:
        assert chosen(mapped(DOUBLES, ARRAY), way, **asked) == "json"


def ruled(one: MappedCollection, way: str, version: str = "2.6.20", **given: Any) -> Any:
    file_format, _ = choose(one, way, version=version, **given)
    can = can_of(version)
    return with_value_rules(one, one.target, way, file_format, can, params(**given))


@pytest.mark.parametrize("way", IMPORTS)
def test_parquet_that_was_asked_for_makes_bad_rows_or_nulls(way):
    two = mapped(MAYBE, ARRAY, MAYBE.model_copy(update={"name": "more"}))
    one = ruled(two, way, file_format="parquet")
    assert one.value_rules == dict.fromkeys(("maybe", "more"), (ValueRule.NO_EMPTY_LIST,))
    assert one.null_for_empty == ()
    [note] = one.notes
    assert "a row with an empty list in ['maybe', 'more'] is a bad row" in note
    one = ruled(two, way, file_format="parquet", allow_lossy=True)
    assert (one.value_rules, one.null_for_empty) == ({}, ("maybe", "more"))
    [note] = one.notes
    assert "an empty list in ['maybe', 'more'] arrives as null" in note and "allow_lossy" in note


@pytest.mark.parametrize("allow_lossy", [False, True])
@pytest.mark.parametrize("file_format", ["auto", "json"])
@pytest.mark.parametrize("way", IMPORTS)
def test_json_loses_nothing(way, file_format, allow_lossy):
    one = mapped(MAYBE, ARRAY)
    assert ruled(one, way, file_format=file_format, allow_lossy=allow_lossy) == one


@pytest.mark.parametrize("file_format", ["auto", "parquet", "json"])
@pytest.mark.parametrize("way", WRITES)
def test_neither_does_what_is_sent(way, file_format):
    one = mapped(MAYBE, ARRAY)
    assert ruled(one, way, file_format=file_format, allow_lossy=True) == one


@pytest.mark.parametrize(
    ("version", "way", "rules"),
    [
        ("2.4.5", "rest_import", (ValueRule.NO_EMPTY_SPARSE,)),
        ("2.5.3", "rest_import", (ValueRule.NO_EMPTY_SPARSE,)),
        ("2.5.3", "insert", ()),
        ("2.5.27", "rest_import", ()),
        ("milvus_lite-3.2.2", "insert", (ValueRule.NO_EMPTY_SPARSE, ValueRule.NO_ZERO_WEIGHT)),
    ],
)
def test_what_a_version_does_not_take_is_a_rule(version, way, rules):
    made = SPARSE.model_copy(update={"name": "words", "is_function_output": True})
    one = ruled(mapped(SPARSE, made, TEXT), way, version)
    assert one.value_rules == ({"sparse": rules} if rules else {})


# --- appending to a collection that is there -----------------------------------------------------

YEAR = Field(name="year", type=DataType.INT32, nullable=True)


def there(**fields: dict[str, Any]) -> dict[str, Any]:
    """A collection as pymilvus describes it, with what those fields have more."""
    names = ("id", "vector", "tags", "year")
    return {"fields": [{"name": name, "params": {}, **fields.get(name, {})} for name in names]}


@pytest.mark.parametrize(
    ("described", "expected"),
    [
        (there(), "parquet"),
        (there(tags={"nullable": True}), "json"),
        (there(year={"nullable": True}), "parquet"),
    ],
)
def test_fields_of_a_collection_that_is_there_may_be_nullable(described, expected):
    """Though no row of the source lacks the list: Milvus goes by its own field."""
    one = mapped(ARRAY)
    schema = as_it_is_there(one.target, described)
    can, asked = can_of("2.6.20"), params()
    assert choose_format(asked, can, schema, "rest_import", True)[0] == expected
    # With numbers only it would be numpy, which 2.5.27 refuses for a nullable field.
    plain = mapped(YEAR.model_copy(update={"nullable": False}))
    held = as_it_is_there(plain.target, described)
    numpy = choose_format(asked, can, held, "rest_import", False)[0] == "numpy"
    assert numpy == ("nullable" not in described["fields"][3])
    asked = params(file_format="parquet")
    ruled_one = with_value_rules(one, schema, "rest_import", "parquet", can, asked)
    rules = {"tags": (ValueRule.NO_EMPTY_LIST,)} if expected == "json" else {}
    assert ruled_one.value_rules == rules and ruled_one.target == one.target


def test_fields_of_a_collection_that_is_there_may_have_a_default():
    """Milvus puts it in the place of a null, also in a nullable field."""
    one, can = mapped(YEAR), can_of("2.6.20")
    for described, rules in (
        (there(), {}),
        (there(year={"nullable": True}), {}),
        (there(year={"nullable": True, "default_value": 7}), {"year": (ValueRule.NO_NULL,)}),
        (there(year={"default_value": 0}), {"year": (ValueRule.NO_NULL,)}),
    ):
        schema = as_it_is_there(one.target, described)
        assert (
            with_value_rules(one, schema, "insert", "parquet", can, params()).value_rules == rules
        )
    always = mapped(YEAR.model_copy(update={"nullable": False}))
    schema = as_it_is_there(always.target, there(year={"default_value": 7}))
    ruled_one = with_value_rules(always, schema, "insert", "parquet", can, params())
    assert ruled_one.value_rules == {}  # a row without a value is a bad row anyway
