"""The import emulator when answers are lost, jobs fail, and the server goes away."""

from __future__ import annotations

import time

import httpx
import pytest
from pymilvus import MilvusClient

from tests.emulators.rest_client import (
    PREFIX,
    Rest,
    count,
    make,
    write_npy,
)
from tests.emulators.rest_import import RestImportServer


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
