"""The path from Milvus 1.x on real servers, step by step in this process (Airflow: elsewhere).

Every test reads the rows back from the target itself and compares them with the truth.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy.engine import URL

from airlift.errors import Refused
from localservers import MariaDB, Milvus, MilvusLite, MilvusOnS3, S3Server
from samples.milvus1x_tables import CollectionTruth, TableSpec, write_meta_mysql
from tests.paths.place import (
    BIN_FLAT,
    Place,
    bucket_of,
    bucket_place,
    lite_place,
    local_place,
)
from tests.paths.truth import assert_holds, assert_holds_vectors, count, read_back, together

SONGS = TableSpec(
    "songs", 1_200, dim=16, segments=3, deleted_fraction=0.05, partitions={"rock": 300}, seed=3
)


@pytest.fixture
def place(milvus: Milvus, tmp_path: Path) -> Iterator[Place]:
    """Milvus that stores locally."""
    with local_place(milvus, tmp_path / "milvus1x") as place:
        yield place


@pytest.fixture
def in_bucket(milvus_on_s3: MilvusOnS3, tmp_path: Path) -> Iterator[Place]:
    """Milvus that stores in a bucket."""
    with bucket_place(milvus_on_s3, tmp_path / "milvus1x") as place:
        yield place


def only(report: dict[str, Any]) -> dict[str, Any]:
    """The report's one collection."""
    [collection] = report["collections"]
    return collection


def is_loaded(client: Any, name: str) -> bool:
    return client.get_load_state(name)["state"].name == "Loaded"


# --- one migration of many kinds of collections --------------------------------------------------

EXTREME_IDS = np.array([-(1 << 63), -(1 << 63) + 1, -5, 0, 7, (1 << 63) - 2, -1, 1], np.int64)

KINDS = {
    spec.name: spec
    for spec in (
        TableSpec("none_deleted", 1_500, dim=16, segments=3),
        TableSpec("some_deleted", 3_000, dim=16, segments=3, deleted_fraction=0.03),
        TableSpec("unordered_deletes", 2_000, dim=8, segments=2, deleted_fraction=0.4, seed=5),
        TableSpec("all_deleted", 500, dim=16, deleted_fraction=1.0),
        TableSpec("empty_segments", 0, dim=16, segment_rows=[0, 400, 0, 300, 0]),
        TableSpec("no_rows", 0, dim=16, segment_rows=[0, 0]),
        TableSpec("one_row", 1, dim=4, segments=1),
        TableSpec("many_segments", 4_000, dim=8, segments=200, deleted_fraction=0.1),
        TableSpec("inner_product", 500, dim=33, metric="IP"),
        TableSpec("extreme_ids", 8, dim=16, segments=2, ids=EXTREME_IDS),
        TableSpec("hamming", 1_500, dim=64, metric="HAMMING", deleted_fraction=0.03),
        TableSpec("jaccard", 600, dim=8, metric="JACCARD"),
        TableSpec("tanimoto", 600, dim=256, metric="TANIMOTO", deleted_fraction=0.03),
        TableSpec("counts_less", 600, dim=8, deleted_fraction=0.2, exact_counts=False),
        TableSpec(
            "in_partitions",
            300,
            dim=16,
            deleted_fraction=0.05,
            partitions={"rock": 500, "2020-β pop": 100, "empty": 0, "jazz": 50},
        ),
        TableSpec("chosen_partitions", 100, dim=8, partitions={"rock": 200, "jazz": 50}),
        TableSpec("4-odd.name", 200, dim=8),
        TableSpec("renamed", 200, dim=8),
        TableSpec("new_ids", 700, dim=8, deleted_fraction=0.1),
    )
}
MAPPING: dict[str, Any] = {
    "renamed": {
        "target": "renamed_as_told",
        "fields": [
            {"source": "id", "target": "song"},
            {"source": "vector", "target": "embedding", "description": "of the lyrics"},
        ],
        "shards": 2,
        "consistency_level": "Strong",
    },
    "new_ids": {"auto_id": True},
    "chosen_partitions": {"partitions": ["rock"]},
    # Tanimoto is carried as Jaccard; the metric can be changed as well.
    "inner_product": {"metric_type": "COSINE"},
}


