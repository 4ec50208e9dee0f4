"""Folders in a bucket of a real S3 server."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from airlift.connections import StorageConnection
from airlift.copying import copy_file
from airlift.errors import AirliftError
from airlift.formats import FORMATS
from airlift.storage import Storage, open_storage
from localservers import S3Server
from localservers.ports import free_port
from tests.unit.arrow_rows import EVERY_TYPE, FIXED_WIDTH, batch_of, table_of

SCHEMAS = {"numpy": FIXED_WIDTH, "parquet": EVERY_TYPE}


@pytest.fixture
def connection(s3_server: S3Server) -> StorageConnection:
    return StorageConnection(
        access_key=s3_server.access_key,
        secret_key=SecretStr(s3_server.secret_key),
        region=s3_server.region,
        endpoint_url=s3_server.endpoint_url,
    )


@pytest.fixture
def bucket(s3_server: S3Server) -> str:
    name = f"b-{uuid.uuid4().hex[:12]}"
    s3_server.make_bucket(name)
    return name


@pytest.fixture
def folder(bucket: str, connection: StorageConnection) -> Storage:
    return open_storage(f"s3://{bucket}/some/prefix", connection)


def objects(server: S3Server, bucket: str) -> dict[str, int]:
    """What the server itself says is in a bucket, without the marks of empty folders."""
    listed = server.client().list_objects_v2(Bucket=bucket).get("Contents", [])
    return {one["Key"]: one["Size"] for one in listed if not one["Key"].endswith("/")}


def test_files_there_and_back(folder, s3_server, bucket):
    folder.write_bytes("a/b.bin", b"\0\xff")
    folder.write_json("c.json", {"x": [1, None]})
    assert folder.read_bytes("a/b.bin") == b"\0\xff"
    assert folder.read_json("c.json") == {"x": [1, None]}
    assert folder.list() == {"a": None, "c.json": folder.sizes(["c.json"])[0]}
    assert folder.list("a") == {"a/b.bin": 2}
    assert folder.list(recursive=True)["a/b.bin"] == 2
    first, missing = folder.stats(["a/b.bin", "nope"])
    assert first and first.size == 2 and first.mtime_ns > 1_600_000_000_000_000_000
    assert missing is None
    assert folder.exists("c.json") and not folder.exists("a") and not folder.exists("x")
    assert set(objects(s3_server, bucket)) == {"some/prefix/a/b.bin", "some/prefix/c.json"}
    folder.delete_file("c.json")
    folder.delete_file("c.json")
    folder.delete_folder("a")
    folder.delete_folder("a")
    assert objects(s3_server, bucket) == {}


def test_a_folder_that_is_not_there_is_empty(folder):
    assert folder.list() == {} == folder.list("deeper", recursive=True)
    assert folder.check(write=False) is None


def test_check_leaves_nothing_behind(folder, s3_server, bucket):
    assert folder.check(write=True) is None
    assert not [key for key in objects(s3_server, bucket) if "airlift" in key]


def test_a_large_file_is_uploaded_in_parts_and_shows_only_when_it_is_whole(
    folder, s3_server, bucket
):
    block = os.urandom(5 << 20)
    output = folder.open_output("large")
    for _ in range(5):
        output.write(block)
    assert objects(s3_server, bucket) == {}
    output.commit()
    assert objects(s3_server, bucket) == {"some/prefix/large": 25 << 20}
    assert folder.read_bytes("large") == block * 5
    with pytest.raises(AirliftError, match="has 26,214,400 bytes; at most 9 are expected"):
        folder.read_bytes("large", limit=9)


def test_what_is_given_up_leaves_nothing(folder, s3_server, bucket):
    output = folder.open_output("x")
    output.write(os.urandom(12 << 20))
    output.abandon()
    assert objects(s3_server, bucket) == {}


@pytest.mark.parametrize("name", list(SCHEMAS))
def test_chunks_there_and_back(folder, name):
    schema = SCHEMAS[name]
    batches = [batch_of(schema, 700, 1), batch_of(schema, 300, 2).slice(17)]
    writer = FORMATS[name].writer(folder, schema, 983)
    for batch in batches:
        writer.write(batch)
    files = writer.close()
    assert folder.sizes(file.name for file in files) == [file.size for file in files]
    read = list(FORMATS[name].read(folder, schema, 100))
    assert table_of(read, schema).equals(table_of(batches, schema))
    given_up = FORMATS[name].writer(folder.folder("other"), schema, 700)
    given_up.write(batches[0])
    given_up.abandon()
    assert folder.list("other") == {}


# --- copying ---------------------------------------------------------------------------------


def test_files_are_copied_to_and_from_a_disk(folder, tmp_path: Path):
    content = os.urandom((9 << 20) + 1)
    local = open_storage(str(tmp_path))
    local.write_bytes("t/1.rv", content)
    copy_file(local, folder, "t/1.rv", len(content))
    assert folder.read_bytes("t/1.rv") == content
    back = open_storage(str(tmp_path / "back"))
    copy_file(folder, back, "t/1.rv", len(content))
    assert back.read_bytes("t/1.rv") == content
    with pytest.raises(AirliftError, match=r"has 9,437,185 bytes, 9 were expected"):
        copy_file(folder, back, "t/1.rv", 9)


def test_a_store_copies_by_itself(folder, s3_server, connection, monkeypatch):
    s3_server.make_bucket("other")
    target = open_storage("s3://other/copied", connection)
    content = os.urandom(6 << 20)
    folder.write_bytes("t/ü 1.rv", content)

    def refuse(*_: Any) -> None:
        raise AssertionError("the bytes went through this process")

    with monkeypatch.context() as patch:
        patch.setattr(Storage, "open_input", refuse)
        copy_file(folder, target, "t/ü 1.rv", len(content))
    assert target.read_bytes("t/ü 1.rv") == content


def test_between_two_stores_the_bytes_pass_through(folder, connection, s3_server):
    s3_server.make_bucket("other")
    elsewhere = connection.model_copy(update={"region": ""})  # another connection to it
    target = open_storage("s3://other/streamed", elsewhere)
    folder.write_bytes("x", b"12345")
    copy_file(folder, target, "x", 5)
    assert target.read_bytes("x") == b"12345"


def test_a_copy_of_nothing_names_both_places(folder, s3_server, connection):
    s3_server.make_bucket("other")
    target = open_storage("s3://other/copied", connection)
    with pytest.raises(AirliftError) as error:
        copy_file(folder, target, "nope", 5)
    said = str(error.value)
    assert f"cannot copy {folder.url}/nope to s3://other/copied/nope" in said
    assert s3_server.secret_key not in said


def test_a_copy_by_the_store_of_another_length_is_refused(folder, s3_server, connection):
    s3_server.make_bucket("other")
    target = open_storage("s3://other/copied", connection)
    folder.write_bytes("x", b"12345")
    with pytest.raises(AirliftError, match="x has 5 bytes, 6 were expected: it changed"):
        copy_file(folder, target, "x", 6)
    assert target.sizes(["x"]) == [None]


# --- what is wrong ---------------------------------------------------------------------------


def wrong(connection: StorageConnection, kind: str) -> StorageConnection:
    changes: dict[str, Any] = {
        "key": {"access_key": "NOBODY"},
        "secret": {"secret_key": SecretStr("hush")},
        "endpoint": {"endpoint_url": f"http://127.0.0.1:{free_port()}"},
        "host": {"endpoint_url": "http://no-such-host.invalid:9000"},
        "bucket": {},
    }[kind]
    return connection.model_copy(update=changes)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("bucket", "the bucket does not exist; check its name, region and endpoint"),
        ("key", "the access key is not known there; check the connection"),
        ("secret", "the secret key is wrong; check the connection"),
        ("endpoint", "the endpoint does not answer; check endpoint_url and the network"),
        ("host", "the endpoint does not answer; check endpoint_url and the network"),
    ],
)
def test_what_is_wrong_is_told_in_plain_words(s3_server, bucket, connection, kind, said):
    url = f"s3://{'no-such-bucket' if kind == 'bucket' else bucket}/prefix"
    storage = open_storage(url, wrong(connection, kind))
    for write in (False, True):
        reason = storage.check(write)
        assert reason and reason.startswith("cannot list s3://") and said in reason
    uses = {
        "list": lambda: storage.list(recursive=True),
        "write": lambda: storage.write_bytes("x", b"1"),
    }
    for action, use in uses.items():
        with pytest.raises(AirliftError) as error:
            use()
        assert str(error.value).startswith(f"cannot {action} {url}")
        assert said in str(error.value), action
        assert s3_server.secret_key not in str(error.value)


@pytest.mark.parametrize("kind", ["key", "secret", "endpoint"])
def test_what_can_t_be_looked_at_is_not_taken_for_missing(bucket, connection, kind):
    """A manifest that seems to be missing would be written anew."""
    storage = open_storage(f"s3://{bucket}/prefix", wrong(connection, kind))
    for use in (storage.exists, storage.read_bytes, storage.delete_file):
        with pytest.raises(AirliftError):
            use("x")


def test_a_missing_object_is_named(folder):
    with pytest.raises(AirliftError) as error:
        folder.read_bytes("x.json")
    assert str(error.value) == f"cannot read {folder.url}/x.json: it does not exist"


def test_a_server_that_dies_in_the_middle_of_a_write(tmp_path: Path):
    with S3Server(tmp_path / "s3", bucket="bkt") as server:
        connection = StorageConnection(
            access_key=server.access_key,
            secret_key=SecretStr(server.secret_key),
            region=server.region,
            endpoint_url=server.endpoint_url,
        )
        folder = open_storage("s3://bkt/x", connection)
        # Arrow asks a dead server for some seconds, for each file.
        schema = FIXED_WIDTH.model_copy(update={"fields": FIXED_WIDTH.fields[:1]})
        writer = FORMATS["numpy"].writer(folder, schema, 10_000_000)
        batch = batch_of(schema, 200_000)
        writer.write(batch)
        server.kill()
        with pytest.raises(AirliftError, match="cannot write s3://bkt/x/"):
            for _ in range(49):
                writer.write(batch)
            writer.close()
        writer.abandon()
        server.restart()
        assert folder.list() == {}
