"""Real backups, row by row against what Milvus itself returned before they were made."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from airlift.datatypes import DataType
from airlift.errors import AirliftError, Refused
from airlift.schema import DYNAMIC_FIELD
from airlift.sources.backup.meta import PARTS
from tests.real_backups import COLLECTIONS, LOGS_OF_2_5, truth, unpack
from tests.unit.backup_reading import Read, source_of


@pytest.fixture(scope="module")
def backups(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("backups")
    for name in COLLECTIONS:
        unpack(name, folder)
    return folder


@pytest.fixture(scope="module")
def read(backups: Path) -> dict[str, Read]:
    return {name: Read(source_of(backups / name)) for name in COLLECTIONS}


def expected(read: Read, backup: str, collection: str) -> list[dict[str, Any]]:
    rows = truth(backup, collection)
    if not read.collections[collection].collection_schema.dynamic_field:
        for row in rows:
            assert row.pop("$meta") == {}
    return rows


EVERY = [(backup, name) for backup, names in COLLECTIONS.items() for name in names]


@pytest.mark.parametrize(("backup", "name"), EVERY)
def test_every_row_is_as_milvus_returned_it(read, backup, name):
    assert read[backup].rows[name] == expected(read[backup], backup, name)


# --- logs that Milvus 2.5.27 wrote ----------------------------------------------------------------


@pytest.fixture(scope="module")
def read_2_5(tmp_path_factory: pytest.TempPathFactory) -> Read:
    return Read(source_of(unpack("real_2_5", tmp_path_factory.mktemp("logs"))))


@pytest.mark.parametrize("name", LOGS_OF_2_5["real_2_5"])
def test_every_row_of_2_5_is_as_it_was_sent(read_2_5, name):
    assert read_2_5.rows[name] == expected(read_2_5, "real_2_5", name)


def test_what_2_5_kept_of_empty_lists_and_nulls(read_2_5):
    """Its import of Parquet makes null of an empty list in a nullable ARRAY; an insert keeps it."""
    assert [row["a"] for row in read_2_5.rows["t_nullable_values"]] == [[1], None, None]
    inserted = [row["a"] for row in read_2_5.rows["real_rows"]]
    assert (inserted.count([]), inserted.count(None)) == (70, 118)
    # A null where the field has a default became that default, also in a nullable field.
    names = [(row["name"], row["n"]) for row in read_2_5.rows["t_default_null"]]
    assert names == [("a", 7), ("dflt", 1), ("b", 7)]
    filled = [row["dfltn"] for row in read_2_5.rows["real_rows"]]
    assert filled.count("none") == 94 and None not in filled


def test_what_the_logs_of_2_5_describe(read_2_5):
    assert set(read_2_5.collections) == {
        *LOGS_OF_2_5["real_2_5"],
        "p_auto_id_parquet",
        "t_default_null",
        "t_nullable_values",
    }
    rows = read_2_5.collections["real_rows"]
    assert (rows.rows, rows.deleted, rows.live) == (590, 120, 470)
    assert {row["partition"] for row in read_2_5.rows["real_rows"]} == {"_default", "p1"}
    fields = {field.name: field for field in rows.collection_schema.fields}
    kinds = {name: field.type for name, field in fields.items() if field.is_vector}
    assert kinds == {
        "vec": DataType.FLOAT_VECTOR,
        "sp": DataType.SPARSE_FLOAT_VECTOR,
        "f16": DataType.FLOAT16_VECTOR,
        "bf16": DataType.BFLOAT16_VECTOR,
    }
    assert {name for name, field in fields.items() if field.nullable} == {
        *("b", "i8", "i16", "i32", "i64", "f", "d", "t", "j", "a", "at", "dfltn")
    }
    assert (fields["dflt"].default, fields["dfltn"].default) == (42, "none")
    made = read_2_5.rows["p_auto_id_parquet"]
    assert len({row["key"] for row in made}) == len(made) == 30


def test_small_chunks_of_2_5_give_the_same_rows(tmp_path, read_2_5):
    small = Read(source_of(unpack("real_2_5", tmp_path)), 1 << 12)
    assert small.rows == read_2_5.rows
    assert len(small.chunks["real_rows"]) > len(read_2_5.chunks["real_rows"])


def test_what_the_backups_describe(read):
    articles = read["mixed"].collections["articles"]
    schema = articles.collection_schema
    assert schema.partitions == ("blog", "empty", "news")
    assert schema.aliases == ("articles_live",)
    assert (schema.shards, schema.consistency_level) == (2, "Bounded")
    assert schema.description == "news and blog articles ü"
    assert schema.dynamic_field and schema.fields[-1].name == DYNAMIC_FIELD
    [vector] = schema.vectors
    assert (vector.dim, vector.metric_type) == (64, "COSINE")
    assert vector.index == {"index_type": "HNSW", "params": {"M": 16, "efConstruction": 64}}
    assert (articles.rows, articles.deleted, articles.live) == (6133, 460, 5673)
    assert articles.partition_rows["empty"] == 0

    readings = read["types"].collections["archive.readings"].collection_schema
    fields = {field.name: field for field in readings.fields}
    assert readings.partitions == ()
    assert fields["tenant"].partition_key
    assert fields["names"].element_type is DataType.VARCHAR
    assert fields["ints"].max_capacity > 0
    assert not fields["rid"].auto_id
    codes = read["types"].collections["default.codes"].collection_schema
    assert codes.primary_key.max_length == 80
    assert codes.vectors[0].metric_type == "HAMMING"


def test_the_counts_of_the_backup_and_of_the_logs_are_told(read):
    notes = read["mixed"].collections["articles"].notes
    assert any("counts 6,133 rows in 35 segments" in note for note in notes)
    assert any("6,133, of which 460 are deleted" in note for note in notes)


def test_small_chunks_give_the_same_rows_and_the_same_ids(backups, read):
    one, other = (Read(source_of(backups / "mixed"), 1 << 14) for _ in range(2))
    assert one.rows == read["mixed"].rows
    assert len(one.chunks["articles"]) > 10
    assert one.chunks == other.chunks
    assert len({chunk.id for chunk in one.chunks["articles"]}) == len(one.chunks["articles"])


def test_choosing_collections(backups):
    assert set(Read(source_of(backups / "types", collections=["archive.*"])).rows) == {
        "archive.readings",
        "archive.blank",
    }
    [reason] = source_of(backups / "types", collections=["nope"]).check()
    assert "no collection 'nope'" in reason


# --- where the backup is -------------------------------------------------------------------------


def test_the_folder_above_and_the_root_will_do_for_one_backup(tmp_path, read):
    unpack("mixed", tmp_path / "files" / "backup")
    for url in (tmp_path / "files" / "backup", tmp_path / "files"):
        source = source_of(url)
        assert Read(source).rows == read["mixed"].rows
        assert source.address().endswith("backup: mixed")


def test_of_several_backups_one_must_be_named(backups, read):
    [reason] = source_of(backups).check()
    assert "holds 2 backups: mixed, types" in reason
    [reason] = source_of(backups, backup_names=["mixd"]).check()
    assert "no backup 'mixd'" in reason and "mixed, types" in reason
    assert Read(source_of(backups, backup_names=["mixed"])).rows == read["mixed"].rows


def test_a_wrong_folder_is_told_with_what_was_expected_and_found(backups, tmp_path):
    for url, found in (
        (backups / "mixed" / "binlogs", "delta_log, insert_log"),
        (tmp_path, "nothing"),
        (tmp_path / "absent", "nothing"),
    ):
        [reason] = source_of(url).check()
        assert "meta/full_meta.json" in reason
        assert f"found {found}" in reason


def test_the_four_parts_stand_for_the_full_metadata(backups, tmp_path, read):
    for name in COLLECTIONS:
        shutil.copytree(backups / name, tmp_path / name)
        (tmp_path / name / "meta" / "full_meta.json").unlink()
        assert Read(source_of(tmp_path / name)).rows == read[name].rows


def test_the_full_metadata_stands_for_the_parts(backups, tmp_path, read):
    shutil.copytree(backups / "types", tmp_path / "types")
    for name in PARTS:
        (tmp_path / "types" / "meta" / name).unlink()
    assert Read(source_of(tmp_path / "types")).rows == read["types"].rows


YAML = """
minio:
  storageType: local
  accessKeyID: should-never-be-read
  backupStorageType: {kind}
  backupRootPath: {root}
