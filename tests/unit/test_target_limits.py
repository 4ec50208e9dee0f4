"""What a target takes by default is known without asking it."""

from __future__ import annotations

from typing import Any

import pytest

from airlift.datatypes import DataType
from airlift.mapping import MappedCollection
from airlift.milvus.capabilities import Capabilities, capabilities_of
from airlift.milvus.client import ServerVersion
from airlift.params import IndexParams
from airlift.schema import CollectionSchema, Field
from airlift.target_limits import key_name_reasons, limit_reasons

KEY = Field(name="id", type=DataType.INT64, primary_key=True)
ALL = ["2.2.16", "2.3.5", "2.4.1", "2.5.27", "2.6.20", "3.0.1"]
LITE = "milvus_lite-3.2.2"


def can_of(version: str) -> Capabilities:
    can = capabilities_of(ServerVersion.parse(version))
    assert can
    return can


def vector(kind: DataType = DataType.FLOAT_VECTOR, dim: int = 8, name: str = "v") -> Field:
    return Field(name=name, type=kind, dim=dim)


def scalars(count: int) -> list[Field]:
    return [Field(name=f"f{n}", type=DataType.INT8) for n in range(count)]


def reasons_for(
    version: str,
    *fields: Field,
    index: tuple[str, dict[str, Any]] | None = None,
    **more: Any,
) -> list[str]:
    """What is against a collection of such fields, with an index on its first vector field."""
    schema = CollectionSchema(name="docs", fields=(KEY, *fields), **more)
    mapped = MappedCollection(
        source="docs",
        target=schema,
        fields={field.name: field.name for field in schema.fields},
        partitions={"": ""},
    )
    indexes = []
    if index:
        indexes = [(schema.vectors[0], IndexParams(index_type=index[0], params=index[1]))]
    return limit_reasons(mapped, indexes, can_of(version), f"Milvus {version}")


DYNAMIC = Field(name="$meta", type=DataType.JSON)


@pytest.mark.parametrize("version", ALL)
def test_sixty_four_fields_beside_the_dynamic_one(version):
    assert reasons_for(version, vector(), *scalars(62), DYNAMIC) == []
    [reason] = reasons_for(version, vector(), *scalars(63))
    assert "'docs': it has 65 fields" in reason and f"Milvus {version} takes at most 64" in reason
    assert "mapping exclude" in reason and "$meta.<key>" in reason


@pytest.mark.parametrize(
    ("versions", "fields", "more", "limit", "way_out"),
    [
        (["2.2.16", "2.3.5"], [vector(name="a"), vector(name="b")], {}, "most 1;", "exclude"),
        (ALL[2:], [vector(name=f"v{n}") for n in range(5)], {}, "most 4;", "exclude"),
        (ALL, [vector(dim=32_769)], {}, "most 32,768;", "exclude"),
        (ALL[:2], [vector(DataType.BINARY_VECTOR, 32_776)], {}, "most 32,768;", "exclude"),
        (ALL[2:], [vector(DataType.BINARY_VECTOR, 262_152)], {}, "most 262,144;", "exclude"),
        (ALL, [vector()], {"shards": 17}, "most 16;", "mapping shards"),
        (ALL[:2], [vector()], {"num_partitions": 4097}, "most 4,096;", "num_partitions"),
        (ALL[2:], [vector()], {"num_partitions": 1025}, "most 1,024;", "num_partitions"),
        (
            ALL[2:],
            [vector()],
            {"partitions": tuple(f"p{n}" for n in range(1024))},
            "most 1,024;",
            "partition_key",
        ),
        (ALL, [vector(), Field(name="RowID", type=DataType.INT8)], {}, "keeps this name", "rename"),
        (ALL, [vector(name="Timestamp")], {}, "'Timestamp'", "\"source\": 'Timestamp'"),
        ([LITE], [vector(name="interval")], {}, "keeps this name", "rename"),
    ],
)
def test_other_limits(versions, fields, more, limit, way_out):
    for version in versions:
        [reason] = reasons_for(version, *fields, **more)
        assert limit in reason and way_out in reason and f"Milvus {version}" in reason


@pytest.mark.parametrize(
    ("name", "versions", "free"),
    [
        *(
            (name, [*ALL, LITE], [])
            for name in ("in", "NOT", "or", "and", "Like", "true", "exists")
        ),
        *((name, [LITE], ALL) for name in ("is", "NULL")),
        *((name, [], [*ALL, LITE]) for name in ("isnull", "select", "between", "in_", "id")),
    ],
)
def test_keys_called_as_words_of_filters(name, versions, free):
    """Milvus makes such a collection and takes its rows, and then can't count them."""
    key = Field(name=name, type=DataType.INT64, primary_key=True)
    schema = CollectionSchema(name="docs", fields=(key, vector(name="in")))
    mapped = MappedCollection(source="docs", target=schema, key="k", fields={}, partitions={})
    for version in versions:
        [reason] = key_name_reasons(mapped, can_of(version), f"Milvus {version}")
        assert f"'docs': primary key {name!r}" in reason and f"Milvus {version}" in reason
        assert "rename it with mapping fields [{\"source\": 'k'" in reason
    for version in free:
        assert not key_name_reasons(mapped, can_of(version), f"Milvus {version}")


