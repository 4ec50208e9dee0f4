"""A collection that is not made as it was planned is refused by name; what a target is known for is
noted; on real servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr
from pymilvus import DataType, Function, FunctionType, MilvusClient

from airlift.connections import MilvusConnection
from airlift.errors import AirliftError, Refused
from airlift.migration import Migration
from airlift.milvus.descriptions import MARK
from airlift.run import run
from airlift.steps.check import check
from airlift.steps.convert import convert_batch
from airlift.steps.create import create
from airlift.steps.export_meta import export_meta
from airlift.steps.index import build_indexes
from airlift.steps.plan import make_plan
from airlift.steps.publish import publish
from airlift.target_changes import Created, TargetNotes
from localservers import Milvus, MilvusLite
from tests.emulators.rest_import import RestImportServer
from tests.paths.place import FLAT, Place, SourceKind, lite_place, local_place
from tests.paths.test_milvus_to_milvus import MILVUS, rows_of
from tests.paths.test_rest_import import place_on
from tests.real_backups import unpack

DIM = 4
ROWS = 40


def make_events(client: MilvusClient, name: str = "events", **more: Any) -> None:
    """A collection with a partition key of seven partitions, and settings of all kinds."""
    schema = client.create_schema(enable_dynamic_field=True, description="what happened ü")
    schema.add_field("id", DataType.INT64, is_primary=True, description="the key")
    schema.add_field("tenant", DataType.VARCHAR, max_length=20, is_partition_key=True)
    schema.add_field(
        "tags", DataType.ARRAY, element_type=DataType.VARCHAR, max_length=9, max_capacity=5
    )
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
    params = client.prepare_index_params()
    params.add_index("vector", **FLAT, metric_type="L2")
    given = {
        "num_shards": 2,
        "num_partitions": 7,
        "consistency_level": "Session",
        "properties": {"collection.ttl.seconds": "864000"},
    }
    client.create_collection(name, schema=schema, index_params=params, **{**given, **more})
    client.insert(name, rows())
    client.load_collection(name)


def rows() -> list[dict[str, Any]]:
    vectors = np.random.default_rng(3).standard_normal((ROWS, DIM)).astype(np.float32)
    return [
        {"id": n, "tenant": f"t{n % 9}", "tags": ["a"] * (n % 3), "vector": vectors[n], "more": n}
        for n in range(ROWS)
    ]


@pytest.fixture
def events(milvus: Milvus, tmp_path: Path) -> Iterator[Place]:
    """From Milvus 2.3.5 into another database of it, with the collection `events`."""
    with local_place(milvus, tmp_path / "none", MILVUS) as place:
        place.connections.servers["milvus_source"] = MilvusConnection(uri=milvus.uri)
        make_events(place.client)
        place.defaults |= {
            "collections": ["events"],
            "write_mode": "insert",
            "target_database": "copies",
        }
        yield place


@pytest.fixture
def to_lite(milvus: Milvus, milvus_lite: MilvusLite, tmp_path: Path) -> Iterator[Place]:
    """From Milvus 2.3.5 into Milvus Lite, with the collection `events`."""
    with (
        closing(milvus.client()) as source,
        lite_place(milvus_lite, tmp_path / "none", MILVUS) as place,
    ):
        place.connections.servers["milvus_source"] = MilvusConnection(uri=milvus.uri)
        place.defaults["collections"] = ["events"]
        make_events(source)
        yield place
        source.drop_collection("events")


def definition(client: MilvusClient, name: str = "events") -> dict[str, Any]:
    """All that a server tells of a collection, without what differs by its nature."""
    told = dict(client.describe_collection(name))
    for key in ("collection_id", "created_timestamp", "update_timestamp", "collection_name"):
        told.pop(key, None)
    told["properties"] = {k: v for k, v in told["properties"].items() if k != MARK}
    return told


# --- what is carried ------------------------------------------------------------------------------


def test_a_collection_is_described_as_its_source(events):
    source = definition(events.client)
    assert source["num_partitions"] == 7 and source["num_shards"] == 2
    with events.database("copies") as copies:
        [one] = events.run(verify="full")["collections"]
        assert definition(copies) == source
        assert sorted(copies.list_partitions("events")) == [f"_default_{n}" for n in range(7)]
        assert rows_of(copies, "events") == rows_of(events.client, "events")
    assert [note for note in one["notes"] if "differ from" in note] == []
    assert one["created"]["collection"]["num_partitions"] == 7


@pytest.mark.parametrize(
    ("mapping", "partitions", "told"),
    [
        ({"num_partitions": 5}, 5, ""),
        ({"fields": [{"source": "tenant", "target": "owner"}]}, 7, ""),
        (
            {
                "fields": [
                    {"source": "tenant", "partition_key": False},
                    {"target": "origin", "type": "VARCHAR", "value": "x", "partition_key": True},
                ]
            },
            64,  # the server's default
            "'origin' is another partition key than the source's 'tenant'",
        ),
        ({"fields": [{"source": "tenant", "partition_key": False}]}, 1, ""),
    ],
)
def test_the_number_of_partitions(events, mapping, partitions, told):
    with events.database("copies") as copies:
        [one] = events.run(mapping={"events": mapping})["collections"]
        assert len(copies.list_partitions("events")) == partitions
    assert any(told in note for note in one["notes"])


def test_num_partitions_needs_a_partition_key(events):
    mapping = {"fields": [{"source": "tenant", "partition_key": False}], "num_partitions": 5}
    with pytest.raises(Refused, match="num_partitions is for a partition key"):
        events.run(mapping={"events": mapping})


def test_the_partitions_of_a_backup(milvus: Milvus, tmp_path: Path):
    folder = unpack("types", tmp_path)
    kind = SourceKind("backup", lambda *_: None, lambda _: {"backup_url": str(folder)})
    with local_place(milvus, tmp_path / "none", kind) as place:
        run = {"collections": ["archive.readings"], "target_database": "copies"}
        with place.database("copies") as copies:
            [one] = place.run(**run)["collections"]
            assert sorted(copies.list_partitions("readings")) == [f"_default_{n}" for n in range(4)]
    assert any("(autoID). They are kept" in note for note in one["notes"])


def test_a_milvus_lite_makes_what_it_can_and_it_is_noted(to_lite):
    report = to_lite.run(verify="full")
    [note] = [n for n in report["collections"][0]["notes"] if "settings differ from the plan" in n]
    for told in (
        "Milvus Lite",
        "num_partitions 16 instead of 7",
        "shards 1 instead of 2",
        "consistency_level 'Strong' instead of 'Session'",
        "description of the collection, field 'id'",
        "item_max_length 0 instead of 9",
    ):
        assert told in note, told
    assert len(rows_of(to_lite.client, "events")) == ROWS
    html = (Path(to_lite.staging_url) / to_lite.migration_id / "report.html").read_text()
    assert "num_partitions 16 instead of 7" in html


def test_sixteen_partitions_of_a_milvus_lite(milvus: Milvus, milvus_lite: MilvusLite, tmp_path):
    with (
        closing(milvus_lite.client()) as source,
        local_place(milvus, tmp_path / "none", MILVUS) as place,
    ):
        place.connections.servers["milvus_source"] = MilvusConnection(uri=milvus_lite.uri)
        make_events(source)
        try:
            place.run(collections=["events"], write_mode="insert")
        finally:
            source.drop_collection("events")
        assert len(place.client.list_partitions("events")) == 16


# --- autoID ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("keeps", [True, False])
def test_keys_that_the_source_made(milvus: Milvus, tmp_path: Path, keeps: bool):
    with local_place(milvus, tmp_path / "none", MILVUS) as place:
        place.connections.servers["milvus_source"] = MilvusConnection(uri=milvus.uri)
        client = place.client
        schema = client.create_schema(auto_id=True)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
        params = client.prepare_index_params()
        params.add_index("vector", **FLAT, metric_type="L2")
        client.create_collection("made", schema=schema, index_params=params)
        client.insert("made", [{"vector": row["vector"]} for row in rows()])
        mapping = {} if keeps else {"made": {"auto_id": True}}
        run = {"collections": ["made"], "target_database": "copies", "write_mode": "insert"}
        with place.database("copies") as copies:
            [one] = place.run(**run, mapping=mapping)["collections"]
            [key] = [f for f in copies.describe_collection("made")["fields"] if "is_primary" in f]
            assert bool(key.get("auto_id")) is not keeps
            told = [note for note in one["notes"] if "later inserts must bring keys" in note]
            assert bool(told) is keeps
            later = [{"vector": [0.0] * DIM}]
            if keeps:
                assert rows_of(copies, "made").keys() == rows_of(client, "made").keys()
                with pytest.raises(Exception, match="id"):
                    copies.insert("made", later)
            else:
                assert copies.insert("made", later)["insert_count"] == 1


# --- what is refused ------------------------------------------------------------------------------


def ready_to_create(place: Place, **params: Any) -> Migration:
    migration = place.migration(**params)
    check(migration)
    export_meta(migration)
    make_plan(migration, 64)
    convert_batch(migration, 0)
    return migration


Change = Callable[[dict[str, Any], dict[str, Any]], Any]


def made_otherwise(client: MilvusClient, mark: str, change: Change) -> None:
    """As a server that does not do what it is asked to: with the migration's mark, but changed."""
    fields: dict[str, dict[str, Any]] = {
        "id": {"datatype": DataType.INT64, "is_primary": True, "description": "the key"},
        "tenant": {"datatype": DataType.VARCHAR, "max_length": 20, "is_partition_key": True},
        "tags": {
            "datatype": DataType.ARRAY,
            "element_type": DataType.VARCHAR,
            "max_length": 9,
            "max_capacity": 5,
        },
        "vector": {"datatype": DataType.FLOAT_VECTOR, "dim": DIM},
    }
    settings: dict[str, Any] = {
        "num_shards": 2,
        "num_partitions": 7,
        "consistency_level": "Session",
        "properties": {"collection.ttl.seconds": "864000", MARK: mark},
        "enable_dynamic_field": True,
        "description": "what happened ü",
    }
    change(fields, settings)
    schema = client.create_schema(
        enable_dynamic_field=settings.pop("enable_dynamic_field"),
        description=settings.pop("description"),
    )
    for name, field in fields.items():
        schema.add_field(name, **field)
    client.create_collection("events", schema=schema, **settings)


