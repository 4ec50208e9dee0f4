"""Objects of S3 whose keys have empty parts are listed and read as others are."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from airlift.connections import AzureConnection, GoogleConnection, S3Connection
from airlift.copying import copy_file
from airlift.errors import AirliftError
from airlift.sources.backup.params import BackupParams
from airlift.sources.backup.source import BackupSource
from airlift.sources.faiss.params import FaissParams
from airlift.sources.faiss.source import FaissSource
from airlift.storage import Storage, open_storage
from airlift.storage_errors import explained
from airlift.stores.s3_empty_parts import s3_errors
from samples.faiss_indexes import IndexSpec, write_faiss
from tests.real_backups import truth, unpack
from tests.unit.backup_reading import Read as ReadBackup
from tests.unit.faiss_reading import Read as ReadFaiss
from tests.unit.s3_by_keys import ACCESS_KEY, KeyedS3, keyed_s3

KEYS = ("/lead/x", "lead//x", "a//b/c", "a//b//c", "a/b/c", "a//漢 +%/?#&.txt", "a//b/", "//x")


@pytest.fixture
def service() -> Iterator[KeyedS3]:
    with keyed_s3({key: f"<{key}>".encode() for key in KEYS}) as service:
        yield service


def connection_of(service: KeyedS3, access_key: str = ACCESS_KEY) -> S3Connection:
    return S3Connection(
        access_key=access_key,
        secret_key=SecretStr("secret"),
        region="us-east-1",
        endpoint_url=service.endpoint_url,
    )


def folder_of(service: KeyedS3, prefix: str) -> Storage:
    return open_storage(f"s3://bucket/{prefix}", connection_of(service))


class OneConnection:
    """The same bucket service, whatever is asked for."""

    def __init__(self, service: KeyedS3) -> None:
        self._service = service

    def storage(self, conn_id: str) -> S3Connection:
        return connection_of(self._service)


@pytest.mark.parametrize(
    ("prefix", "recursive", "expected"),
    [
        ("/lead", False, {"x": 9}),
        ("a//b", False, {"c": 8}),
        ("a//b", True, {"c": 8, "/c": 9}),
        ("a//漢 +%", False, {"?#&.txt": len("<a//漢 +%/?#&.txt>".encode())}),
        ("a//nothing", True, {}),
        ("a//b/c", True, {}),
        ("a//", False, {"b": None, "漢 +%": None}),
        ("a//b//", True, {"c": 9}),
        ("/", False, {"lead": None}),
        ("a///", True, {}),
    ],
)
def test_a_folder_with_empty_parts_is_listed(
    service: KeyedS3, prefix: str, recursive: bool, expected: dict[str, int]
) -> None:
    assert folder_of(service, prefix).list("", recursive) == expected


@pytest.mark.parametrize(
    ("prefix", "key", "expected"),
    [
        ("a/", "b/c", "a/b/c"),
        ("a//", "b/c", "a//b/c"),
        ("a//b//", "c", "a//b//c"),
        ("/", "lead/x", "/lead/x"),
        ("lead//", "x", "lead//x"),
        ("//", "x", "//x"),
        ("a///", "b/c", None),
    ],
)
def test_a_second_slash_at_the_end_is_an_empty_part(
    service: KeyedS3, prefix: str, key: str, expected: str | None
) -> None:
    folder = folder_of(service, prefix)
    data = None if expected is None else service.objects[expected]
    assert folder.sizes([key]) == [data and len(data)]
    assert folder.folder("").sizes([key]) == folder.sizes([key])
    if data is not None:
        assert folder.read_bytes(key) == data
        assert folder.address(key) == f"s3://bucket/{expected}"


@pytest.mark.parametrize(
    ("prefix", "key"),
    [("a/.", "b/c"), ("a/x/..", "b/c"), ("a", "./b/c"), ("a//b/.", "c"), ("", ".")],
)
def test_parts_that_http_leaves_out_are_refused(service: KeyedS3, prefix: str, key: str) -> None:
    with pytest.raises(AirliftError, match=r"has a part \. or \.\., .*; name it without"):
        folder_of(service, prefix).read_bytes(key)


@pytest.mark.parametrize("code", ["SignatureDoesNotMatch", "403"])
def test_a_request_that_aws_repeats_is_not_shown(code: str) -> None:
    said = "The request signature does not match.\n\nThe Canonical String should have been 'POST\n"
    answer: Any = {"Error": {"Code": code, "Message": f"{said}x-amz-security-token:SECRET"}}
    with pytest.raises(AirliftError) as raised, explained("read", "s3://b/x"), s3_errors():
        raise ClientError(answer, "AssumeRole")
    shown = "".join(traceback.format_exception(raised.value))
    assert "SECRET" not in shown and "does not match" in shown


@pytest.mark.parametrize("page", [1, 2, 1000])
def test_long_lists_come_page_by_page(service: KeyedS3, page: int) -> None:
    service.page = page
    service.objects |= {f"/many/{n:03}/file": b"x" * n for n in range(5)}
    folder = folder_of(service, "/many")
    assert folder.list() == {f"{n:03}": None for n in range(5)}
    assert folder.list("", recursive=True) == {
        **{f"{n:03}/file": n for n in range(5)},
        **{f"{n:03}": None for n in range(5)},
    }


@given(st.lists(st.tuples(st.integers(0, 220), st.integers(0, 220)), max_size=6))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=12)
def test_ranges_are_the_objects_bytes(service: KeyedS3, ranges: list[tuple[int, int]]) -> None:
    data = bytes(range(200))
    service.objects["r//b/x"] = data
    with folder_of(service, "").open_input("r//b/x") as stream:
        assert stream.size() == 200
        for start, size in ranges:
            stream.seek(start)
            assert stream.read(size) == data[start : start + size]


@pytest.mark.parametrize("key", [key for key in KEYS if not key.endswith("/")])
def test_every_key_is_read_from_the_buckets_root(service: KeyedS3, key: str) -> None:
    bucket = folder_of(service, "")
    data = service.objects[key]
    assert bucket.read_bytes(key) == data
    assert bucket.sizes([key, "no//such", "a/b/c"]) == [len(data), None, 7]
    [known, missing] = bucket.identities([key, "no//such"])
    assert missing is None and known is not None and known.size == len(data)
    service.objects[key] = data[::-1]
    [changed] = bucket.identities([key])
    assert changed != known


@pytest.mark.parametrize(
    ("prefix", "access_key", "said"),
    [
        ("a//none", ACCESS_KEY, "it does not exist"),
        ("a//b", "AKIDWRONG", "the access key is not known there|access is denied"),
    ],
)
def test_what_cannot_be_read_says_why(
    service: KeyedS3, prefix: str, access_key: str, said: str
) -> None:
    folder = open_storage(f"s3://bucket/{prefix}", connection_of(service, access_key))
    with pytest.raises(AirliftError, match=said):
        folder.read_bytes("c")


def test_a_missing_bucket_is_named(service: KeyedS3) -> None:
    folder = open_storage("s3://other//x", connection_of(service))
    with pytest.raises(AirliftError, match="the bucket does not exist"):
        folder.list()


def test_an_endpoint_that_does_not_answer_is_named() -> None:
    connection = S3Connection(
        access_key="a", secret_key=SecretStr("b"), endpoint_url="http://127.0.0.1:1"
    )
    with pytest.raises(AirliftError, match="the endpoint does not answer"):
        open_storage("s3://bucket//x", connection).list()


def test_an_object_replaced_or_cut_while_it_is_read_is_refused(service: KeyedS3) -> None:
    folder = folder_of(service, "a//b")
    with folder.open_input("c") as stream, folder.explained("read", "c"):
        assert stream.read(3) == b"<a/"
        service.short = 1
        with pytest.raises(OSError, match="sent 2 bytes of the 3 asked for"):
            stream.read(3)
        service.short = 0
        service.objects["a//b/c"] = b"something else"
        with pytest.raises(OSError, match="PreconditionFailed"):
            stream.read(3)


def test_nothing_is_written_to_such_keys(service: KeyedS3) -> None:
    before = dict(service.objects)
    folder = folder_of(service, "a//staging")
    reason = folder.check(write=True)
    assert reason and "keys with an empty part (//) can only be read" in reason
    with pytest.raises(AirliftError, match="can only be read"):
        folder_of(service, "").delete_file("a//b/c")
    assert service.objects == before


@pytest.mark.parametrize(
    ("url", "connection"),
    [
        ("gs://b//x", GoogleConnection(anonymous=True)),
        ("gs://b/x//y/", GoogleConnection(anonymous=True)),
        ("az://b/x//y", AzureConnection(account="a", account_key=SecretStr("aGVsbG8="))),
        ("abfs://b//x", AzureConnection(account="a", account_key=SecretStr("aGVsbG8="))),
        ("gcs://b/x///y", GoogleConnection(anonymous=True)),
    ],
)
def test_other_clouds_are_refused_by_name(url: str, connection: Any) -> None:
    with pytest.raises(AirliftError, match=r"has an empty part \(//\).* copy the files"):
        open_storage(url, connection)


@pytest.mark.parametrize(
    "prefix", ["/songs", "x//songs", "x/y//z/songs", "//songs", "x///songs", "x/"]
)
def test_a_faiss_index_is_read(service: KeyedS3, tmp_path: Path, prefix: str) -> None:
    made = tmp_path / "made"
    written = write_faiss(made, [IndexSpec("songs", 300, dim=8, ids_file=True, scalars="parquet")])
    for file in made.iterdir():
        service.objects[f"{prefix}/{file.name}"] = file.read_bytes()
    base = f"s3://bucket/{prefix}"
    params = FaissParams(
        index_url=f"{base}/*.index",
        ids_url=f"{base}/songs_ids.npy",
        scalars_url=f"{base}/songs.parquet",
        source_conn_id="bucket",
        staging_url=str(tmp_path),
    )
    source = FaissSource(params, OneConnection(service), open_storage(str(tmp_path / "scratch")))
    read = ReadFaiss(source, 2000)
    assert len(read.chunks) > 1
    assert sorted(read.ids) == sorted(written["songs"].ids)
    wanted = written["songs"].vectors[np.argsort(written["songs"].ids)]
    assert np.array_equal(read.vectors(), wanted)


@pytest.mark.parametrize("prefix", ["/backup", "milvus//backup", "//b", "a///b"])
def test_a_backup_is_read(service: KeyedS3, tmp_path: Path, prefix: str) -> None:
    folder, name = unpack("real_2_5", tmp_path / "backup"), "p_every_scalar_parquet"
    for file in folder.rglob("*"):
        if file.is_file():
            service.objects[f"{prefix}/{file.relative_to(folder)}"] = file.read_bytes()

    def opened(url: str) -> BackupSource:
        params = BackupParams(
            backup_url=url,
            source_conn_id="bucket",
            collections=[name],
            staging_url=str(tmp_path),
        )
        scratch = open_storage(str(tmp_path / "scratch"))
        return BackupSource(params, OneConnection(service), scratch)

    read = ReadBackup(opened(f"s3://bucket/{prefix}"))
    assert read.rows == {name: _without_meta(truth("real_2_5", name))}


def _without_meta(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of a collection that has no dynamic field."""
    return [{field: row[field] for field in row if field != "$meta"} for row in rows]


def test_copies_server_side_need_no_such_keys(service: KeyedS3, tmp_path: Path) -> None:
    target = open_storage(str(tmp_path / "copy"))
    copy_file(folder_of(service, "a//b"), target, "c", 8)
    assert target.read_bytes("c") == b"<a//b/c>"
