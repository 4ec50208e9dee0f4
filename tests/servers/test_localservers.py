"""Starts the real servers of `localservers` and checks what everything else relies on.

About a minute in all. Airflow itself is started by the end-to-end tests; here, only that whatever
a server leaves behind is stopped.
"""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
import pytest
import redis
from pymilvus import DataType
from pymilvus.grpc_gen import milvus_pb2, milvus_pb2_grpc

from localservers import (
    LocalServerError,
    MariaDB,
    Milvus,
    MilvusLite,
    MilvusOnS3,
    PostgreSQL,
    Redis,
    S3Server,
)
from localservers.lan import Lan
from localservers.ports import (
    LOOPBACK,
    listen_on_loopback,
    listening_sockets,
    listens,
    sockets_of,
    wait_until,
)
from localservers.supervisor import Supervisor
from localservers.unprivileged import NOBODY

ROOT = Path(__file__).resolve().parents[2]
DIM = 8
ECHO = """
import socket
listener = socket.create_server(("0.0.0.0", 7000))
while True:
    connection, _ = listener.accept()
    total = 0
    while data := connection.recv(1 << 20):
        total += len(data)
    connection.sendall(str(total).encode())
    connection.close()
"""


def until(condition: Callable[[], Any], timeout: float = 10) -> Any:
    return wait_until(condition, timeout, lambda: "The condition did not come true.")


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def make_collection(client: Any, name: str) -> None:
    schema = client.create_schema(auto_id=False)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=DIM)
    schema.add_field("s", DataType.VARCHAR, max_length=32)
    client.create_collection(name, schema=schema)
    index = client.prepare_index_params()
    index.add_index("v", index_type="FLAT", metric_type="L2")
    client.create_index(name, index)
    client.load_collection(name)


def vectors(ids: np.ndarray) -> np.ndarray:
    return np.random.default_rng(int(ids[0])).random((len(ids), DIM), dtype=np.float32)


def count(client: Any, name: str) -> int:
    answer = client.query(name, output_fields=["count(*)"], consistency_level="Strong")
    return int(answer[0]["count(*)"])


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Milvus, Milvus]]:
    """Two Milvus at once; started in threads, as a demo would."""
    folder = tmp_path_factory.mktemp("two")
    servers = (Milvus(folder / "one"), Milvus(folder / "auth", auth=True))
    try:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda server: server.start(), servers))
        yield servers
    finally:
        for server in servers:
            server.stop()


def test_two_milvus_are_independent(two: tuple[Milvus, Milvus]) -> None:
    one, other = two
    assert one.address != other.address
    make_collection(one.client(), "only_here")
    assert one.client().list_collections() == ["only_here"]
    assert other.client().list_collections() == []
    assert "2.3.5" in one.client().get_server_version()


def test_auth_is_demanded(two: tuple[Milvus, Milvus]) -> None:
    from pymilvus import MilvusClient, MilvusException

    with pytest.raises(MilvusException):
        MilvusClient(uri=two[1].uri, token="root:wrong", timeout=5).list_collections()
    assert two[1].client().list_users() == ["root"]


def test_nothing_listens_beyond_loopback(two: tuple[Milvus, Milvus]) -> None:
    listening = listening_sockets()
    tree = [os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))]
    ours = [listening[inode] for pid in tree for inode in sockets_of(pid) if inode in listening]
    # As /proc has them; gRPC's own servers (Milvus Lite) listen on 127.0.0.1 by way of IPv6.
    loopback = {"0100007F", "0000000000000000FFFF00000100007F"}
    assert {address for address, _ in ours} <= loopback
    ports = {int(server.address.rpartition(":")[2]) for server in two}
    assert ports <= {port for _, port in ours}
    for server in two:
        inside = os.readlink(f"/proc/{server.pid}/ns/net")
        assert inside != os.readlink("/proc/self/ns/net")
    for addresses in psutil.net_if_addrs().values():
        for address in addresses:
            if address.family != socket.AF_INET or address.address.startswith("127."):
                continue
            for port in ports:
                with pytest.raises(ConnectionRefusedError):
                    socket.create_connection((address.address, port), timeout=5)


def test_kill_and_restart_keep_data_and_address(two: tuple[Milvus, Milvus]) -> None:
    server = two[0]
    client = server.client()
    make_collection(client, "kept")
    ids = np.arange(1000)
    rows = [
        {"id": int(i), "v": v.tolist(), "s": f"s{i}"}
        for i, v in zip(ids, vectors(ids), strict=True)
    ]
    client.insert("kept", rows)
    assert count(client, "kept") == 1000  # unflushed: it is in the server's log only
    address, pid = server.address, server.pid
    assert pid
    server.kill()
    assert gone(pid)
    assert not server.running
    server.restart()
    assert server.address == address
    client = server.client()
    client.load_collection("kept")
    assert count(client, "kept") == 1000
    got = client.query("kept", filter="id >= 0", output_fields=["v"], limit=1000)
    assert np.array_equal(np.array([row["v"] for row in got], dtype=np.float32), vectors(ids))


