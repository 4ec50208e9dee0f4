"""Bad input gets a clear error before anything is written to the target; each case on real servers.

What is asserted is what a person reads, and that the target holds no new collection afterwards.
"""

from __future__ import annotations

import shutil
import sqlite3
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr, ValidationError

from airlift.connections import MilvusConnection
from airlift.errors import AirliftError, Refused
from airlift.milvus.client import ServerVersion
from airlift.milvus.errors import Unavailable
from airlift.storage import Storage
from localservers import Milvus, MilvusLite, MilvusOnS3, S3Server
from samples.milvus1x_tables import TableSpec
from tests.paths.place import Place, bucket_of, bucket_place, lite_place, local_place
from tests.paths.truth import assert_holds

SONGS = TableSpec("songs", 300, dim=16, segments=3, deleted_fraction=0.1, seed=3)
BITS = TableSpec("bits", 100, dim=64, metric="HAMMING", segments=1)


@pytest.fixture
def place(milvus: Milvus, tmp_path: Path) -> Iterator[Place]:
    with local_place(milvus, tmp_path / "milvus1x") as place:
        place.write(SONGS, BITS, meta_json=True)
        yield place


@pytest.fixture
def in_bucket(milvus_on_s3: MilvusOnS3, tmp_path: Path) -> Iterator[Place]:
    with bucket_place(milvus_on_s3, tmp_path / "milvus1x") as place:
        place.write(SONGS)
        yield place


def refusal(place: Place, kind: type[AirliftError] = AirliftError, **params: Any) -> str:
    """What the refused migration says; it must have left the target alone."""
    before = set(place.client.list_collections()), set(place.client.list_databases())
    with pytest.raises(kind) as refused:
        place.run(**params)
    after = set(place.client.list_collections()), set(place.client.list_databases())
    assert after == before
    return str(refused.value)


def assert_tells(said: str, *words: str) -> None:
    for word in words:
        assert word in said


def segment(place: Place, table: str = "songs", number: int = 0) -> Path:
    return sorted((place.folder / "tables" / table).iterdir())[number]


def file_of(place: Place, suffix: str, table: str = "songs", number: int = 0) -> Path:
    folder = segment(place, table, number)
    return folder / ("deleted_docs" if suffix == "deleted_docs" else f"{folder.name}.{suffix}")


# --- what is asked for ---------------------------------------------------------------------------


def test_no_such_collection(place: Place) -> None:
    said = refusal(place, Refused, collections=["song", "bits", "no*such"])
    assert_tells(said, "no collection 'song'", "it has songs", "'no*such'", "refused for 2 reasons")


def test_a_mapping_of_what_is_not_there(place: Place) -> None:
    mapping = {
        "sings": {"target": "x"},
        "bits": {"fields": [{"source": "vektor", "target": "v"}]},
        "songs": {"partitions": ["rock"]},
    }
    said = refusal(place, Refused, mapping=mapping)
    assert_tells(said, "'sings'", "'vektor'", "the partition 'rock'", "refused for 3 reasons")


def test_dropped_collections_are_not_there(place: Place) -> None:
    said = refusal(place, Refused, collections=["dropped_long_ago"])
    assert_tells(said, "no collection 'dropped_long_ago'")


# --- files that are not whole --------------------------------------------------------------------


def test_a_missing_segment_folder(place: Place) -> None:
    shutil.rmtree(segment(place))
    said = refusal(place, Refused, collections=["songs"])
    assert_tells(said, "the segment folder", "songs/", "is missing or empty", "100 rows")


@pytest.mark.parametrize("suffix", ["rv", "uid", "deleted_docs"])
def test_a_missing_file(place: Place, suffix: str) -> None:
    file = file_of(place, suffix)
    file.unlink()
    said = refusal(place, Refused)
    assert_tells(said, str(file), "is missing; copy it from the Milvus 1.x server")


