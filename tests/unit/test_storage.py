"""Folders on a local disk: nothing half-written shows, nothing outside is reached."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pyarrow.fs as pafs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from airlift.connections import AzureConnection, GoogleConnection, S3Connection
from airlift.copying import copy_file
from airlift.errors import AirliftError
from airlift.output_file import OutputFile
from airlift.storage import Storage, open_storage
from airlift.stores.base import ArrowWriting
from airlift.stores.disk import Disk


@pytest.fixture
def folder(tmp_path: Path) -> Storage:
    return open_storage(str(tmp_path / "staging"))


@pytest.mark.parametrize(
    "name", ["a", "n" * 217, "n" * 218, "n" * 255, "é" * 127, "😀" * 63, "n" * 216 + "漢" * 13]
)
def test_a_name_may_be_as_long_as_the_disk_takes(folder, name):
    folder.write_bytes(f"x/{name}", b"first")
    folder.write_bytes(f"x/{name}", b"second")
    assert folder.list("x") == {f"x/{name}": 6} and folder.read_bytes(f"x/{name}") == b"second"
    folder.open_output(f"x/{name}").write(b"half")
    assert folder.list("x") == {f"x/{name}": 6} and len(folder.half_written()) == 1


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("data/x", "'data/x' is not an absolute path; write it from the root"),
        ("./x", "is not an absolute path"),
        ("", "is not an absolute path"),
        ("s3:///x", "names no bucket; expected s3://bucket/prefix"),
        ("s3://", "names no bucket"),
        (
            "ftp://host/x",
            "addresses are paths, or begin with file://, s3://, s3a://, gs://, gcs://",
        ),
        ("c:/x", "addresses are paths, or begin with file://"),
        ("gs:///x", "names no bucket; expected gs://bucket/prefix"),
        ("abfss:///x", "names no bucket; expected abfss://container@account.dfs.core.windows.net"),
        ("abfss://@a.dfs.core.windows.net/x", "names no bucket"),
        ("az://container/x", "names no storage account; write it as abfss://container@account"),
    ],
)
def test_addresses_that_are_none(url, said):
    with pytest.raises(AirliftError) as error:
        open_storage(url)
    assert said in str(error.value)


def test_addresses(tmp_path):
    (tmp_path / "a b").mkdir()
    assert open_storage(f"file://{tmp_path}/a%20b").root == f"{tmp_path}/a b"
    assert open_storage(f"{tmp_path}//a b/").root == f"{tmp_path}/a b"
    connection = S3Connection(region="us-east-1", access_key="k", secret_key=SecretStr("s"))
    bucket = open_storage("s3://b/p/q/", connection)
    assert (bucket.bucket, bucket.root, bucket.is_local) == ("b", "b/p/q", False)
    assert bucket.key("c/1/x.npy") == "p/q/c/1/x.npy"
    assert bucket.folder("c").address("x") == "s3://b/p/q/c/x"
    local = open_storage(str(tmp_path))
    assert (local.bucket, local.is_local) == ("", True)
    assert local.key("x") == f"{tmp_path}/x"


AZURE = AzureConnection(account="acc", account_key=SecretStr("aGVsbG8="))


@pytest.mark.parametrize(
    ("url", "connection", "object_url"),
    [
        ("gs://b/p", GoogleConnection(anonymous=True), "gs://b/p/x"),
        ("gcs://b/p", GoogleConnection(anonymous=True), "gs://b/p/x"),
        ("az://b/p", AZURE, "https://acc.blob.core.windows.net/b/p/x"),
        ("abfs://b/p", AZURE, "https://acc.blob.core.windows.net/b/p/x"),
        ("abfss://b@acc.dfs.core.windows.net/p", AZURE, "https://acc.blob.core.windows.net/b/p/x"),
        (
            "wasbs://b@acc.blob.core.chinacloudapi.cn/p",
            AZURE.model_copy(update={"account": ""}),
            "https://acc.blob.core.chinacloudapi.cn/b/p/x",
        ),
    ],
)
def test_addresses_in_other_clouds(url, connection, object_url):
    bucket = open_storage(f"{url}/", connection)
    assert (bucket.bucket, bucket.root, bucket.is_local) == ("b", "b/p", False)
    assert bucket.key("c/1/x.npy") == "p/c/1/x.npy"
    assert bucket.store.object_url(bucket.path("x")) == object_url
    assert bucket.address("x") == f"{url}/x"


@pytest.mark.parametrize(
    ("url", "connection", "said"),
    [
        (
            "gs://b/p",
            S3Connection(),
            "is on Google Cloud Storage, which needs a connection of type",
        ),
        ("s3://b/p", AZURE, "is on S3, which needs a connection of type aws"),
        (
            "abfss://b@other.dfs.core.windows.net/p",
            AZURE,
            "'other', but the connection is for 'acc'",
        ),
        ("az://b/p", AZURE.model_copy(update={"account_key": SecretStr("?")}), "is not base64"),
        (
            "az://b/p",
            AzureConnection(account="a", client_id="x", client_secret=SecretStr("hush")),
            "only some of client id, client secret and tenant id",
        ),
        ("gs://b/p", GoogleConnection(endpoint_url="u:hush@h"), "endpoint_url is not an address"),
    ],
)
def test_a_connection_that_does_not_fit_the_address(url, connection, said):
    with pytest.raises(AirliftError) as error:
        open_storage(url, connection)
    assert said in str(error.value) and "hush" not in str(error.value)


def test_what_zilliz_cloud_reads_azure_with():
    assert open_storage("az://b/p", AZURE).store.import_keys() == {
        "accessKey": "acc",
        "secretKey": "aGVsbG8=",
    }
    signed = AzureConnection(account="acc", sas_token=SecretStr("sig=x"))
    assert open_storage("az://b/p", signed).store.import_keys() == {"token": "sig=x"}
    with pytest.raises(AirliftError, match="Zilliz Cloud reads Azure Blob Storage by an account"):
        open_storage("az://b/p", AzureConnection(account="acc")).store.import_keys()


@pytest.mark.parametrize("path", ["../x", "a/../../x", "..", "/etc/passwd", "a/../b", "a/.."])
def test_no_path_leaves_the_folder(folder, path):
    for use in (
        folder.path,
        folder.open_input,
        folder.open_output,
        folder.folder,
        folder.delete_file,
        folder.delete_folder,
        folder.list,
        folder.exists,
    ):
        with pytest.raises(AirliftError, match="would leave .*; refused"):
            use(path)


@given(
    st.lists(st.sampled_from(["a", "..", ".", "/", "b c", "...", "~", "x.npy"]), max_size=6).map(
        "/".join
    )
)
def test_whatever_path_is_given_stays_inside(relative):
    folder = Storage("/base/dir", Disk(), "/base/dir")
    try:
        path = folder.path(relative)
    except AirliftError:
        return
    assert os.path.normpath(path).startswith("/base/dir")


def test_files_there_and_back(folder):
    folder.write_bytes("a/b.bin", b"\0\xff")
    folder.write_json("a/c.json", {"x": [1, None]})
    assert folder.read_bytes("a/b.bin") == b"\0\xff"
    assert folder.read_json("a/c.json") == {"x": [1, None]}
    assert folder.list() == {"a": None}
    assert folder.list("a") == {"a/b.bin": 2, "a/c.json": folder.sizes(["a/c.json"])[0]}
    assert set(folder.list(recursive=True)) == {"a", "a/b.bin", "a/c.json"}
    assert folder.sizes(["a/b.bin", "nope", "a"]) == [2, None, None]
    assert folder.exists("a/b.bin") and not folder.exists("a") and not folder.exists("nope")
    (stat,) = folder.stats(["a/b.bin"])
    assert stat and stat.mtime_ns == Path(folder.path("a/b.bin")).stat().st_mtime_ns
    folder.delete_file("a/b.bin")
    folder.delete_file("a/b.bin")
    folder.delete_folder("a")
    folder.delete_folder("a")
    assert folder.list() == {}
    with pytest.raises(AirliftError, match="refusing to delete the whole"):
        folder.delete_folder("")


def test_a_folder_that_is_not_there_is_empty(folder):
    assert folder.list() == {} == folder.list("deeper", recursive=True)


@pytest.mark.parametrize("call", ["read_bytes", "open_input", "read_json"])
def test_a_missing_file_is_named(folder, call):
    with pytest.raises(AirliftError) as error:
        getattr(folder, call)("x.json")
    assert str(error.value) == f"cannot read {folder.url}/x.json: it does not exist"


def test_what_is_no_json_is_named(folder):
    folder.write_bytes("x.json", b"{")
    with pytest.raises(AirliftError, match=f"{folder.url}/x.json is not JSON"):
        folder.read_json("x.json")


def test_large_files_are_refused_before_they_are_read(folder):
    folder.write_bytes("x", b"12345")
    assert folder.read_bytes("x", limit=5) == b"12345"
    with pytest.raises(AirliftError, match=f"{folder.url}/x has 5 bytes; at most 4 are expected"):
        folder.read_bytes("x", limit=4)


def test_a_file_shows_only_when_it_is_whole(folder):
    folder.write_bytes("x", b"old")
    output = folder.open_output("x")
    output.write(b"new ")
    output.write(memoryview(b"and longer"))
    assert folder.read_bytes("x") == b"old" and output.size == 14
    output.commit()
    assert folder.read_bytes("x") == b"new and longer" and folder.list() == {"x": 14}
    given_up = folder.open_output("x")
    given_up.write(b"no")
    given_up.abandon()
    given_up.abandon()
    assert folder.read_bytes("x") == b"new and longer" and folder.list() == {"x": 14}


def test_a_write_that_fails_leaves_the_old_file(folder):
    folder.write_bytes("x", b"old")
    with pytest.raises(TypeError):
        folder.write_bytes("x", 5)
    assert folder.read_bytes("x") == b"old" and folder.list() == {"x": 3}


def test_two_writers_of_one_file_don_t_mix(folder):
    contents = [bytes([n]) * 100_000 for n in range(8)]
    threads = [threading.Thread(target=folder.write_bytes, args=("x", one)) for one in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert folder.read_bytes("x") in contents and list(folder.list()) == ["x"]


def test_a_full_disk_is_told_in_plain_words():
    output = OutputFile(ArrowWriting(pafs.LocalFileSystem(), "/dev/full"), "/data/x.npy")
    with pytest.raises(AirliftError) as error:
        output.write(b"x" * (1 << 20))
        output.commit()
    assert str(error.value) == (
        "cannot write /data/x.npy: the disk is full; free space or stage elsewhere, then clear the "
        "task"
    )


def test_a_file_in_the_place_of_a_folder(folder):
    folder.write_bytes("x", b"1")
    with pytest.raises(AirliftError, match=f"cannot write {folder.url}/x/y"):
        folder.write_bytes("x/y", b"2")
    reason = open_storage(folder.path("x")).check(write=True)
    assert reason and folder.url in reason


def test_check_leaves_nothing_behind(folder):
    assert folder.check(write=False) is None
    assert folder.check(write=True) is None
    assert folder.list() == {}


# --- copying ---------------------------------------------------------------------------------


def test_a_file_is_copied_to_the_same_place(folder, tmp_path):
    content = os.urandom((8 << 20) + 12_345)
    folder.write_bytes("t/1.rv", content)
    target = open_storage(str(tmp_path / "copy"))
    copy_file(folder, target, "t/1.rv", len(content))
    assert target.read_bytes("t/1.rv") == content
    folder.write_bytes("t/empty", b"")
    copy_file(folder, target, "t/empty", 0)
    assert target.list("t") == {"t/1.rv": len(content), "t/empty": 0}


@pytest.mark.parametrize("size", [4, 6])
def test_a_file_of_another_length_is_not_copied(folder, tmp_path, size):
    folder.write_bytes("x", b"12345")
    target = open_storage(str(tmp_path / "copy"))
    with pytest.raises(AirliftError, match=f"x has 5 bytes, {size} were expected: it changed"):
        copy_file(folder, target, "x", size)
    assert target.list() == {}


def test_a_missing_file_is_not_copied(folder, tmp_path):
    target = open_storage(str(tmp_path / "copy"))
    with pytest.raises(AirliftError, match=f"cannot read {folder.url}/x: it does not exist"):
        copy_file(folder, target, "x", 1)
    assert target.list() == {}


def test_secrets_show_nowhere():
    connection = S3Connection(
        access_key="k",
        secret_key=SecretStr("hush"),
        session_token=SecretStr("hush"),
        region="eu-west-1",
    )
    bucket = open_storage("s3://b/x", connection)
    told = f"{connection!r} {connection} {connection.model_dump_json()} {vars(bucket)!r}"
    assert "hush" not in told


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"access_key": "k"}, "only one of access key and secret key"),
        ({"secret_key": SecretStr("hush")}, "only one of access key and secret key"),
        (
            {
                "access_key": "k",
                "secret_key": SecretStr("hush"),
                "role_arn": "arn:aws:iam::1:role/x",
            },
            "has keys and role_arn",
        ),
        ({"endpoint_url": "minio:9000"}, "endpoint_url 'minio:9000' is not an address"),
        ({"endpoint_url": "minio"}, "endpoint_url 'minio' is not an address"),
    ],
)
def test_half_a_connection_is_refused(given, said):
    with pytest.raises(AirliftError) as error:
        open_storage("s3://b/x", S3Connection(**given))
    assert said in str(error.value) and "hush" not in str(error.value)


def test_what_a_killed_process_began_to_write_is_not_listed(folder):
    """Where a folder's files are read one after the other, half of one must not be among them."""
    folder.write_bytes("steps/whole.json", b"{}")
    folder.open_output("steps/half.json").write(b'{"a": ')
    assert folder.list("steps") == {"steps/whole.json": 2}
    [half] = folder.half_written()
    assert half.startswith("steps/half.json.part-")
    folder.delete_folder("steps")
    assert not folder.half_written()
