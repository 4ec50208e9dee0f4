"""What import calls are refused with, by code and by HTTP status, and jobs that name no files.

The emulator's answers are changed on the way into those that Milvus 2.6.19 and later give, and 3.x
with `proxy.http.standardErrorStatus`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from airlift.errors import AirliftError
from airlift.staging import Staging
from airlift.steps import unrecorded_jobs
from airlift.steps.import_chunks import BatchImport
from airlift.targets import rest_import
from localservers import S3Server
from tests.emulators.rest_import import RestImportServer, S3Storage, Zilliz
from tests.http_proxy import Answer, HttpProxy, Request
from tests.paths.place import Place, up_to_import
from tests.paths.test_rest_import import CHUNKED, LIVE, SMALL, SONGS, only, own_jobs, place_on
from tests.paths.test_rest_import import small_chunks as small_chunks
from tests.paths.truth import assert_holds, count


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RestImportServer]:
    with RestImportServer(tmp_path / "server") as server:
        yield server


@pytest.fixture
def proxy(server: RestImportServer) -> Iterator[HttpProxy]:
    with HttpProxy(server.rest_url) as proxy:
        yield proxy


@pytest.fixture
def place(server: RestImportServer, proxy: HttpProxy, tmp_path: Path) -> Iterator[Place]:
    bucket = tmp_path / "server" / "bucket" / "staging area"
    with place_on(server, tmp_path / "source", str(bucket)) as place:
        target = place.connections.servers["milvus_default"]
        place.connections.servers["milvus_default"] = target.model_copy(
            update={"rest_uri": proxy.url}
        )
        yield place


# As `errToHTTPStatus` of Milvus 3.x has it for a request that changes something.
STATUSES = {100: 400, 200: 500, 800: 400, 1100: 400, 1800: 401, 1801: 400, 1807: 429, 2100: 400}


def as_newer(real_statuses: bool) -> Callable[[Request, Answer], Answer]:
    """The answer as a newer server would have given it."""

    def change(request: Request, answer: Answer) -> Answer:
        value = json.loads(answer.body)
        if "job does not exist" in str(value) or "reached the limit" in str(value):
            value["code"] = 2101
            value["message"] = value["message"].replace("data failed", "data failed on server side")
        if value["code"] == 8:
            value = {"code": 1807, "message": "request is rejected by limiter"}
        status = answer.status
        if real_statuses and value["code"] != 0:
            status = STATUSES.get(value["code"], 500)
        return Answer(status, json.dumps(value).encode(), answer.headers)

    return change


@pytest.fixture(params=[False, True], ids=["HTTP 200", "real statuses"])
def newer(request: pytest.FixtureRequest, proxy: HttpProxy) -> None:
    proxy.change = as_newer(request.param)


@pytest.mark.usefixtures("newer")
@pytest.mark.parametrize("call", ["create", "describe", "list"])
def test_the_rate_limit_of_rest_itself_is_waited_for(
    server: RestImportServer, place: Place, call: str
) -> None:
    truth = place.write(SMALL)
    setattr(server.faults, call, dict.fromkeys((1, 3), "rate_limit"))
    assert only(place.run())["rows_counted"] == 450
    assert len(own_jobs(server)) == 1
    assert_holds(place.client, "songs", truth["songs"])


@pytest.mark.usefixtures("newer")
def test_a_rate_limit_that_stays_is_told(
    server: RestImportServer, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest_import, "_ATTEMPTS", 2)
    place.write(SMALL)
    server.faults.create = {2: "rate_limit", 3: "rate_limit"}
    with pytest.raises(AirliftError) as error:
        place.run()
    assert "rejected by limiter; wait until it is ready, run fewer tasks at once" in str(
        error.value
    )
    assert only(place.run())["rows_counted"] == 450


@pytest.mark.usefixtures("newer")
def test_a_forgotten_job_is_told(server: RestImportServer, place: Place) -> None:
    place.write(SMALL)
    with up_to_import(place) as migration:
        batch = BatchImport(migration, 0)
        batch.submit()
        [job] = [job for job in server.wait_jobs() if job.collection == "songs"]
        server.forget(job.job_id)
        with pytest.raises(AirliftError, match=f"not know the import job {job.job_id} any more"):
            batch.finish()
        with pytest.raises(AirliftError, match="so it can't be known whether its rows are in"):
            BatchImport(migration, 0).submit()
    assert own_jobs(server) == []


@pytest.mark.usefixtures("newer")
def test_a_full_server_is_waited_for(
    server: RestImportServer, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = place.write(SONGS)
    monkeypatch.setattr("tests.emulators.rest_import.contract.MAX_JOBS", 1)
    assert only(place.run(**CHUNKED))["chunks"] == len(own_jobs(server)) == 4
    assert_holds(place.client, "songs", truth["songs"])


@pytest.mark.usefixtures("newer")
@pytest.mark.parametrize("gone", ["partition", "collection", "database"])
def test_what_is_not_there_any_more_is_named(
    server: RestImportServer, place: Place, gone: str
) -> None:
    """And doing what is advised helps."""
    place.write(SONGS)
    params = {**CHUNKED, "target_database": "music"}
    with up_to_import(place, **params) as migration:
        client = migration.database("music").client
        if gone == "partition":
            client.drop_partition("songs", "rock")
        else:
            client.drop_collection("songs")
        if gone == "database":
            client.drop_database("music")
        with pytest.raises(AirliftError) as error:
            BatchImport(migration, 0).submit()
    assert f"{gone}" in str(error.value)
    advice = "check target_database" if gone == "database" else "clear the task create, which makes"
    assert advice in str(error.value)
    assert only(place.run(**params))["rows_counted"] == LIVE


# --- jobs that name no files -----------------------------------------------------------------


def empty_job(server: RestImportServer, place: Place, **more: Any) -> str:
    """Somebody imports a file without rows; for good, real servers name no file of such a job."""
    folder = Path(server.storage.root) / "theirs"
    folder.mkdir(exist_ok=True)
    np.save(folder / "id.npy", np.zeros(0, np.int64))
    np.save(folder / "vector.npy", np.zeros((0, 16), np.float32))
    body = {"collectionName": "songs", "files": [["theirs/id.npy", "theirs/vector.npy"]], **more}
    return ended_silently(server, body)


def ended_silently(server: RestImportServer, body: dict[str, Any]) -> str:
    answer = httpx.post(
        f"{server.rest_url}/v2/vectordb/jobs/import/create",
        json=body,
        headers={"Authorization": f"Bearer {server.token}"},
    ).json()
    [job] = [job for job in server.wait_jobs() if job.job_id == answer["data"]["jobId"]]
    assert (job.state, job.total_rows) == ("Completed", 0), job
    job.details_visible = False
    return str(job.job_id)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten minutes are over soon."""
    monkeypatch.setattr(unrecorded_jobs, "_NAMES_FILES_SECONDS", 1.0)
    monkeypatch.setattr(rest_import, "_TELLS_FILES_SECONDS", 1.0)


