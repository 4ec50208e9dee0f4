"""A dry run says what a real one does: the same things are made, and about as much is written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest

from airlift.connections import MilvusConnection
from airlift.datatypes import DataType
from airlift.errors import AirliftError, Refused
from airlift.run import run
from airlift.schema import CollectionSchema, Field
from airlift.steps import probe
from localservers import Milvus, MilvusLite
from samples.milvus1x_tables import TableSpec
from tests.paths.arrow_source import ArrowSource, migration_of, run_from
from tests.paths.place import Place, lite_place, local_place
from tests.paths.test_backup_to_milvus import BACKUP
from tests.paths.test_milvus1x_to_milvus import spoil
from tests.paths.test_milvus_to_milvus import MILVUS, make_songs
from tests.paths.truth import assert_holds

SONGS = TableSpec(
    "songs", 4_000, dim=64, segments=3, deleted_fraction=0.05, partitions={"rock": 900, "b pop": 50}
)
BITS = TableSpec("bits", 1_000, dim=128, metric="HAMMING")
MAPPING = {
    "songs": {
        "target": "tunes",
        "fields": [{"source": "vector", "target": "embedding"}],
        "shards": 2,
        "consistency_level": "Strong",
    },
    "bits": {"auto_id": True},
}


@pytest.fixture
def place(milvus: Milvus, tmp_path: Path) -> Iterator[Place]:
    with local_place(milvus, tmp_path / "milvus1x") as place:
        yield place


def read_report(place: Place, migration_id: str | None = None) -> dict[str, Any]:
    """What lies in staging, whether the run failed or not."""
    folder = Path(place.staging_url) / (migration_id or place.migration_id)
    report: dict[str, Any] = orjson.loads((folder / "report.json").read_bytes())
    return report


def page_of(place: Place) -> str:
    return (Path(place.staging_url) / place.migration_id / "report.html").read_text()


def written(place: Place) -> dict[str, int]:
    """The chunks' data files and their bytes."""
    folder = Path(place.staging_url) / place.migration_id
    return {
        str(path.relative_to(folder)): path.stat().st_size
        for manifest in folder.glob("*/*/manifest.json")
        for path in (
            manifest.parent / one["name"] for one in orjson.loads(manifest.read_bytes())["files"]
        )
    }


def assert_measured(place: Place, planned: dict[str, Any], done: dict[str, Any]) -> None:
    """What a dry run said of chunks, files and bytes is what there is now."""
    found, files = planned["assessment"], written(place)
    assert (planned["state"], done["state"]) == ("planned", "done")
    assert sum(one["files"] for one in found["collections"]) == len(files)
    chunks = {path.rpartition("/")[0] for path in files}
    assert sum(one["chunks"] for one in found["collections"]) == len(chunks)
    told = sum(one["file_bytes"] for one in found["collections"])
    assert told == pytest.approx(sum(files.values()), rel=0.1)
    assert found["staging_bytes"] == pytest.approx(
        sum((Path(place.staging_url) / place.migration_id / path).stat().st_size for path in files)
        + sum(one["sample_bytes"] for one in found["collections"]),
        rel=0.1,
    )
    for one in found["steps"]:
        assert 0 < one["low"] < one["seconds"] < one["high"] and one["origin"]
    for before, after in zip(planned["collections"], done["collections"], strict=True):
        for name in ("target", "way", "chunks", "files", "fields", "partitions", "rows_planned"):
            assert before[name] == after[name]
        # Settings that a server does not keep are seen once it has made the collection.
        assert before["notes"] == [note for note in after["notes"] if "differ from" not in note]


def assert_foretold(place: Place, planned: dict[str, Any], done: dict[str, Any]) -> None:
    """So are the collections that were to be made."""
    assert_measured(place, planned, done)
    for before, after in zip(planned["collections"], done["collections"], strict=True):
        made = after["created"]
        if not any(field["type"] in ("VARCHAR", "ARRAY") for field in made["collection"]["fields"]):
            assert before["created"] == made
        assert_made(place.client, made)
    steps = {one["step"] for one in planned["assessment"]["steps"]}
    assert steps >= {"convert", "bulk_insert", "load"}