class Kinds:
    """What one migration of all of KINDS has left."""

    def __init__(self, place: Place) -> None:
        self.client = place.client
        self.folder = place.folder
        self.truth = place.write(*KINDS.values())
        self.report = place.run(mapping=MAPPING, allow_lossy=True, index="autoindex", verify="full")
        self.by_source = {one["source"]: one for one in self.report["collections"]}


@pytest.fixture(scope="module")
def kinds(milvus: Milvus, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kinds]:
    with local_place(milvus, tmp_path_factory.mktemp("kinds") / "milvus1x") as place:
        yield Kinds(place)


AS_THEY_ARE = sorted(
    set(KINDS) - {"renamed", "new_ids", "4-odd.name", "in_partitions", "chosen_partitions"}
)


@pytest.mark.parametrize("name", AS_THEY_ARE)
def test_every_live_row_arrives_and_no_other(kinds: Kinds, name: str) -> None:
    assert_holds(kinds.client, name, kinds.truth[name])


@pytest.mark.parametrize("name", sorted(KINDS))
def test_the_report_has_the_right_numbers(kinds: Kinds, name: str) -> None:
    one, truth = kinds.by_source[name], kinds.truth[name]
    chosen = ["rock"] if name == "chosen_partitions" else list(truth.partitions)
    live = sum(len(truth.partitions[tag].ids) for tag in chosen)
    left_out = sum(len(part.ids) for part in truth.partitions.values()) - live
    numbers = {key: one[key] for key in one if key.startswith("rows_")}
    assert numbers == {
        "rows_source": truth.rows,
        "rows_deleted": truth.deleted,
        "rows_left_out": left_out,
        "rows_planned": live,
        "rows_read": live,
        "rows_set_aside": 0,
        "rows_present": 0,
        "rows_replaced": 0,
        "rows_converted": live,
        "rows_imported": live,
        "rows_counted": live,
    }
    verified = one["verification"]
    assert verified["problems"] == []
    assert verified["counted"] == live
    assert verified["found_first"] == verified["searched"] == min(live, 20)
    if name != "new_ids":
        assert verified["compared"] == live
        assert min(live, 1_000) <= verified["sampled"] <= 1_000 + one["chunks"]
        assert verified["fingerprint_source"] == verified["fingerprint_target"]
    assert sum(part["counted"] for part in verified["partitions"].values()) == live


def test_the_report_tells_what_was_done(kinds: Kinds) -> None:
    report = kinds.report
    assert report["state"] == "done"
    assert report["target"].startswith("Milvus 2.3.5 at http://127.0.0.1:")
    assert {one["way"] for one in report["collections"]} == {"grpc_bulk_insert"}
    assert [step["step"] for step in report["steps"]] == [
        *("check", "export_meta", "copy_source", "plan", "convert", "create"),
        *("bulk_insert", "index", "load", "verify"),
    ]
    assert report["seconds"] == pytest.approx(sum(step["seconds"] for step in report["steps"]))
    assert "dropped_long_ago" not in kinds.by_source
    assert set(kinds.by_source) == set(KINDS)


def test_the_sample_data_is_as_nasty_as_1x_is(kinds: Kinds) -> None:
    """Else the tests above would not test what they say."""
    folder = kinds.folder / "tables" / "unordered_deletes"
    for file in folder.glob("*/deleted_docs"):
        offsets = np.frombuffer(file.read_bytes()[8:], "<i4")
        assert (np.diff(offsets) < 0).any()
        assert len(np.unique(offsets)) < len(offsets)
    assert kinds.truth["all_deleted"].deleted == 500
    assert len(list((kinds.folder / "tables" / "many_segments").iterdir())) == 200
    assert (kinds.folder / "meta.sqlite-wal").stat().st_size > 0


@pytest.mark.parametrize(
    ("source", "metric"),
    [
        ("some_deleted", "L2"),
        ("inner_product", "COSINE"),
        ("hamming", "HAMMING"),
        ("jaccard", "JACCARD"),
        ("tanimoto", "JACCARD"),
    ],
)
def test_the_index_has_the_sources_metric(kinds: Kinds, source: str, metric: str) -> None:
    index = kinds.client.describe_index(source, "vector")
    assert index["metric_type"] == metric