def killed(*_: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("times", [1, 3])
def test_an_empty_import_of_somebody_does_not_stop_resuming(
    server: RestImportServer, place: Place, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = place.write(SONGS)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Staging, "write_import_record", killed)
        place.run(**CHUNKED)
    for _ in range(times):
        empty_job(server, place)
    report = place.run(**CHUNKED)
    assert (only(report)["rows_counted"], only(report)["jobs_adopted"]) == (LIVE, 1)
    assert_holds(place.client, "songs", truth["songs"])


@pytest.mark.usefixtures("impatient")
def test_nor_does_it_stop_looking_for_a_job_whose_answer_was_lost(
    server: RestImportServer, place: Place
) -> None:
    truth = place.write(SMALL)
    with up_to_import(place) as migration:
        empty_job(server, place)
        server.faults.create[3] = "drop_after"  # after the probe's and theirs
        batch = BatchImport(migration, 0)
        batch.submit()
        server.wait_jobs()
        assert batch.finish() == 0
    assert only(place.run())["rows_counted"] == 450
    assert_holds(place.client, "songs", truth["songs"])


@pytest.mark.usefixtures("impatient")
def test_an_empty_import_into_a_collection_that_is_appended_to(
    server: RestImportServer, place: Place
) -> None:
    place.write(SMALL)
    place.run(migration_id="first")
    empty_job(server, place)
    report = place.run(migration_id="second", if_exists="append")
    assert only(report)["rows_imported"] == 0 and count(place.client, "songs") == 450


@pytest.mark.usefixtures("impatient")
def test_our_own_job_that_took_no_row_is_sent_again_or_told(
    server: RestImportServer, place: Place
) -> None:
    """As 2.5.27 does with NaN in npy files: Completed, 0 rows, no file named."""
    truth = place.write(SMALL)
    with up_to_import(place) as migration:
        batch = BatchImport(migration, 0)
        [ours] = batch.submit()
        [job] = [job for job in server.wait_jobs() if job.job_id == ours]
        taken = (job.total_rows, job.imported_rows)
        job.total_rows = job.imported_rows = 0
        job.details_visible = False
        # Where it is recorded, it is told; where it is not, it has brought nothing.
        with pytest.raises(AirliftError, match=f"job {ours} took 0 rows, its files hold 450"):
            BatchImport(migration, 0).finish()
        job.total_rows, job.imported_rows = taken
        migration.server.drop("songs")
    with up_to_import(place) as migration:
        empty_job(server, place)
        BatchImport(migration, 0).submit()
    assert only(place.run())["rows_counted"] == 450
    assert_holds(place.client, "songs", truth["songs"])


@pytest.mark.usefixtures("impatient")
def test_an_empty_import_on_zilliz_cloud(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3_server.make_bucket("empty-imports")
    storage = S3Storage(
        s3_server.endpoint_url, "empty-imports", s3_server.access_key, s3_server.secret_key
    )
    zilliz = Zilliz(buckets={"empty-imports": storage})
    url = f"s3://empty-imports/{tmp_path.name}/x"
    with (
        RestImportServer(tmp_path / "server", zilliz=zilliz) as server,
        place_on(server, tmp_path / "source", url, s3_server) as place,
    ):
        place.write(SMALL)
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Staging, "write_import_record", killed)
            place.run()
        for name, values in (
            ("id", np.zeros(0, np.int64)),
            ("vector", np.zeros((0, 16), np.float32)),
        ):
            with storage.fs.open_output_stream(f"empty-imports/theirs/{name}.npy") as file:
                np.save(file, values)
        ended_silently(
            server,
            {
                "clusterId": zilliz.cluster_id,
                "collectionName": "songs",
                "objectUrls": [
                    ["s3://empty-imports/theirs/id.npy", "s3://empty-imports/theirs/vector.npy"]
                ],
            },
        )
        report = place.run()
        assert (only(report)["rows_counted"], only(report)["jobs_adopted"]) == (450, 1)


@pytest.mark.parametrize(
    ("reason", "files"),
    [
        (  # 2.5.27
            "error: npy: not a valid NumPy file format, file: id:470760090417213368  "
            'paths:"in/npy_garbage/id.npy"  paths:"in/npy_garbage/vec.npy"  '
            'paths:"in/npy_garbage/name.npy"',
            {"in/npy_garbage/id.npy", "in/npy_garbage/vec.npy", "in/npy_garbage/name.npy"},
        ),
        (  # 2.6.20
            "error: new parquet reader failed, err=parquet: could not retrieve footer offset: The "
            "specified key does not exist.: importing data failed, file: id:470760450198676741 "
            'paths:"in/nowhere/a.parquet"',
            {"in/nowhere/a.parquet"},
        ),
        ('error: x, file: id:1 paths:"/a b, [c]/1/id.npy"', {"/a b, [c]/1/id.npy"}),
        ("collection 470760090417556364 dropped", set()),
        ("", set()),
    ],
)
def test_the_reason_of_a_failure_names_the_files(
    place: Place, reason: str, files: set[str]
) -> None:
    with place.migration() as migration:
        way = rest_import.RestImport(migration.server, migration.staging.folder)
        job = way._job("1", {"state": "Failed", "details": [], "reason": reason})
    assert job.files == files


def test_a_failed_job_that_was_not_recorded_is_not_answered_again(tmp_path: Path) -> None:
    """A server that knows keys answers the key of a failed job with that job, so a new one is due
    also where the job failed before it named its files."""
    with (
        RestImportServer(tmp_path / "server", version="2.6.24") as server,
        place_on(server, tmp_path / "source", str(tmp_path / "server/bucket/staging")) as place,
    ):
        truth = place.write(SMALL)
        server.faults.fail_job = {2: "the store was away"}
        server.faults.fail_at = 20
        with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Staging, "write_import_record", killed)
            place.run()
        [failed] = [job for job in server.wait_jobs() if job.collection == "songs"]
        assert failed.state == "Failed" and not failed.details_visible
        paths = "  ".join(f'paths:"{path}"' for path in failed.files[0])
        failed.reason = f"error: the store was away, file: id:1  {paths}"
        assert only(place.run())["rows_counted"] == 450
        assert_holds(place.client, "songs", truth["songs"])