def assert_made(client: Any, made: dict[str, Any]) -> None:
    """The server's own description is what the report says."""
    told = made["collection"]
    described = client.describe_collection(told["name"])
    assert [
        (field["name"], field["type"].name, field["params"].get("dim", 0))
        for field in described["fields"]
    ] == [(one["name"], one["type"], one["dim"]) for one in told["fields"]]
    for field, one in zip(described["fields"], told["fields"], strict=True):
        assert int(field["params"].get("max_length", 0)) == one["max_length"]
        assert field.get("is_primary", False) == one["primary_key"]
        assert field.get("auto_id", False) == one["auto_id"]
    assert described["num_shards"] == told["shards"]
    assert described["enable_dynamic_field"] == told["dynamic_field"]
    assert set(client.list_partitions(told["name"])) == {"_default", *told["partitions"]}
    built = {
        index["field_name"]: (index["index_type"], index["metric_type"])
        for index in (
            client.describe_index(told["name"], n) for n in client.list_indexes(told["name"])
        )
    }
    assert built == {
        one["field"]: (one["index_type"], one["metric_type"]) for one in made["indexes"]
    }


def test_what_is_foretold_is_what_is_done(place: Place) -> None:
    truths = place.write(SONGS, BITS)
    asked = {
        "mapping": MAPPING,
        "index": "autoindex",
        "wait_for_index": False,
        "chunk_mb": 1,
        "keep_staging": True,
        "verify": "full",
    }
    before = set(place.client.list_collections())
    planned = place.run(dry_run=True, **asked)
    assert set(place.client.list_collections()) == before
    assert not [path for path in place.staged() if path.endswith((".npy", ".parquet"))]
    done = place.run(**asked)
    assert_foretold(place, planned, done)
    for one in planned["assessment"]["collections"]:
        assert one["exact_bytes"]
        assert one["probe"]["whole"] and one["probe"]["seconds"] > 0
    partitions = {"": "_default", "rock": "rock", "b pop": "b_pop"}
    assert_holds(place.client, "tunes", truths["songs"], partitions, vector="embedding", key="id")
    assert done["versions"]["target"] == "Milvus 2.3.5"
    assert {"Milvus Airlift", "pymilvus", "Python"} <= done["versions"]["software"].keys()
    [tunes, bits] = sorted(done["collections"], key=lambda one: one["target"], reverse=True)
    assert tunes["rows_read"] == tunes["rows_planned"] == tunes["rows_counted"]
    assert tunes["fingerprint"] == tunes["verification"]["fingerprint_target"]
    assert all(one["found"] for one in tunes["verification"]["searches"])
    assert {one["rank"] for one in tunes["verification"]["searches"]} == {1}
    assert {one["rank"] for one in bits["verification"]["searches"]} == {None}
    assert_moved(done, "convert", "import")


def assert_moved(report: dict[str, Any], *kinds: str) -> None:
    """What was done over time is all that was done."""
    for kind in kinds:
        pieces = report["throughput"]["pieces"][kind]
        assert 1 <= len(pieces) <= 100
        for what in ("rows", "bytes"):
            moved = {"rows": "rows_converted", "bytes": "bytes"}[what]
            total = sum(one[moved] for one in report["collections"])
            assert sum(one[what] for one in pieces) == pytest.approx(total)


def rows_of_texts(rows: int, seed: int) -> tuple[CollectionSchema, list[pa.RecordBatch]]:
    """Rows whose texts are from nothing to 400 bytes long."""
    fields = (
        Field(name="key", type=DataType.VARCHAR, max_length=64, primary_key=True),
        Field(name="text", type=DataType.VARCHAR),
        Field(name="vector", type=DataType.FLOAT_VECTOR, dim=16, metric_type="L2"),
    )
    schema = CollectionSchema(name="texts", fields=fields)
    random = np.random.default_rng(seed)
    vectors = random.random((rows, 16), np.float32)
    columns = [
        pa.array([f"{seed}-{n}" for n in range(rows)]),
        pa.array(["x" * length for length in random.integers(0, 400, rows).tolist()]),
        pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), 16),
    ]
    batch = pa.RecordBatch.from_arrays(columns, schema=schema.arrow)
    return schema, [batch.slice(at, 500) for at in range(0, rows, 500)]