@pytest.mark.parametrize("suffix", ["rv", "uid", "deleted_docs"])
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda data: data[:-4], "is truncated: its header says"),
        (lambda data: data + b"\0\0\0\0", "is over-long: its header says"),
        (lambda data: data[:5], "is truncated: it has 5 bytes"),
    ],
    ids=["truncated", "over-long", "no-header"],
)
def test_a_file_of_the_wrong_length(
    place: Place, suffix: str, change: Callable[[bytes], bytes], told: str
) -> None:
    file = file_of(place, suffix)
    file.write_bytes(change(file.read_bytes()))
    assert_tells(refusal(place, Refused), str(file), told)


def with_header(values: bytes) -> bytes:
    return struct.pack("<Q", len(values)) + values


def test_vectors_and_ids_that_disagree(place: Place) -> None:
    file = file_of(place, "uid")
    file.write_bytes(with_header(file.read_bytes()[8:-8]))
    said = refusal(place, Refused)
    assert_tells(said, "holds 100 vectors, but", file.name, "holds 99 ids")


def test_vectors_of_another_dimension(place: Place) -> None:
    file = file_of(place, "rv")
    file.write_bytes(with_header(file.read_bytes()[8:-4]))
    assert_tells(refusal(place, Refused), str(file), "expected a multiple of 64 bytes a value")


def test_files_that_disagree_with_the_metadata(place: Place) -> None:
    for suffix, width in (("rv", 64), ("uid", 8)):
        file = file_of(place, suffix)
        file.write_bytes(with_header(file.read_bytes()[8 : -30 * width]))
    # Among the rows that are left.
    file_of(place, "deleted_docs").write_bytes(with_header(np.arange(5, dtype="<i4").tobytes()))
    said = refusal(place, Refused)
    assert_tells(said, "holds 70 rows, 5 of them deleted; the metadata says 100")


@pytest.mark.parametrize("offset", [100, -1, (1 << 31) - 1])
def test_offsets_out_of_range(place: Place, offset: int) -> None:
    file = file_of(place, "deleted_docs")
    file.write_bytes(with_header(np.array([3, offset, 7], "<i4").tobytes()))
    said = refusal(place, Refused)
    assert_tells(said, str(file), "1 offsets out of range", str(offset), "expected 0 to 99")


def test_several_reasons_are_told_at_once(place: Place) -> None:
    file_of(place, "rv").unlink()
    truncated = file_of(place, "uid", number=1)
    truncated.write_bytes(truncated.read_bytes()[:-8])
    shutil.rmtree(segment(place, "bits"))
    said = refusal(place, Refused)
    assert_tells(said, "refused for 3 reasons", "1. ", "2. ", "3. ")
    assert_tells(said, "is missing; copy it", "is truncated", "is missing or empty")


def test_both_ends_at_once(place: Place) -> None:
    place.connections.servers["milvus_default"] = MilvusConnection(
        uri="http://127.0.0.1:1", timeout=2
    )
    said = refusal(place, Refused, tables_url="/nowhere/tables", staging_url="/proc/airlift")
    assert_tells(said, "refused for 3 reasons", "target: ", "staging: ", "/nowhere/tables")


# --- rows ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_inf(place: Place, value: float) -> None:
    file = file_of(place, "rv")
    data = bytearray(file.read_bytes())
    deleted = set(np.frombuffer(file_of(place, "deleted_docs").read_bytes()[8:], "<i4").tolist())
    row = next(row for row in range(100) if row not in deleted)
    struct.pack_into("<f", data, 8 + 64 * row + 4, value)
    file.write_bytes(data)
    key = int(np.frombuffer(file_of(place, "uid").read_bytes()[8:], "<i8")[row])
    said = refusal(place)
    assert_tells(said, "'songs'", "field 'vector'", "NaN or an infinity", f"primary key {key}")
    assert_tells(said, "set_aside")


