"""What Milvus' versions and errors mean, and what is refused before anything is sent."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import grpc
import pytest
from pymilvus.exceptions import ConnectionConfigException, MilvusException

from airlift.connections import MilvusConnection
from airlift.errors import AirliftError
from airlift.milvus import client as clients
from airlift.milvus.client import ServerVersion, Unavailable, connect, explained, explaining


@pytest.mark.parametrize(
    ("text", "kind", "number", "name"),
    [
        ("2.3.5", "milvus", (2, 3, 5), "Milvus 2.3.5"),
        ("v2.6.4", "milvus", (2, 6, 4), "Milvus 2.6.4"),
        ("v2.3.5-lite", "milvus", (2, 3, 5), "Milvus 2.3.5"),  # the PyPI wheel: a whole server
        ("2.6-20260101-abcdef0", "milvus", (2, 6, 0), "Milvus 2.6.0"),
        ("v3.0.0-rc.1", "milvus", (3, 0, 0), "Milvus 3.0.0"),
        ("milvus_lite-3.2.2", "lite", (3, 2, 2), "Milvus Lite 3.2.2"),
        (
            "Zilliz Cloud Vector Database(Compatible with Milvus 2.5)",
            "zilliz",
            (2, 5, 0),
            "Zilliz Cloud (Milvus 2.5)",
        ),
    ],
)
def test_versions(text, kind, number, name):
    version = ServerVersion.parse(text)
    assert (version.kind, version.number, version.name) == (kind, number, name)


def test_a_zilliz_host_is_zilliz_whatever_the_text():
    assert ServerVersion.parse("v2.6.4", zilliz=True).kind == "zilliz"


@pytest.mark.parametrize(
    ("uri", "zilliz"),
    [
        ("https://in03-1.serverless.gcp-us-west1.cloud.zilliz.com", True),
        ("https://in01-1.aws-us-west-2.vectordb.zillizcloud.com:19530", True),
        ("https://in01-1.ali-cn-hangzhou.vectordb.zilliz.com.cn", True),
        ("http://zilliz:19530", False),
        ("http://zilliz-proxy.internal:19530", False),
        ("https://zillizcloud.com.example.org", False),
        ("/data/zilliz.com.db", False),
    ],
)
def test_what_is_zilliz_cloud(uri, zilliz):
    assert MilvusConnection(uri=uri).is_zilliz_cloud is zilliz


@pytest.mark.parametrize("text", ["", "master", "unknown"])
def test_a_version_without_number_is_refused(text):
    with pytest.raises(AirliftError, match="expected to be like 2.3.5"):
        ServerVersion.parse(text)


def test_old_servers_are_refused():
    with pytest.raises(AirliftError, match="is Milvus 2.1.4, which is too old: Milvus 2.2"):
        clients.ensure_supported(ServerVersion.parse("v2.1.4"))
    clients.ensure_supported(ServerVersion.parse("v2.2.16"))
    clients.ensure_supported(ServerVersion.parse("milvus_lite-1.0.0"))


class FakeRpcError(grpc.RpcError):
    """An error as gRPC raises it; the texts below were recorded from real servers."""

    def __init__(self, state: grpc.StatusCode, details: str) -> None:
        super().__init__()
        self._state, self._details = state, details

    def code(self) -> grpc.StatusCode:
        return self._state

    def details(self) -> str:
        return self._details


def rpc(state: str, details: str) -> FakeRpcError:
    return FakeRpcError(grpc.StatusCode[state], details)


def connecting(cause: FakeRpcError) -> MilvusException:
    """As pymilvus 3.0.2 wraps every failure to connect."""
    error = MilvusException(
        2, "Fail connecting to server on h:1, illegal connection params or server unavailable"
    )
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "advice", "passes"),
    [
        (
            connecting(rpc("UNAVAILABLE", "Failed to connect to remote host: Connection refused")),
            "nothing listens at that port",
            True,
        ),
        (
            connecting(rpc("UNAVAILABLE", "errors resolving h:1: [Domain name not found]")),
            "host's name is not known",
            False,
        ),
        (connecting(rpc("DEADLINE_EXCEEDED", "Deadline Exceeded")), "did not answer in time", True),
        (
            connecting(rpc("UNAVAILABLE", "Failed parsing HTTP/2 (Expected SETTINGS frame")),
            "no Milvus",
            False,
        ),
        (rpc("UNIMPLEMENTED", "Received http2 header with status: 404"), "no Milvus", False),
        (rpc("UNIMPLEMENTED", "unknown method Connect"), "lacks that call", False),
        (connecting(rpc("UNAVAILABLE", "Socket closed")), "whether it wants TLS", True),
        (rpc("UNAVAILABLE", "it sleeps"), "cannot be reached", True),
        (
            connecting(rpc("UNAUTHENTICATED", "missing authorization in header")),
            "demands a login",
            False,
        ),
        (
            connecting(rpc("UNAUTHENTICATED", "auth check failure, please check username")),
            "login is refused",
            False,
        ),
        (
            rpc("PERMISSION_DENIED", "PrivilegeCreateCollection: permission deny to bob"),
            "grant the privilege",
            False,
        ),
        (MilvusException(800, "database not found[database=x]"), "no such database", False),
        (MilvusException(200, "partition not found[partition=x]"), "no such partition", False),
        (MilvusException(1, "database 'x' does not exist"), "no such database", False),
        (
            MilvusException(100, "collection not found[database=default][collection=x]"),
            "no such collection",
            False,
        ),
        (MilvusException(6, "collection 'x' does not exist"), "no such collection", False),
        (MilvusException(8, "request is rejected by grpc RateLimiter"), "rate limit", True),
        (MilvusException(9, "quota exceeded[reason=memory quota exceeded]"), "memory is", False),
        (MilvusException(9, "quota exceeded[reason=disk quota exceeded]"), "disk quota", False),
        (MilvusException(9, "deny to write the message"), "a quota of the server", False),
        (rpc("RESOURCE_EXHAUSTED", "Received message larger than max (1 vs 2)"), "RecvSize", False),
        (
            connecting(rpc("UNAVAILABLE", "SSL_ERROR_SSL: CERTIFICATE_VERIFY_FAILED: self signed")),
            "as ca_file",
            False,
        ),
        (
            connecting(rpc("UNAVAILABLE", "Peer name h is not in peer certificate")),
            "server_name",
            False,
        ),
        (connecting(rpc("UNAVAILABLE", "SSL routines:WRONG_VERSION_NUMBER")), "no TLS is", False),
        (ConnectionConfigException(message="Open local milvus failed"), "another process", True),
    ],
)
def test_errors_say_what_to_do(error, advice, passes):
    found = explained(error, "create the collection docs")
    assert str(found).startswith("cannot create the collection docs: ")
    assert advice in str(found)
    assert isinstance(found, Unavailable) is passes


class _Unimplemented(grpc.RpcError):
    """As Milvus Lite 2.5 answers GetVersion."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNIMPLEMENTED

    def details(self) -> str:
        return ""


