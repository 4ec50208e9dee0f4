"""What is planned and what a server describes, fact by fact."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymilvus import DataType as MilvusType
from pymilvus import FunctionType
from pymilvus.grpc_gen.schema_pb2 import ValueField

from airlift.datatypes import DataType
from airlift.milvus.capabilities import capabilities_of
from airlift.milvus.client import ServerVersion
from airlift.milvus.descriptions import MARK
from airlift.schema import CollectionSchema, Field, Function
from airlift.schema_facts import (
    compare_facts,
    compare_indexes,
    described_facts,
    described_index_facts,
    index_facts,
    planned_facts,
)
from airlift.steps.schema_check import sort_differences

SCHEMA = CollectionSchema(
    name="songs",
    fields=(
        Field(name="id", type=DataType.INT64, primary_key=True, description="the key"),
        Field(name="tenant", type=DataType.VARCHAR, max_length=77, partition_key=True),
        Field(
            name="tags",
            type=DataType.ARRAY,
            element_type=DataType.VARCHAR,
            max_length=9,
            max_capacity=5,
            nullable=True,
        ),
        Field(name="year", type=DataType.INT16, default=3, clustering_key=True),
        Field(name="score", type=DataType.FLOAT, default=0.1),
        Field(
            name="text",
            type=DataType.VARCHAR,
            max_length=99,
            params={"enable_analyzer": "true", "analyzer_params": '{"type": "english"}'},
        ),
        Field(name="v", type=DataType.FLOAT_VECTOR, dim=4, params={"mmap_enabled": True}),
        Field(name="words", type=DataType.SPARSE_FLOAT_VECTOR, is_function_output=True),
        Field(name="$meta", type=DataType.JSON),
    ),
    functions=(
        Function(
            name="bm25", type="BM25", inputs=("text",), outputs=("words",), params={"k1": 1.4}
        ),
    ),
    num_partitions=7,
    dynamic_field=True,
    shards=3,
    consistency_level="Session",
    description="songs and more",
    properties={"collection.ttl.seconds": "9000"},
)
DESCRIBED: dict[str, Any] = {
    "collection_name": "songs",
    "num_shards": 3,
    "description": "songs and more",
    "fields": [
        {
            "name": "id",
            "type": MilvusType.INT64,
            "is_primary": True,
            "params": {},
            "description": "the key",
        },
        {
            "name": "tenant",
            "type": MilvusType.VARCHAR,
            "is_partition_key": True,
            "params": {"max_length": 77},
        },
        {
            "name": "tags",
            "type": MilvusType.ARRAY,
            "element_type": MilvusType.VARCHAR,
            "nullable": True,
            "params": {"max_length": 9, "max_capacity": 5},
        },
        {
            "name": "year",
            "type": MilvusType.INT16,
            "is_clustering_key": True,
            "default_value": ValueField(int_data=3),
        },
        {"name": "score", "type": MilvusType.FLOAT, "default_value": ValueField(float_data=0.1)},
        {
            "name": "text",
            "type": MilvusType.VARCHAR,
            "params": {
                "max_length": 99,
                "enable_analyzer": True,
                "analyzer_params": '{"type":"english"}',
            },
        },
        {
            "name": "v",
            "type": MilvusType.FLOAT_VECTOR,
            "params": {"dim": 4, "mmap_enabled": "True"},
        },
        {
            "name": "words",
            "type": MilvusType.SPARSE_FLOAT_VECTOR,
            "is_function_output": True,
            "params": {},
        },
    ],
    "functions": [
        {
            "name": "bm25",
            "type": FunctionType.BM25,
            "input_field_names": ["text"],
            "output_field_names": ["words"],
            "params": {"k1": "1.4"},
        }
    ],
    "enable_dynamic_field": True,
    "consistency_level": 1,
    "properties": {"collection.ttl.seconds": "9000", MARK: "x", "timezone": "UTC"},
}
PARTITIONS = [f"_default_{n}" for n in range(7)]


def differences(change: Callable[[dict[str, Any], list[str]], Any] = lambda *_: None) -> list[str]:
    described, partitions = copy.deepcopy(DESCRIBED), list(PARTITIONS)
    change(described, partitions)
    found = described_facts(described, partitions)
    return [str(one) for one in compare_facts(planned_facts(SCHEMA), found)]


def field(described: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in described["fields"] if one["name"] == name)
    return found


def test_what_was_made_as_asked_has_no_difference():
    assert differences() == []


CHANGES: list[tuple[Callable[[dict[str, Any], list[str]], Any], str]] = [
    (lambda d, p: d.update(num_shards=1), "shards: planned 3, found 1"),
    (lambda d, p: d.update(description=""), "description: planned 'songs and more', found ''"),
    (lambda d, p: d.update(consistency_level=2), "planned 'Session', found 'Bounded'"),
    (lambda d, p: d.update(enable_dynamic_field=False), "dynamic_field: planned True, found False"),
    (lambda d, p: p.extend(["_default_7"]), "num_partitions: planned 7, found 8"),
    (lambda d, p: p.clear(), "num_partitions: planned 7, found 0"),
    (lambda d, p: d["properties"].clear(), "properties.collection.ttl.seconds: planned '9000'"),
    (lambda d, p: d["properties"].update({"a.b": "c"}), "properties.a.b: planned None, found 'c'"),
    (lambda d, p: d["fields"].pop(4), "fields: planned ['id', 'tenant', 'tags', 'year', 'score'"),
    (lambda d, p: d["fields"].append({"name": "x", "type": MilvusType.JSON}), "'words', 'x']"),
    (lambda d, p: d["fields"].reverse(), "fields: planned ['id', 'tenant'"),
    (lambda d, p: field(d, "id").update(type=MilvusType.VARCHAR), "field 'id': type: planned"),
    (lambda d, p: field(d, "id").update(auto_id=True), "field 'id': auto_id: planned False"),
    (lambda d, p: field(d, "id").update(is_primary=False), "field 'id': primary_key"),
    (lambda d, p: field(d, "id").update(description="a"), "description: planned 'the key'"),
    (lambda d, p: field(d, "v")["params"].update(dim=8), "field 'v': dim: planned 4, found 8"),
    (lambda d, p: field(d, "v")["params"].update(mmap_enabled="false"), "params.mmap_enabled"),
    (lambda d, p: field(d, "text")["params"].update(max_length=9), "max_length: planned 99"),
    (
        lambda d, p: field(d, "text")["params"].update(analyzer_params='{"type": "chinese"}'),
        "field 'text': params.analyzer_params: planned '{\"type\": \"english\"}'",
    ),
    (lambda d, p: field(d, "tags")["params"].update(max_capacity=6), "max_capacity: planned 5"),
    (lambda d, p: field(d, "tags")["params"].update(max_length=6), "item_max_length: planned 9"),
    (lambda d, p: field(d, "tags").update(element_type=MilvusType.JSON), "element_type: planned"),
    (lambda d, p: field(d, "tags").update(nullable=False), "field 'tags': nullable: planned True"),
    (lambda d, p: field(d, "year").pop("default_value"), "field 'year': default: planned 3"),
    (
        lambda d, p: field(d, "year").update(default_value=ValueField(int_data=4)),
        "field 'year': default: planned 3, found 4",
    ),
    (lambda d, p: field(d, "year").pop("is_clustering_key"), "field 'year': clustering_key"),
    (lambda d, p: field(d, "words").pop("is_function_output"), "field 'words': is_function_output"),
    (lambda d, p: d["functions"].clear(), "functions: planned ['bm25'], found []"),
    (
        lambda d, p: d["functions"][0].update(input_field_names=["tenant"]),
        "function 'bm25': inputs: planned ['text'], found ['tenant']",
    ),
    (lambda d, p: d["functions"][0]["params"].update(k1="1.5"), "params.k1: planned '1.4'"),
]


@pytest.mark.parametrize(("change", "told"), CHANGES, ids=[told for _, told in CHANGES])
def test_every_difference_is_named_with_both_values(change, told):
    found = differences(change)
    assert any(told in one for one in found), found
    assert len(found) == 1


def test_another_partition_key_is_two_differences():
    def change(described: dict[str, Any], partitions: list[str]) -> None:
        field(described, "tenant").pop("is_partition_key")
        field(described, "text")["is_partition_key"] = True

    assert len([one for one in differences(change) if "partition_key" in one]) == 2


def test_partitions_by_name():
    plain = SCHEMA.model_copy(
        update={
            "fields": (SCHEMA.fields[0], SCHEMA.fields[6]),
            "functions": (),
            "num_partitions": 0,
            "partitions": ("rock", "jazz"),
        }
    )
    described = {**DESCRIBED, "functions": []}
    described["fields"] = [field(DESCRIBED, name) for name in ("id", "v")]
    for partitions, found in (
        (["_default", "jazz", "rock"], []),
        (["_default", "rock"], ["partitions: planned ['jazz', 'rock'], found ['rock']"]),
    ):
        facts = described_facts(described, partitions)
        assert [str(one) for one in compare_facts(planned_facts(plain), facts)] == found


def capabilities(version: str) -> Any:
    texts = {"lite": "Milvus Lite 3.2.2", "zilliz": "Zilliz Cloud 2.6.4"}
    return capabilities_of(ServerVersion.parse(texts.get(version, f"v{version}")))


@pytest.mark.parametrize(
    ("version", "change", "is_refused"),
    [
        ("2.3.5", lambda d, p: d.update(num_shards=1), True),
        ("2.6.0", lambda d, p: d.update(consistency_level=0), True),
        ("lite", lambda d, p: d.update(num_shards=1), False),
        ("lite", lambda d, p: p.extend(map(str, range(9))), False),
        ("lite", lambda d, p: field(d, "id").update(description=""), False),
        ("lite", lambda d, p: field(d, "tags")["params"].pop("max_length"), False),
        ("lite", lambda d, p: field(d, "text")["params"].pop("max_length"), True),
        ("lite", lambda d, p: field(d, "v")["params"].update(dim=3), True),
        ("zilliz", lambda d, p: d.update(num_shards=2), False),
        ("zilliz", lambda d, p: d.update(description=""), True),
        # What a server adds by itself is never refused.
        ("2.3.5", lambda d, p: d["properties"].update({"new.one": "x"}), False),
        ("2.6.0", lambda d, p: field(d, "v")["params"].update(warmup="sync"), False),
    ],
)
def test_what_a_target_is_known_for_is_noted_and_all_else_refused(version, change, is_refused):
    described, partitions = copy.deepcopy(DESCRIBED), list(PARTITIONS)
    change(described, partitions)
    found = compare_facts(planned_facts(SCHEMA), described_facts(described, partitions))
    wrong, told = sort_differences(found, capabilities(version))
    assert (len(wrong), len(told)) == ((1, 0) if is_refused else (0, 1))


def test_the_servers_own_number_of_partitions_is_no_difference():
    schema = SCHEMA.model_copy(update={"num_partitions": 0})
    found = compare_facts(planned_facts(schema), described_facts(DESCRIBED, PARTITIONS))
    assert sort_differences(found, capabilities("2.6.0")) == ([], [])


# --- indexes --------------------------------------------------------------------------------------

HNSW = {
    "field_name": "v",
    "index_name": "v",
    "index_type": "HNSW",
    "metric_type": "COSINE",
    "M": "16",
    "efConstruction": "64",
    "state": "Finished",
    "total_rows": 9,
}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, []),
        ({"index_type": "FLAT"}, ["index_type: planned 'HNSW', found 'FLAT'"]),
        ({"M": "8"}, ["index_params.M: planned '16', found '8'"]),
        ({"M": 16, "efConstruction": "64.0"}, []),
        ({"params": {"M": 8}}, ["index_params.M: planned '16', found '8'"]),
        ({"metric_type": "L2"}, ["metric_type: planned 'COSINE', found 'L2'"]),
        ({"field_name": "w"}, ["index_type: planned 'HNSW', found ''"]),
    ],
)
def test_an_index_is_compared_by_type_metric_and_params(changes, told):
    planned = index_facts("v", "HNSW", "COSINE", {"M": 16, "efConstruction": 64})
    found = compare_indexes(planned, described_index_facts({**HNSW, **changes}))
    assert [str(one) for one in found] == [f"index on 'v': {one}" for one in told]


def test_autoindex_stands_for_what_the_server_chooses():
    planned = index_facts("v", "AUTOINDEX", "COSINE", {})
    found = compare_indexes(planned, described_index_facts(HNSW))
    wrong, told = sort_differences(found, capabilities("2.6.0"))
    assert (len(wrong), len(told)) == (0, 1)
    gone = compare_indexes(planned, {})
    assert len(sort_differences(gone, capabilities("2.6.0"))[0]) == 1


# --- any value ------------------------------------------------------------------------------------

settings_values = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.text(max_size=20),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=3),
    st.lists(st.text(max_size=5), max_size=3),
)


@given(st.dictionaries(st.from_regex(r"\A[a-z._]{1,10}\Z"), settings_values, max_size=4))
def test_a_setting_is_the_same_whichever_way_it_is_written(params):
    def as_text(value: Any) -> str:
        return value if isinstance(value, str) else json.dumps(value)

    texts = {key: as_text(value) for key, value in params.items()}
    assert index_facts("v", "X", "", params) == index_facts("v", "X", "", texts)