def moved_last(fields: dict[str, Any], name: str) -> None:
    fields[name] = fields.pop(name)


OTHERWISE: dict[str, tuple[Change, str]] = {
    "nothing": (lambda f, s: None, ""),
    "partitions": (lambda f, s: s.update(num_partitions=64), "num_partitions: planned 7, found 64"),
    "shards": (lambda f, s: s.update(num_shards=1), "shards: planned 2, found 1"),
    "level": (lambda f, s: s.update(consistency_level="Strong"), "consistency_level: planned"),
    "ttl": (lambda f, s: s["properties"].pop("collection.ttl.seconds"), "ttl.seconds: planned"),
    "other ttl": (
        lambda f, s: s["properties"].update({"collection.ttl.seconds": "60"}),
        "properties.collection.ttl.seconds: planned '864000', found '60'",
    ),
    "dynamic": (lambda f, s: s.update(enable_dynamic_field=False), "dynamic_field: planned True"),
    "description": (lambda f, s: s.update(description="?"), "description: planned 'what happened"),
    "field description": (lambda f, s: f["id"].update(description=""), "field 'id': description"),
    "auto id": (lambda f, s: f["id"].update(auto_id=True), "field 'id': auto_id: planned False"),
    "key": (
        lambda f, s: f["tenant"].pop("is_partition_key") and s.pop("num_partitions"),
        "field 'tenant': partition_key: planned True, found False",
    ),
    "length": (lambda f, s: f["tenant"].update(max_length=19), "max_length: planned 20, found 19"),
    "items": (lambda f, s: f["tags"].update(max_capacity=4), "max_capacity: planned 5, found 4"),
    "texts": (lambda f, s: f["tags"].update(max_length=8), "item_max_length: planned 9, found 8"),
    "dim": (lambda f, s: f["vector"].update(dim=8), "field 'vector': dim: planned 4, found 8"),
    "type": (
        lambda f, s: f["tags"].update(element_type=DataType.INT64),
        "field 'tags': element_type: planned 'VARCHAR', found 'INT64'",
    ),
    "missing": (lambda f, s: f.pop("tags"), "fields: planned ['id', 'tenant', 'tags', 'vector']"),
    "more": (lambda f, s: f.update(x={"datatype": DataType.JSON}), "'vector', 'x']"),
    "order": (lambda f, s: moved_last(f, "tags"), "found ['id', 'tenant', 'vector', 'tags']"),
}


