"""The hook against a real Milvus with logins, and the client against TLS."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
from pymilvus.grpc_gen import milvus_pb2, milvus_pb2_grpc

from airlift.connections import MilvusConnection
from airlift.errors import AirliftError
from airlift.milvus.client import Unavailable, connect, connected, server_version
from airlift_airflow.hooks.milvus import MilvusHook

localservers = pytest.importorskip("localservers.milvus")
Milvus = localservers.Milvus


@pytest.fixture(scope="module")
def milvus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    server = Milvus(tmp_path_factory.mktemp("milvus"), auth=True)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def hook(milvus, monkeypatch: pytest.MonkeyPatch):
    """Makes a hook on the real server; keywords change its connection."""

    def hook(**fields: Any) -> MilvusHook:
        host, port = milvus.address.split(":")
        known = {
            "conn_type": "milvus",
            "host": host,
            "port": int(port),
            "login": "root",
            "password": "Milvus",
        }
        monkeypatch.setenv("AIRFLOW_CONN_IT", json.dumps(known | fields))
        return MilvusHook("it")

    return hook


def test_the_test_button_on_a_good_connection(hook):
    assert hook().test_connection() == (True, "Connected to Milvus 2.3.5, database 'default'.")


def test_a_token_does_as_well(hook):
    good, said = hook(login=None, password=None, extra={"token": "root:Milvus"}).test_connection()
    assert good, said


@pytest.mark.parametrize(
    ("fields", "advice"),
    [
        ({"password": "nope"}, "login is refused"),
        ({"login": "nobody"}, "login is refused"),
        ({"login": None, "password": None}, "demands a login"),
        ({"extra": {"database": "nowhere"}}, "Cannot use the database 'nowhere'"),
        ({"extra": {"secure": True}}, "no TLS is spoken there"),
        ({"port": 1}, "nothing listens"),
        ({"host": "no-such-host.invalid"}, "host's name is not known"),
        ({"host": ""}, "has no host"),
    ],
)
def test_the_test_button_on_bad_connections(hook, fields, advice):
    began = time.monotonic()
    good, said = hook(**fields).test_connection()
    assert not good
    assert advice in said
    assert "nope" not in said
    assert "Milvus:" not in said
    assert time.monotonic() - began < 10


def test_the_hook_keeps_one_client_until_closed(hook):
    it = hook()
    first = it.get_conn()
    assert it.get_conn() is first
    assert first.list_collections() == []
    it.close()
    second = it.get_conn()
    assert second is not first
    assert second.list_collections() == []
    it.close()


def test_a_database_given_to_the_hook_wins(hook):
    it = hook()
    it.get_conn().create_database("side")
    it.close()
    side = hook(extra={"database": "nowhere"})
    side.database = "side"
    assert side.test_connection() == (True, "Connected to Milvus 2.3.5, database 'side'.")


def test_a_user_without_rights_may_still_connect(hook):
    it = hook()
    it.get_conn().create_user("bob", "bobs-word")
    it.close()
    bob = hook(login="bob", password="bobs-word", extra={"database": "default"})
    assert bob.test_connection()[0]
    bob.close()


def test_a_frozen_server_ends_every_call(milvus):
    """Without a deadline of ours pymilvus would wait for ever."""
    connection = MilvusConnection(uri=milvus.uri, token=milvus.token, timeout=2)
    with connected(connection) as client:
        os.kill(milvus.pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            with pytest.raises(Exception, match="DEADLINE_EXCEEDED|Deadline Exceeded"):
                client.list_collections()
            assert 2 <= time.monotonic() - began < 4
            with pytest.raises(Unavailable, match="did not answer in time"):
                connect(connection)
        finally:
            os.kill(milvus.pid, signal.SIGCONT)
        deadline = time.monotonic() + 60
        while True:
            try:
                assert client.list_collections() == []
                break
            except Exception:
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)


# TLS: the wheel's Milvus has none, so Milvus Lite's own gRPC service is put behind it.


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA (ca), a server's certificate for localhost (server), a client's (client), another CA."""
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    for ca in ("ca", "other"):
        openssl(
            *f"req -x509 -newkey rsa:2048 -nodes -days 2 -keyout {ca}.key -out {ca}.pem".split(),
            "-subj",
            f"/CN=test {ca}",
        )
    (folder / "names").write_text("subjectAltName=DNS:localhost\n")
    for name in ("server", "client"):
        openssl(
            *f"req -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr".split(),
            "-subj",
            f"/CN={name}",
        )
        openssl(
            *f"x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2".split(),
            *f"-out {name}.pem -extfile names".split(),
        )
    return folder


