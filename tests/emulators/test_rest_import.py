"""Tests of the import emulator itself, through its sockets: httpx and pymilvus."""

from __future__ import annotations

import json

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pymilvus import DataType, MilvusClient
from pymilvus.exceptions import MilvusException

from tests.emulators.rest_client import (
    DIM,
    PREFIX,
    Rest,
    bulk_import,
    count,
    get_import_progress,
    list_import_jobs,
    make,
    parquet_table,
    vectors,
    write_npy,
)
from tests.emulators.rest_import import RestImportServer


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