"""


def test_backup_yaml_tells_the_place(backups, tmp_path, read):
    (tmp_path / "backup.yaml").write_text(YAML.format(kind="local", root=backups))
    names = ["mixed"]
    source = source_of(
        "", backup_yaml_url=str(tmp_path / "backup.yaml"), backup_names=names, backup_url=""
    )
    assert Read(source).rows == read["mixed"].rows


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[1, 2", "is no YAML"),
        ("log: {level: info}", "with a section `minio`"),
        ("!!python/object/apply:os.system ['true']", "is no YAML"),
        (YAML.format(kind="azure", root="x"), "bucketName are empty"),
        (
            YAML.format(kind="azure", root="x") + "  bucketName: logs",
            "'az://logs/x' names no storage account",
        ),
        (YAML.format(kind="minio", root="x"), "bucketName are empty"),
    ],
)
def test_a_wrong_backup_yaml(tmp_path, text, told):
    (tmp_path / "backup.yaml").write_text(text)
    [reason] = source_of("", backup_url="", backup_yaml_url=str(tmp_path / "backup.yaml")).check()
    assert told in reason


# --- what is refused by name ---------------------------------------------------------------------


def changed(backups: Path, folder: Path, name: str, change: Any) -> Path:
    """A copy of a backup, with other metadata."""
    shutil.copytree(backups / name, folder / name)
    path = folder / name / "meta" / "full_meta.json"
    meta = json.loads(path.read_text())
    change(meta)
    path.write_text(json.dumps(meta))
    return folder / name


def _collection(meta: Any) -> Any:
    return meta["collection_backups"][0]


REFUSALS: list[tuple[Any, str]] = [
    (
        lambda meta: _collection(meta)["schema"].update(functions=[{"name": "f", "type": 9}]),
        "function 'f' is of the type 9",
    ),
    (
        lambda meta: _collection(meta)["schema"].update(struct_array_fields=[{"name": "s"}]),
        "['s'] are arrays of structs",
    ),
    (
        lambda meta: _collection(meta)["schema"]["fields"][2].update(data_type=24),
        "'title' is of the type Geometry",
    ),
    (lambda meta: _collection(meta)["schema"]["fields"][2].update(state=2), "'title' was being"),
    (
        lambda meta: _collection(meta)["schema"]["fields"][1].update(type_params=[]),
        "'embedding' has 0 dimensions",
    ),
    (
        lambda meta: _collection(meta)["partition_backups"][0]["segment_backups"][0].update(
            storage_version=3
        ),
        "of storage version 3",
    ),
    (lambda meta: meta.update(state_code=3, errorMessage="disk full"), "failed: disk full"),
    (
        lambda meta: _collection(meta)["schema"].update(enable_dynamic_field=False),
        "lacks the field",
    ),
    (lambda meta: _collection(meta)["schema"]["fields"].pop(), "lacks the fields [105, 106]"),
    (lambda meta: _collection(meta).update(collection_name="../x"), "collection_name"),
    (lambda meta: _collection(meta).update(partition_backups=7), "partition_backups"),
]


@pytest.mark.parametrize(("change", "told"), REFUSALS, ids=[told for _, told in REFUSALS])
def test_what_is_not_understood_is_refused_by_name(backups, tmp_path, change, told):
    source = source_of(changed(backups, tmp_path, "mixed", change))
    reasons = source.check()
    assert any(told in reason for reason in reasons), reasons
    with pytest.raises(AirliftError):
        source.describe()


def test_users_and_roles_are_told(backups, tmp_path):
    def change(meta: Any) -> None:
        meta["rbac_meta"] = {"users": [{"user": "a"}, {"user": "b"}], "roles": [], "grants": None}

    source = source_of(changed(backups, tmp_path, "mixed", change))
    [articles] = source.describe()
    assert any("{'users': 2}" in note and "with_rbac" in note for note in articles.notes)


def test_other_counts_in_the_metadata_are_refused_or_told(backups, tmp_path):
    def change(meta: Any) -> None:
        meta["collection_backups"][0]["partition_backups"][0]["segment_backups"][0][
            "num_of_rows"
        ] = 11

    folder = changed(backups, tmp_path, "mixed", change)
    with pytest.raises(Refused, match="counts 11 rows, its log files hold 10"):
        source_of(folder).describe()
    [articles] = source_of(folder, allow_lossy=True).describe()
    assert any("counts 11 rows" in note for note in articles.notes)
    assert articles.live == 5673
