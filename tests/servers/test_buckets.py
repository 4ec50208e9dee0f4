"""Folders in buckets of every service: the same tests, on a server for each."""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from airlift.connections import StorageConnection
from airlift.copying import copy_file
from airlift.errors import AirliftError
from airlift.formats import FORMATS
from airlift.plan import ChunkRef
from airlift.staging import ImportRecord, Staging
from airlift.storage import Storage, open_storage
from airlift.stores import azure, google, s3
from tests.http_proxy import Answer, HttpProxy, Request
from tests.servers.bucket_services import SERVICES, WRONG, Service
from tests.unit.arrow_rows import EVERY_TYPE, FIXED_WIDTH, batch_of, table_of

SCHEMAS = {"numpy": FIXED_WIDTH, "parquet": EVERY_TYPE}


@dataclass
class Running:
    """A service and its server."""

    service: Service
    server: Any

    @property
    def connection(self) -> StorageConnection:
        return self.service.connection(self.server)

    def url(self, bucket: str) -> str:
        return self.service.url.format(bucket)

    def bucket(self) -> str:
        name = f"b-{uuid.uuid4().hex[:12]}"
        self.server.make_bucket(name)
        return name

    def folder(self, bucket: str, prefix: str = "some/prefix", **other: Any) -> Storage:
        connection = self.connection.model_copy(update=other)
        return open_storage(f"{self.url(bucket)}/{prefix}", connection)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers that don't answer are soon given up."""
    monkeypatch.setattr(s3, "_ATTEMPTS", 2)
    monkeypatch.setattr(google, "_PATIENCE", timedelta(seconds=2))
    monkeypatch.setitem(azure._PATIENCE, "retry_total", 1)


@pytest.fixture(params=list(SERVICES))
def running(request: pytest.FixtureRequest) -> Running:
    service = SERVICES[request.param]
    return Running(service, request.getfixturevalue(service.fixture))


@pytest.fixture
def bucket(running: Running) -> str:
    return running.bucket()


@pytest.fixture
def folder(running: Running, bucket: str) -> Storage:
    return running.folder(bucket)


def test_records_of_many_chunks_are_read_in_order_and_removed(folder):
    staging = Staging(folder)
    refs = [ChunkRef(collection="songs", chunk=f"{n:06d}") for n in range(100)]
    written = [ref for n, ref in enumerate(refs) if n % 3]
    for ref in written:
        record = ImportRecord(collection_id="7", job=f"job of {ref.chunk}")
        staging.write_import_record(ref.collection, ref.chunk, record)
    jobs = [record.job if record else None for record in staging.import_records(refs)]
    assert jobs == [f"job of {ref.chunk}" if ref in written else None for ref in refs]
    names = [f"songs/{ref.chunk}/import.json" for ref in refs]
    assert folder.delete_files(names[:50]) == 50
    assert set(staging.import_records(refs[:50])) == {None}
    assert [one is None for one in folder.sizes(names[50:])] == [
        ref not in written for ref in refs[50:]
    ]