def test_tanimoto_becomes_jaccard_with_a_note(kinds: Kinds) -> None:
    assert any(
        "TANIMOTO is carried as JACCARD" in note for note in kinds.by_source["tanimoto"]["notes"]
    )


def test_partitions_become_partitions_with_names_that_milvus_takes(kinds: Kinds) -> None:
    names = {"": "_default", "rock": "rock", "jazz": "jazz", "empty": "empty"}
    names["2020-β pop"] = "_2020___pop"
    assert_holds(kinds.client, "in_partitions", kinds.truth["in_partitions"], names)
    [note] = kinds.by_source["in_partitions"]["notes"]
    assert "2020-β pop" in note
    assert "_2020___pop" in note


def test_only_chosen_partitions_are_moved(kinds: Kinds) -> None:
    truth = kinds.truth["chosen_partitions"]
    client = kinds.client
    ids, vectors = read_back(client, "chosen_partitions", "rock")
    assert set(ids.tolist()) == set(truth.partitions["rock"].ids.tolist())
    assert len(vectors) == 200 * 8 * 4
    assert count(client, "chosen_partitions") == 200
    assert "jazz" not in client.list_partitions("chosen_partitions")
    [note] = kinds.by_source["chosen_partitions"]["notes"]
    assert "['_default', 'jazz'] are left out" in note


def test_a_name_that_milvus_refuses_is_changed_with_a_note(kinds: Kinds) -> None:
    assert_holds(kinds.client, "_4_odd_name", kinds.truth["4-odd.name"])
    [note] = kinds.by_source["4-odd.name"]["notes"]
    assert "4-odd.name" in note
    assert "_4_odd_name" in note


def test_names_and_settings_can_be_mapped(kinds: Kinds) -> None:
    truth = kinds.truth["renamed"]
    assert_holds(kinds.client, "renamed_as_told", truth, vector="embedding", key="song")
    made = kinds.client.describe_collection("renamed_as_told")
    assert made["num_shards"] == 2
    assert [field["description"] for field in made["fields"]] == ["", "of the lyrics"]
    assert not kinds.client.has_collection("renamed")
    assert kinds.by_source["renamed"]["fields"] == {"id": "song", "vector": "embedding"}


def test_the_target_can_make_new_ids(kinds: Kinds) -> None:
    assert kinds.client.describe_collection("new_ids")["auto_id"]
    assert_holds_vectors(kinds.client, "new_ids", kinds.truth["new_ids"])


# --- repeated ids --------------------------------------------------------------------------------

REPEATING = np.concatenate([np.arange(300), np.arange(250, 400), [5, 5, 5]]).astype(np.int64)
REPEATS = TableSpec("repeats", len(REPEATING), dim=8, segments=3, ids=REPEATING)


def test_repeated_ids_are_refused(place: Place) -> None:
    place.write(REPEATS)
    with pytest.raises(Refused, match=r"51 ids stand in several live rows \(53 rows too many\)"):
        place.run()
    assert not place.client.has_collection("repeats")


def test_keep_last_keeps_the_newest_row_of_each_id(place: Place) -> None:
    truth = place.write(REPEATS, meta_json=True)["repeats"]
    report = place.run(
        on_duplicate_id="keep_last",
        meta_url=str(place.folder / "meta.json"),
        verify="full",
        write_mode="insert",
    )
    part = truth.partitions[""]
    newest = {key: place for place, key in enumerate(part.ids.tolist())}
    kept = np.array(sorted(newest.values()))
    part.ids, part.vectors = part.ids[kept], part.vectors[kept]
    assert_holds(place.client, "repeats", truth)
    one = only(report)
    assert (one["rows_left_out"], one["rows_planned"], one["rows_counted"]) == (53, 400, 400)
    assert any("the newest row of each is kept" in note for note in one["notes"])