def test_nan_in_a_deleted_row_hurts_nobody(place: Place) -> None:
    truth = place.write(replace(SONGS, name="spoilt"))["spoilt"]
    file = file_of(place, "rv", "spoilt")
    docs = file_of(place, "deleted_docs", "spoilt")
    deleted = np.frombuffer(docs.read_bytes()[8:], "<i4")
    data = bytearray(file.read_bytes())
    struct.pack_into("<f", data, 8 + 64 * int(deleted[0]), np.nan)
    file.write_bytes(data)
    place.run(collections=["spoilt"], write_mode="insert")
    assert_holds(place.client, "spoilt", truth)


def test_more_bad_rows_than_allowed(place: Place) -> None:
    data = bytearray(file_of(place, "rv").read_bytes())
    for row in range(100):
        struct.pack_into("<f", data, 8 + 64 * row, np.nan)
    file_of(place, "rv").write_bytes(data)
    said = refusal(place, on_bad_row="set_aside", max_bad_rows=5)
    assert_tells(said, "rows can't be taken, at most 5 are allowed", "NaN or an infinity")


# --- metadata ------------------------------------------------------------------------------------


def change_meta(place: Place, statement: str) -> None:
    """Changes the metadata as the old server would have."""
    connection = sqlite3.connect(place.folder / "meta.sqlite")
    connection.execute(statement)
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("UPDATE Tables SET dimension = 0 WHERE table_id = 'songs'", "has dimension 0"),
        ("UPDATE Tables SET dimension = 32769 WHERE table_id = 'songs'", "has dimension 32,769"),
        ("UPDATE Tables SET dimension = 60 WHERE table_id = 'bits'", "expected a multiple of 8"),
        ("UPDATE Tables SET metric_type = 5 WHERE table_id = 'bits'", "set allow_lossy"),
        ("UPDATE Tables SET metric_type = 6 WHERE table_id = 'bits'", "SUBSTRUCTURE"),
        ("UPDATE Tables SET metric_type = 7 WHERE table_id = 'bits'", "SUPERSTRUCTURE"),
        ("UPDATE Tables SET metric_type = 9 WHERE table_id = 'bits'", "expected one of 1 L2"),
        ("UPDATE TableFiles SET row_count = -1", "row_count"),
        ("UPDATE TableFiles SET segment_id = '../../etc'", "plain folder name"),
        ("DROP TABLE TableFiles", "has no table TableFiles"),
    ],
)
def test_metadata_that_can_not_be(place: Place, change: str, told: str) -> None:
    change_meta(place, change)
    assert_tells(refusal(place), told)


def test_metadata_that_is_missing_or_something_else(place: Place) -> None:
    assert_tells(refusal(place, meta_url="/nowhere/meta.sqlite"), "/nowhere/meta.sqlite")
    other = place.folder / "other"
    other.write_bytes(b"PK\x03\x04 something else")
    assert_tells(refusal(place, meta_url=str(other)), "neither a SQLite database nor a meta.json")
    damaged = place.folder / "meta.sqlite"
    damaged.write_bytes(damaged.read_bytes()[:100])
    assert_tells(refusal(place), "cannot read the metadata")


def test_params_that_contradict_each_other(place: Place) -> None:
    said = refusal(
        place,
        Refused,
        write_mode="upsert",
        mapping={"songs": {"auto_id": True}},
        file_format="numpy",
        on_bad_row="set_aside",
    )
    assert_tells(said, "upsert needs primary keys", "file_format numpy", "refused for 2 reasons")
    with pytest.raises(ValidationError, match="exactly one of meta_url and meta_conn_id"):
        place.migration(meta_url="")
    with pytest.raises(ValidationError, match="into an Airflow connection, not into the URL"):
        place.migration(staging_url="s3://key:secret@bucket/staging")
    with pytest.raises(AirliftError, match="letters, digits and _ only"):
        place.migration(migration_id="my migration")


# --- the target ----------------------------------------------------------------------------------