@pytest.mark.parametrize("name", OTHERWISE)
def test_a_collection_that_is_not_as_planned_is_refused(events, name):
    change, told = OTHERWISE[name]
    with events.database("copies") as copies, ready_to_create(events) as migration:
        migration.server.create_database("copies")
        # As a killed attempt leaves it: the collection was asked for, and may be there.
        created, begun = Created(databases=("copies",)).begin("copies.events", "copies")
        migration.staging.write("created.json", created)
        made_otherwise(copies, begun.mark, change)
        if not told:
            assert create(migration)["made"] == ["copies.events"]
            return
        with pytest.raises(Refused) as refused:
            create(migration)
        assert told in str(refused.value) and "'copies.events'" in str(refused.value)
        assert all("rollback_migration" in reason for reason in refused.value.reasons)
        # It is this migration's all the same: a rollback finds it, and so does the next attempt.
        assert migration.staging.created().find("copies.events").made
        with pytest.raises(Refused):
            create(migration)
        copies.drop_collection("events")
        assert create(migration)["made"] == ["copies.events"]
        assert definition(copies) == definition(events.client)


def test_a_lite_refuses_what_it_does_keep(to_lite):
    with ready_to_create(to_lite) as migration:
        created, begun = Created().begin("events", "")
        migration.staging.write("created.json", created)
        made_otherwise(to_lite.client, begun.mark, lambda f, s: f["vector"].update(dim=8))
        with pytest.raises(Refused, match="field 'vector': dim: planned 4, found 8") as refused:
            create(migration)
        assert len(refused.value.reasons) == 1


