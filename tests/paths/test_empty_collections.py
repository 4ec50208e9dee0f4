"""Runs that move no row: done, with a warning, or refused; on real targets."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from pymilvus import DataType, MilvusClient

from airlift.connections import MilvusConnection
from airlift.empty_collections import NO_ROW_AT_ALL
from airlift.errors import AirliftError, Refused
from localservers import MilvusLite
from samples.milvus1x_tables import TableSpec, write_milvus1x
from samples.milvus_backups import BackupCollection, write_backup
from tests.paths.place import FLAT, Place, SourceKind, lite_place
from tests.paths.truth import count
from tests.real_backups import unpack
from tests.unit.test_backup_formats import ID, V, segment

DIM = 4


Target = Callable[[str], Place]


@pytest.fixture
def target(milvus_lite: MilvusLite, tmp_path: Path) -> Iterator[Target]:
    """A place on Milvus Lite, for a kind of source."""
    with ExitStack() as stack:

        def place(source: str) -> Place:
            kind = SourceKind(source, lambda *_: None, lambda _: {})
            return stack.enter_context(lite_place(milvus_lite, tmp_path / "source", kind))

        yield place


@dataclass(frozen=True)
class Case:
    """A source of which no row is moved.

    Attributes:
        params: makes the source in a folder; returns the params that name it.
        collection: its only collection.
        told: what the warning says.
    """

    source: str
    params: Callable[[Path], dict[str, Any]]
    collection: str
    told: str


def tables(folder: Path, rows: int, **spec: Any) -> dict[str, Any]:
    write_milvus1x(folder, [TableSpec("songs", rows, dim=DIM, **spec)])
    (folder / "tables").mkdir(exist_ok=True)
    return {"tables_url": f"{folder}/tables", "meta_url": f"{folder}/meta.sqlite"}


def index(folder: Path) -> dict[str, Any]:
    folder.mkdir()
    faiss.write_index(faiss.IndexFlatL2(DIM), f"{folder}/songs.index")
    return {"index_url": f"{folder}/songs.index"}


def backup(folder: Path, *segments: Any, **more: Any) -> dict[str, Any]:
    one = BackupCollection("songs", (ID, V), segments, **more)
    return {"backup_url": str(write_backup(folder, [one]))}


def metadata_alone(folder: Path) -> dict[str, Any]:
    """What `milvus-backup create --strategy meta_only` leaves of a collection with rows."""
    backup(folder, segment(range(5)))
    path = folder / "meta" / "full_meta.json"
    meta = json.loads(path.read_text())
    for part in meta["collection_backups"][0]["partition_backups"]:
        del part["segment_backups"]
    path.write_text(json.dumps(meta))
    for logs in sorted((folder / "binlogs").rglob("*"), reverse=True):
        logs.unlink() if logs.is_file() else logs.rmdir()
    return {"backup_url": str(folder)}


CASES = {
    "no segment": Case(
        "milvus1x",
        lambda folder: tables(folder, 0, segment_rows=()),
        "songs",
        "no live segment of it",
    ),
    "empty segment": Case(
        "milvus1x", lambda folder: tables(folder, 0, segments=1), "songs", "the source has none"
    ),
    "all deleted": Case(
        "milvus1x",
        lambda folder: tables(folder, 20, segments=1, deleted_fraction=1.0),
        "songs",
        "all 20 rows are deleted",
    ),
    "empty index": Case("faiss", index, "songs", "songs.index holds no vector"),
    "metadata alone": Case("backup", metadata_alone, "songs", "its metadata alone was backed up"),
    "all deleted later": Case(
        "backup",
        lambda folder: backup(folder, segment(range(3), deletes=[(n, 200) for n in range(3)])),
        "songs",
        "all 3 rows are deleted",
    ),
    "a partition without rows": Case(
        "backup",
        lambda folder: {
            **backup(folder, segment(range(3)), partitions=["empty"]),
            "mapping": {"songs": {"partitions": ["empty"]}},
        },
        "songs",
        "3 are left out by the params",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_no_row_at_all_is_refused_or_done_with_a_warning(target, tmp_path, name, caplog):
    case = CASES[name]
    params = case.params(tmp_path / "source")
    place = target(case.source)
    with pytest.raises(Refused) as refused:
        place.run(**params, allow_empty=False)
    [reason] = refused.value.reasons
    assert case.told in reason and repr(case.collection) in reason and "allow_empty" in reason
    assert not place.client.has_collection("songs")
    report = place.run(**params)
    [one] = report["collections"]
    [warning] = one["warnings"]
    assert report["state"] == "done" and report["warnings"] == [NO_ROW_AT_ALL]
    assert reason.startswith(warning)
    assert one["rows_counted"] == 0 and count(place.client, "songs", key=_key(place)) == 0
    assert warning in caplog.text and NO_ROW_AT_ALL in caplog.text
    html = (tmp_path / "staging" / place.migration_id / "report.html").read_text()
    assert "No row was moved" in html and "Every row arrived" not in html


def _key(place: Place) -> str:
    fields = place.client.describe_collection("songs")["fields"]
    return str(next(field["name"] for field in fields if field.get("is_primary")))


def test_a_dry_run_says_so_too(target, tmp_path):
    place = target("faiss")
    params = {**index(tmp_path / "source"), "dry_run": True}
    with pytest.raises(Refused, match=r"holds no vector.*allow_empty"):
        place.run(**params, allow_empty=False)
    report = place.run(**params)
    assert (report["state"], report["warnings"]) == ("planned", [NO_ROW_AT_ALL])


# --- beside others -------------------------------------------------------------------------------


def test_an_empty_collection_beside_others_is_warned_of(target, tmp_path):
    folder = unpack("types", tmp_path)
    place = target("backup")
    run = {"backup_url": str(folder), "collections": ["archive.*"], "target_database": "copies"}
    report = place.run(**run)
    told = {one["source"]: one["warnings"] for one in report["collections"]}
    assert report["warnings"] == [] and told["archive.readings"] == []
    [warning] = told["archive.blank"]
    assert "'archive.blank': no row is moved: the source has none" in warning
    with pytest.raises(Refused) as refused:
        place.run(**run, allow_empty=False, migration_id="strict")
    assert any("'archive.blank'" in reason for reason in refused.value.reasons)


# --- a running Milvus -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusLite]:
    """A Milvus Lite with 30 events."""
    with (
        MilvusLite(tmp_path_factory.mktemp("source")) as source,
        closing(source.client()) as client,
    ):
        make_events(client)
        yield source


@pytest.fixture
def events(target: Target, source: MilvusLite) -> Place:
    """From it into another Milvus Lite."""
    place = target("milvus")
    place.connections.servers["milvus_source"] = MilvusConnection(uri=source.uri)
    return place


def make_events(client: MilvusClient) -> None:
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
    schema.add_field("year", DataType.INT64)
    params = client.prepare_index_params()
    params.add_index("vector", **FLAT, metric_type="L2")
    client.create_collection("events", schema=schema, index_params=params)
    vectors = np.random.default_rng(1).standard_normal((30, DIM)).astype(np.float32)
    rows = [{"id": n, "vector": vectors[n], "year": 2000 + n} for n in range(30)]
    client.insert("events", rows)
    client.load_collection("events")


def test_a_filter_that_chooses_nothing(events):
    run = {"collections": ["events"], "mapping": {"events": {"filter": "year > 3000"}}}
    with pytest.raises(Refused, match=r"'events'.*year > 3000.*allow_empty"):
        events.run(**run, allow_empty=False)
    assert not events.client.has_collection("events")
    report = events.run(**run)
    [warning] = report["collections"][0]["warnings"]
    assert "the condition '(year > 3000)' chooses none" in warning
    assert report["warnings"] == [NO_ROW_AT_ALL]


@pytest.mark.parametrize("by", [{"since_pk": True}, {"since_field": "year"}])
def test_an_incremental_run_without_news_is_quiet(events, by, caplog):
    run = {"collections": ["events"], "allow_empty": False, **by}
    events.run(**run, migration_id="first")
    caplog.clear()
    report = events.run(**run, migration_id="second")
    [one] = report["collections"]
    assert report["warnings"] == [] and one["warnings"] == [] and report["state"] == "done"
    assert "no row is moved" not in caplog.text
    if by.get("since_pk"):  # by a field, rows with the largest value are looked at again
        assert one["rows_planned"] == 0
        assert any("nothing new: no row's 'id' is above 29" in n for n in one["notes"])
    assert count(events.client, "events") == 30


def test_the_first_of_incremental_runs_is_warned_of_like_any_other(events):
    run = {"collections": ["events"], "mapping": {"events": {"filter": "year > 3000"}}}
    report = events.run(**run, since_pk=True)
    assert report["warnings"] == [NO_ROW_AT_ALL]


# --- all rows set aside ---------------------------------------------------------------------------


def test_rows_that_were_all_set_aside(target, tmp_path, caplog):
    (tmp_path / "source").mkdir()
    flat = faiss.IndexFlatL2(DIM)
    flat.add(np.full((6, DIM), np.nan, np.float32))
    faiss.write_index(flat, f"{tmp_path}/source/songs.index")
    place = target("faiss")
    run = {"index_url": f"{tmp_path}/source/songs.index", "on_bad_row": "set_aside"}
    with pytest.raises(AirliftError, match=r"all 6 of 6 rows were set aside.*allow_empty"):
        place.run(**run, allow_empty=False)
    assert not place.client.has_collection("songs")
    report = place.run(**run)
    assert report["warnings"] == [NO_ROW_AT_ALL]
    [warning] = report["collections"][0]["warnings"]
    assert "all 6 of 6 rows were set aside" in warning and warning in caplog.text