def test_the_target_collection_exists(place: Place) -> None:
    place.run(write_mode="insert", collections=["songs"])
    said = refusal(place, Refused, migration_id="another", collections=["songs"])
    assert_tells(said, "the collection 'songs' exists on the target already", "if_exists")
    # The alias of a cutover can't have its name.
    said = refusal(place, Refused, migration_id="x", collections=["songs"], cutover_alias=True)
    assert_tells(said, "'songs' is a collection on the target, so no alias can have that name")
    # One to append to must have the same fields.
    change = {"songs": {"fields": [{"source": "vector", "target": "v"}]}}
    said = refusal(
        place,
        Refused,
        migration_id="x",
        collections=["songs"],
        if_exists="append",
        mapping=change,
    )
    assert_tells(said, "the collection 'songs' has the fields", "to append needs")


def test_an_alias_is_in_the_way(place: Place) -> None:
    place.run(write_mode="insert", collections=["songs"], cutover_alias=True, migration_id="first")
    said = refusal(place, Refused, collections=["songs"], if_exists="replace")
    assert_tells(said, "'songs' is an alias of 'songs__first'", "use cutover_alias")


def test_a_target_that_is_too_old(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def says(text: str) -> None:
        version = ServerVersion.parse(text)
        monkeypatch.setattr("airlift.milvus.database.server_version", lambda *_: version)

    says("v2.1.4")
    assert_tells(refusal(place, Refused), "Milvus 2.1.4", "too old", "2.2 or newer")
    says("v2.2.2")
    said = refusal(place, Refused, write_mode="upsert")
    assert_tells(said, "write_mode 'upsert' is not possible on Milvus 2.2.2", "it has insert")
    said = refusal(place, Refused, target_database="music", write_mode="insert")
    assert_tells(said, "Milvus 2.2.2 has no databases")


def test_milvus_lite_has_no_import_and_no_binary_vectors(
    milvus_lite: MilvusLite, tmp_path: Path
) -> None:
    with lite_place(milvus_lite, tmp_path / "milvus1x") as place:
        place.write(SONGS, BITS)
        said = refusal(place, Refused)
        assert_tells(said, "collection 'bits', field 'vector'", "has no BINARY_VECTOR fields")
        said = refusal(place, Refused, write_mode="bulk_insert")
        assert_tells(said, "write_mode 'bulk_insert' is not possible on Milvus Lite")


def test_names_that_collide_once_milvus_takes_them(place: Place) -> None:
    place.write(
        replace(SONGS, name="a-b"),
        replace(SONGS, name="a.b", partitions={"x y": 10, "x.y": 10, "z": 10}),
    )
    said = refusal(place, Refused, mapping={"a.b": {"target": "a_b", "partitions": ["", "z"]}})
    assert_tells(said, "the collections ['a-b', 'a.b'] would all become 'a_b'")
    said = refusal(place, Refused, collections=["a.b"])
    assert_tells(said, "the partitions ['x y', 'x.y'] would all become 'x_y'")
    said = refusal(place, Refused, mapping={"a-b": {"target": "7 dwarfs"}}, collections=["a-b"])
    assert_tells(said, "the target name '7 dwarfs' is refused by Milvus")


def test_an_index_that_the_source_can_not_tell(place: Place) -> None:
    assert_tells(refusal(place, Refused, index="source"), "has no counterpart in Milvus")


# --- connections ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"password": SecretStr("guess-of-mine")}, "login is refused"),
        ({"user": "", "password": SecretStr("")}, "demands a login"),
        ({"database": "nowhere"}, "the database 'nowhere'"),
        ({"uri": "http://127.0.0.1:1"}, "nothing listens"),
    ],
)
def test_a_wrong_connection_to_milvus(in_bucket: Place, change: dict[str, Any], told: str) -> None:
    servers = in_bucket.connections.servers
    servers["milvus_default"] = servers["milvus_default"].model_copy(update=change)
    said = refusal(in_bucket, Refused)
    assert_tells(said, "target: ", told)
    assert "guess-of-mine" not in said


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"secret_key": SecretStr("guess-of-mine")}, "the secret key is wrong"),
        ({"access_key": "NOBODY"}, "access key is not known"),
        ({"endpoint_url": "http://127.0.0.1:1"}, "the endpoint does not answer"),
    ],
)
def test_a_wrong_connection_to_the_bucket(
    in_bucket: Place, change: dict[str, Any], told: str
) -> None:
    buckets = in_bucket.connections.buckets
    buckets["wrong"] = buckets["store"].model_copy(update=change)
    said = refusal(in_bucket, Refused, staging_conn_id="wrong")
    assert_tells(said, "staging: ", told)
    assert "guess-of-mine" not in said
    said = refusal(
        in_bucket,
        Refused,
        tables_url="s3://milvus/tables",
        meta_url="s3://milvus/meta.sqlite",
        source_conn_id="wrong",
    )
    assert_tells(said, told)
    assert "staging: " not in said
    assert "guess-of-mine" not in said


