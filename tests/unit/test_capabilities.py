"""What each target can do, by what it says it is."""

from __future__ import annotations

import pytest

from airlift.datatypes import DataType
from airlift.milvus.capabilities import WAYS_OF_MODE, Capabilities, capabilities_of
from airlift.milvus.client import ServerVersion
from airlift.params import WriteMode
from airlift.targets.ways import IMPORT_WAYS, WRITE_WAYS
from airlift.value_rules import ValueRule


def capabilities(text: str) -> Capabilities | None:
    return capabilities_of(ServerVersion.parse(text))


@pytest.mark.parametrize(
    ("text", "first", "databases", "json"),
    [
        ("v2.2.0", "insert", False, False),
        ("v2.2.8", "insert", False, False),
        ("v2.2.9", "insert", True, True),
        ("v2.2.16", "insert", True, True),
        ("v2.3.0", "grpc_bulk_insert", True, True),
        ("v2.3.5-lite", "grpc_bulk_insert", True, True),
        ("v2.3.22", "grpc_bulk_insert", True, True),
        ("2.4.0", "rest_import", True, True),
        ("2.6.4", "rest_import", True, True),
        ("v3.0.2", "rest_import", True, True),
        ("v10.0.0", "rest_import", True, True),
        ("milvus_lite-3.2.2", "insert", True, True),
        ("Zilliz Cloud Vector Database(Compatible with Milvus 2.5)", "rest_import", True, True),
        # A cluster may say less than its real number.
        ("Zilliz Cloud Vector Database(Compatible with Milvus 2.3)", "rest_import", True, True),
    ],
)
def test_targets(text, first, databases, json):
    found = capabilities(text)
    assert found.ways[0] == first and "insert" in found.ways
    assert found.databases == databases
    assert (DataType.JSON in found.data_types) == json
    assert DataType.FLOAT_VECTOR in found.data_types


@pytest.mark.parametrize("text", ["v2.1.4", "v2.0.0", "1.1.1", "v0.10.6"])
def test_older_ones_can_nothing(text):
    assert capabilities(text) is None


def test_upsert_came_with_2_3():
    assert "upsert" not in capabilities("v2.2.16").ways
    assert "upsert" in capabilities("v2.3.0").ways


def test_lite_has_no_import_and_no_binary_vectors():
    lite = capabilities("milvus_lite-3.2.2")
    assert lite.ways == ("insert", "upsert")
    assert DataType.BINARY_VECTOR not in lite.data_types


def test_binary_vectors_get_an_index_that_does_not_crash_2_3():
    old, new = capabilities("v2.3.5"), capabilities("v2.4.0")
    assert old.autoindex(DataType.BINARY_VECTOR).index_type == "BIN_IVF_FLAT"
    assert new.autoindex(DataType.BINARY_VECTOR).index_type == "AUTOINDEX"
    assert old.autoindex(DataType.FLOAT_VECTOR).index_type == "AUTOINDEX"


@pytest.mark.parametrize(
    ("text", "nullable", "nullable_vectors", "int8_vectors", "minhash"),
    [
        ("v2.4.15", False, False, False, False),
        ("2.5.27", True, False, False, False),  # recorded: "vector type not support null"
        ("2.6.0", True, False, True, False),
        ("2.6.17", True, False, True, False),
        ("v2.6.18", True, True, True, False),
        ("2.6.20", True, True, True, False),  # recorded: a nullable vector and an int8 one taken
        ("2.6.24", True, True, True, False),
        ("3.0.0", True, True, True, True),
        ("milvus_lite-3.2.2", True, False, False, False),
    ],
)
def test_what_came_with_which_version(text, nullable, nullable_vectors, int8_vectors, minhash):
    can = capabilities(text)
    assert (can.nullable, can.nullable_vectors) == (nullable, nullable_vectors)
    assert (DataType.INT8_VECTOR in can.data_types) == int8_vectors
    # 2.6 has an index of that name, the function came with 3.0.
    assert ("MINHASH" in can.functions) == minhash


EMPTY, ZERO = ValueRule.NO_EMPTY_SPARSE, ValueRule.NO_ZERO_WEIGHT


@pytest.mark.parametrize(
    ("text", "way", "rules"),
    [
        ("2.4.0", "insert", {EMPTY}),
        ("2.4.11", "rest_import", {EMPTY}),
        ("2.4.12", "insert", set()),
        ("2.4.12", "rest_import", {EMPTY}),
        ("2.5.6", "rest_import", {EMPTY}),
        ("2.5.6", "upsert", set()),
        ("2.5.7", "rest_import", set()),
        ("2.5.27", "rest_import", set()),
        ("2.6.20", "rest_import", set()),
        ("3.0.2", "insert", set()),
        ("milvus_lite-3.2.2", "insert", {EMPTY, ZERO}),
        ("milvus_lite-3.2.2", "upsert", {EMPTY, ZERO}),
    ],
)
def test_who_takes_which_sparse_vectors(text, way, rules):
    limits = [
        one for one in capabilities(text).value_limits if one.type is DataType.SPARSE_FLOAT_VECTOR
    ]
    assert {one.rule for one in limits if not one.ways or way in one.ways} == rules


def test_every_way_that_is_named_exists():
    known = {**IMPORT_WAYS, **WRITE_WAYS}
    assert all(known[name].name == name for name in known)
    named = {way for ways in WAYS_OF_MODE.values() for way in ways}
    # Chosen where the source has files of its own, whatever the mode.
    named |= {capabilities(text).own_files_way for text in ("v2.3.5", "v2.6.4")} - {""}
    assert set(WAYS_OF_MODE) == set(WriteMode) - {WriteMode.AUTO} and named == set(known)
    for text in ("v2.2.0", "v2.2.9", "v2.3.0", "2.6.0", "milvus_lite-3.2.2"):
        assert set(capabilities(text).ways) <= set(known)