def test_what_is_appended_to_is_its_owners(events):
    with events.database("copies") as copies:
        events.run(migration_id="first")
        copies.alter_collection_properties("events", {"collection.ttl.seconds": "60"})
        report = events.run(migration_id="second", if_exists="append")
        assert report["state"] == "done"
        assert len(rows_of(copies, "events")) == ROWS


# --- indexes and aliases --------------------------------------------------------------------------

HNSW = {"index_type": "HNSW", "params": {"M": 16, "efConstruction": 64}}


@pytest.mark.parametrize(
    ("there", "asked", "told"),
    [
        (HNSW, HNSW, ""),
        (FLAT, HNSW, "index_type: planned 'HNSW', found 'FLAT'"),
        (
            {"index_type": "HNSW", "params": {"M": 8, "efConstruction": 64}},
            HNSW,
            "index_params.M: planned '16', found '8'",
        ),
        ({**FLAT, "metric_type": "COSINE"}, FLAT, "metric_type: planned 'L2', found 'COSINE'"),
        (FLAT, "autoindex", "index_type 'FLAT' instead of 'AUTOINDEX'"),
    ],
)
def test_an_index_that_is_there_already(events, there, asked, told):
    with events.database("copies") as copies, ready_to_create(events, index=asked) as migration:
        create(migration)
        params = copies.prepare_index_params()
        params.add_index("vector", **{"metric_type": "L2", **there})
        copies.create_index("events", params)
        if "instead of" in told or not told:
            build_indexes(migration)
            notes = migration.staging.read("target_notes.json", TargetNotes) or TargetNotes()
            assert [told in note for note in notes.of("copies.events")] == ([True] if told else [])
            return
        with pytest.raises(Refused, match="'copies.events', index on 'vector'") as refused:
            build_indexes(migration)
        assert told in str(refused.value)


def test_an_alias_that_somebody_moves_meanwhile(events, monkeypatch):
    events.client.create_database("copies")
    with events.database("copies") as copies:
        other = copies.create_schema()
        other.add_field("id", DataType.INT64, is_primary=True)
        other.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
        copies.create_collection("other", schema=other)
        mapping = {"events": {"target": "latest"}}
        with events.migration(cutover_alias=True, mapping=mapping) as migration:
            target = migration.database("copies")
            point = target.point_alias

            def point_and_move(alias: str, name: str) -> None:
                point(alias, name)
                copies.alter_alias("other", alias)

            monkeypatch.setattr(target, "point_alias", point_and_move)
            with pytest.raises(AirliftError, match="the alias 'latest' points to 'other'"):
                run(migration)
            monkeypatch.setattr(target, "point_alias", point)
            publish(migration)
            assert target.found_by("latest") == f"latest__{events.migration_id}"
        copies.drop_alias("latest")


# --- newer servers, by an emulator ----------------------------------------------------------------


