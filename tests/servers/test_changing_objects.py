"""Objects in buckets that change while they are read or copied, on a server of each service."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airlift.migration import Migration
from airlift.sources.registry import params_class, source_class
from airlift.sources.unchanged import FileChanged
from airlift.steps import copy_source
from airlift.steps.export_meta import export_meta
from airlift.storage import Storage, open_storage
from tests.paths.place import KnownConnections
from tests.servers.bucket_services import SERVICES
from tests.unit.changing_files import SOURCES, file_in

Change = Callable[[Storage, str, bytes], None]


def _put_back(folder: Storage, path: str, data: bytes) -> None:
    folder.delete_file(path)
    folder.write_bytes(path, _others(data))


def _others(data: bytes) -> bytes:
    half = len(data) // 2
    return data[:half] + bytes(byte ^ 1 for byte in data[half:])


CHANGES: dict[str, Change] = {
    "other bytes": lambda folder, path, data: folder.write_bytes(path, _others(data)),
    "its last byte": lambda folder, path, data: folder.write_bytes(
        path, data[:-1] + bytes([data[-1] ^ 1])
    ),
    "longer": lambda folder, path, data: folder.write_bytes(path, data + b"more"),
    "cut in half": lambda folder, path, data: folder.write_bytes(path, data[: len(data) // 2]),
    "emptied": lambda folder, path, data: folder.write_bytes(path, b""),
    "removed": lambda folder, path, data: folder.delete_file(path),
    "put back": _put_back,
}
EVERY_SOURCE = ("milvus1x", "faiss", "faiss in lists", "backup")
# Google's emulator takes 50 ms a request.
READ = [("s3", name, change) for name in EVERY_SOURCE for change in CHANGES]
READ += [("azure", "milvus1x", "put back"), ("azure", "backup", "removed")]
READ += [("google", "milvus1x", "other bytes")]


class Bucket:
    """A bucket of a service, with the files of a source in it."""

    def __init__(self, name: str, server: Any) -> None:
        service, bucket = SERVICES[name], f"b-{uuid.uuid4().hex[:12]}"
        server.make_bucket(bucket)
        self.connections = KnownConnections(buckets={"store": service.connection(server)})
        self.folder = open_storage(
            f"{service.url.format(bucket)}/some prefix", service.connection(server)
        )

    def fill(self, folder: Path) -> None:
        for path in folder.rglob("*"):
            if path.is_file():
                self.folder.write_bytes(str(path.relative_to(folder)), path.read_bytes())

    def change(self, change: str, path: str) -> None:
        CHANGES[change](self.folder, path, self.folder.read_bytes(path))


@pytest.fixture
def bucket_of(request: pytest.FixtureRequest) -> Callable[[str], Bucket]:
    return lambda name: Bucket(name, request.getfixturevalue(SERVICES[name].fixture))


@pytest.mark.parametrize("name", SERVICES)
def test_each_change_of_an_object_shows(bucket_of: Any, name: str) -> None:
    """Also within one second, which is all that S3 and Azure tell of its time."""
    folder = bucket_of(name).folder
    for change, made in CHANGES.items():
        folder.write_bytes("a/b c.rv", b"0123456789")
        before, missing = folder.identities(["a/b c.rv", "a"])
        assert before and before.size == 10 and before.mtime_ns and before.version
        assert missing is None and folder.identities(["a/b c.rv"]) == [before]
        made(folder, "a/b c.rv", b"0123456789")
        [now] = folder.identities(["a/b c.rv"])
        assert now is None or not before.matches(now), change


@pytest.mark.parametrize("name", ["google", "azure"])
def test_the_same_bytes_again_are_another_object(bucket_of: Any, name: str) -> None:
    folder = bucket_of(name).folder
    folder.write_bytes("x", b"0123456789")
    before = folder.identities(["x"])
    folder.write_bytes("x", b"0123456789")
    assert folder.identities(["x"]) != before


@pytest.mark.parametrize(("service", "name", "change"), READ)
def test_an_object_that_changes_while_it_is_read(
    bucket_of: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    service: str,
    name: str,
    change: str,
) -> None:
    bucket, kind = bucket_of(service), SOURCES[name]
    kind.make(tmp_path / "files")
    bucket.fill(tmp_path / "files")
    kind.small_batches(monkeypatch)
    params = params_class(kind.source)(
        staging_url=str(tmp_path / "staging"),
        source_conn_id="store",
        **kind.params(bucket.folder.url),
    )
    scratch = open_storage(str(tmp_path / "scratch"))

    def source() -> Any:
        return source_class(kind.source)(params, bucket.connections, scratch)

    [collection] = source().describe()
    [chunk] = source().cut(collection, 1 << 30)
    assert sum(batch.num_rows for batch in source().read(chunk)) == chunk.rows
    path = file_in(tmp_path / "files", kind.read[0]).relative_to(tmp_path / "files")
    reading = source().read(chunk)
    next(reading)
    bucket.change(change, str(path))
    with pytest.raises(FileChanged, match=f"/{path.name} was changed since the migration") as error:
        list(reading)
    then = {"s3": 'ETag "', "azure": 'ETag "0x', "google": "generation "}[service]
    assert f"Z, {then}" in str(error.value)
    with pytest.raises(FileChanged, match=f"/{path.name} was changed since the migration"):
        source().changes(collection)


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("staged", ["there", "on the disk"])
def test_an_object_that_changes_while_it_is_copied(
    bucket_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, service: str, staged: str
) -> None:
    """By the store itself, or through this process."""
    bucket, kind = bucket_of(service), SOURCES["milvus1x by meta.json"]
    kind.make(tmp_path / "files")
    bucket.fill(tmp_path / "files")
    there = staged == "there"
    params = params_class("milvus1x")(
        staging_url=f"{bucket.folder.url}/staging" if there else str(tmp_path / "staging"),
        staging_conn_id="store" if there else "",
        source_conn_id="store",
        copy_source="always",
        **kind.params(bucket.folder.url),
    )
    copy = copy_source.copy_file

    def copy_then_change(source: Storage, target: Storage, relative: str, size: int) -> None:
        copy(source, target, relative, size)
        bucket.change("put back", f"tables/{relative}")

    with Migration("milvus1x", params, "m1", bucket.connections) as migration:
        export_meta(migration)
        files = copy_source.files_to_copy(migration, workers_share_disk=True)
        [file] = [file for file in files if file.path.endswith(".rv")]
        with monkeypatch.context() as patch:
            patch.setattr(copy_source, "copy_file", copy_then_change)
            with pytest.raises(FileChanged, match=r"\.rv was changed since the migration"):
                copy_source.copy_files(migration, [file])
        assert not migration.staging.copied_source.list(recursive=True).get(file.path)
        with pytest.raises(FileChanged, match=r"\.rv was changed since the migration"):
            copy_source.copy_files(migration, files)
    # Another try describes it as it is now.
    with Migration("milvus1x", params, "m1", bucket.connections) as migration:
        export_meta(migration)
        files = copy_source.files_to_copy(migration, workers_share_disk=True)
        assert copy_source.copy_files(migration, files)["files"] == len(files) == 3
        copy_source.finish_copy(migration, files)