def test_an_error_without_text_is_not_quoted_as_empty():
    text = str(explained(_Unimplemented(), "ask Milvus for its version"))
    assert "a Milvus Lite before 3" in text
    assert text.endswith("(it said: UNIMPLEMENTED)")


@pytest.mark.parametrize("installed", ["2.4.0", "2.5.1", "1.0"])
def test_an_old_milvus_lite_is_refused(tmp_path, monkeypatch, installed):
    monkeypatch.setattr("airlift.milvus.lite.version", lambda _: installed)
    with pytest.raises(AirliftError, match=f"milvus-lite {installed} is installed, and 3 or newer"):
        connect(MilvusConnection(uri=str(tmp_path / "lite.db")))
    assert not (tmp_path / "lite.db").exists()


def test_unknown_errors_keep_the_servers_words():
    error = MilvusException(65535, "bloom filter room is broken")
    assert str(explained(error, "x")) == "cannot x: bloom filter room is broken"


def test_an_error_that_is_its_own_cause_ends():
    error = MilvusException(100, "collection not found")
    error.__cause__ = error
    assert "no such collection" in str(explained(error, "x"))


def test_explaining_leaves_other_errors_alone():
    with pytest.raises(ZeroDivisionError), explaining("x"):
        _ = 1 / 0
    with pytest.raises(AirliftError, match="cannot x: .*grant"), explaining("x"):
        raise rpc("PERMISSION_DENIED", "no")


