"""Metadata of a backup that is not understood: refused by name, never read as fewer rows."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlift.errors import AirliftError
from airlift.sources.backup.meta import PARTS
from samples.milvus_backups import BackupCollection, BackupSegment, write_backup
from tests.real_backups import COLLECTIONS, unpack
from tests.unit.backup_reading import Read, source_of
from tests.unit.test_backup_formats import ID, V, segment

Meta = dict[str, Any]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("real")
    for name in COLLECTIONS:
        unpack(name, folder)
    return folder


def sample(folder: Path) -> Path:
    """Two collections of three and two rows, with deletes of a segment and of level 0."""
    songs = BackupCollection(
        "songs",
        (ID, V),
        [
            segment(range(3), deletes=[(0, 200)]),
            BackupSegment(partition="", deletes=[(1, 300)], level_0=True),
        ],
        partitions=["empty"],
    )
    books = BackupCollection("books", (ID, V), [segment([7, 8])])
    return write_backup(folder / "b", [songs, books])


def edit(folder: Path, change: Callable[[Meta], Any]) -> Path:
    path = folder / "meta" / "full_meta.json"
    meta = json.loads(path.read_text())
    change(meta)
    path.write_text(json.dumps(meta))
    return folder


def refused(folder: Path, **params: Any) -> str:
    """Why the backup can't be moved; describing it says so too."""
    reasons = source_of(folder, **params).check()
    assert reasons
    with pytest.raises(AirliftError):
        source_of(folder, **params).describe()
    return "\n".join(reasons)


def rows(folder: Path, **params: Any) -> dict[str, int]:
    return {name: len(found) for name, found in Read(source_of(folder, **params)).rows.items()}


def collection(meta: Meta, at: int = 0) -> Meta:
    found: Meta = meta["collection_backups"][at]
    return found


def partition(meta: Meta) -> Meta:
    found: Meta = collection(meta)["partition_backups"][0]
    return found


def some_segment(meta: Meta) -> Meta:
    found: Meta = partition(meta)["segment_backups"][0]
    return found


# --- snapshots ------------------------------------------------------------------------------------


def snapshot(folder: Path, parts: bool = True) -> Path:
    """What milvus-backup 0.6 writes from Milvus 3.0: the logs stand in no file of `meta/`."""
    bundle = "bundle/exports/8f14e45f/snapshots/4711/metadata/470760090417711806.json"
    folder = sample(folder)

    def change(meta: Meta) -> None:
        meta["format"] = "snapshot"
        for one in meta["collection_backups"]:
            one["partition_backups"] = [
                {"partition_id": part["partition_id"], "partition_name": part["partition_name"]}
                for part in one["partition_backups"]
            ]
            del one["l0_segments"]
            one["snapshot_backup"] = {
                "metadata_path": bundle,
                "total_files": 9,
                "total_bytes": 1234,
            }

    edit(folder, change)
    shutil.rmtree(folder / "binlogs")
    (folder / bundle).parent.mkdir(parents=True)
    (folder / bundle).write_text("{}")
    full = json.loads((folder / "meta" / "full_meta.json").read_text())
    if parts:
        head = {key: value for key, value in full.items() if key != "collection_backups"}
        (folder / "meta" / "backup_meta.json").write_text(json.dumps(head))
        infos = {"infos": full["collection_backups"]}
        (folder / "meta" / "collection_meta.json").write_text(json.dumps(infos))
    return folder


def without(*keys: str) -> Callable[[Meta], Any]:
    def change(meta: Meta) -> None:
        for key in keys:
            meta.pop(key, None)
            for one in meta["collection_backups"]:
                one.pop(key, None)

    return change


def test_a_snapshot_is_refused_by_name(tmp_path):
    said = refused(snapshot(tmp_path))
    assert "format 'snapshot'" in said and "milvus-backup 0.6" in said
    assert "milvus_to_milvus" in said


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (without("format"), "snapshot_backup"),
        (without("snapshot_backup"), "format 'snapshot'"),
        # Nothing of the metadata names it: only the folder does.
        (without("format", "snapshot_backup"), "bundle/"),
        (lambda meta: meta.update(format="vortex"), "format 'vortex'"),
    ],
)
def test_a_snapshot_of_which_a_part_is_told(tmp_path, change, told):
    folder = edit(snapshot(tmp_path), change)
    assert told in refused(folder)


def test_a_snapshot_without_its_full_metadata(tmp_path):
    folder = snapshot(tmp_path)
    (folder / "meta" / "full_meta.json").unlink()
    assert "format 'snapshot'" in refused(folder)


@pytest.mark.parametrize("told", ["", "binlog"])
def test_the_format_of_binlogs(tmp_path, told):
    folder = edit(sample(tmp_path), lambda meta: meta.update(format=told))
    assert rows(folder) == {"books": 2, "songs": 1}