@pytest.mark.parametrize("version", ALL)
def test_what_is_just_within_the_limits(version):
    old = version < "2.4"
    fields = [vector(dim=32_768)] if old else [vector(name=f"v{n}", dim=32_768) for n in range(4)]
    partitions = tuple(f"p{n}" for n in range(4095 if old else 1023))
    assert reasons_for(version, *fields, shards=16, partitions=partitions) == []
    assert reasons_for(version, vector(DataType.BINARY_VECTOR, 32_768)) == []


def test_milvus_lite_takes_any_size():
    many = [vector(name=f"v{n}", dim=40_000) for n in range(11)]
    assert reasons_for(LITE, *many, *scalars(100), shards=65) == []
    assert reasons_for(LITE, vector(), index=("HNSW", {"M": -1})) == []


@pytest.mark.parametrize(
    ("versions", "index", "said"),
    [
        (ALL[:5], ("hnsw", {}), "'hnsw' (did you mean HNSW?)"),
        (ALL[:5], ("HSNW", {}), "(did you mean HNSW?)"),
        (ALL[:5], ("FOO", {}), ", FLAT, "),
        ([*ALL[:3], LITE], ("RABITQ", {}), "no index type 'RABITQ'"),
        (ALL[1:5], ("ANNOY", {"n_trees": 8}), "no index type 'ANNOY'"),
        (ALL[:2], ("GPU_CAGRA", {}), "no index type 'GPU_CAGRA'"),
        (ALL[:3], ("HNSW_SQ", {"M": 16}), "no index type 'HNSW_SQ'"),
        (ALL[:4], ("IVF_RABITQ", {"nlist": 9}), "no index type 'IVF_RABITQ'"),
        (ALL[:3], ("HNSW", {"M": 16}), "it needs the param 'efConstruction'"),
        (ALL[:1], ("HNSW", {"M": 65, "efConstruction": 9}), "M is 65, expected 4 to 64"),
        (ALL[1:], ("HNSW", {"M": 2049, "efConstruction": 9}), "M is 2049, expected 1 to 2,048"),
        (ALL, ("HNSW", {"M": 8, "efConstruction": 0}), "efConstruction is 0, expected "),
        (ALL, ("HNSW", {"M": 8.5, "efConstruction": 8}), "M is 8.5, expected"),
        (ALL, ("HNSW", {"M": "many", "efConstruction": 8}), "M is 'many', expected"),
        (ALL[:3], ("IVF_FLAT", {}), "it needs the param 'nlist' (1 to 65,536)"),
        (ALL, ("IVF_SQ8", {"nlist": 65_537}), "nlist is 65537, expected 1 to 65,536"),
        (ALL, ("IVF_PQ", {"nlist": 16, "m": 3}), "m is 3, which does not divide the dimension 8"),
        (ALL[:3], ("IVF_PQ", {"nlist": 16}), "it needs the param 'm'"),
        (ALL[:3], ("AUTOINDEX", {"nlist": 1}), "it takes no params, found ['nlist']"),
    ],
)
def test_indexes_that_a_version_does_not_take(versions, index, said):
    for version in versions:
        [reason] = reasons_for(version, vector(), index=index)
        assert reason.startswith("collection 'docs': index on 'v': ") and said in reason


@pytest.mark.parametrize(
    ("versions", "kind", "index"),
    [
        (ALL, DataType.FLOAT_VECTOR, ("AUTOINDEX", {})),
        (ALL, DataType.FLOAT_VECTOR, ("FLAT", {"nlist": 16})),
        (ALL, DataType.FLOAT_VECTOR, ("HNSW", {"M": "16", "efConstruction": 100, "more": 1})),
        (ALL[3:], DataType.FLOAT_VECTOR, ("HNSW", {})),
        (ALL, DataType.FLOAT_VECTOR, ("IVF_PQ", {"nlist": 16, "m": 4, "nbits": 8})),
        (ALL[:1], DataType.FLOAT_VECTOR, ("ANNOY", {"n_trees": 8})),
        (ALL[1:], DataType.FLOAT_VECTOR, ("GPU_IVF_FLAT", {"nlist": 16})),
        (ALL[4:], DataType.FLOAT_VECTOR, ("IVF_RABITQ", {})),
        (ALL, DataType.BINARY_VECTOR, ("BIN_IVF_FLAT", {"nlist": 16})),
        (ALL[2:], DataType.SPARSE_FLOAT_VECTOR, ("SPARSE_WAND", {"drop_ratio_build": 0.2})),
        # One that came after this was written.
        (["3.0.1", "3.4.0"], DataType.FLOAT_VECTOR, ("BRAND_NEW", {"x": 1})),
        ([LITE], DataType.FLOAT_VECTOR, ("GPU_CAGRA", {})),
    ],
)
def test_indexes_that_a_version_takes(versions, kind, index):
    for version in versions:
        assert reasons_for(version, vector(kind, 16), index=index) == []


def test_every_reason_is_given_at_once():
    reasons = reasons_for(
        "2.3.5", *scalars(70), vector(dim=40_000), shards=99, index=("HNSW", {"M": 9_999})
    )
    assert len(reasons) == 5  # two of them for HNSW
