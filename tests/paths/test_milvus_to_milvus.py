"""The path from a running Milvus on real servers, step by step in this process.

Every test reads the rows of both ends by pymilvus' own client and compares them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymilvus import DataType, MilvusClient

from airlift.connections import MilvusConnection
from airlift.errors import AirliftError, Refused
from airlift.key_buckets import BatchBuckets
from airlift.milvus.database import MilvusDatabase
from airlift.milvus.rows import MilvusRows
from airlift.run import run
from airlift.steps.check import check
from airlift.steps.convert import convert_batch, convert_chunk
from airlift.steps.create import create
from airlift.steps.export_meta import export_meta
from airlift.steps.plan import make_plan
from airlift.steps.write_chunks import write_batch
from localservers import Milvus, MilvusLite, MilvusOnS3
from localservers.ports import wait_until
from samples.milvus_collection import songs, write_songs
from tests.paths.place import FLAT, Place, SourceKind, bucket_place, lite_place, local_place

MILVUS = SourceKind("milvus", lambda folder, specs: None, lambda folder: {})
DIM = 8


@pytest.fixture
def from_milvus(milvus: Milvus) -> Iterator[MilvusClient]:
    """A client of the Milvus 2.3.5 that is the source; what is made there is dropped."""
    with closing(milvus.client()) as client:
        before = set(client.list_collections())
        yield client
        for name in set(client.list_collections()) - before:
            for alias in client.describe_collection(name)["aliases"]:
                client.drop_alias(alias)
            client.drop_collection(name)


@pytest.fixture
def to_s3(milvus: Milvus, milvus_on_s3: MilvusOnS3, tmp_path: Path) -> Iterator[Place]:
    """From Milvus 2.3.5 into another one, that stores in a bucket."""
    with bucket_place(milvus_on_s3, tmp_path, MILVUS) as place:
        place.defaults["write_mode"] = "auto"
        place.connections.servers["milvus_source"] = MilvusConnection(uri=milvus.uri)
        yield place


@pytest.fixture
def to_lite(milvus: Milvus, milvus_lite: MilvusLite, tmp_path: Path) -> Iterator[Place]:
    """From Milvus 2.3.5 into Milvus Lite."""
    with lite_place(milvus_lite, tmp_path / "none", MILVUS) as place:
        place.connections.servers["milvus_source"] = MilvusConnection(uri=milvus.uri)
        yield place


@pytest.fixture
def from_lite(milvus: Milvus, milvus_lite: MilvusLite, tmp_path: Path) -> Iterator[Place]:
    """From Milvus Lite into Milvus 2.3.5; `client` is the target's."""
    with local_place(milvus, tmp_path, MILVUS) as place:
        place.defaults["write_mode"] = "auto"
        place.connections.servers["milvus_source"] = MilvusConnection(uri=milvus_lite.uri)
        yield place


def rows_of(
    client: Any,
    name: str,
    key: str = "id",
    partition: str | None = None,
    fields: tuple[str, ...] = ("*",),
) -> dict[Any, Any]:
    described = {field["name"]: field for field in client.describe_collection(name)["fields"]}
    everything = f'{key} >= ""' if described[key]["type"] == DataType.VARCHAR else f"{key} > -9e18"
    everything = f"{key} >= 0 or {key} < 0" if "9e18" in everything else everything
    found = client.query(
        name,
        filter=everything,
        output_fields=list(fields),
        limit=16_000,
        partition_names=[partition] if partition else None,
        consistency_level="Strong",
    )
    return {row[key]: {name: plain(value) for name, value in row.items()} for row in found}


def plain(value: Any) -> Any:
    if isinstance(value, str | bytes | dict) or not hasattr(value, "__iter__"):
        return value
    return [plain(one) for one in value]


def vectors(rows: int, seed: int = 0) -> list[list[float]]:
    made = np.random.default_rng(seed).standard_normal((rows, DIM)).astype(np.float32)
    return [[float(x) for x in row] for row in made]