# --- unknown keys ---------------------------------------------------------------------------------

LEVELS: dict[str, tuple[Callable[[Meta], Meta], str]] = {
    "backup": (lambda meta: meta, "the backup"),
    "collection": (collection, "collection 'songs'"),
    "schema": (lambda meta: collection(meta)["schema"], "schema"),
    "field": (lambda meta: collection(meta)["schema"]["fields"][1], "field 'v'"),
    "pair": (
        lambda meta: collection(meta)["schema"]["fields"][1]["type_params"][0],
        "type_params 'dim'",
    ),
    "partition": (partition, "partition '_default'"),
    "segment": (some_segment, "segment 47"),
    "field's logs": (lambda meta: some_segment(meta)["binlogs"][0], "binlogs"),
    "log": (lambda meta: some_segment(meta)["binlogs"][0]["binlogs"][0], "binlogs"),
    "delete log": (lambda meta: some_segment(meta)["deltalogs"][0]["binlogs"][0], "deltalogs"),
    "level 0": (lambda meta: collection(meta)["l0_segments"][0], "segment 47"),
}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("value", [True, 3, "x", ["a"], {"path": "bundle"}])
def test_an_unknown_key_is_refused_by_name(tmp_path, level, value):
    at, place = LEVELS[level]
    folder = edit(sample(tmp_path), lambda meta: at(meta).update(row_format=value))
    said = refused(folder)
    assert "'row_format'" in said and place in said, said
    assert "milvus_to_milvus" in said


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("value", [None, False, 0, "", [], {}, {"path": "", "size": 0}])
def test_an_unknown_key_that_says_nothing_is_harmless(tmp_path, level, value):
    at, _ = LEVELS[level]
    folder = edit(sample(tmp_path), lambda meta: at(meta).update(row_format=value))
    assert rows(folder) == {"books": 2, "songs": 1}


def test_an_unknown_key_of_a_collection_that_is_not_chosen(tmp_path):
    folder = edit(sample(tmp_path), lambda meta: collection(meta).update(row_format=1))
    assert rows(folder, collections=["books"]) == {"books": 2}
    assert "'row_format'" in refused(folder, collections=["songs"])


def test_the_name_under_which_they_are_kept_is_no_way_in(tmp_path):
    folder = edit(sample(tmp_path), lambda meta: collection(meta).update(unknown_keys=["x"]))
    assert "'unknown_keys'" in refused(folder)


def test_many_unknown_keys_are_told_in_few_words(tmp_path):
    many = BackupCollection("many", (ID, V), [segment([n]) for n in range(30)])
    folder = write_backup(tmp_path / "b", [many])

    def change(meta: Meta) -> None:
        for one in partition(meta)["segment_backups"]:
            one["row_format"] = 2

    said = source_of(edit(folder, change)).check()
    assert len(said) == 1 and "29 more" in said[0]


def test_the_parts_of_the_metadata_are_looked_at_too(real, tmp_path):
    for part, level in zip(PARTS[1:], ("collection", "partition", "segment"), strict=True):
        folder = tmp_path / level
        shutil.copytree(real / "mixed", folder)
        (folder / "meta" / "full_meta.json").unlink()
        path = folder / "meta" / part
        meta = json.loads(path.read_text())
        meta["infos"][0]["row_format"] = 3
        path.write_text(json.dumps(meta))
        assert "'row_format'" in refused(folder)
        meta["infos"][0].pop("row_format")
        path.write_text(json.dumps(meta | {"row_format": 3}))
        assert "'row_format'" in refused(folder)