@pytest.mark.parametrize("seconds", [60.0, 0.0])
def test_texts_of_any_length_are_measured(
    place: Place, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """Also from a part of the rows; the file format can't tell beforehand."""
    monkeypatch.setattr(probe, "_SECONDS", seconds)
    schema, first = rows_of_texts(6_000, 1)
    chunks = [first, rows_of_texts(3_000, 2)[1]]
    planned = run_from(place, ArrowSource(schema, chunks), dry_run=True)
    [one] = planned["assessment"]["collections"]
    assert (one["probe"]["rows"], one["probe"]["whole"]) == (
        (6_000, True) if seconds else (500, False)
    )
    assert not one["exact_bytes"]
    # 200 bytes of a text and 16 of a vector and some of a key, and what tells their lengths.
    assert one["memory_bytes"] == pytest.approx(9_000 * (1.15 * 64 + 204 + 11), rel=0.1)
    done = run_from(place, ArrowSource(schema, chunks), keep_staging=True)
    assert_foretold(place, planned, done)
    told = {
        one["name"]: one for one in planned["collections"][0]["created"]["collection"]["fields"]
    }
    assert told["text"]["max_length"] == 0  # the rows tell


def test_a_backup_is_foretold(milvus_lite: MilvusLite, tmp_path: Path) -> None:
    """Of a real backup, with deletes, several partitions, texts and a dynamic field."""
    with lite_place(milvus_lite, tmp_path / "backups", BACKUP) as place:
        [folder] = place.write("mixed")
        planned = place.run(backup_url=str(folder), dry_run=True)
        assert place.client.list_collections() == []
        done = place.run(backup_url=str(folder), keep_staging=True)
        assert_measured(place, planned, done)
    assert planned["versions"]["source"] == "a backup of Milvus v2.3.5-lite"


def test_a_running_milvus_is_foretold(
    milvus: Milvus, milvus_lite: MilvusLite, tmp_path: Path
) -> None:
    with (
        lite_place(milvus_lite, tmp_path / "none", MILVUS) as place,
        closing(milvus.client()) as client,
    ):
        place.connections.servers["milvus_source"] = MilvusConnection(uri=milvus.uri)
        make_songs(client)
        try:
            planned = place.run(collections=["songs"], dry_run=True)
            done = place.run(collections=["songs"], keep_staging=True)
        finally:
            client.drop_alias("songs_alias")
            client.drop_collection("songs")
        assert_measured(place, planned, done)
    assert planned["versions"]["source"] == "Milvus 2.3.5"


def test_a_refused_dry_run_fails_and_tells_everything(place: Place) -> None:
    place.write(SONGS, BITS)
    place.run(collections=["songs"], migration_id="earlier")
    before = set(place.client.list_collections())
    with pytest.raises(Refused) as refused:
        place.run(dry_run=True, file_format="numpy", verify="full")
    assert set(place.client.list_collections()) == before
    report = read_report(place)
    assert report["state"] == "failed"
    [failure] = report["failures"]
    assert (failure["step"], failure["reasons"]) == ("plan", refused.value.reasons)
    assert report["assessment"]["refusals"] == refused.value.reasons
    assert "exists on the target already" in refused.value.reasons[0]
    # What could be planned is told all the same.
    existing = {one["target"]: one["existing"] for one in report["assessment"]["collections"]}
    assert existing == {"songs": "fail", "bits": ""}
    page = page_of(place)
    assert "done as asked, for 1 reason" in page
    assert "Dry run: nothing" not in page and "Every row arrived" not in page
    assert not [path for path in place.staged() if "probe-" in path]
    # Once it is mended, nothing is left of it.
    report = place.run(dry_run=True, collections=["bits"], index="autoindex")
    assert (report["state"], report["failures"]) == ("planned", [])
    assert "draft.json" not in place.staged()


def test_a_mapping_that_does_not_fit_shows_what_the_source_holds(place: Place) -> None:
    place.write(SONGS)
    with pytest.raises(Refused, match="no_such"):
        place.run(dry_run=True, mapping={"songs": {"partitions": ["no_such"]}})
    report = read_report(place)
    assert (report["state"], report["collections"]) == ("failed", [])
    told = report["assessment"]
    assert "no_such" in told["refusals"][0]


def test_rows_that_are_not_fit_are_found_where_they_are_tried(place: Place) -> None:
    place.write(TableSpec("spoilt", 500, dim=8, segments=1))
    spoil(place.folder, "spoilt", dim=8, values={3: np.nan})
    with pytest.raises(Refused, match="1 rows can't be taken"):
        place.run(dry_run=True)
    assert "NaN or an infinity" in read_report(place)["failures"][0]["reasons"][0]
    report = place.run(dry_run=True, on_bad_row="set_aside")
    assert report["state"] == "planned"
    assert not [path for path in place.staged() if path.endswith(".parquet")]


def test_a_failed_run_has_a_report_until_it_goes_on(place: Place) -> None:
    truth = place.write(TableSpec("spoilt", 900, dim=8, segments=1, deleted_fraction=0.1))["spoilt"]
    segment = next((place.folder / "tables" / "spoilt").iterdir())
    vectors = segment / f"{segment.name}.rv"
    good, times = vectors.read_bytes(), vectors.stat()
    spoil(place.folder, "spoilt", dim=8, values={3: np.nan})
    with pytest.raises(AirliftError, match="1 rows can't be taken"):
        place.run()
    report = read_report(place)
    assert report["state"] == "failed"
    [failure] = report["failures"]
    assert (failure["step"], failure["index"]) == ("convert", 0)
    assert "set_aside" in failure["reasons"][0]
    page = page_of(place)
    assert "Failed in the step convert" in page and "Every row arrived" not in page
    vectors.write_bytes(good)
    assert times.st_size == len(good)
    report = place.run()
    assert (report["state"], report["failures"]) == ("done", [])
    assert not [path for path in place.staged() if path.startswith("failures")]
    assert_holds(place.client, "spoilt", truth)


def test_a_difference_stands_in_the_report(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row is gone between the import and the verification."""
    import airlift.run

    truth = place.write(TableSpec("lost", 600, dim=8, segments=1))["lost"]
    key = int(truth.partitions[""].ids[0])
    verify = airlift.run.verify

    def after_a_loss(migration: Any) -> Any:
        place.client.delete("lost", ids=[key])
        return verify(migration)

    monkeypatch.setattr(airlift.run, "verify", after_a_loss)
    with pytest.raises(AirliftError, match="source and target differ"):
        place.run()
    report = read_report(place)
    assert report["state"] == "failed" and report["failures"][0]["step"] == "verify"
    [one] = report["collections"]
    assert (one["rows_imported"], one["rows_counted"]) == (600, 599)
    assert one["verification"]["problems"]
    assert "Source and target differ" in page_of(place)


def test_a_target_that_is_not_there_is_told(place: Place) -> None:
    place.write(SONGS)
    known = place.connections.servers["milvus_default"]
    place.connections.servers["gone"] = known.model_copy(update={"uri": "http://127.0.0.1:9"})
    with pytest.raises(Refused, match="cannot connect"):
        place.run(target_conn_id="gone")
    report = read_report(place)
    assert (report["state"], report["failures"][0]["step"]) == ("failed", "check")
    assert report["collections"] == []
    with pytest.raises(AirliftError):
        place.run(target_conn_id="gone", dry_run=True)
    assert "Can&#39;t be done as asked" in page_of(place)


def test_what_was_done_is_kept_when_a_later_run_fails(place: Place) -> None:
    place.write(SONGS)
    done = place.run()
    with pytest.raises(AirliftError):
        place.run(mapping={"no_such": {"target": "x"}})
    earlier = [path for path in place.staged() if path.startswith("earlier/")]
    assert len(earlier) == 2
    folder = Path(place.staging_url) / place.migration_id
    [kept] = [path for path in earlier if path.endswith(".json")]
    assert orjson.loads((folder / kept).read_bytes()) == done
    assert read_report(place)["state"] == "failed"


def test_a_run_that_was_stopped_gets_its_report_at_the_end(place: Place) -> None:
    """As the teardown task of a run that was marked failed does."""
    from airlift.steps.check import check
    from airlift.steps.export_meta import export_meta
    from airlift.steps.plan import make_plan
    from airlift.steps.publish import clean_staging

    place.write(SONGS)
    with place.migration() as migration:
        check(migration)
        export_meta(migration)
        make_plan(migration, 8)
        cleaned = clean_staging(migration)
    assert "not done" in cleaned["kept_because"]
    assert read_report(place)["state"] == "failed"
    assert "Stopped before it was done" in page_of(place)


def test_a_source_that_is_gone_does_not_keep_staging_from_being_cleaned(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from airlift.steps.publish import clean_staging

    place.write(SONGS)
    place.run(keep_staging=True)
    held = [path for path in place.staged() if path.endswith(".npy")]
    with place.migration() as migration:
        migration.staging.folder.write_bytes("scratch/held.json", b"{}")

        def finish() -> None:
            raise AirliftError("search.example: no answer")

        monkeypatch.setattr(migration.source, "finish", finish)
        assert clean_staging(migration) == {"removed": len(held)} != {"removed": 0}
    assert not any(path.endswith(".npy") for path in place.staged())
    assert "ends by itself" in caplog.text and "search.example: no answer" in caplog.text


def test_an_unexpected_error_is_told_without_its_text(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    import airlift.run

    def broken(*_: Any) -> None:
        raise KeyError("password=hunter2")

    schema, batches = rows_of_texts(500, 3)
    monkeypatch.setattr(airlift.run, "build_indexes", broken)
    migration = migration_of(place, ArrowSource(schema, [batches]))
    with migration, pytest.raises(KeyError):
        run(migration)
    report = read_report(place)
    assert report["failures"][0]["step"] == "index"
    assert "KeyError" in report["failures"][0]["reasons"][0]
    assert "hunter2" not in page_of(place)