def serve(servicer: Any, folder: Path | None = None, mutual: bool = False) -> tuple[Any, int]:
    server = grpc.server(futures.ThreadPoolExecutor(4))
    milvus_pb2_grpc.add_MilvusServiceServicer_to_server(servicer, server)
    if folder is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        pair = ((folder / "server.key").read_bytes(), (folder / "server.pem").read_bytes())
        ca = (folder / "ca.pem").read_bytes() if mutual else None
        port = server.add_secure_port(
            "127.0.0.1:0", grpc.ssl_server_credentials([pair], ca, require_client_auth=mutual)
        )
    server.start()
    return server, port


@pytest.fixture
def lite(tmp_path: Path) -> Iterator[Any]:
    servicers = pytest.importorskip("milvus_lite.adapter.grpc.servicer")
    from milvus_lite.db import MilvusLite

    database = MilvusLite(str(tmp_path / "lite.db"))
    yield servicers.MilvusServicer(database)
    database.close()


@pytest.fixture
def tls_port(lite, certificates) -> Iterator[int]:
    server, port = serve(lite, certificates)
    yield port
    server.stop(0).wait()


def test_tls(tls_port, certificates):
    ca = str(certificates / "ca.pem")
    by_name = MilvusConnection(uri=f"https://localhost:{tls_port}", ca_file=ca)
    with connected(by_name) as client:
        assert server_version(client, by_name).kind == "lite"
    by_address = MilvusConnection(
        uri=f"https://127.0.0.1:{tls_port}", ca_file=ca, server_name="localhost"
    )
    with connected(by_address) as client:
        assert client.list_collections() == []


@pytest.mark.parametrize(
    ("uri", "ca", "advice"),
    [
        ("https://localhost:{}", "", "certificate is not trusted"),
        ("https://localhost:{}", "other.pem", "certificate is not trusted"),
        ("https://127.0.0.1:{}", "ca.pem", "made for another name"),
        ("http://localhost:{}", "", "whether it wants TLS"),
    ],
)
def test_tls_failures(tls_port, certificates, uri, ca, advice):
    ca_file = str(certificates / ca) if ca else ""
    with pytest.raises(AirliftError, match=advice):
        connect(MilvusConnection(uri=uri.format(tls_port), ca_file=ca_file))


def test_mutual_tls(lite, certificates):
    server, port = serve(lite, certificates, mutual=True)
    known = {"uri": f"https://localhost:{port}", "ca_file": str(certificates / "ca.pem")}
    pair = {
        "client_cert_file": str(certificates / "client.pem"),
        "client_key_file": str(certificates / "client.key"),
    }
    try:
        with connected(MilvusConnection(**known, **pair)) as client:
            assert client.list_collections() == []
        with pytest.raises(AirliftError, match="TLS|client certificate"):
            connect(MilvusConnection(**known))
    finally:
        server.stop(0).wait()


@pytest.mark.parametrize(
    ("version", "good", "said"),
    [
        ("v2.1.4", False, "The server is Milvus 2.1.4, which is too old"),
        (
            "Zilliz Cloud Vector Database(Compatible with Milvus 2.5)",
            True,
            "Connected to Zilliz Cloud (Milvus 2.5), database 'default'.",
        ),
    ],
)
def test_other_versions(lite, monkeypatch, version, good, said):
    answer = milvus_pb2.GetVersionResponse(version=version)
    monkeypatch.setattr(lite, "GetVersion", lambda request, context: answer)
    server, port = serve(lite)
    try:
        known = {"conn_type": "milvus", "host": "127.0.0.1", "port": port}
        monkeypatch.setenv("AIRFLOW_CONN_OLD", json.dumps(known))
        found, text = MilvusHook("old").test_connection()
    finally:
        server.stop(0).wait()
    assert found is good
    assert text.startswith(said)


def test_a_lite_file_is_free_after_the_test_button(tmp_path, monkeypatch):
    path = tmp_path / "x.db"
    monkeypatch.setenv("AIRFLOW_CONN_L", json.dumps({"conn_type": "milvus", "host": str(path)}))
    good, said = MilvusHook("l").test_connection()
    assert good, said
    assert said.startswith("Connected to Milvus Lite ")
    import fcntl

    with open(path / "LOCK") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