# What milvus-backup 0.1 to 0.5.16 writes beside what is read (its core/proto/backup.proto).
HARMLESS: dict[str, Meta] = {
    "backup": {
        "start_time": 5,
        "end_time": 6,
        "progress": 100,
        "backup_timestamp": 7,
        "rpc_channel_info": {"name": "by-dev-replicate-msg", "position": "CAE="},
        "flush_all_msgs_base64": {"by-dev-rootcoord-dml_0": "CAE="},
        "flush_all_tss": {"by-dev-rootcoord-dml_0": 7},
        "control_channel_name": "by-dev-rootcoord-dml_0_vcchan",
        "physical_channel_names": ["by-dev-rootcoord-dml_0"],
        "database_backups": [{"db_name": "default", "db_id": 1}],
    },
    "collection": {
        "state_code": 2,
        "progress": 100,
        "start_time": 5,
        "end_time": 6,
        "backup_timestamp": 7,
        "backup_physical_timestamp": 8,
        "channel_checkpoints": {"by-dev-rootcoord-dml_0_1v0": "CAE="},
        "db_id": 1,
        "created_timestamp": 9,
        "virtual_channel_names": ["by-dev-rootcoord-dml_0_1v0"],
        "physical_channel_names": ["by-dev-rootcoord-dml_0"],
        "has_index": True,
        "load_state": "Loaded",
        "index_infos": [
            {
                "field_name": "v",
                "index_name": "v",
                "index_type": "HNSW",
                "params": {"index_type": "HNSW", "metric_type": "L2"},
                "index_id": 4,
                "field_id": 101,
                "create_time": 5,
                "type_params": [{"key": "dim", "value": "4"}],
                "index_params": [{"key": "index_type", "value": "HNSW"}],
                "user_index_params": [{"key": "index_type", "value": "AUTOINDEX"}],
                "is_auto_index": True,
                "min_index_version": 1,
                "max_index_version": 8,
            }
        ],
    },
    "schema": {"name": "songs"},
    "field": {"index_params": [{"key": "index_type", "value": "HNSW"}]},
    "partition": {"load_state": "Loaded", "size": 9},
    "segment": {
        "statslogs": [{"fieldID": 100, "binlogs": [{"log_path": "files/stats_log/1"}]}],
        "size": 9,
        "group_id": 4,
        "backuped": True,
        "v_channel": "by-dev-rootcoord-dml_0_1v0",
    },
    "log": {"entries_num": 3, "timestamp_from": 1, "timestamp_to": 2},
}


def test_what_earlier_versions_write_is_harmless(tmp_path):
    def change(meta: Meta) -> None:
        for level, more in HARMLESS.items():
            LEVELS[level][0](meta).update(more)

    assert rows(edit(sample(tmp_path), change)) == {"books": 2, "songs": 1}


def test_the_real_backups_have_no_unknown_key(real):
    for name in COLLECTIONS:
        assert source_of(real / name).check() == []


# --- what else would be read as fewer rows --------------------------------------------------------

FEWER: list[tuple[Callable[[Meta], Any], str]] = [
    (lambda meta: meta.update(collection_backups=[]), "which the metadata does not list"),
    (lambda meta: meta["collection_backups"].pop(1), "which the metadata does not list"),
    (
        lambda meta: collection(meta)["partition_backups"][1].update(size=4096),
        "counts 4,096 bytes in the partition 'empty', and lists no segment of it",
    ),
    (lambda meta: collection(meta).update(state_code=3, errorMessage="disk full"), "disk full"),
    (lambda meta: collection(meta).update(state_code=1), "was not finished"),
    (lambda meta: collection(meta).update(state_code=9), "state 9"),
    (lambda meta: meta.update(state_code=1), "was not finished"),
    (lambda meta: meta.update(state_code=9), "state 9"),
    (lambda meta: some_segment(meta).update(storage_version=3), "storage version 3"),
    (
        lambda meta: collection(meta)["schema"]["fields"][1].update(
            default_value={"Data": {"LongData": 5}}
        ),
        "'default_value'",
    ),
]


@pytest.mark.parametrize(("change", "told"), FEWER, ids=[told for _, told in FEWER])
def test_metadata_that_tells_of_more_than_it_lists(tmp_path, change, told):
    assert told in refused(edit(sample(tmp_path), change))


def test_segments_that_belong_to_no_listed_partition(real, tmp_path):
    shutil.copytree(real / "mixed", tmp_path / "b")
    meta = tmp_path / "b" / "meta"
    (meta / "full_meta.json").unlink()
    path = meta / "partition_meta.json"
    parts = json.loads(path.read_text())
    gone = parts["infos"].pop(0)
    path.write_text(json.dumps(parts))
    said = refused(tmp_path / "b")
    assert "segment_meta.json" in said and str(gone["partition_id"]) in said


def test_a_level_of_consistency_that_milvus_does_not_keep(tmp_path):
    folder = edit(sample(tmp_path), lambda meta: collection(meta).update(consistency_level=4))
    [songs] = [one for one in source_of(folder).describe() if one.name == "songs"]
    assert songs.collection_schema.consistency_level == "Bounded"
    assert any("consistency level 4" in note for note in songs.notes)


NOTED: list[tuple[Callable[[Meta], Any], str]] = [
    (lambda meta: collection(meta).update(load_state="NotLoad"), "not loaded at the source"),
    (
        lambda meta: collection(meta).update(
            index_infos=[{"field_name": "v", "params": {"mmap.enabled": "true"}}]
        ),
        "the field 'v': mmap of its index is not carried over",
    ),
    (
        lambda meta: collection(meta).update(
            properties=[{"key": "partitionkey.isolation", "value": "true"}]
        ),
        "{'partitionkey.isolation': 'true'} are left out",
    ),
    (
        lambda meta: collection(meta)["schema"].update(
            properties=[{"key": "collection.ttl.seconds", "value": "60"}]
        ),
        "{'collection.ttl.seconds': '60'} come along",
    ),
]