def test_keep_all_keeps_every_row(place: Place) -> None:
    truth = place.write(REPEATS)["repeats"].partitions[""]
    report = place.run(on_duplicate_id="keep_all")
    assert count(place.client, "repeats") == len(REPEATING) == only(report)["rows_counted"]
    ids, _ = read_back(place.client, "repeats", "_default")
    assert ids.tolist() == sorted(set(REPEATING.tolist()))
    # A query by id gives one row of several; a search with a filter gives them all.
    [found] = place.client.search(
        "repeats",
        data=[truth.vectors[260].tolist()],
        filter="id == 260",
        limit=10,
        consistency_level="Strong",
    )
    assert found[0]["id"] == 260
    assert any("all rows are kept" in note for note in only(report)["notes"])


def test_new_ids_for_rows_that_repeat_theirs(place: Place) -> None:
    truth = place.write(REPEATS)["repeats"]
    report = place.run(mapping={"repeats": {"auto_id": True}})
    assert_holds_vectors(place.client, "repeats", truth)
    assert only(report)["rows_counted"] == len(REPEATING)


# --- files, chunks and sizes ---------------------------------------------------------------------


def test_several_chunks_in_several_batches(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airlift.sources.milvus1x.source.Milvus1xSource.batch_bytes", 1 << 20)
    spec = TableSpec(
        "chunks", 5_500, dim=64, segments=4, deleted_fraction=0.03, partitions={"rock": 500}
    )
    truth = place.write(spec)["chunks"]
    report = place.run(chunk_mb=1, file_format="parquet", verify="full", max_batches=2)
    assert_holds(place.client, "chunks", truth)
    assert only(report)["chunks"] == 3
    assert only(report)["file_format"] == "parquet"
    assert [step["index"] for step in report["steps"] if step["step"] == "convert"] == [0, 1]


def test_binary_vectors_through_parquet(place: Place) -> None:
    truth = place.write(TableSpec("bits", 900, dim=128, metric="JACCARD", deleted_fraction=0.1))
    place.run(file_format="parquet", index=BIN_FLAT, verify="full")
    assert_holds(place.client, "bits", truth["bits"])


def test_300_000_rows_of_128_in_several_segments(place: Place) -> None:
    truth = place.write(TableSpec("large", 300_000, dim=128, segments=5, deleted_fraction=0.03))
    report = place.run(wait_for_index=False)
    assert only(report)["rows_deleted"] == 9_000
    assert only(report)["rows_counted"] == 291_000
    assert_holds(place.client, "large", truth["large"])


# --- metadata ------------------------------------------------------------------------------------


def test_metadata_in_mysql(place: Place, mariadb: MariaDB) -> None:
    truth = place.write(SONGS)["songs"]
    with_password = URL.create(
        "mysql+pymysql", mariadb.user, mariadb.password, mariadb.host, mariadb.port
    )
    database = make_database(with_password, "milvus_meta")
    write_meta_mysql(place.folder, database)
    for file in place.folder.glob("meta.*"):
        file.unlink()
    place.connections.databases["meta"] = database.set(drivername="mysql")
    report = place.run(meta_url=None, meta_conn_id="meta", write_mode="insert")
    assert_holds(place.client, "songs", truth)
    assert mariadb.password not in str(report)


def make_database(server: URL, name: str) -> URL:
    import sqlalchemy as sa

    engine = sa.create_engine(server)
    with engine.begin() as connection:
        connection.execute(sa.text(f"CREATE DATABASE `{name}`"))
    engine.dispose()
    return server.set(database=name)


def test_a_meta_json_knows_partitions_as_collections(place: Place) -> None:
    """The old tool's export does not tell which collection a partition is of: a note says so."""
    truth = place.write(SONGS, meta_json=True)["songs"]
    report = place.run(meta_url=str(place.folder / "meta.json"), write_mode="insert")
    own = CollectionTruth(partitions={"": truth.partitions[""]})
    assert_holds(place.client, "songs", own)
    [other] = [one for one in report["collections"] if one["source"] != "songs"]
    rock = CollectionTruth(partitions={"": truth.partitions["rock"]})
    assert_holds(place.client, other["target"], rock)
    assert any("may be a partition" in note for note in other["notes"])


# --- an existing target --------------------------------------------------------------------------


def test_append_adds_to_what_is_there(place: Place) -> None:
    first = place.write(SONGS)["songs"]
    place.run(write_mode="insert")
    place.folder = place.folder.with_name("more")
    ids = np.arange(1 << 41, (1 << 41) + 700)
    spec = replace(SONGS, rows=500, seed=4, partitions={"jazz": 200}, ids=ids)
    second = place.write(spec)["songs"]
    report = place.run(if_exists="append", migration_id=f"{place.migration_id}_more")
    assert_holds(place.client, "songs", together(first, second))
    partitions = only(report)["verification"]["partitions"]
    assert partitions[""]["before"] == len(first.partitions[""].ids)
    assert partitions["jazz"]["before"] == 0
    assert only(report)["rows_imported"] == second.rows - second.deleted


def test_replace_drops_what_is_there(place: Place) -> None:
    place.write(replace(SONGS, seed=9))
    place.run(write_mode="insert")
    place.folder = place.folder.with_name("anew")
    truth = place.write(replace(SONGS, rows=400, dim=24, seed=10, partitions={}))["songs"]
    place.run(if_exists="replace", migration_id=f"{place.migration_id}_anew")
    assert_holds(place.client, "songs", truth)


def test_cutover_moves_the_alias_once_verified(place: Place) -> None:
    first = place.write(SONGS)["songs"]
    report = place.run(migration_id="one", cutover_alias=True, write_mode="insert")
    assert only(report)["alias"] == "songs"
    assert place.client.describe_alias("songs")["collection_name"] == "songs__one"
    assert_holds(place.client, "songs", first)
    place.folder = place.folder.with_name("newer")
    second = place.write(replace(SONGS, rows=500, seed=21))["songs"]
    place.run(migration_id="two", cutover_alias=True, write_mode="insert")
    assert place.client.describe_alias("songs")["collection_name"] == "songs__two"
    assert_holds(place.client, "songs", second)
    # The one before is still there, for going back.
    assert_holds(place.client, "songs__one", first)


# --- what is left on the target and in staging ---------------------------------------------------


def test_a_database_is_made_and_staging_may_be_kept(place: Place) -> None:
    truth = place.write(SONGS)["songs"]
    report = place.run(target_database="music", keep_staging=True)
    assert only(report)["target"] == "music.songs"
    assert "songs" not in place.client.list_collections()
    with place.database("music") as client:
        assert_holds(client, "songs", truth)
    assert any(path.endswith("vector.npy") for path in place.staged())


def test_a_dry_run_writes_nothing_to_the_target(place: Place) -> None:
    place.write(SONGS)
    before = set(place.client.list_collections()), set(place.client.list_databases())
    report = place.run(dry_run=True, target_database="not_made")
    after = set(place.client.list_collections()), set(place.client.list_databases())
    assert after == before
    assert report["state"] == "planned"
    one = only(report)
    assert (one["rows_source"], one["rows_deleted"], one["rows_planned"]) == (1_500, 75, 1_425)
    assert (one["rows_converted"], one["rows_imported"], one["rows_counted"]) == (0, 0, None)
    assert not any(path.endswith((".npy", ".parquet")) for path in place.staged())


def test_a_dry_run_can_be_followed_by_the_real_one(place: Place) -> None:
    truth = place.write(SONGS)["songs"]
    place.run(dry_run=True)
    place.run(write_mode="insert")
    assert_holds(place.client, "songs", truth)


def test_not_loaded_when_not_asked_for(place: Place) -> None:
    truth = place.write(SONGS)["songs"]
    report = place.run(load=False, write_mode="insert")
    assert not is_loaded(place.client, "songs")
    assert place.client.describe_index("songs", "vector")["index_type"] == "FLAT"
    assert only(report)["verification"]["sampled"] >= 1_000
    place.client.load_collection("songs")
    assert_holds(place.client, "songs", truth)


def test_no_index_when_none_is_asked_for(place: Place) -> None:
    truth = place.write(SONGS)["songs"]
    place.run(index="none", write_mode="insert")
    assert place.client.list_indexes("songs") == []
    assert not is_loaded(place.client, "songs")
    index = place.client.prepare_index_params()
    index.add_index("vector", index_type="FLAT", metric_type="L2")
    place.client.create_index("songs", index)
    place.client.load_collection("songs")
    assert_holds(place.client, "songs", truth)


def test_data_files_go_after_success_and_proofs_stay(place: Place) -> None:
    truth = place.write(SONGS)["songs"]
    place.run(write_mode="insert")
    assert_holds(place.client, "songs", truth)
    staged = place.staged()
    assert not any(path.endswith(".npy") for path in staged)
    assert {"meta.json", "plan.json", "created.json", "report.json", "report.html"} <= staged
    assert sum(path.endswith("manifest.json") for path in staged) == 2


def test_bad_rows_are_set_aside_and_counted(place: Place) -> None:
    truth = place.write(replace(SONGS, deleted_fraction=0, partitions={}))["songs"]
    part = truth.partitions[""]
    bad = spoil(place.folder, "songs", dim=16, values={3: np.nan, 100: np.inf, 399: -np.inf})
    report = place.run(on_bad_row="set_aside", max_bad_rows=3, verify="full")
    good = ~np.isin(part.ids, bad)
    assert good.sum() == 1_197
    part.ids, part.vectors = part.ids[good], part.vectors[good]
    assert_holds(place.client, "songs", truth)
    one = only(report)
    assert (one["rows_planned"], one["rows_set_aside"], one["rows_counted"]) == (1_200, 3, 1_197)
    [aside] = [path for path in place.staged() if "bad_rows/" in path]
    assert aside.endswith(".parquet")


def spoil(folder: Path, table: str, dim: int, values: dict[int, float]) -> list[int]:
    """Puts values into rows of a table's first segment; returns the ids of these rows."""
    segment = min((folder / "tables" / table).iterdir())
    vectors = segment / f"{segment.name}.rv"
    data = bytearray(vectors.read_bytes())
    for row, value in values.items():
        struct.pack_into("<f", data, 8 + 4 * (dim * row + row % dim), value)
    vectors.write_bytes(data)
    ids = np.frombuffer((segment / f"{segment.name}.uid").read_bytes()[8:], "<i8")
    return ids[list(values)].tolist()


# --- insert and upsert ---------------------------------------------------------------------------


@pytest.mark.parametrize("write_mode", ["insert", "upsert"])
def test_rows_sent_in_requests(place: Place, tmp_path: Path, write_mode: str) -> None:
    truth = place.write(SONGS)["songs"]
    # The target can't read this folder, and need not.
    report = place.run(write_mode=write_mode, staging_url=str(tmp_path / "staging"), verify="full")
    assert only(report)["way"] == write_mode
    assert_holds(place.client, "songs", truth)


def test_few_rows_are_inserted_many_imported(place: Place, monkeypatch: Any) -> None:
    """Chosen for each collection; the batch that both are in does both."""
    monkeypatch.setattr("airlift.steps.choose_way.FEW_ROWS", 1_000)
    truth = place.write(SONGS, replace(SONGS, name="few", rows=500))
    report = place.run(write_mode="auto", verify="full")
    ways = {one["source"]: one["way"] for one in report["collections"]}
    assert ways == {"songs": "grpc_bulk_insert", "few": "insert"}
    for name in ("songs", "few"):
        assert_holds(place.client, name, truth[name])


def test_binary_vectors_sent_in_requests(place: Place) -> None:
    truth = place.write(TableSpec("bits", 900, dim=128, metric="HAMMING", deleted_fraction=0.1))
    place.run(write_mode="insert", index=BIN_FLAT, verify="full")
    assert_holds(place.client, "bits", truth["bits"])


def test_upsert_over_rows_with_the_same_ids(place: Place) -> None:
    place.write(replace(SONGS, deleted_fraction=0, partitions={}))
    place.run(write_mode="insert")
    place.folder = place.folder.with_name("newer")
    ids = np.sort(np.random.default_rng(1).choice(1_000_000, 300, replace=False))
    newer = place.write(replace(SONGS, rows=300, partitions={}, deleted_fraction=0, ids=ids))
    report = place.run(
        write_mode="upsert", if_exists="append", migration_id=f"{place.migration_id}_newer"
    )
    own, vectors = read_back(place.client, "songs", "_default")
    part = newer["songs"].partitions[""]
    held = dict(zip(own.tolist(), np.frombuffer(vectors, "f4").reshape(-1, 16), strict=True))
    for key, vector in zip(part.ids.tolist(), part.vectors, strict=True):
        assert np.array_equal(held[key], vector)
    assert only(report)["rows_counted"] == len(own) == 1_500


@pytest.mark.parametrize("write_mode", ["auto", "upsert"])
def test_milvus_lite(milvus_lite: MilvusLite, tmp_path: Path, write_mode: str) -> None:
    with lite_place(milvus_lite, tmp_path / "milvus1x") as place:
        truth = place.write(SONGS)["songs"]
        report = place.run(write_mode=write_mode, verify="full")
        assert only(report)["way"] == ("insert" if write_mode == "auto" else "upsert")
        assert_holds(place.client, "songs", truth)


# --- buckets -------------------------------------------------------------------------------------


def upload(server: S3Server, bucket: str, prefix: str, folder: Path) -> None:
    server.make_bucket(bucket)
    client = server.client()
    for path in folder.rglob("*"):
        if path.is_file():
            key = f"{prefix}/{path.relative_to(folder)}"
            client.put_object(Bucket=bucket, Key=key, Body=path.read_bytes())


def test_tables_and_staging_in_the_targets_bucket(
    in_bucket: Place, milvus_on_s3: MilvusOnS3
) -> None:
    place = in_bucket
    truth = place.write(replace(SONGS, segments=30))["songs"]
    upload(milvus_on_s3.s3, "milvus", "old/milvus", place.folder)
    report = place.run(
        tables_url="s3://milvus/old/milvus/tables",
        meta_url="s3://milvus/old/milvus/meta.sqlite",
        source_conn_id="store",
        verify="full",
    )
    assert_holds(place.client, "songs", truth)
    assert report["staging"] == f"s3://milvus/staging/{place.migration_id}"
    assert milvus_on_s3.s3.secret_key not in str(report)
    assert not any(path.endswith(".npy") for path in place.staged())


def test_a_local_source_is_copied_into_the_bucket(in_bucket: Place) -> None:
    place = in_bucket
    truth = place.write(SONGS)["songs"]
    report = place.run(copy_source="always", keep_staging=True, file_format="parquet")
    assert_holds(place.client, "songs", truth)
    copied = {path for path in place.staged() if path.startswith("source/")}
    assert len(copied) == 3 * 6
    assert only(report)["file_format"] == "parquet"


def test_bucket_to_bucket_of_one_store(in_bucket: Place, milvus_on_s3: MilvusOnS3) -> None:
    place = in_bucket
    truth = place.write(SONGS)["songs"]
    upload(milvus_on_s3.s3, "old-milvus", "db", place.folder)
    place.run(
        tables_url="s3://old-milvus/db/tables",
        meta_url="s3://old-milvus/db/meta.sqlite",
        source_conn_id="store",
        copy_source="always",
        write_mode="insert",
    )
    assert_holds(place.client, "songs", truth)
    assert not any(path.startswith("source/") for path in place.staged())


def test_bucket_to_bucket_of_another_store(in_bucket: Place, s3_server: S3Server) -> None:
    place = in_bucket
    truth = place.write(SONGS)["songs"]
    upload(s3_server, "old-milvus", "db", place.folder)
    place.connections.buckets["old"] = bucket_of(s3_server)
    place.run(
        tables_url="s3://old-milvus/db/tables",
        meta_url="s3://old-milvus/db/meta.sqlite",
        source_conn_id="old",
        copy_source="always",
        write_mode="insert",
    )
    assert_holds(place.client, "songs", truth)


def test_binary_vectors_and_chunks_in_the_bucket(in_bucket: Place) -> None:
    place = in_bucket
    spec = TableSpec("bits", 5_000, dim=32_768, metric="HAMMING", segments=3, deleted_fraction=0.03)
    truth = place.write(spec)["bits"]
    # Files of 10 MB are uploaded in several parts.
    report = place.run(index=BIN_FLAT, chunk_mb=12, verify="full")
    assert_holds(place.client, "bits", truth)
    assert only(report)["chunks"] == 2