@pytest.mark.parametrize("size", [100, 40 << 20])
def test_a_file_that_could_not_be_written_again_stays_as_it_was(folder, running, bucket, size):
    """A record is all that is known of what was done: without it a migration can't go on."""
    folder.write_bytes("created.json", b"earlier")

    def refuse(request: Request) -> Answer | None:
        writes = request.method in ("PUT", "POST")
        return Answer(403, b"<Error><Code>AccessDenied</Code></Error>") if writes else None

    with HttpProxy(running.connection.endpoint_url) as proxy:
        proxy.rule = refuse
        failing = running.folder(bucket, endpoint_url=proxy.url)
        with pytest.raises(AirliftError, match=r"created\.json"):
            failing.write_bytes("created.json", b"later" * (size // 5))
        assert proxy.refused
    assert folder.read_bytes("created.json") == b"earlier"


def test_files_there_and_back(folder, running, bucket):
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
    assert set(running.server.objects(bucket)) == {"some/prefix/a/b.bin", "some/prefix/c.json"}
    folder.delete_file("c.json")
    folder.delete_file("c.json")
    folder.delete_folder("a")
    folder.delete_folder("a")
    assert running.server.objects(bucket) == {}


def test_a_folder_that_is_not_there_is_empty(folder):
    assert folder.list() == {} == folder.list("deeper", recursive=True)
    assert folder.check(write=False) is None


def test_check_leaves_nothing_behind(folder, running, bucket):
    assert folder.check(write=True) is None
    assert not [key for key in running.server.objects(bucket) if "airlift" in key]


def test_a_large_file_is_uploaded_in_parts_and_shows_only_when_it_is_whole(folder, running, bucket):
    block = os.urandom(5 << 20)
    output = folder.open_output("large")
    for _ in range(5):
        output.write(block)
    assert running.server.objects(bucket) == {}
    output.commit()
    assert running.server.objects(bucket) == {"some/prefix/large": 25 << 20}
    assert folder.read_bytes("large") == block * 5
    with pytest.raises(AirliftError, match="has 26,214,400 bytes; at most 9 are expected"):
        folder.read_bytes("large", limit=9)


def test_what_is_given_up_leaves_nothing(folder, running, bucket):
    output = folder.open_output("x")
    output.write(os.urandom(12 << 20))
    output.abandon()
    assert running.server.objects(bucket) == {}


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


def test_a_store_copies_by_itself(folder, running, monkeypatch):
    target = running.folder(running.bucket(), "copied")
    content = os.urandom(6 << 20)
    folder.write_bytes("t/ü 1.rv", content)

    def refuse(*_: Any) -> None:
        raise AssertionError("the bytes went through this process")

    with monkeypatch.context() as patch:
        patch.setattr(Storage, "open_input", refuse)
        copy_file(folder, target, "t/ü 1.rv", len(content))
    assert target.read_bytes("t/ü 1.rv") == content


def test_what_is_too_large_for_the_store_passes_through(folder, running, monkeypatch):
    target = running.folder(running.bucket(), "streamed")
    monkeypatch.setattr(type(folder.store), "copies_up_to", 4)
    monkeypatch.setattr(type(folder.store), "copy", None)
    folder.write_bytes("x", b"12345")
    copy_file(folder, target, "x", 5)
    assert target.read_bytes("x") == b"12345"


def test_between_two_stores_the_bytes_pass_through(folder, running, s3_server):
    other = SERVICES["s3"].connection(s3_server).model_copy(update={"region": ""})
    s3_server.make_bucket("other")
    target = open_storage("s3://other/streamed", other)
    folder.write_bytes("x", b"12345")
    copy_file(folder, target, "x", 5)
    assert target.read_bytes("x") == b"12345"


def test_a_copy_of_nothing_names_both_places(folder, running):
    target = running.folder(running.bucket(), "copied")
    with pytest.raises(AirliftError) as error:
        copy_file(folder, target, "nope", 5)
    said = str(error.value)
    assert f"cannot copy {folder.url}/nope to {target.url}/nope" in said
    assert not any(secret in said for secret in running.service.secrets(running.server))


def test_a_copy_by_the_store_of_another_length_is_refused(folder, running):
    target = running.folder(running.bucket(), "copied")
    folder.write_bytes("x", b"12345")
    with pytest.raises(AirliftError, match="x has 5 bytes, 6 were expected: it changed"):
        copy_file(folder, target, "x", 6)
    assert target.sizes(["x"]) == [None]


# --- memory ----------------------------------------------------------------------------------


def resident() -> int:
    """Bytes of memory that this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_large_file_takes_little_memory(folder):
    block, blocks = os.urandom(4 << 20), 32
    before = most = resident()
    output = folder.open_output("large")
    for _ in range(blocks):
        output.write(block)
        most = max(most, resident())
    output.commit()
    assert folder.sizes(["large"]) == [blocks * len(block)]
    assert most - before < 80 << 20
    before = most = resident()
    with folder.open_input("large") as stream:
        for _ in range(blocks):
            assert stream.read(len(block)) == block
            most = max(most, resident())
        assert stream.read(1) == b""
    assert most - before < 64 << 20


# --- what is wrong ---------------------------------------------------------------------------


WRONG_ONES = [(service, kind) for service, kinds in WRONG.items() for kind in kinds]


@pytest.mark.parametrize(("running", "kind"), WRONG_ONES, indirect=["running"])
def test_what_is_wrong_is_told_in_plain_words(running, kind):
    no_bucket: tuple[dict[str, Any], str] = ({}, "the bucket does not exist; check its name")
    changes, said = {"bucket": no_bucket, **running.service.wrong(running.server)}[kind]
    name = "no-such-bucket" if kind == "bucket" else running.bucket()
    storage = running.folder(name, "prefix", **changes)
    uses = {
        "list": lambda: storage.list(recursive=True),
        "write": lambda: storage.write_bytes("x", b"1"),
    }
    reasons = []
    for action, use in uses.items():
        with pytest.raises(AirliftError) as error:
            use()
        reasons.append(str(error.value))
        assert said in reasons[-1], action
        if "cannot log in" not in said:
            assert reasons[-1].startswith(f"cannot {action} "), action
            assert storage.url in reasons[-1]
    assert (reason := storage.check(write=True)) and said in reason
    if kind != "bucket":  # What can't be looked at is not taken for missing: it were made anew.
        for look in (storage.exists, storage.read_bytes, storage.delete_file):
            with pytest.raises(AirliftError) as error:
                look("x")
            reasons.append(str(error.value))
    secrets = running.service.secrets(running.server)
    assert not [one for one in reasons for secret in secrets if secret in one]


def test_a_missing_object_is_named(folder):
    with pytest.raises(AirliftError) as error:
        folder.read_bytes("x.json")
    assert str(error.value) == f"cannot read {folder.url}/x.json: it does not exist"


@pytest.mark.parametrize("name", list(SERVICES))
def test_a_server_that_dies_in_the_middle_of_a_write(name, tmp_path: Path):
    service = SERVICES[name]
    with service.start(tmp_path / name) as server:
        running = Running(service, server)
        bucket = running.bucket()
        folder = running.folder(bucket, "x")
        # A dead server is asked for some seconds, for each file.
        schema = FIXED_WIDTH.model_copy(update={"fields": FIXED_WIDTH.fields[:1]})
        writer = FORMATS["numpy"].writer(folder, schema, 10_000_000)
        batch = batch_of(schema, 200_000)
        writer.write(batch)
        server.kill()
        with pytest.raises(AirliftError, match=f"cannot write {folder.url}/"):
            for _ in range(49):
                writer.write(batch)
            writer.close()
        writer.abandon()
        server.restart()
        server.make_bucket(bucket)  # Azurite forgets what it made a moment before it was killed.
        assert folder.list() == {}