@pytest.mark.parametrize(("change", "told"), NOTED, ids=[told for _, told in NOTED])
def test_what_does_not_come_along_is_noted(tmp_path, change, told):
    before = [note for one in source_of(sample(tmp_path / "a")).describe() for note in one.notes]
    folder = edit(sample(tmp_path / "b"), change)
    after = [note for one in source_of(folder).describe() for note in one.notes]
    assert [told in note for note in after if note not in before] == [True]


@pytest.mark.parametrize(
    ("backup", "name", "partitions", "makes_keys"),
    [
        ("mixed", "articles", 0, False),
        ("types", "default.codes", 0, False),
        ("types", "archive.readings", 4, True),
        ("types", "archive.blank", 0, False),
    ],
)
def test_partitions_of_a_key_and_keys_that_the_source_made(
    real, backup, name, partitions, makes_keys
):
    # All are described, as databases come into the name where there are several.
    found = {one.name: one for one in source_of(real / backup).describe()}
    schema = found[name].collection_schema
    assert (schema.num_partitions, schema.makes_keys) == (partitions, makes_keys)


@pytest.mark.parametrize("field_says", [True, False])
def test_either_place_tells_that_the_source_made_the_keys(tmp_path, field_says):
    def change(meta: Meta) -> None:
        schema = collection(meta)["schema"]
        (schema["fields"][0] if field_says else schema)["autoID"] = True

    found = source_of(edit(sample(tmp_path), change)).describe()
    songs = next(one for one in found if one.name == "songs")
    assert songs.collection_schema.makes_keys


def test_the_properties_of_a_database_are_told(tmp_path):
    databases = [
        {"db_name": "default", "properties": [{"key": "database.replica.number", "value": "2"}]},
        {"db_name": "other", "properties": [{"key": "timezone", "value": "UTC"}]},
    ]
    folder = edit(sample(tmp_path), lambda meta: meta.update(database_backups=databases))
    [note] = [n for one in source_of(folder).describe() for n in one.notes if "database" in n]
    assert "{'database.replica.number': '2'} of the database 'default'" in note


def test_unknown_keys_of_roles_count_only_where_they_are_restored(tmp_path):
    rbac = {
        "users": [{"user": "a", "password": "x", "roles": [{"name": "r", "denied": True}]}],
        "roles": [{"name": "r"}],
        "grants": [
            {
                "role": {"name": "r"},
                "object": {"name": "Collection"},
                "object_name": "songs",
                "grantor": {"user": {"name": "root"}, "privilege": {"name": "Search"}},
                "denied": True,
            }
        ],
    }
    folder = edit(sample(tmp_path), lambda meta: meta.update(rbac_meta=rbac))
    assert rows(folder) == {"books": 2, "songs": 1}
    with pytest.raises(AirliftError, match=r"'denied'.*with_rbac"):
        source_of(folder, with_rbac=True).access()


# --- any keys -------------------------------------------------------------------------------------


def _places(value: Any) -> Iterator[Meta]:
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from _places(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _places(inner)


def test_any_key_anywhere_is_refused_or_changes_nothing(tmp_path_factory):
    folder = sample(tmp_path_factory.mktemp("any"))
    path = folder / "meta" / "full_meta.json"
    text = path.read_text()
    count = len(list(_places(json.loads(text))))
    values = st.none() | st.booleans() | st.integers(-1, 9) | st.text(max_size=3)
    inner = st.lists(values, max_size=2) | st.dictionaries(st.text(max_size=3), values, max_size=2)

    @given(st.integers(0, count - 1), st.from_regex(r"\A[a-z][a-z_]{2,9}\Z"), values | inner)
    def check(at: int, key: str, value: Any) -> None:
        meta = json.loads(text)
        place = list(_places(meta))[at]
        if key in place:
            return
        place[key] = value
        path.write_text(json.dumps(meta))
        source = source_of(folder)
        reasons = source.check()
        if not reasons:
            assert rows(folder) == {"books": 2, "songs": 1}
        for scratch in folder.parent.glob("scratch-*"):
            shutil.rmtree(scratch)

    check()


def test_the_sample_holds_what_the_tests_believe(tmp_path):
    read = Read(source_of(sample(tmp_path)))
    assert {name: [row["id"] for row in found] for name, found in read.rows.items()} == {
        "books": [7, 8],
        "songs": [2],
    }
    assert pa.types.is_int64(read.collections["songs"].collection_schema.arrow.field("id").type)
