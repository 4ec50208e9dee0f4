"""What a server's description of a collection becomes, and what is noted or refused of it.

The descriptions are what pymilvus makes of servers' answers; servers older than 2.5 and Milvus Lite
are asked themselves in `tests/paths/test_milvus_schema.py` and `test_schema_check.py`.
"""

from __future__ import annotations

from typing import Any

import pytest
from pymilvus import DataType as MilvusType
from pymilvus.grpc_gen.schema_pb2 import ValueField

from airlift.errors import Refused
from airlift.mapping import map_collections
from airlift.params import MigrationParams
from airlift.schema import CollectionSchema, SourceCollection
from airlift.sources.milvus.describing import described


class Told:
    """A database that gives one description."""

    def __init__(
        self,
        fields: list[dict[str, Any]] | None = None,
        partitions: tuple[str, ...] = ("_default",),
        indexes: tuple[dict[str, Any], ...] = (),
        **more: Any,
    ) -> None:
        own = [
            {"name": "id", "type": MilvusType.INT64, "is_primary": True, "params": {}},
            {"name": "v", "type": MilvusType.FLOAT_VECTOR, "params": {"dim": 4}},
        ]
        self._described = {"fields": [*own, *(fields or [])], "properties": {}, **more}
        self._partitions = list(partitions)
        self._indexes = list(indexes)

    def describe(self, name: str) -> dict[str, Any]:
        return self._described

    def partitions(self, name: str) -> list[str]:
        return self._partitions

    def indexes(self, name: str) -> list[dict[str, Any]]:
        return self._indexes

    def aliases(self, name: str) -> list[str]:
        return []


def describe(**told: Any) -> tuple[CollectionSchema, str, str]:
    schema, notes, reasons = described(Told(**told), "songs")  # type: ignore[arg-type]
    return schema, "\n".join(notes), "\n".join(reasons)


KEYED = [{"name": "k", "type": MilvusType.INT64, "is_partition_key": True, "params": {}}]


@pytest.mark.parametrize(
    ("names", "said", "expected"),
    [
        ([f"_default_{n}" for n in range(7)], 7, 7),
        ([f"_default_{n}" for n in range(7)], 0, 7),  # older servers don't say it
        (["_default", *(f"_pk_{n}" for n in range(16))], 17, 16),  # Milvus Lite
        (["_default_0"], 1, 1),
        ([f"_default_{n}" for n in range(1024)], 1024, 1024),
    ],
)
def test_the_partitions_of_a_partition_key(names, said, expected):
    schema, _, _ = describe(fields=KEYED, partitions=tuple(names), num_partitions=said)
    assert (schema.num_partitions, schema.partitions) == (expected, ())


def test_partitions_by_name_are_no_number():
    schema, _, _ = describe(partitions=("_default", "rock", "jazz"), num_partitions=3)
    assert (schema.num_partitions, schema.partitions) == (0, ("jazz", "rock"))


@pytest.mark.parametrize(
    ("told", "noted"),
    [
        (
            {"properties": {"partitionkey.isolation": "true"}},
            "partitionkey.isolation': 'true'} are",
        ),
        ({"properties": {"timezone": "Asia/Tokyo"}}, "{'timezone': 'Asia/Tokyo'} are left out"),
        ({"properties": {"replicate.id": "x"}}, "{'replicate.id': 'x'} are left out"),
        ({"properties": {"collection.ttl.seconds": "9"}}, "come along"),
        (
            {
                "fields": [
                    {
                        "name": "mood",
                        "type": MilvusType.INT64,
                        "nullable": True,
                        "default_value": ValueField(long_data=5),
                    }
                ]
            },
            "the field 'mood': its default value is left out: the target would put it",
        ),
        (
            {"indexes": ({"field_name": "j", "index_type": "INVERTED"},) * 2},
            "the fields ['j'] have several indexes each",
        ),
    ],
)
def test_what_stays_behind_is_noted(told, noted):
    _, notes, reasons = describe(**told)
    assert noted in notes and not reasons


