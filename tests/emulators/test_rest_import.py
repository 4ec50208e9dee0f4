"""Tests of the import emulator itself, through its sockets: httpx and pymilvus."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pymilvus
import pytest
from pymilvus import DataType, MilvusClient
from pymilvus.exceptions import MilvusException

from tests.emulators.rest_import import LocalStorage, RestImportServer, S3Storage, Zilliz

# pymilvus' own REST client. Its package refuses to load without the extra `pymilvus[bulk_writer]`
# (minio, azure, ...), which this one module of it doesn't need: so load just that.
_spec = importlib.util.spec_from_file_location(
    "pymilvus_bulk_import", Path(pymilvus.__file__).parent / "bulk_writer" / "bulk_import.py"
)
_client = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_client)
bulk_import, get_import_progress, list_import_jobs = (
    _client.bulk_import,
    _client.get_import_progress,
    _client.list_import_jobs,
)

DIM = 8
PREFIX = "/v2/vectordb/jobs/import/"


def vectors(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((n, DIM), np.float32)


def write_npy(folder: Path, n: int, start: int = 0, **other: np.ndarray) -> list[str]:
    """One .npy per field below bucket folder `folder`; answers the keys."""
    columns = {
        "id": np.arange(start, start + n, dtype=np.int64),
        "vec": vectors(n, start),
        "name": np.array([f"né{i}" for i in range(start, start + n)]),
        **other,
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in columns.items():
        if values is not None:
            np.save(folder / f"{name}.npy", values)
    return [f"{folder.name}/{n}.npy" for n, v in columns.items() if v is not None]


def parquet_table(n: int, start: int = 0, **other) -> pa.Table:
    columns = {
        "id": pa.array(range(start, start + n), pa.int64()),
        "vec": pa.array(vectors(n, start).tolist(), pa.list_(pa.float32())),
        "name": pa.array([f"né{i}" for i in range(start, start + n)]),
    }
    return pa.table({k: v for k, v in {**columns, **other}.items() if v is not None})


def make(server: RestImportServer, name: str = "c", **schema) -> MilvusClient:
    client = MilvusClient(uri=server.grpc_address, token=server.token)
    build = client.create_schema(
        enable_dynamic_field=schema.pop("dynamic", False), auto_id=schema.pop("auto_id", False)
    )
    build.add_field("id", DataType.INT64, is_primary=True)
    build.add_field("vec", DataType.FLOAT_VECTOR, dim=DIM)
    build.add_field(
        "name", DataType.VARCHAR, max_length=16, is_partition_key=schema.pop("key", False)
    )
    for field in schema.pop("more", []):
        build.add_field(**field)
    client.create_collection(name, schema=build)
    return client


class Rest:
    def __init__(self, server: RestImportServer) -> None:
        self.http = httpx.Client(
            base_url=server.rest_url,
            headers={"Authorization": f"Bearer {server.token}"},
            timeout=10,
        )

    def __call__(self, action: str, headers: dict | None = None, **body) -> dict:
        return self.http.post(PREFIX + action, json=body, headers=headers).json()

    def create(self, files: list[list[str]], collection: str = "c", **body) -> str:
        answer = self("create", collectionName=collection, files=files, **body)
        assert answer["code"] == 0, answer
        return answer["data"]["jobId"]

    def wait(self, job: str, seconds: float = 20) -> dict:
        end = time.monotonic() + seconds
        while True:
            data = self("describe", jobId=job)["data"]
            if data["state"] in ("Completed", "Failed") or time.monotonic() > end:
                return data
            time.sleep(0.02)

    def run(self, files: list[list[str]], **body) -> dict:
        return self.wait(self.create(files, **body))


def count(client: MilvusClient, name: str = "c", **more) -> int:
    return client.query(name, filter=more.pop("filter", ""), output_fields=["count(*)"], **more)[0][
        "count(*)"
    ]


@pytest.fixture
def server(tmp_path):
    with RestImportServer(tmp_path) as server:
        yield server


@pytest.fixture
def bucket(tmp_path) -> Path:
    return tmp_path / "bucket"


def test_version_and_token(tmp_path):
    with RestImportServer(tmp_path, version="2.6.24") as server:
        client = MilvusClient(uri=server.grpc_address, token=server.token)
        assert client.get_server_version() == "2.6.24"
        assert client.get_server_version(detail=True)["version"] == "2.6.24"
        answer = httpx.post(server.rest_url + PREFIX + "list", json={})
        assert answer.status_code == 401 and answer.json()["code"] == 1800
        with pytest.raises(MilvusException):
            MilvusClient(uri=server.grpc_address, token="root:wrong").list_collections()


def test_npy_and_parquet_arrive_whole(server, bucket):
    client, rest = make(server), Rest(server)
    npy = write_npy(bucket / "a", 300)
    pq.write_table(parquet_table(200, 300), bucket / "b.parquet")
    done = rest.run([npy, ["b.parquet"]])
    assert {
        k: done[k] for k in ("state", "progress", "importedRows", "totalRows", "collectionName")
    } == {
        "state": "Completed",
        "progress": 100,
        "importedRows": 500,
        "totalRows": 500,
        "collectionName": "c",
    }
    assert "reason" not in done and done["completeTime"].endswith("Z")
    # In no order.
    groups = {
        d["fileName"]: (d["totalRows"], d["importedRows"], d["state"]) for d in done["details"]
    }
    assert groups == {
        f"[{' '.join(npy)}]": (300, 300, "Completed"),
        "[b.parquet]": (200, 200, "Completed"),
    }
    assert done["fileSize"] == sum((bucket / f).stat().st_size for f in [*npy, "b.parquet"])
    rows = {
        r["id"]: r for r in client.query("c", filter="id >= 0", output_fields=["*"], limit=1000)
    }
    assert sorted(rows) == list(range(500))
    want = np.concatenate([vectors(300), vectors(200, 300)])
    assert np.array_equal(np.array([rows[i]["vec"] for i in range(500)], np.float32), want)
    assert [rows[i]["name"] for i in range(500)] == [f"né{i}" for i in range(500)]


def test_pymilvus_bulk_writer_client(server, bucket):
    client = make(server)
    pq.write_table(parquet_table(50), bucket / "b.parquet")
    url, key = server.rest_url, server.token
    job = bulk_import(url=url, api_key=key, collection_name="c", files=[["b.parquet"]]).json()[
        "data"
    ]["jobId"]
    server.wait_jobs()
    assert (
        get_import_progress(url=url, api_key=key, job_id=job).json()["data"]["state"] == "Completed"
    )
    records = list_import_jobs(url=url, api_key=key, collection_name="c").json()["data"]["records"]
    assert records == [{"jobId": job, "collectionName": "c", "state": "Completed", "progress": 100}]
    assert count(client) == 50
    with pytest.raises(MilvusException, match="collection not found"):
        bulk_import(url=url, api_key=key, collection_name="no", files=[["b.parquet"]])


def test_refused_at_once(server):
    make(server)
    make(server, "keyed", key=True)
    rest = Rest(server)
    one = [["b.parquet"]]
    for code, body in [
        (100, {"collectionName": "no", "files": one}),
        (200, {"collectionName": "c", "partitionName": "p", "files": one}),
        (2100, {"collectionName": "keyed", "partitionName": "p", "files": one}),
        (800, {"dbName": "x", "collectionName": "c", "files": one}),
        (1802, {"collectionName": "c", "files": None}),
        (1802, {"files": one}),
        (1100, {"collectionName": "c", "files": [[]]}),
        (2100, {"collectionName": "c", "files": one * 1025}),
        (2100, {"collectionName": "c", "files": [["a.parquet", "b.parquet"]]}),
        (2100, {"collectionName": "c", "files": [["a.txt"]]}),
        (1801, {"collectionName": "c", "files": ["b.parquet"]}),
        (1801, {"collectionName": "c", "files": one, "options": {"timeout": 3}}),
    ]:
        answer = rest("create", **body)
        assert answer["code"] == code and answer["message"] and "data" not in answer, (
            body.keys(),
            answer,
        )
    assert rest("describe", jobId="1")["code"] == 2100
    assert rest("list", collectionName="no")["code"] == 100
    assert server.jobs == []


NAN = np.full((4, DIM), np.nan, np.float32)


@pytest.mark.parametrize(
    "other, reason",
    [
        ({"name": None}, "no file for field: name"),
        ({"name": np.array(["a"])}, "imported rows are not aligned"),
        ({"vec": NAN}, "not a number or infinity"),
        ({"name": np.array(["x" * 17] * 4)}, "exceeds max_length(16)"),
        ({"id": np.arange(4, dtype=np.int32)}, "expected element type 'Int64'"),
        ({"vec": np.zeros((4, DIM + 1), np.float32)}, "expected dim '8'"),
        ({"name": np.array(["a", 1, None, "b"], dtype=object)}, "not supported"),
    ],
)
def test_bad_npy_fails_the_job_and_leaves_no_row(server, bucket, other, reason):
    client, rest = make(server), Rest(server)
    good = write_npy(bucket / "good", 4, 100)
    failed = rest.run([good, write_npy(bucket / "bad", 4, **other)])
    assert failed["state"] == "Failed" and reason in failed["reason"]
    assert (failed["progress"], failed["totalRows"], failed["details"]) == (0, 0, [])
    assert count(client) == 0


@pytest.mark.parametrize(
    "other, reason",
    [
        ({"name": None}, "field 'name' not in arrow schema"),
        (
            {
                "vec": pa.FixedSizeListArray.from_arrays(
                    pa.array(np.zeros(4 * DIM, np.float32)), DIM
                )
            },
            "type mis-match",
        ),
        ({"name": pa.array(["a"] * 4, pa.large_string())}, "type mis-match"),
        ({"name": pa.array(["é" * 9] * 4)}, "value length(18)"),
        ({"name": pa.array(["a", None, "b", "c"])}, "not nullable"),
    ],
)
def test_bad_parquet_fails_the_job(server, bucket, other, reason):
    make(server)
    pq.write_table(parquet_table(4, **other), bucket / "b.parquet")
    failed = Rest(server).run([["b.parquet"]])
    assert failed["state"] == "Failed" and reason in failed["reason"], failed


def test_missing_file_and_extra_columns(server, bucket):
    client, rest = make(server), Rest(server)
    assert "not found" in rest.run([["gone.parquet"]])["reason"]
    outside = bucket.parent / "outside.parquet"
    pq.write_table(parquet_table(4), outside)
    assert "lies outside" in rest.run([["../outside.parquet"]])["reason"]
    pq.write_table(parquet_table(4, extra=pa.array(range(4))), bucket / "b.parquet")
    assert rest.run([["b.parquet"]])["state"] == "Completed"  # ignored, as the real reader does
    assert count(client) == 4


def test_fortran_order_is_read_wrong_as_milvus_does(server, bucket):
    client = make(server)
    Rest(server).run([write_npy(bucket / "a", 4, vec=np.asfortranarray(vectors(4)))])
    got = np.array(
        [
            r["vec"]
            for r in sorted(client.query("c", "id >= 0", ["id", "vec"]), key=lambda r: r["id"])
        ],
        np.float32,
    )
    assert not np.array_equal(got, vectors(4)) and np.array_equal(
        np.sort(got.ravel()), np.sort(vectors(4).ravel())
    )


def test_a_second_import_doubles_the_counts(server, bucket):
    client, rest = make(server), Rest(server)
    files = [write_npy(bucket / "a", 100)]
    rest.run(files)
    rest.run(files)
    assert count(client) == 200 and count(client, filter="id < 10") == 20
    assert int(client.get_collection_stats("c")["row_count"]) == 200
    assert len(client.query("c", "id >= 0", ["id"], limit=1000)) == 100
    client.delete("c", ids=list(range(50)))
    assert count(client) == 100
    client.upsert("c", [{"id": 60, "vec": [0.0] * DIM, "name": "u"}])
    assert count(client) == 99
    client.drop_collection("c")
    client = make(server)
    assert count(client) == 0 and rest("list", collectionName="c")["data"]["records"] == []


def test_partitions(server, bucket):
    client, rest = make(server), Rest(server)
    client.create_partition("c", "p")
    files = [write_npy(bucket / "a", 10)]
    rest.run(files, partitionName="p")
    rest.run(files)
    assert count(client) == 20
    assert (
        count(client, partition_names=["p"]) == 10
        and count(client, partition_names=["_default"]) == 10
    )


def test_types_nulls_defaults_dynamic_auto_id(server, bucket):
    client = make(
        server,
        auto_id=True,
        dynamic=True,
        more=[
            {"field_name": "j", "datatype": DataType.JSON},
            {"field_name": "f", "datatype": DataType.DOUBLE, "nullable": True},
            {"field_name": "d", "datatype": DataType.INT32, "default_value": 7},
            {"field_name": "b", "datatype": DataType.BOOL},
            {
                "field_name": "a",
                "datatype": DataType.ARRAY,
                "element_type": DataType.INT64,
                "max_capacity": 3,
            },
            {"field_name": "s", "datatype": DataType.SPARSE_FLOAT_VECTOR},
        ],
    )
    rest = Rest(server)
    more = {
        "j": pa.array(['{"k": 1}', "[2]"]),
        "f": pa.array([None, 0.5]),
        "d": pa.array([None, 3], pa.int32()),
        "b": pa.array([True, False]),
        "a": pa.array([[1, 2], []], pa.list_(pa.int64())),
        "s": pa.array(['{"1": 0.5}', '{"indices": [3, 9], "values": [1, 2]}']),
        "$meta": pa.array(['{"x": "y"}', "{}"]),
    }
    pq.write_table(parquet_table(2, id=None, **more), bucket / "b.parquet")
    assert rest.run([["b.parquet"]])["state"] == "Completed", server.jobs
    rows = sorted(client.query("c", "id >= 0", ["*"]), key=lambda r: r["name"])
    assert [(r["j"], r["f"], r["d"], r["b"], list(r["a"])) for r in rows] == [
        ({"k": 1}, None, 7, True, [1, 2]),
        ([2], 0.5, 3, False, []),
    ]
    assert (
        rows[0]["x"] == "y"
        and rows[1]["s"] == {3: 1.0, 9: 2.0}
        and len({r["id"] for r in rows}) == 2
    )
    row = {
        "vec": [0.5] * DIM,
        "name": "n9",
        "j": {"q": 1},
        "b": True,
        "a": [1],
        "s": {"4": 1.0},
        "z": 5,
    }
    (bucket / "r.json").write_text(json.dumps({"rows": [row]}))
    assert rest.run([["r.json"]])["state"] == "Completed", server.jobs
    assert client.query("c", 'name == "n9"', ["z", "d"])[0]["z"] == 5
    pq.write_table(parquet_table(2, **more), bucket / "b.parquet")
    assert "auto-generated" in rest.run([["b.parquet"]])["reason"]


def test_partition_key_and_empty_files(server, bucket):
    client, rest = make(server, key=True), Rest(server)
    rest.run([write_npy(bucket / "a", 200)])
    assert count(client) == 200 and len(client.query("c", 'name == "né7"', ["id"])) == 1
    done = rest.run([write_npy(bucket / "e", 0, name=np.array([], "<U3"))])
    assert (done["state"], done["totalRows"]) == ("Completed", 0)


def test_states_on_the_way(server, bucket):
    make(server)
    server.delay, server.faults.hang_job = 0.0, {1: 4, 2: 25, 3: 60}
    rest, files = Rest(server), [write_npy(bucket / "a", 10)]
    jobs = [rest.create(files) for _ in range(3)]
    time.sleep(0.3)
    first, second, third = (rest("describe", jobId=j)["data"] for j in jobs)
    assert (first["state"], first["progress"], first["details"]) == ("Pending", 4, [])
    assert (second["state"], second["progress"], second["details"]) == ("Importing", 25, [])
    assert (third["state"], third["totalRows"], third["details"][0]["state"]) == (
        "Importing",
        10,
        "InProgress",
    )
    for number in (1, 2, 3):
        server.release(number)
    assert [rest.wait(j)["state"] for j in jobs] == ["Completed"] * 3


def test_injected_failure_and_forgotten_job(server, bucket):
    client, rest = make(server), Rest(server)
    server.faults.fail_job = {1: "disk full"}
    failed = rest.run([write_npy(bucket / "a", 10)])
    assert (failed["state"], failed["progress"], failed["importedRows"]) == ("Failed", 0, 0)
    assert failed["reason"].startswith("disk full") and failed["details"][0]["state"] == "Failed"
    assert count(client) == 0
    server.forget(failed["jobId"])
    assert rest("describe", jobId=failed["jobId"])["code"] == 2100


@pytest.mark.parametrize("fault", ["500_after", "429_after", "drop_after", "hang_after"])
def test_answer_lost_after_accepting(server, bucket, fault):
    client, rest = make(server), Rest(server)
    files = [write_npy(bucket / "a", 10)]
    server.faults.create = {1: fault}
    body = {"collectionName": "c", "files": files}
    try:
        assert rest.http.post(PREFIX + "create", json=body, timeout=0.5).status_code == int(
            fault[:3]
        )
    except httpx.TransportError:
        assert fault in ("drop_after", "hang_after")
    server.wait_jobs()
    assert len(server.jobs) == 1 and count(client) == 10
    rest.create(files)  # a blind retry
    server.wait_jobs()
    assert count(client) == 20


def test_faults_before_accepting_and_rate_limit(server, bucket):
    make(server)
    rest, files = Rest(server), [write_npy(bucket / "a", 10)]
    server.faults.create = {1: "500_before", 2: "drop_before", 3: "rate_limit"}
    body = {"collectionName": "c", "files": files}
    assert rest.http.post(PREFIX + "create", json=body).status_code == 500
    with pytest.raises(httpx.TransportError):
        rest.http.post(PREFIX + "create", json=body)
    assert rest("create", **body)["code"] == 8
    assert server.jobs == []
    server.faults.describe = {1: "429_before"}
    job = rest.create(files)
    assert rest.http.post(PREFIX + "describe", json={"jobId": job}).status_code == 429
    assert rest.wait(job)["state"] == "Completed"


@pytest.mark.parametrize("version, jobs", [("2.6.4", 2), ("2.6.24", 1), ("3.0.1", 2), ("3.0.2", 1)])
def test_idempotency_key_by_version(tmp_path, version, jobs):
    with RestImportServer(tmp_path, version=version) as server:
        make(server)
        rest, body = (
            Rest(server),
            {"collectionName": "c", "files": [write_npy(tmp_path / "bucket" / "a", 10)]},
        )
        ids = {
            rest("create", headers={"Idempotency-Key": "k"}, **body)["data"]["jobId"]
            for _ in range(2)
        }
        assert len(ids) == jobs == len(server.wait_jobs())
        if jobs == 1:
            assert rest("create", headers={"Idempotency-Key": "x" * 257}, **body)["code"] == 1100


def test_server_dies_in_mid_import_and_comes_back(server, bucket):
    client = make(server)
    rest, uri = Rest(server), server.rest_url
    server.faults.die_at_job = {1: 60}
    job = rest.create([write_npy(bucket / "a", 100)])
    with pytest.raises(httpx.TransportError):
        for _ in range(100):
            rest("describe", jobId=job)
            time.sleep(0.02)
    server.restart()
    assert server.rest_url == uri and Rest(server).wait(job)["state"] == "Completed"
    client = MilvusClient(uri=server.grpc_address, token=server.token)
    assert count(client) == 100


def test_a_folder_opened_again_knows_its_rows(tmp_path):
    for copies in (1, 2):
        with RestImportServer(tmp_path) as server:
            client = (
                make(server)
                if copies == 1
                else MilvusClient(uri=server.grpc_address, token=server.token)
            )
            assert (
                Rest(server).run([write_npy(tmp_path / "bucket" / "a", 10)])["state"] == "Completed"
            )
            assert count(client) == 10 * copies


def test_zilliz_that_answers_a_build_tag(tmp_path):
    with RestImportServer(
        tmp_path, zilliz=Zilliz(get_version="unknown-20260608-7ea6e3526")
    ) as server:
        client = MilvusClient(uri=server.grpc_address, token=server.token)
        assert client.get_server_version() == "unknown-20260608-7ea6e3526"
        assert client.get_server_version(detail=True)["version"].endswith("Milvus 2.6)")


def test_one_port_for_both(server, bucket):
    make(server)
    client = MilvusClient(uri=server.uri, token=server.token)
    write_npy(bucket / "a", 10)
    headers = {"Authorization": f"Bearer {server.token}"}
    files = [["a/id.npy", "a/vec.npy", "a/name.npy"]]
    assert (
        httpx.post(
            server.uri + PREFIX + "create",
            json={"collectionName": "c", "files": files},
            headers=headers,
        ).json()["code"]
        == 0
    )
    server.wait_jobs()
    assert count(client) == 10


def cloud_server(tmp_path, storage, **more) -> RestImportServer:
    return RestImportServer(
        tmp_path / "cloud",
        zilliz=Zilliz(
            buckets={"stage": storage}, access_key="ak", secret_key="sk", session_token="st", **more
        ),
    )


def test_zilliz_cloud(tmp_path):
    stage = tmp_path / "stage"
    (stage / "d").mkdir(parents=True)
    pq.write_table(parquet_table(20), stage / "d" / "1.parquet")
    pq.write_table(parquet_table(30, 20), stage / "d" / "2.parquet")
    storage = LocalStorage(str(stage))
    with cloud_server(tmp_path, storage, volumes={"vol": storage}) as server:
        client = make(server)
        assert client.get_server_version().startswith(
            "Zilliz Cloud Vector Database(Compatible with Milvus 2.6)"
        )
        base = {
            "url": server.rest_url,
            "api_key": server.token,
            "cluster_id": server.zilliz.cluster_id,
        }
        keys = {"access_key": "ak", "secret_key": "sk", "token": "st"}
        job = bulk_import(
            **base,
            **keys,
            collection_name="c",
            object_urls=[
                ["s3://stage/d/1.parquet"],
                ["https://s3.us-west-2.amazonaws.com/stage/d/2.parquet"],
            ],
        )
        job = job.json()["data"]["jobId"]
        assert job.startswith("job-")
        server.wait_jobs()
        data = get_import_progress(**base, job_id=job).json()["data"]
        assert (data["state"], data["totalRows"], data["reason"]) == ("Completed", 50, "")
        assert [d["fileName"] for d in data["details"]] == ["d/1.parquet", "d/2.parquet"]
        assert count(client) == 50
        server.restart()  # the copies are known again from what Lite kept
        client = MilvusClient(uri=server.grpc_address, token=server.token)
        assert count(client) == 50
        bulk_import(**base, collection_name="c", volume_name="vol", data_paths=[["d/"]])
        server.wait_jobs()
        assert count(client) == 100
        for _ in range(10):
            bulk_import(**base, **keys, collection_name="c", object_urls=[["s3://stage/d/"]])
        server.wait_jobs()
        pages = [
            list_import_jobs(**base, page_size=5, current_page=p).json()["data"]
            for p in (1, 2, 3, 4)
        ]
        assert [len(p["records"]) for p in pages] == [5, 5, 2, 0] and pages[0]["count"] == 12
        assert set(pages[0]["records"][0]) == {"collectionName", "jobId", "state"}
        urls = [["s3://stage/d/1.parquet"]]
        for bad in (
            {"api_key": "no"},
            {"cluster_id": "in99"},
            {"secret_key": "no"},
            {"token": ""},
            {"object_urls": [["s3://other/x.parquet"]]},
        ):
            with pytest.raises(MilvusException) as err:
                bulk_import(**{**base, **keys, "collection_name": "c", "object_urls": urls, **bad})
            assert "api_key" not in bad or "21119" in str(err.value)


def test_s3_bucket(tmp_path, s3_server):
    s3_server.make_bucket("emulator")
    storage = S3Storage(
        s3_server.endpoint_url, "emulator", s3_server.access_key, s3_server.secret_key
    )
    with storage.fs.open_output_stream("emulator/m/b.parquet") as out:
        pq.write_table(parquet_table(25), out)
    with RestImportServer(tmp_path / "base", storage=storage) as server:
        client, rest = make(server), Rest(server)
        assert rest.run([["m/b.parquet"]])["state"] == "Completed", server.jobs
        assert "key does not exist" in rest.run([["m/none.parquet"]])["reason"]
        assert count(client) == 25 and storage.list("m/") == ["m/b.parquet"]


def test_absolute_paths_below_the_data_dir(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    pq.write_table(parquet_table(5), data / "b.parquet")
    with RestImportServer(tmp_path / "base", data_dir=str(data)) as server:
        make(server)
        assert Rest(server).run([[str(data / "b.parquet")]])["state"] == "Completed"


def test_as_a_process(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.emulators.rest_import", "--base-dir", str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    try:
        told = json.loads(process.stdout.readline())
        client = MilvusClient(uri=told["uri"], token=told["token"])
        assert client.get_server_version() == "2.6.4"
    finally:
        process.terminate()
        assert process.wait(20) == 0