def make_newer(client: MilvusClient) -> None:
    """What only Milvus 2.5 and newer have."""
    schema = client.create_schema(enable_dynamic_field=False, description="texts")
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=20)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM, mmap_enabled=True)
    schema.add_field("tenant", DataType.INT64, is_partition_key=True)
    schema.add_field("year", DataType.INT16, default_value=3, is_clustering_key=True)
    schema.add_field("mood", DataType.VARCHAR, max_length=9, nullable=True, description="or none")
    schema.add_field(
        "text",
        DataType.VARCHAR,
        max_length=99,
        enable_analyzer=True,
        enable_match=True,
        analyzer_params={"tokenizer": "standard"},
    )
    schema.add_field("words", DataType.SPARSE_FLOAT_VECTOR)
    schema.add_function(
        Function(
            "bm25",
            FunctionType.BM25,
            input_field_names=["text"],
            output_field_names=["words"],
            description="full text",
        )
    )
    params = client.prepare_index_params()
    params.add_index("vector", **FLAT, metric_type="L2")
    params.add_index("words", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25")
    client.create_collection(
        "events",
        schema=schema,
        index_params=params,
        num_shards=2,
        num_partitions=9,
        consistency_level="Eventually",
        properties={"collection.ttl.seconds": "864000", "mmap.enabled": "true"},
    )
    given = [
        {
            "id": f"k{row['id']}",
            "vector": row["vector"],
            "tenant": row["id"] % 5,
            "mood": None,
            "text": "a text",
        }
        for row in rows()
    ]
    client.insert("events", given)
    client.load_collection("events")


@pytest.fixture
def newer(tmp_path: Path) -> Iterator[Place]:
    """From an emulator of Milvus 2.6 into another, with a collection of what only it has."""
    bucket = tmp_path / "target" / "bucket" / "staging"
    with (
        RestImportServer(tmp_path / "source", version="2.6.24") as source,
        RestImportServer(tmp_path / "target", version="2.6.24") as target,
        place_on(target, tmp_path / "none", str(bucket)) as place,
    ):
        place.kind = MILVUS
        place.connections.servers["milvus_source"] = MilvusConnection(
            uri=source.grpc_address, token=SecretStr(source.token or "")
        )
        client = MilvusClient(uri=source.grpc_address, token=source.token, dedicated=True)
        with closing(client):
            make_newer(client)
            place.source = client  # type: ignore[attr-defined]
            yield place


def test_what_newer_servers_have_is_described_as_at_the_source(newer):
    mapping = {"events": {"dynamic_field": False}}
    [one] = newer.run(collections=["events"], mapping=mapping, index="source")["collections"]
    source = definition(newer.source)
    assert definition(newer.client) == source
    assert source["num_partitions"] == 9 and source["consistency_level_name"] == "Eventually"
    [year] = [field for field in source["fields"] if field["name"] == "year"]
    assert year["is_clustering_key"] and year["default_value"].int_data == 3
    assert [note for note in one["notes"] if "differ from" in note] == []


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("year", {"is_clustering_key": False}, "field 'year': clustering_key: planned True"),
        ("mood", {"nullable": False}, "field 'mood': nullable: planned True, found False"),
        ("year", {"default_value": None}, "field 'year': default: planned 3, found None"),
        ("vector", {"type_params": "mmap.enabled"}, "field 'vector': params.mmap_enabled"),
        ("text", {"type_params": "analyzer_params"}, "field 'text': params.analyzer_params"),
        ("words", {"is_function_output": False}, "functions: planned ['bm25'], found []"),
    ],
)
def test_what_a_newer_server_drops_is_refused(newer, monkeypatch, name, change, told):
    """The emulator describes the target without it, as if it had not been kept."""
    from tests.emulators.rest_import.definitions import Definitions

    complete = Definitions.complete

    def complete_without(self: Any, identity: int, response: Any, version: str) -> None:
        complete(self, identity, response, version)
        if not any(pair.key == MARK for pair in response.properties):
            return  # the source
        [field] = [field for field in response.schema.fields if field.name == name]
        for key, value in change.items():
            if key == "type_params":
                kept = [pair for pair in field.type_params if pair.key != value]
                del field.type_params[:]
                field.type_params.extend(kept)
            elif value is None:
                field.ClearField(key)
            else:
                setattr(field, key, value)
        if "is_function_output" in change:
            del response.schema.functions[:]

    monkeypatch.setattr(Definitions, "complete", complete_without)
    with pytest.raises(Refused) as refused:
        newer.run(collections=["events"], index="source")
    assert told in str(refused.value), refused.value