def make_songs(
    client: Any,
    name: str = "songs",
    rows: int = 1_000,
    index: bool = True,
    arrays: bool = True,
    metric: str = "COSINE",
) -> None:
    """A collection with partitions, a dynamic field, an alias, deletes and updates."""
    schema = client.create_schema(enable_dynamic_field=True, description="all my songs")
    schema.add_field("id", DataType.INT64, is_primary=True, description="the key")
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
    schema.add_field("title", DataType.VARCHAR, max_length=200)
    schema.add_field("year", DataType.INT16)
    if arrays:
        schema.add_field(
            "tags", DataType.ARRAY, element_type=DataType.VARCHAR, max_length=20, max_capacity=9
        )
    schema.add_field("more", DataType.JSON)
    client.create_collection(name, schema=schema, num_shards=2, consistency_level="Session")
    client.create_partition(name, "rock")
    made = vectors(rows)
    data = [
        {
            "id": n * 7 - 500,
            "vector": made[n],
            "title": f'song "{n}" 漢\\n',
            "year": 1900 + n % 100,
            **({"tags": ["a", f"t{n}"][: n % 3]} if arrays else {}),
            "more": {"n": n, "deep": [1, {"x": None}]},
            **({"colour": f"c{n % 5}"} if n % 2 else {}),
        }
        for n in range(rows)
    ]
    client.insert(name, data[: rows // 2])
    client.insert(name, data[rows // 2 :], partition_name="rock")
    client.delete(name, ids=[row["id"] for row in data[::50]])
    client.delete(name, ids=[data[3]["id"]])
    client.insert(name, [{**data[3], "title": "newer"}])
    client.flush(name)
    if index:
        params = client.prepare_index_params()
        params.add_index(
            "vector", index_type="HNSW", metric_type=metric, params={"M": 8, "efConstruction": 64}
        )
        client.create_index(name, params)
        client.load_collection(name)
    client.create_alias(name, f"{name}_alias")


@pytest.mark.parametrize(
    ("target", "way"), [("to_s3", "bulk_insert"), ("to_s3", "insert"), ("to_lite", "insert")]
)
def test_a_whole_collection_arrives_as_it_is(request, from_milvus, target, way):
    place = request.getfixturevalue(target)
    make_songs(from_milvus)
    params = {"collections": ["songs"], "verify": "full", "index": "source", "write_mode": way}
    [collection] = place.run(**params)["collections"]
    assert collection["rows_counted"] == collection["verification"]["compared"] == 980
    for partition in ("_default", "rock"):
        ours = rows_of(from_milvus, "songs", partition=partition)
        assert rows_of(place.client, "songs", partition=partition) == ours and len(ours) == 490
    there = place.client.describe_collection("songs")
    assert there["description"] in ("all my songs", "")  # Milvus Lite keeps none
    assert there["enable_dynamic_field"]
    assert place.client.list_aliases("songs")["aliases"] == ["songs_alias"]
    index = place.client.describe_index("songs", "vector")
    assert (index["index_type"], index["metric_type"]) == ("HNSW", "COSINE")
    if target == "to_s3":
        assert there["num_shards"] == 2 and there["consistency_level"] == 1
        assert (index["M"], index["efConstruction"]) == ("8", "64")


def test_a_collection_that_is_not_loaded_is_left_as_it_was(from_milvus, to_s3):
    make_songs(from_milvus, "asleep", 200, index=False)
    report = to_s3.run(collections=["asleep"], verify="full")
    assert any("not loaded" in note for note in report["collections"][0]["notes"])
    assert to_s3.client.query("asleep", output_fields=["count(*)"])[0]["count(*)"] == 196
    assert from_milvus.get_load_state("asleep")["state"].name == "NotLoad"
    assert from_milvus.list_indexes("asleep") == []


@pytest.mark.parametrize(
    ("loaded", "chosen"),
    [
        (["rock"], None),
        (["_default"], None),
        (["empty"], None),
        (["rock", "_default"], None),  # the empty one is not
        (["_default"], ["rock"]),
    ],
)
def test_partitions_that_are_not_loaded(from_milvus, to_lite, loaded, chosen):
    """Milvus counts the loaded ones only; the others are loaded, and released again."""
    make_songs(from_milvus, "parted", 200, arrays=False)
    from_milvus.create_partition("parted", "empty")
    from_milvus.release_collection("parted")
    from_milvus.load_partitions("parted", loaded)
    every = ["_default", "empty", "rock"]
    mapping = {"parted": {"partitions": chosen}} if chosen else {}
    params = {"collections": ["parted"], "verify": "full", "write_mode": "insert"}
    [collection] = to_lite.run(**params, mapping=mapping)["collections"]
    [note] = [note for note in collection["notes"] if "loaded to be read" in note]
    assert str(sorted({*every} - {*loaded})) in note

    def states() -> dict[str, str]:
        return {
            name: from_milvus.get_load_state("parted", partition_name=name)["state"].name
            for name in every
        }

    assert states() == {name: "Loaded" if name in loaded else "NotLoad" for name in every}
    # It does not wait for partitions beside loaded ones.
    from_milvus.load_collection("parted")
    wait_until(lambda: set(states().values()) == {"Loaded"}, 60, lambda: str(states()))
    for partition in chosen or every:
        ours = rows_of(from_milvus, "parted", partition=partition)
        assert rows_of(to_lite.client, "parted", partition=partition) == ours
        assert len(ours) == (0 if partition == "empty" else 98)
    assert collection["rows_counted"] == (98 if chosen else 196)


def test_an_alias_names_a_collection(from_milvus, to_s3):
    make_songs(from_milvus, "named", 20)
    [collection] = to_s3.run(collections=["named_alias"], verify="full")["collections"]
    assert collection["source"] == "named"
    assert any("'named_alias'" in note for note in collection["notes"])
    assert rows_of(to_s3.client, "named") == rows_of(from_milvus, "named")
    with pytest.raises(Refused, match="no collection 'nmed_alias' in the source; it has"):
        to_s3.run(collections=["nmed_alias"], migration_id="other")


def same(batch: Any) -> Any:
    """A user's transform, which may look at every field."""
    return batch


@pytest.mark.parametrize(
    ("mapping", "asked"),
    [
        ({"exclude": ["more", "tags"]}, {"id", "vector", "title", "year", "$meta"}),
        ({"exclude": ["$meta"]}, {"id", "vector", "title", "year", "tags", "more"}),
        ({"include": ["id", "vector"]}, {"id", "vector"}),
        (
            {
                "include": ["id", "vector"],
                "fields": [{"source": "$meta.colour", "type": "VARCHAR", "nullable": True}],
            },
            {"id", "vector", "$meta"},
        ),
        (
            {"include": ["id", "vector"], "transform": "same"},
            {"id", "vector", "title", "year", "tags", "more", "$meta"},
        ),
    ],
)
def test_fields_that_are_left_out_are_not_asked_for(
    from_milvus, to_lite, monkeypatch, mapping, asked
):
    make_songs(from_milvus, "slim", 60)
    seen: set[str] = set()
    query = MilvusRows._query

    def recorded(self: MilvusRows, name: str, fields: Any, *more: Any) -> Any:
        if name == "slim" and self._database.connection.uri == from_milvus_uri:
            seen.update(field.name for field in fields)
        return query(self, name, fields, *more)

    from_milvus_uri = to_lite.connections.servers["milvus_source"].uri
    monkeypatch.setattr(MilvusRows, "_query", recorded)
    entries = EntryPoints([EntryPoint("same", f"{__name__}:same", "airlift.transforms")])
    monkeypatch.setattr("airlift.user_transforms.entry_points", lambda group: entries)
    to_lite.run(collections=["slim"], mapping={"slim": mapping}, verify="full")
    assert seen == asked


def test_a_collection_that_was_not_loaded_is_resumed(from_milvus, to_s3):
    """What is done to it so that it can be read makes no other chunks of it."""
    make_songs(from_milvus, "dozing", 200, index=False)
    params = {"collections": ["dozing"], "verify": "full", "write_mode": "insert"}
    with to_s3.migration(**params) as migration:
        check(migration)
        export_meta(migration)
        plan = make_plan(migration, 1)
        convert_batch(migration, 0)
        create(migration)
        write_batch(migration, 0)
    with to_s3.migration(**params) as ended_while_it_is_loaded:
        export_meta(ended_while_it_is_loaded)
    [collection] = to_s3.run(**params)["collections"]
    assert collection["rows_counted"] == 196
    assert any("not loaded" in note for note in collection["notes"])
    with to_s3.migration(**params) as migration:
        assert migration.staging.plan().collections == plan.collections
    deleted = {n * 7 - 500 for n in range(0, 200, 50)}
    assert rows_of(to_s3.client, "dozing").keys() == set(range(-500, 900, 7)) - deleted
    assert from_milvus.get_load_state("dozing")["state"].name == "NotLoad"
    assert from_milvus.list_indexes("dozing") == []


def test_rows_that_share_a_key_are_counted(from_milvus, to_s3):
    make_songs(from_milvus, "twice", 300)
    fields = ("id", "vector", "title", "year", "more", "colour")
    twice = rows_of(from_milvus, "twice", partition="rock")
    from_milvus.insert("twice", list(twice.values())[:20], partition_name="rock")
    with pytest.raises(Refused, match=r"20 of 314 rows share their primary key .*keep_one"):
        to_s3.run(collections=["twice"])
    given = {"collections": ["twice"], "on_duplicate_id": "keep_one", "verify": "full"}
    # 2.3.5 answers with array values of other rows then, now and again.
    with pytest.raises(Refused, match=r"mixes up the values of ARRAY fields .*\['tags'\] out"):
        to_s3.run(**given)
    assert not to_s3.client.has_collection("twice")
    report = to_s3.run(**given, mapping={"twice": {"exclude": ["tags"]}})
    [collection] = report["collections"]
    assert (collection["rows_source"], collection["rows_left_out"]) == (314, 20)
    assert rows_of(to_s3.client, "twice") == rows_of(from_milvus, "twice", fields=fields)


@pytest.mark.parametrize("lock", ["none", "check"])
def test_a_source_that_is_written_to_meanwhile(from_milvus, to_s3, lock):
    make_songs(from_milvus, "busy", 300)
    with to_s3.migration(collections=["busy"], source_lock=lock, verify="full") as migration:
        source = migration.source
        read = source.read

        def read_and_write(chunk: Any) -> Iterator[Any]:
            yield from read(chunk)
            new = {**rows_of(from_milvus, "busy")[-493], "id": 10**9 + len(chunk.id)}
            from_milvus.insert("busy", [new])

        source.read = read_and_write  # type: ignore[method-assign]
        if lock == "check":
            with pytest.raises(Refused, match=r"had 294 rows before it was read, and 29[56] after"):
                run(migration)
            assert not to_s3.client.has_collection("busy")
            return
        run(migration)
        told = migration.staging.folder.read_json("report.json")["changes"]
    assert len(told) == 1 and "it was written to meanwhile" in told[0]
    assert len(rows_of(to_s3.client, "busy")) == 294


def test_a_filter_is_the_sources_business(from_milvus, to_s3):
    make_songs(from_milvus, "some", 400)
    mapping = {"some": {"filter": 'year < 1950 and colour == "c1"', "aliases": []}}
    report = to_s3.run(collections=["some"], mapping=mapping, verify="full")
    expected = {
        key: row
        for key, row in rows_of(from_milvus, "some").items()
        if row["year"] < 1950 and row.get("colour") == "c1"
    }
    assert rows_of(to_s3.client, "some") == expected and len(expected) > 10
    assert report["collections"][0]["rows_source"] == len(expected)
    assert to_s3.client.list_aliases("some")["aliases"] == []


def test_text_keys_in_many_small_chunks(from_milvus, to_s3, monkeypatch):
    monkeypatch.setattr("airlift.milvus.rows._MAX_PAGE_ROWS", 37)
    schema = from_milvus.create_schema()
    schema.add_field("key", DataType.VARCHAR, is_primary=True, max_length=100)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
    from_milvus.create_collection("texts", schema=schema)
    made = vectors(500)
    keys = [f'{"漢ß😀aZ"[n % 5]}{n}"\\\n' for n in range(500)]
    rows = [{"key": key, "vector": made[n]} for n, key in enumerate(keys)]
    from_milvus.insert("texts", rows)
    params = from_milvus.prepare_index_params()
    params.add_index("vector", **FLAT, metric_type="L2")
    from_milvus.create_index("texts", params)
    from_milvus.load_collection("texts")
    with to_s3.migration(collections=["texts"], verify="full") as migration:
        cut = migration.source.cut
        migration.source.cut = lambda one, _: cut(one, 96 * 60)  # type: ignore[method-assign]
        run(migration)
        chunks = migration.staging.plan().collections[0].chunks
    assert len(chunks) == 9 and sum(chunk.rows for chunk in chunks) == 500
    assert rows_of(to_s3.client, "texts", "key") == {row["key"]: row for row in rows}


def test_newer_types_of_milvus_lite_into_milvus_2_3(from_lite, milvus_lite):
    """Nullable fields go into the dynamic field; a default value is part of the row by then."""
    with closing(milvus_lite.client()) as source:
        schema = source.create_schema()
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
        schema.add_field("n", DataType.INT64, nullable=True)
        source.create_collection("newer", schema=schema)
        params = source.prepare_index_params()
        params.add_index("vector", index_type="FLAT", metric_type="L2")
        source.create_index("newer", params)
        source.load_collection("newer")
        made = vectors(2_000)
        rows = [{"id": n, "vector": made[n], "n": None if n % 3 else n} for n in range(2_000)]
        source.insert("newer", rows)
        report = from_lite.run(collections=["newer"], verify="full", chunk_mb=1)
        source.drop_collection("newer")
    assert report["collections"][0]["rows_counted"] == 2_000
    found = rows_of(from_lite.client, "newer")
    for row in rows:
        expected = {name: value for name, value in row.items() if value is not None}
        assert found[row["id"]] == expected


def test_an_empty_collection_and_many_at_once(from_milvus, to_s3):
    for number in range(4):
        make_songs(from_milvus, f"many_{number}", 60)
    from_milvus.create_collection("many_none", dimension=DIM)
    report = to_s3.run(collections=["many_*"], verify="full")
    assert {one["source"]: one["rows_counted"] for one in report["collections"]} == {
        **{f"many_{number}": 58 for number in range(4)},
        "many_none": 0,
    }
    for number in range(4):
        name = f"many_{number}"
        assert rows_of(to_s3.client, name) == rows_of(from_milvus, name)


@pytest.fixture
def two_databases(milvus: Milvus, to_s3: Place) -> Iterator[dict[str, MilvusClient]]:
    """Clients of two databases of the source; in the end both servers have `default` only."""
    with ExitStack() as stack:
        clients = {}
        for name in ("north", "south"):
            stack.enter_context(closing(milvus.client())).create_database(name)
            clients[name] = stack.enter_context(closing(MilvusClient(uri=milvus.uri, db_name=name)))
        yield clients
        target = to_s3.connections.servers["milvus_default"]
        for server in (MilvusConnection(uri=milvus.uri), target):
            for name in set(MilvusDatabase(server).databases()) - {"default"}:
                _drop_database(server, name)


def _drop_database(server: MilvusConnection, name: str) -> None:
    with closing(MilvusDatabase(server, name)) as database:
        for collection in database.collections():
            for alias in database.aliases(collection):
                database.client.drop_alias(alias)
            database.drop(collection)
    with closing(MilvusDatabase(server)) as database:
        database.client.drop_database(name)


def test_all_databases_at_once(two_databases, to_s3):
    """Ten collections, those of the two databases with the same names."""
    for client in two_databases.values():
        for number in range(5):
            make_songs(client, f"songs_{number}", 60, index=number > 0)
    mapping = {"south.songs_4": {"database": "east", "target": "moved", "aliases": []}}
    report = to_s3.run(
        source_database="*", collections=["north.*", "south.*"], mapping=mapping, verify="full"
    )
    names = [f"{name}.songs_{number}" for name in two_databases for number in range(5)]
    expected = {name: name for name in names} | {"south.songs_4": "east.moved"}
    assert {one["source"]: one["target"] for one in report["collections"]} == expected
    for source, target in expected.items():
        (ours, name), (database, moved) = source.split("."), target.split(".")
        where = to_s3.connections.servers["milvus_default"].model_copy(
            update={"database": database}
        )
        with closing(MilvusDatabase(where)) as there:
            found = rows_of(there.client, moved)
            assert there.aliases(moved) == ([] if moved == "moved" else [f"{name}_alias"])
        if name != "songs_0":
            assert found == rows_of(two_databases[ours], name)
        assert len(found) == 58
    assert two_databases["north"].get_load_state("songs_0")["state"].name == "NotLoad"
    with pytest.raises(Refused, match=r"would all become 'default\.songs_1'"):
        to_s3.run(
            source_database="*",
            collections=["*.songs_1"],
            mapping={name: {"database": "default"} for name in names if name.endswith("_1")},
            migration_id="both_into_one",
        )


@pytest.mark.parametrize("way", ["bulk_insert", "insert"])
def test_a_second_run_brings_what_is_new(from_milvus, to_s3, way):
    """`append` leaves the rows that are there as they are, `upsert` writes over them."""
    make_songs(from_milvus, "again", 300)
    first = rows_of(from_milvus, "again")
    to_s3.run(collections=["again"], write_mode=way)
    changed = {**first[-493], "title": "changed since"}
    new = [{**changed, "id": 10**6 + n, "title": f"new {n}"} for n in range(40)]
    from_milvus.upsert("again", [changed])
    from_milvus.insert("again", new[:30])
    from_milvus.insert("again", new[30:], partition_name="rock")
    topped_up = {"collections": ["again"], "if_exists": "append", "verify": "full"}
    report = to_s3.run(**topped_up, write_mode=way, migration_id=f"{to_s3.migration_id}_2")
    [collection] = report["collections"]
    told = [collection[f"rows_{what}"] for what in ("planned", "present", "imported", "counted")]
    assert told == [334, 294, 40, 334]
    assert rows_of(to_s3.client, "again") == first | {row["id"]: row for row in new}

    report = to_s3.run(**topped_up, write_mode="upsert", migration_id=f"{to_s3.migration_id}_3")
    [collection] = report["collections"]
    told = [collection[f"rows_{what}"] for what in ("planned", "replaced", "imported", "counted")]
    assert told == [334] * 4
    for partition in ("_default", "rock"):
        theirs = rows_of(to_s3.client, "again", partition=partition)
        assert theirs == rows_of(from_milvus, "again", partition=partition)
    # And once more changes nothing.
    to_s3.run(**topped_up, write_mode=way, migration_id=f"{to_s3.migration_id}_4")
    assert rows_of(to_s3.client, "again") == rows_of(from_milvus, "again")


def test_what_cannot_work_is_said_at_once(from_milvus, to_s3):
    make_songs(from_milvus, "here", 60)
    with pytest.raises(Refused, match=r"no collection 'hare' in the source; it has here"):
        to_s3.run(collections=["hare"])
    with pytest.raises(AirliftError, match="no_such_database"):
        to_s3.run(source_database="no_such_database")
    to_s3.run(collections=["here"], migration_id="first")
    with pytest.raises(Refused) as refused:
        to_s3.run(collections=["here"], migration_id="second")
    assert len(refused.value.reasons) == 1 and "'here' exists" in refused.value.reasons[0]


def test_a_source_that_is_killed_in_mid_read_and_comes_back(tmp_path, milvus, monkeypatch):
    """The run fails with what to do; the next one reads only the chunk that was not done."""
    monkeypatch.setattr("airlift.sources.milvus.source._UNORDERED_BYTES", 30_000)
    with (
        MilvusLite(tmp_path / "lite") as server,
        local_place(milvus, tmp_path / "none", MILVUS) as place,
    ):
        place.connections.servers["milvus_source"] = MilvusConnection(uri=server.uri, timeout=5)
        with closing(server.client()) as client:
            write_songs(client, "songs", 1_000)
        with place.migration(verify="full") as migration:
            cut, read = migration.source.cut, migration.source.read
            migration.source.cut = lambda one, _: cut(one, 100_000)  # type: ignore[method-assign]

            def read_and_kill(chunk: Any) -> Iterator[Any]:
                for number, batch in enumerate(read(chunk)):
                    if number == 1 and chunk.id.startswith("000001"):
                        server.kill()
                    yield batch

            migration.source.read = read_and_kill  # type: ignore[method-assign]
            with pytest.raises(AirliftError, match="cannot read rows of 'songs'"):
                run(migration)
        assert not place.client.has_collection("songs")
        server.start()
        with place.migration(verify="full") as migration:
            cut = migration.source.cut
            migration.source.cut = lambda one, _: cut(one, 100_000)  # type: ignore[method-assign]
            done = convert_chunk(
                migration, *migration.staging.plan().batch(0)[0], BatchBuckets(migration.staging, 0)
            )[1]
            run(migration)
        assert done
        found = rows_of(place.client, "songs")
        assert found == {row["id"]: row for row in songs(1_000)}


def test_a_wrong_password_is_said_by_check(milvus_on_s3, to_s3):
    wrong = MilvusConnection(uri=milvus_on_s3.uri, user="root", password="not-it")
    to_s3.connections.servers["milvus_source"] = wrong
    with pytest.raises(Refused, match="the login is refused") as refused:
        to_s3.run()
    assert "not-it" not in str(refused.value)
