"""Whole migrations by REST import jobs, into the emulator of Milvus 2.6 and Zilliz Cloud.

No server from 2.4 on can run here: the emulator shows that the engine keeps to the public contract
(see `tests.emulators.rest_import`). Its `count(*)` doubles where a server's would.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr
from pymilvus import MilvusClient

from airlift.connections import MilvusConnection
from airlift.errors import AirliftError, Refused
from airlift.progress import TaskProgress
from airlift.run import run
from airlift.sources.milvus1x.source import Milvus1xSource
from airlift.steps.import_chunks import BatchImport
from airlift.targets import rest_import
from airlift.targets.base import JobState
from airlift.targets.running_imports import wait_for_imports
from localservers import S3Server
from localservers.ports import free_port, wait_until
from samples.milvus1x_tables import TableSpec
from tests.emulators.rest_import import RestImportServer, S3Storage, Zilliz
from tests.paths.place import KnownConnections, Place, bucket_of, up_to_import
from tests.paths.truth import assert_holds, count

SONGS = TableSpec(
    "songs", 600, dim=16, segments=3, deleted_fraction=0.05, partitions={"rock": 150}, seed=3
)
LIVE = 570 + 144
SMALL = TableSpec("songs", 500, dim=16, segments=2, deleted_fraction=0.1, seed=4)
CHUNKED = {"chunk_mb": 1}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Chunks of 16 KB instead of 1 MB: Milvus Lite, inside the emulator, is slow."""
    cut = Milvus1xSource.cut
    monkeypatch.setattr(Milvus1xSource, "cut", lambda self, one, size: cut(self, one, size // 64))


@contextmanager
def place_on(
    server: RestImportServer, folder: Path, staging_url: str, s3: S3Server | None = None
) -> Iterator[Place]:
    target = MilvusConnection(
        uri=server.grpc_address,
        rest_uri=server.rest_url,
        token=SecretStr(server.token or ""),
        cluster_id=server.zilliz.cluster_id if server.zilliz else "",
    )
    connections = KnownConnections({"milvus_default": target})
    client = MilvusClient(uri=server.grpc_address, token=server.token, dedicated=True)
    place = Place(folder, staging_url, client, connections)
    place.defaults["write_mode"] = "bulk_insert"
    if s3:
        connections.buckets["store"] = bucket_of(s3)
        place.defaults["staging_conn_id"] = "store"
    try:
        yield place
    finally:
        client.close()


@pytest.fixture(params=["2.6.4", "2.6.24"], ids=["without keys", "with idempotency keys"])
def server(request, tmp_path: Path) -> Iterator[RestImportServer]:
    with RestImportServer(tmp_path / "server", version=request.param) as server:
        yield server


@pytest.fixture
def place(server: RestImportServer, tmp_path: Path) -> Iterator[Place]:
    bucket = tmp_path / "server" / "bucket" / "staging area"
    with place_on(server, tmp_path / "source", str(bucket)) as place:
        yield place


@pytest.fixture
def cloud(tmp_path: Path, s3_server: S3Server) -> Iterator[tuple[RestImportServer, Place]]:
    s3_server.make_bucket("cloud-staging")
    storage = S3Storage(
        s3_server.endpoint_url, "cloud-staging", s3_server.access_key, s3_server.secret_key
    )
    zilliz = Zilliz(
        buckets={"cloud-staging": storage},
        access_key=s3_server.access_key,
        secret_key=s3_server.secret_key,
        session_token="",
    )
    with RestImportServer(tmp_path / "server", zilliz=zilliz) as server:
        url = f"s3://cloud-staging/{tmp_path.name}/x"
        with place_on(server, tmp_path / "source", url, s3_server) as place:
            yield server, place


def only(report: dict[str, Any]) -> dict[str, Any]:
    [collection] = report["collections"]
    return collection


def own_jobs(server: RestImportServer) -> list[Any]:
    """The jobs for rows: without the probes of the step `check`."""
    return [job for job in server.jobs if not job.collection.startswith("airlift_probe")]


# --- whole migrations ------------------------------------------------------------------------


@pytest.mark.parametrize("file_format", ["numpy", "parquet"])
def test_into_milvus_that_stores_locally(server, place, file_format):
    truth = place.write(SONGS)
    report = place.run(**CHUNKED, file_format=file_format, verify="full")
    assert only(report)["way"] == "rest_import" and report["target"].startswith("Milvus 2.6")
    assert only(report)["chunks"] == 4
    assert only(report)["rows_counted"] == LIVE == only(report)["rows_imported"]
    assert_holds(place.client, "songs", truth["songs"])
    assert count(place.client, "songs", "rock") == 144
    assert sorted(job.partition for job in own_jobs(server)) == ["_default"] * 3 + ["rock"]
    assert all(job.database == "default" for job in own_jobs(server))


def test_into_milvus_that_stores_in_a_bucket(tmp_path, s3_server):
    s3_server.make_bucket("milvus-26")
    storage = S3Storage(
        s3_server.endpoint_url, "milvus-26", s3_server.access_key, s3_server.secret_key
    )
    with (
        RestImportServer(tmp_path / "server", storage=storage) as server,
        place_on(server, tmp_path / "source", "s3://milvus-26/a/b", s3_server) as place,
    ):
        truth = place.write(SONGS)
        report = place.run(**CHUNKED)
        assert only(report)["rows_counted"] == LIVE
        assert_holds(place.client, "songs", truth["songs"])
        assert all(
            path.startswith(f"a/b/{place.migration_id}/songs/")
            for job in own_jobs(server)
            for group in job.files
            for path in group
        )


def test_into_zilliz_cloud(cloud, s3_server):
    server, place = cloud
    truth = place.write(SONGS)
    report = place.run(**CHUNKED)
    assert report["target"].startswith("Zilliz Cloud (Milvus 2.6) at ")
    assert only(report)["way"] == "rest_import"
    assert only(report)["rows_counted"] == LIVE
    assert_holds(place.client, "songs", truth["songs"])
    creates = [one for one in server.requests if one["path"].endswith("/create")]
    assert len(creates) == 5  # the probe, and a job for each chunk
    for one in creates:
        assert one["body"]["clusterId"] == server.zilliz.cluster_id
        assert one["body"]["accessKey"] == s3_server.access_key
        [group] = one["body"]["objectUrls"]
        assert all(url.startswith("s3://cloud-staging/") for url in group)


def test_into_another_database(server, place):
    truth = place.write(SMALL)
    report = place.run(target_database="music")
    assert only(report)["rows_counted"] == 450 and only(report)["target"] == "music.songs"
    assert [job.database for job in own_jobs(server)] == ["music"]
    place.client.use_database("music")
    assert_holds(place.client, "songs", truth["songs"])


def test_secrets_of_the_bucket_stay_out_of_staging(cloud, s3_server):
    server, place = cloud
    place.write(SMALL)
    place.run(keep_staging=True)
    with place.migration() as migration:
        folder = migration.staging.folder
        for path, size in folder.list(recursive=True).items():
            if size and path.endswith((".json", ".html")):
                text = folder.read_bytes(path).decode()
                assert s3_server.secret_key not in text and server.token not in text, path


# --- nothing is doubled and nothing is lost --------------------------------------------------

FAULTS = [
    "500_before",
    "429_before",
    "drop_before",
    "rate_limit",
    "500_after",
    "429_after",
    "drop_after",
]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_lost_answer_to_a_submission_is_got_over(server, place, fault):
    truth = place.write(SONGS)
    server.faults.create[3] = fault  # 1 is the probe
    server.delay = 0.3  # so that new jobs don't tell their files at once
    report = place.run(**CHUNKED)
    assert only(report)["rows_counted"] == LIVE
    assert_holds(place.client, "songs", truth["songs"])
    assert len(own_jobs(server)) == 4


@pytest.mark.parametrize("fault", ["drop_after", "429_after", "500_before"])
def test_a_lost_answer_of_zilliz_cloud_is_got_over(cloud, fault):
    server, place = cloud
    place.write(SONGS)
    server.faults.create[2] = fault
    assert only(place.run(**CHUNKED))["rows_counted"] == LIVE
    assert len(own_jobs(server)) == 4


def test_an_answer_that_never_comes_is_got_over(server, place):
    truth = place.write(SMALL)
    server.faults.create[2] = "hang_after"
    target = place.connections.servers["milvus_default"]
    place.connections.servers["milvus_default"] = target.model_copy(update={"timeout": 2.0})
    assert only(place.run())["rows_counted"] == 450
    assert_holds(place.client, "songs", truth["songs"])
    assert len(own_jobs(server)) == 1


@pytest.mark.parametrize("fault", FAULTS)
def test_lost_answers_to_questions_are_got_over(server, place, fault):
    place.write(SMALL)
    server.faults.describe = dict.fromkeys((2, 3, 5), fault)
    server.faults.list = {1: fault}
    assert only(place.run())["rows_counted"] == 450
    assert len(own_jobs(server)) == 1


def test_a_server_full_of_unfinished_jobs_is_waited_for(server, place, monkeypatch):
    """Milvus refuses more than 1,024 unfinished jobs, here more than one."""
    truth = place.write(SONGS)
    monkeypatch.setattr("tests.emulators.rest_import.contract.MAX_JOBS", 1)
    report = place.run(**CHUNKED, verify="full")
    assert only(report)["chunks"] == len(own_jobs(server)) == 4
    assert_holds(place.client, "songs", truth["songs"])


def test_a_server_that_stays_full_is_told(server, place, monkeypatch):
    truth = place.write(SONGS)
    monkeypatch.setattr("tests.emulators.rest_import.contract.MAX_JOBS", 1)
    server.faults.hang_job = {2: 50}
    with monkeypatch.context() as patch:
        patch.setattr(rest_import, "_FULL_SECONDS", 1.0)
        with pytest.raises(AirliftError, match=r"takes no import job .* have not ended yet"):
            place.run(**CHUNKED)
    server.release(2)
    place.run(**CHUNKED, verify="full")
    assert len(own_jobs(server)) == 4
    assert_holds(place.client, "songs", truth["songs"])


@pytest.mark.parametrize("fault", ["drop_after", "500_after"])
def test_a_job_whose_submitter_gave_up_is_adopted_by_the_next_run(
    server, place, fault, monkeypatch
):
    truth = place.write(SONGS)
    server.faults.create[3] = fault
    with monkeypatch.context() as patch:
        patch.setattr(rest_import, "_ATTEMPTS", 1)
        with pytest.raises(AirliftError, match="clear the task: a job that was accepted is found"):
            place.run(**CHUNKED)
    assert len(own_jobs(server)) == 2
    report = place.run(**CHUNKED)
    assert only(report)["rows_counted"] == LIVE
    # Of the two jobs one was written down, the other had to be found.
    assert only(report)["jobs_adopted"] == 1
    assert_holds(place.client, "songs", truth["songs"])
    assert len(own_jobs(server)) == 4


def test_on_zilliz_cloud_it_is_adopted_too(cloud, monkeypatch):
    server, place = cloud
    place.write(SMALL)
    server.faults.create[2] = "drop_after"
    with monkeypatch.context() as patch:
        patch.setattr(rest_import, "_ATTEMPTS", 1)
        with pytest.raises(AirliftError, match="is found again"):
            place.run()
    report = place.run()
    assert (only(report)["rows_counted"], only(report)["jobs_adopted"]) == (450, 1)
    assert len(own_jobs(server)) == 1


def test_running_again_after_success_sends_nothing(server, place):
    place.write(SMALL)
    place.run()
    again = place.run()
    assert only(again)["rows_counted"] == 450 and len(own_jobs(server)) == 1


# --- jobs that fail, hang or are forgotten ---------------------------------------------------


def test_a_failed_job_is_named_with_its_reason_and_can_be_repeated(server, place):
    truth = place.write(SONGS)
    server.faults.fail_job = {3: "the quota of the disk is used up"}
    with pytest.raises(AirliftError) as error:
        place.run(**CHUNKED)
    failed = own_jobs(server)[1]
    said = str(error.value)
    assert f"import job {failed.job_id} failed: the quota of the disk is used up" in said
    assert "collection 'songs', chunk 000001-" in said and "clear the task" in said
    report = place.run(**CHUNKED)
    assert only(report)["rows_counted"] == LIVE
    assert_holds(place.client, "songs", truth["songs"])
    assert len(own_jobs(server)) == 5  # the three that went well were not sent again
    sent = [one for one in server.requests if one["path"].endswith("/create")]
    keys = [one["headers"]["Idempotency-Key"] for one in sent if "songs" in str(one["body"])]
    first, again = [key for key in keys if "-000001-" in key]
    assert first.endswith("-0") and again == first[:-1] + "1"
    assert len(set(keys)) == 5 and all(len(key) <= 256 for key in keys)


def test_a_job_that_hangs_is_running_until_it_goes_on(server, place):
    place.write(SMALL)
    server.faults.hang_job = {2: 60}
    with up_to_import(place) as migration:
        batch = BatchImport(migration, 0)
        batch.submit()
        assert batch.finish() == 1
        again = BatchImport(migration, 0)  # as after a worker that was lost
        again.submit()
        [(_, job)] = list(again.poll())
        assert job.state is JobState.RUNNING and job.files
        assert again.finish() == 1
        server.release(2)
        server.wait_jobs()
        assert again.finish() == 0 == BatchImport(migration, 0).finish()
    assert len(own_jobs(server)) == 1


def test_appending_waits_for_the_imports_of_others(server, place, monkeypatch):
    """A run that was stopped leaves jobs: the rows they bring are there before ours are added."""
    for number, name in enumerate(("first", "second", "third")):
        place.folder = place.folder.parent / name
        place.write(replace(SMALL, ids=np.arange(500) + 1_000 * number))
    place.run(**place.kind.params(place.folder.parent / "first"))
    second = place.kind.params(place.folder.parent / "second")
    server.faults.hang_job = {4: 60}  # after two probes and the first import
    with up_to_import(place, **second, if_exists="append", migration_id="second") as stopped:
        BatchImport(stopped, 0).submit()
    with monkeypatch.context() as patch, pytest.raises(AirliftError, match="still imports into"):
        patch.setattr("airlift.targets.running_imports._SECONDS", 0.5)
        place.run(if_exists="append", migration_id="third")
    server.release(4)
    report = place.run(if_exists="append", migration_id="third")
    assert only(report)["rows_imported"] == 450
    assert count(place.client, "songs") == 3 * 450


def test_a_server_that_stops_telling_of_running_imports_is_not_taken_for_idle(
    server, place, monkeypatch
):
    monkeypatch.setattr(rest_import, "_ATTEMPTS", 2)
    place.write(SMALL)
    server.faults.hang_job = {2: 60}  # after the probe
    with up_to_import(place) as migration:
        BatchImport(migration, 0).submit()
        asked = sum(request["path"].endswith("/list") for request in server.requests)
        # The first question is answered, none after it is.
        server.faults.list = dict.fromkeys(range(asked + 2, asked + 20), "500_before")
        said = f"asked any more: {server.rest_url}/v2/.*/list failed.* clear the task create"
        with pytest.raises(AirliftError, match=said):
            wait_for_imports(migration.server, "songs", migration.staging.folder, "create")
    server.release(2)


def test_chunks_whose_jobs_have_ended_are_told_to_be_there_before_the_others(server, place):
    place.write(SONGS)
    server.faults.hang_job = {5: 60}  # the last of four, after the probe
    with up_to_import(place, **CHUNKED) as migration:
        BatchImport(migration, 0).submit()
        wait_until(
            lambda: sum(job.done for job in own_jobs(server)) == 3, 60, lambda: "they don't end"
        )
        seen = []
        for _ in range(2):
            BatchImport(migration, 0).poll()
            told = migration.staging.read("progress/bulk_insert-00000.json", TaskProgress)
            seen.append([one for one in told.chunks if one.done])
        assert len(seen[0]) == 3 and seen[0] == seen[1]  # also when it was
        [rest] = [one for one in told.chunks if not one.done]
        assert 0 < rest.rows < rest.read + 1
        server.release(5)
        server.wait_jobs()
        assert BatchImport(migration, 0).finish() == 0


@pytest.mark.parametrize("percent", [5, 20])
def test_a_job_that_does_not_tell_its_files_yet_is_waited_for(server, place, percent):
    """It could be the one whose answer was lost."""
    place.write(SMALL)
    server.faults.create[2] = "drop_after"
    server.faults.hang_job = {2: percent}
    timer = threading.Timer(2, server.release, [2])
    timer.start()
    try:
        assert only(place.run())["rows_counted"] == 450
    finally:
        timer.join()
    assert len(own_jobs(server)) == 1


def test_a_job_that_the_server_forgot_is_not_sent_again(server, place):
    place.write(SMALL)
    with up_to_import(place) as migration:
        batch = BatchImport(migration, 0)
        batch.submit()
        [job] = [job for job in server.wait_jobs() if job.collection == "songs"]
        server.forget(job.job_id)
        with pytest.raises(
            AirliftError, match=f"does not know the import job {job.job_id} any more"
        ):
            batch.finish()
        with pytest.raises(AirliftError, match="so it can't be known whether its rows are in"):
            BatchImport(migration, 0).submit()
        assert own_jobs(server) == []
        # What it says helps: without the collection nothing is in doubt.
        migration.server.drop("songs")
    report = place.run()
    assert only(report)["rows_counted"] == 450 and len(own_jobs(server)) == 1


def test_a_server_that_goes_away_in_the_middle(server, place):
    truth = place.write(SMALL)
    server.faults.die_at_job = {2: 50}
    target = place.connections.servers["milvus_default"]
    place.connections.servers["milvus_default"] = target.model_copy(update={"timeout": 5.0})

    def bring_back() -> None:
        while server.running:
            stop.wait(0.05)
        server.restart()

    stop = threading.Event()
    helper = threading.Thread(target=bring_back)
    helper.start()
    try:
        report = _until_it_works(place.run)
    finally:
        helper.join()
    assert only(report)["rows_counted"] == 450
    assert_holds(place.client, "songs", truth["songs"])
    assert len(own_jobs(server)) == 1


def _until_it_works(go: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """As Airflow's retries do."""
    for _ in range(5):
        try:
            return go()
        except AirliftError as error:
            last = error
    raise last


# --- what is refused before anything is written ----------------------------------------------


def test_staging_that_the_server_cannot_read(tmp_path, s3_server):
    s3_server.make_bucket("milvus-26")
    storage = S3Storage(
        s3_server.endpoint_url, "milvus-26", s3_server.access_key, s3_server.secret_key
    )
    with (
        RestImportServer(tmp_path / "server", storage=storage) as server,
        place_on(server, tmp_path / "source", str(tmp_path / "elsewhere")) as place,
    ):
        place.write(SMALL)
        with pytest.raises(Refused, match="it can't read the staging folder"):
            place.run()
        assert place.client.list_collections() == []


@pytest.mark.parametrize("wrong", ["closed", "grpc", "login", "path"])
def test_a_rest_address_that_is_wrong(server, place, wrong, monkeypatch):
    monkeypatch.setattr(rest_import, "_ATTEMPTS", 2)
    changes, said = {
        "closed": ({"rest_uri": f"http://127.0.0.1:{free_port()}"}, "check the connection's REST"),
        "grpc": ({"rest_uri": server.grpc_address}, "check the connection's REST address"),
        "path": ({"rest_uri": f"{server.rest_url}/x"}, "check the connection's REST address"),
        "login": ({"user": "root", "password": SecretStr("hush")}, "refused the login"),
    }[wrong]
    place.write(SMALL)
    target = place.connections.servers["milvus_default"].model_copy(update=changes)
    place.connections.servers["milvus_default"] = target
    if wrong == "login":
        # gRPC would refuse it first, so this speaks to the REST side alone.
        monkeypatch.setattr(rest_import, "_token", lambda connection: "root:hush")
    with pytest.raises(Refused, match=said) as error:
        place.run()
    assert "hush" not in str(error.value)
    assert place.client.list_collections() == []


def test_zilliz_cloud_cannot_read_a_disk(cloud, tmp_path):
    _, place = cloud
    place.write(SMALL)
    with pytest.raises(Refused, match="Zilliz Cloud can't read .*: stage in a bucket"):
        place.run(staging_url=str(tmp_path / "local"), staging_conn_id="")


def test_zilliz_cloud_refuses_wrong_keys_of_the_bucket(cloud):
    server, place = cloud
    place.write(SMALL)
    server.zilliz.secret_key = "another"
    with pytest.raises(Refused, match="The bucket refused the credentials"):
        place.run()
    assert place.client.list_collections() == []


@pytest.mark.parametrize(
    ("told", "files"),
    [
        ("[p/m/c/1/id.npy p/m/c/1/v.npy]", {"p/m/c/1/id.npy", "p/m/c/1/v.npy"}),
        ("p/m/c/1/id.npy,p/m/c/1/v.npy", {"p/m/c/1/id.npy", "p/m/c/1/v.npy"}),
        ("[p/m/c/1/data.parquet]", {"p/m/c/1/data.parquet"}),
        ("[/a b,c/1/id.npy /a b,c/1/v.npy]", {"/a b,c/1/id.npy", "/a b,c/1/v.npy"}),
        ("", set()),
        ("[]", set()),
    ],
)
def test_file_names_are_read_however_they_are_told(server, place, told, files):
    with place.migration() as migration:
        way = rest_import.RestImport(migration.server, migration.staging.folder)
        job = way._job("1", {"state": "Importing", "details": [{"fileName": told}]})
    assert job.files == files and job.state is JobState.RUNNING


@pytest.mark.parametrize(
    "told",
    [
        "{key}",
        "/{key}",
        "{bucket}/{key}",
        "s3://{bucket}/{key}",
        "s3a://{bucket}/{key}",
        "https://s3.us-east-1.amazonaws.com/{bucket}/{key}",
        "https://{bucket}.s3.amazonaws.com/{key}",
    ],
)
def test_on_zilliz_cloud_too(cloud, told):
    _, place = cloud
    with place.migration() as migration:
        way = rest_import.RestImport(migration.server, migration.staging.folder)
        name = way.file_name("c/1/id.npy")
        key = migration.staging.folder.key("c/1/id.npy")
        text = told.format(key=key, bucket="cloud-staging")
        job = way._job("1", {"details": [{"fileName": f"{text},{text}"}]})
    assert name in job.files


def test_a_run_leaves_no_thread_behind(server, place):
    place.write(SMALL)
    with place.migration() as migration:
        run(migration)
    assert not [thread for thread in threading.enumerate() if thread.name == "write-behind"]