def test_milvus_on_s3_bulk_insert(tmp_path: Path) -> None:
    with MilvusOnS3(tmp_path, bucket="airlift-bucket", root_path="some/where") as server:
        client = server.client()
        make_collection(client, "imported")
        ids = np.arange(5000)
        columns = {"id": ids, "v": vectors(ids), "s": np.array([f"s{i}" for i in ids])}
        s3 = server.s3.client()
        for name, column in columns.items():
            body = io.BytesIO()
            np.save(body, column)
            s3.put_object(Bucket=server.s3.bucket, Key=f"stage/{name}.npy", Body=body.getvalue())
        with grpc.insecure_channel(server.address) as channel:
            stub = milvus_pb2_grpc.MilvusServiceStub(channel)
            files = [f"stage/{name}.npy" for name in columns]
            job = stub.Import(
                milvus_pb2.ImportRequest(collection_name="imported", files=files)
            ).tasks[0]

            def finished() -> str:
                state = stub.GetImportState(milvus_pb2.GetImportStateRequest(task=job)).state
                name = str(milvus_pb2.common__pb2.ImportState.Name(state))
                return name if name in ("ImportCompleted", "ImportFailed") else ""

            assert until(finished, 60) == "ImportCompleted"
        client.refresh_load("imported")
        assert until(lambda: count(client, "imported") == 5000, 30)
        got = client.query("imported", filter="id >= 0", output_fields=["*"], limit=5000)
        got.sort(key=lambda row: row["id"])
        assert [row["id"] for row in got] == ids.tolist()
        assert [row["s"] for row in got] == columns["s"].tolist()
        read_back = np.array([row["v"] for row in got], dtype=np.float32)
        assert np.array_equal(read_back, columns["v"])
        keys = s3.list_objects_v2(Bucket=server.s3.bucket, Prefix="some/where/insert_log/")
        assert keys["KeyCount"] > 0  # the server's own data is in the bucket


def test_s3_roundtrip_survives_a_kill(tmp_path: Path) -> None:
    with S3Server(tmp_path, bucket="first-bucket") as server:
        server.make_bucket("second-bucket")
        server.make_bucket("second-bucket")
        url, body = server.endpoint_url, os.urandom(1 << 20)
        server.client().put_object(Bucket="second-bucket", Key="a/b c/ü", Body=body)
        server.kill()
        assert not server.running
        server.restart()
        assert server.endpoint_url == url
        answer = server.client().get_object(Bucket="second-bucket", Key="a/b c/ü")
        assert answer["Body"].read() == body


def test_mariadb(tmp_path: Path) -> None:
    import pymysql

    with MariaDB(tmp_path) as server:
        server.create_database("milvus")
        with server.connect("milvus") as connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE t (a BIGINT)")
            cursor.execute("INSERT INTO t VALUES (1), (2)")
        server.kill()
        server.restart()
        with server.connect("milvus") as connection, connection.cursor() as cursor:
            cursor.execute("SELECT SUM(a) FROM t")
            assert cursor.fetchone()[0] == 3
            cursor.execute("SELECT host FROM mysql.user WHERE user = 'root' ORDER BY host")
            assert [row[0] for row in cursor.fetchall()] == ["127.0.0.1", "localhost"]
        with pytest.raises(pymysql.err.OperationalError, match="Access denied"):
            pymysql.connect(host=server.host, port=server.port, user="root", password="")
        with pytest.raises(LocalServerError, match="no name for a database"):
            server.create_database("x`; DROP")


def test_postgresql_survives_a_kill(tmp_path: Path) -> None:
    with PostgreSQL(tmp_path) as server:
        with server.connect() as connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE notes (text TEXT); INSERT INTO notes VALUES ('ö')")
        connection.close()
        listening = listening_sockets()
        addresses = {listening[i][0] for i in sockets_of(server.pid or 0) if i in listening}
        assert addresses == {"0100007F"}
        server.kill()
        server.start()
        with server.connect() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT text FROM notes")
            assert cursor.fetchall() == [("ö",)]
        connection.close()
        user = psutil.Process(server.pid).uids().effective
        assert user == (os.geteuid() or NOBODY)


def test_redis(tmp_path: Path) -> None:
    with Redis(tmp_path) as server:
        with server.client() as client:
            client.set("key", "value")
            assert client.get("key") == b"value"
        with (
            redis.Redis(port=server.port, password="") as stranger,
            pytest.raises(redis.AuthenticationError),
        ):
            stranger.get("key")


def test_milvus_lite(tmp_path: Path) -> None:
    with MilvusLite(tmp_path) as server:
        client = server.client()
        client.create_collection("c", dimension=4)
        client.insert("c", [{"id": i, "vector": [1.0, 2.0, 3.0, float(i)]} for i in range(10)])
        server.restart()
        client = server.client()
        client.load_collection("c")
        assert count(client, "c") == 10


