"""The import emulator as Zilliz Cloud, on one port, on other storage, and as a process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import httpx
import pyarrow.parquet as pq
import pytest
from pydantic import SecretStr
from pymilvus import MilvusClient
from pymilvus.exceptions import MilvusException

from airlift.connections import MilvusConnection
from airlift.milvus.client import server_version
from tests.emulators.rest_client import (
    PREFIX,
    Rest,
    bulk_import,
    count,
    get_import_progress,
    list_import_jobs,
    make,
    parquet_table,
    write_npy,
)
from tests.emulators.rest_import import LocalStorage, RestImportServer, S3Storage, Zilliz


def test_zilliz_that_answers_a_build_tag(tmp_path):
    with RestImportServer(
        tmp_path, zilliz=Zilliz(get_version="unknown-20260608-7ea6e3526")
    ) as server:
        client = MilvusClient(uri=server.grpc_address, token=server.token)
        assert client.get_server_version() == "unknown-20260608-7ea6e3526"
        assert client.get_server_version(detail=True)["version"].endswith("Milvus 2.6)")
        connection = MilvusConnection(uri=server.grpc_address, token=SecretStr(server.token))
        assert server_version(client, connection).name == "Zilliz Cloud (Milvus 2.6)"


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