@pytest.mark.parametrize(
    "properties",
    [{}, {"timezone": "UTC"}, {"partitionkey.isolation": "False"}, {"airlift.made_by": "x"}],
)
def test_what_a_server_sets_by_itself_is_not_noted(properties):
    _, notes, _ = describe(properties=properties)
    assert notes == ""


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"external_source": "s3://lake/table"}, "it is an external collection"),
        ({"enable_namespace": True}, "it spreads its rows over namespaces"),
        (
            {
                "fields": [
                    {"name": "s", "type": MilvusType.ARRAY, "element_type": MilvusType.STRUCT}
                ]
            },
            "the field 's' is an array of STRUCT",
        ),
        ({"fields": [{"name": "g", "type": MilvusType.GEOMETRY}]}, "'g' is of the type GEOMETRY"),
        ({"fields": [{"name": "t", "type": MilvusType.TIMESTAMPTZ}]}, "of the type TIMESTAMPTZ"),
    ],
)
def test_what_is_not_known_is_refused_by_name(told, reason):
    _, _, reasons = describe(**told)
    assert reason in reasons and "collection 'songs'" in reasons


# --- what the mapping makes of it -----------------------------------------------------------------


def mapped(schema: CollectionSchema, **mapping: Any) -> tuple[CollectionSchema, str]:
    source = SourceCollection(collection_schema=schema, rows=10)
    params = MigrationParams(staging_url="/s", mapping={"songs": mapping})
    [one] = map_collections([source], params, "m")
    return one.target, "\n".join(one.notes)


@pytest.mark.parametrize(
    ("mapping", "is_on", "is_noted"),
    [({}, True, True), ({"dynamic_field": False}, False, False), ({"dynamic_field": True}, 1, 0)],
)
def test_a_dynamic_field_that_is_turned_on_is_noted(mapping, is_on, is_noted):
    schema, _, _ = describe(enable_dynamic_field=False)
    target, notes = mapped(schema, **mapping)
    assert target.dynamic_field is bool(is_on)
    assert ("the source has no dynamic field, the target gets one" in notes) is bool(is_noted)


def test_a_source_that_knows_no_dynamic_field_is_not_told_of_one():
    schema, _, _ = describe(enable_dynamic_field=True)
    for known in (True, None):
        _, notes = mapped(schema.model_copy(update={"dynamic_field": known}))
        assert notes == ""


@pytest.mark.parametrize("auto_id", [True, False])
def test_keys_that_the_source_made(auto_id):
    keyed = [{"name": "x", "type": MilvusType.INT64, "auto_id": True, "params": {}}]
    schema, _, _ = describe(fields=keyed, enable_dynamic_field=True)
    target, notes = mapped(schema, auto_id=auto_id)
    assert ("later inserts must bring keys" in notes) is not auto_id
    assert target.primary_key.auto_id is auto_id and not target.makes_keys


@pytest.mark.parametrize(
    ("mapping", "expected", "noted"),
    [
        ({}, 7, ""),
        ({"num_partitions": 12}, 12, ""),
        ({"fields": [{"source": "k", "target": "owner"}]}, 7, ""),
        ({"fields": [{"source": "k", "partition_key": False}]}, 0, ""),
        ({"exclude": ["k"]}, 0, ""),
        (
            {
                "fields": [
                    {"source": "k", "partition_key": False},
                    {"target": "o", "type": "INT64", "value": 1, "partition_key": True},
                ]
            },
            0,
            "'o' is another partition key than the source's 'k'",
        ),
    ],
)
def test_the_number_of_partitions_follows_the_key(mapping, expected, noted):
    names = tuple(f"_default_{n}" for n in range(7))
    schema, _, _ = describe(fields=KEYED, partitions=names, enable_dynamic_field=True)
    target, notes = mapped(schema, **mapping)
    assert target.num_partitions == expected and noted in notes


def test_a_number_of_partitions_without_a_key_is_refused():
    schema, _, _ = describe(enable_dynamic_field=True)
    with pytest.raises(Refused, match="num_partitions is for a partition key"):
        mapped(schema, num_partitions=5)


def test_a_default_value_that_another_type_takes_away_is_noted():
    year = {"name": "y", "type": MilvusType.INT16, "default_value": ValueField(int_data=3)}
    schema, _, _ = describe(fields=[year], enable_dynamic_field=True)
    _, notes = mapped(schema, fields=[{"source": "y", "type": "INT64"}])
    assert "its default value 3 is left out" in notes
    _, notes = mapped(schema, fields=[{"source": "y", "type": "INT64", "default": 3}])
    assert "default value" not in notes


def test_more_shards_than_the_source_has_are_noted():
    schema, _, _ = describe(enable_dynamic_field=True, num_shards=1)
    source = SourceCollection(collection_schema=schema, rows=250_000_000)
    [one] = map_collections([source], MigrationParams(staging_url="/s"), "m")
    assert one.target.shards == 3
    assert any("the target gets 3 shards, one for each 100,000,000" in note for note in one.notes)