def test_a_closed_port_fails_at_once():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # not listening
        port = taken.getsockname()[1]
        began = time.monotonic()
        with pytest.raises(Unavailable, match=f"http://127.0.0.1:{port}: nothing listens"):
            connect(MilvusConnection(uri=f"http://127.0.0.1:{port}"))
    assert time.monotonic() - began < 5


def test_a_silent_host_fails_within_10_seconds():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(Unavailable, match="did not answer in time"):
            connect(MilvusConnection(uri=f"http://127.0.0.1:{silent.getsockname()[1]}"))
    assert time.monotonic() - began < 10


def test_secrets_stay_out_of_errors():
    connection = MilvusConnection(uri="http://root:s3cr3t@127.0.0.1:1", token="s3cr3t")
    with pytest.raises(AirliftError) as error:
        connect(connection)
    assert "s3cr3t" not in str(error.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"uri": "http://h:1", "ca_file": "ca.pem"}, "has TLS switched off"),
        ({"uri": "http://h:1", "server_name": "x"}, "has TLS switched off"),
        ({"uri": "https://h:1", "client_cert_file": "ca.pem"}, "all three"),
        ({"uri": "https://h:1", "ca_file": "gone.pem"}, "gone.pem cannot be read"),
        ({"uri": "https://h:1", "ca_file": "junk.pem"}, "junk.pem was expected to be a PEM file"),
    ],
)
def test_tls_settings_that_would_not_be_used_are_refused(tmp_path, monkeypatch, fields, message):
    monkeypatch.chdir(tmp_path)
    Path("junk.pem").write_text("junk")
    with pytest.raises(AirliftError, match=message):
        connect(MilvusConnection(**fields))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nodir/x.db", "folder .*nodir does not exist"),
        ("x.sqlite", "expected to end in .db"),
        ("file.db", "keeps its data in a folder"),
    ],
)
def test_bad_lite_files(tmp_path, monkeypatch, path, message):
    monkeypatch.chdir(tmp_path)
    Path("file.db").touch()
    with pytest.raises(AirliftError, match=message):
        connect(MilvusConnection(uri=path))


def test_lite_is_let_go_with_its_last_client(tmp_path):
    connection = MilvusConnection(uri=str(tmp_path / "x.db"))
    one, two = connect(connection), connect(connection)
    assert clients.server_version(one, connection).kind == "lite"
    clients.close(one)
    assert two.list_collections() == []
    assert _list_collections_elsewhere(connection, 1).startswith("Unavailable: cannot open")
    clients.close(two)
    assert _list_collections_elsewhere(connection, 1) == "[]"
    with clients.connected(connection) as again:
        assert again.list_collections() == []


def test_lite_with_an_unknown_database(tmp_path):
    with pytest.raises(AirliftError, match="no such database"):
        connect(MilvusConnection(uri=str(tmp_path / "x.db"), database="nowhere"))
    assert _list_collections_elsewhere(MilvusConnection(uri=str(tmp_path / "x.db")), 1) == "[]"


def _list_collections_elsewhere(connection: MilvusConnection, seconds: float) -> str:
    program = (
        "import sys; from airlift.connections import MilvusConnection\n"
        "from airlift.milvus.client import connected\n"
        "try:\n"
        "    with connected(MilvusConnection(uri=sys.argv[1], timeout=float(sys.argv[2]))) as c:\n"
        "        print(c.list_collections())\n"
        "except Exception as e: print(f'{type(e).__name__}: {e}')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, connection.uri, str(seconds)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    return done.stdout.strip() or done.stderr