def test_forwarder_moves_all_bytes_and_half_closes(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path, private_network=True, forwards=[7000])
    try:
        supervisor.start("echo", [sys.executable, "-c", ECHO], tmp_path / "echo.log")
        port = supervisor.host_ports[7000]

        def transfer(size: int) -> int:
            with socket.create_connection(("127.0.0.1", port)) as connection:
                try:
                    connection.sendall(bytes(size))
                    connection.shutdown(socket.SHUT_WR)
                    return int(connection.recv(100))
                except OSError:
                    return -1

        until(lambda: transfer(1) == 1)
        assert transfer(64 << 20) == 64 << 20
        supervisor.stop("echo")
        assert transfer(10) == -1  # refused, by a reset
    finally:
        supervisor.close()


# Answers with its machine's name; has a child, whose process id it writes down.
GREETER = """
import os, socket, subprocess, sys
with open(sys.argv[1], "w") as out:
    out.write(str(subprocess.Popen(["sleep", "600"], start_new_session=True).pid) + "\\n")
listener = socket.create_server(("", 7001))
while True:
    connection, _ = listener.accept()
    connection.sendall(socket.gethostname().encode())
    connection.close()
"""
# Writes down what two servers answer.
CALLER = """
import socket, sys, time
with open(sys.argv[1], "w") as out:
    for host, port in (("10.77.0.2", 7001), ("10.77.0.1", 7000)):
        with socket.create_connection((host, port), timeout=10) as connection:
            out.write(connection.makefile().read() + "\\n")
time.sleep(600)
"""


def test_machines_of_a_network_of_their_own(tmp_path: Path) -> None:
    """They reach each other and the host; one that is killed is so with its children."""
    listener = listen_on_loopback()
    child, answers = tmp_path / "child", tmp_path / "answers"
    lan = Lan(tmp_path, {7000: (LOOPBACK, listener.getsockname()[1])})
    log = tmp_path / "machines.log"
    command: list[str | Path] = [sys.executable, "-c", GREETER, child]

    def lines(file: Path, count: int) -> list[str]:
        text = file.read_text() if file.exists() else ""
        return text.splitlines() if text.count("\n") == count else []

    try:
        lan.open()
        for _ in range(2):  # the second time under the address of a dead one
            lan.start_machine("10.77.0.2", command, log, os.environ)
            [pid] = until(lambda: lines(child, 1))
            assert not gone(int(pid))
            until(lambda: listens(lan.pid("10.77.0.2") or 0, 7001))
            lan.start_machine("10.77.0.3", [sys.executable, "-c", CALLER, answers], log, os.environ)
            connection, _ = listener.accept()
            connection.sendall(b"the host")
            connection.close()
            assert until(lambda: lines(answers, 2)) == ["10.77.0.2", "the host"], log.read_text()
            for address in ("10.77.0.2", "10.77.0.3"):
                lan.stop(address, signal.SIGKILL)
            until(lambda pid=int(pid): gone(pid))
            child.unlink()
            answers.unlink()
    finally:
        lan.close()
        listener.close()


def test_abandoned_children_are_stopped_too(tmp_path: Path) -> None:
    """As Airflow does: a server ends and leaves processes in sessions of their own behind."""
    supervisor = Supervisor(tmp_path)
    pids = tmp_path / "pids"
    script = f"for i in 1 2 3; do setsid sleep 1000 & echo $! >> {pids}; done; wait"
    try:
        supervisor.start("server", ["sh", "-c", script], tmp_path / "log")
        until(lambda: pids.exists() and len(pids.read_text().split()) == 3)
        left = [int(pid) for pid in pids.read_text().split()]
        supervisor.stop("server")
        assert all(gone(pid) for pid in left)
    finally:
        supervisor.close()


def test_servers_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    """Killed by SIGKILL, and though the *thread* that started the server ended long before."""
    script = f"""
import sys, threading, time
from localservers import S3Server
servers = []
thread = threading.Thread(target=lambda: servers.append(S3Server({str(tmp_path)!r}).start()))
thread.start(); thread.join()
assert servers[0].client().list_buckets()["Buckets"] == []
print(servers[0].pid, flush=True)
time.sleep(1000)
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    owner = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=env)
    try:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        assert not gone(pid)
    finally:
        owner.kill()
        owner.wait()
    started = time.monotonic()
    until(lambda: gone(pid))
    assert time.monotonic() - started < 5


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    server = Milvus(tmp_path, config={"common.storageType": "nonsense"})
    with pytest.raises(LocalServerError, match="last lines of"):
        server.start()
    assert not server.running
    with pytest.raises(LocalServerError, match=r"no key nonsense\.key"):
        Milvus(tmp_path, config={"nonsense.key": 1}).start()