def test_a_bucket_or_a_key_that_is_not_there(in_bucket: Place) -> None:
    said = refusal(in_bucket, Refused, staging_url="s3://no-such-bucket/staging")
    assert_tells(said, "staging: ", "no-such-bucket", "the bucket does not exist")
    said = refusal(
        in_bucket,
        Refused,
        tables_url="s3://milvus/no/such/tables",
        meta_url="s3://milvus/no/such/meta.sqlite",
        source_conn_id="store",
    )
    assert_tells(said, "s3://milvus/no/such/meta.sqlite: it does not exist")
    assert_tells(said, "s3://milvus/no/such/tables is empty or does not exist")


def test_staging_in_a_bucket_without_a_connection(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bucket's own refusal does not say whose keys were tried."""
    monkeypatch.setattr(Storage, "check", lambda self, write=False: "access is denied")
    said = refusal(place, Refused, staging_url="s3://bucket/staging", staging_conn_id="")
    assert_tells(said, "staging: access is denied. staging_conn_id names no connection")


# --- staging that the target can't read ----------------------------------------------------------


def test_a_local_folder_while_milvus_is_on_s3(in_bucket: Place, tmp_path: Path) -> None:
    said = refusal(in_bucket, Refused, staging_url=str(tmp_path / "staging"), staging_conn_id="")
    assert_tells(said, "it can't read the staging folder", str(tmp_path), "minio.bucketName")


def test_another_bucket_than_milvus_own(in_bucket: Place, s3_server: S3Server) -> None:
    s3_server.make_bucket("not-milvus")
    in_bucket.connections.buckets["other"] = bucket_of(s3_server)
    said = refusal(
        in_bucket, Refused, staging_url="s3://not-milvus/staging", staging_conn_id="other"
    )
    assert_tells(said, "it can't read the staging folder s3://not-milvus/staging")


def test_a_bucket_while_milvus_is_local(place: Place, s3_server: S3Server) -> None:
    s3_server.make_bucket("not-milvus")
    place.connections.buckets["other"] = bucket_of(s3_server)
    said = refusal(place, Refused, staging_url="s3://not-milvus/staging", staging_conn_id="other")
    assert_tells(said, "it can't read the staging folder s3://not-milvus/staging")


def test_a_target_that_is_busy_is_not_taken_for_one_that_can_not_read(place: Place, monkeypatch):
    place.write(TableSpec("busy", 50, dim=8))
    with monkeypatch.context() as patch:
        patch.setattr("airlift.steps.choose_way.wait_for", lambda *_: None)  # no answer came
        said = refusal(place, Unavailable)
    assert_tells(said, "it did not get round to the import of a probe", "clear the task")
    assert place.client.list_collections() == []
    assert place.run()["collections"][0]["rows_counted"] == 50
