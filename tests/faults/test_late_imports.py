"""The import request of a killed process reaches the target when the resumed run has looked.

The process is killed where it hands the request over; the network delivers that very request later.
Then two jobs take the same files, and the rows are there twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest

import airlift.run
import airlift.steps.verify
from airlift.chunk import APPENDED_KEYS
from airlift.errors import AirliftError, Mismatch
from airlift.sources.milvus1x.source import Milvus1xSource
from airlift.steps import unrecorded_jobs
from airlift.targets import grpc_bulk_insert
from airlift.verification import Verifications
from localservers import Milvus, S3Server
from localservers.ports import wait_until
from samples.milvus1x_tables import TableSpec
from tests.emulators.rest_import import RestImportServer, S3Storage, Zilliz
from tests.faults.test_resume import Killed
from tests.paths.backups_with_roles import backup, small
from tests.paths.place import Place, local_place
from tests.paths.test_backup_native import CODES
from tests.paths.test_backup_to_milvus import BACKUP, counts, holds
from tests.paths.test_rest_import import own_jobs, place_on
from tests.paths.test_rollback import undo
from tests.paths.truth import assert_holds, count
from tests.real_backups import truth as truth_of_backup

SPEC = TableSpec("songs", 600, dim=16, segments=2, partitions={"rock": 100}, seed=41)
ROWS = 700
SILENT, RUNNING = 4, 60
"""Percent at which the emulator's job stays: before it names its files, and after."""


class RestInFlight:
    """The first `create` of the collection by REST, and how the emulator goes about it."""

    def __init__(self, server: RestImportServer, patch: pytest.MonkeyPatch) -> None:
        self._server = server
        post = httpx.Client.post

        def post_until_killed(client: httpx.Client, url: str, **given: Any) -> httpx.Response:
            if url.endswith("/create") and "probe" not in str(given["json"]):
                self._request = (str(client.base_url) + url, given["json"])
                self._headers = {
                    "Authorization": client.headers["Authorization"],
                    **given["headers"],
                }
                raise Killed
            return post(client, url, **given)

        patch.setattr(httpx.Client, "post", post_until_killed)

    def deliver(self, stays_at: int | None = None) -> str:
        url, body = self._request
        if stays_at is not None:
            self._server.faults.hang_job[len(self._server.jobs) + 1] = stays_at
        answer = httpx.post(url, json=body, headers=self._headers).json()
        assert answer["code"] == 0, answer
        if stays_at is None:
            self._server.wait_jobs()
        else:
            [job] = [one for one in self._server.jobs if one.job_id == answer["data"]["jobId"]]
            wait_until(lambda: job.progress == stays_at, 20, lambda: f"not there: {job}")
        return str(answer["data"]["jobId"])

    def release(self) -> None:
        """Lets the jobs that stay go on, to their end."""
        for number in self._server.faults.hang_job:
            self._server.release(number)
        self._server.wait_jobs()


class GrpcInFlight:
    """The first import request of the collection by gRPC."""

    def __init__(self, client: Any, patch: pytest.MonkeyPatch) -> None:
        self._client = client
        make = grpc_bulk_insert.Prepare.do_bulk_insert

        def make_until_killed(collection: str, *given: Any, **options: Any) -> Any:
            request = make(collection, *given, **options)
            if "probe" not in collection:
                self._request = request
                raise Killed
            return request

        patch.setattr(grpc_bulk_insert.Prepare, "do_bulk_insert", make_until_killed)

    def deliver(self, stays_at: int | None = None) -> str:
        """The server takes two seconds at least for a job; with `stays_at` none is waited for."""
        handler = self._client._get_connection()
        answer = handler._stub.Import(self._request, timeout=10)
        assert answer.status.code == 0, answer
        task = answer.tasks[0]
        if stays_at is None:
            airlift.run.wait_for(
                lambda: handler.get_bulk_insert_state(task).state_name,
                lambda state: state == "Completed",
                60,
            )
        return str(task)


def kill_when_sent(place: Place, flight: Callable[[pytest.MonkeyPatch], Any], **params: Any) -> Any:
    """Runs a migration until its first request is on its way; returns that."""
    with pytest.MonkeyPatch.context() as patch:
        sent = flight(patch)
        with pytest.raises(Killed):
            place.run(**params)
    return sent


def before(patch: pytest.MonkeyPatch, step: str, act: Callable[[], Any]) -> list[Any]:
    """Has something happen once, right before a step of the run; returns what it gave."""
    original, gave = getattr(airlift.run, step), []

    def acting(*given: Any) -> Any:
        if not gave:
            gave.append(act())
        return original(*given)

    patch.setattr(airlift.run, step, acting)
    return gave


def loaded_count(place: Place, name: str) -> int:
    """Rows that the target counts, loading the collection for it."""
    place.client.load_collection(name)
    place.client.refresh_load(name)
    return count(place.client, name)


# --- the emulator of Milvus 2.6 and of Zilliz Cloud ----------------------------------------------


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    cut = Milvus1xSource.cut
    monkeypatch.setattr(Milvus1xSource, "cut", lambda self, one, size: cut(self, one, size // 64))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RestImportServer]:
    with RestImportServer(tmp_path / "server") as server:
        yield server


@pytest.fixture
def place(server: RestImportServer, tmp_path: Path) -> Iterator[Place]:
    staging = tmp_path / "server" / "bucket" / "staging"
    with place_on(server, tmp_path / "source", str(staging)) as place:
        place.defaults |= {"chunk_mb": 1, "verify": "counts", "keep_staging": True}
        yield place


@pytest.mark.parametrize("stays_at", [None, RUNNING], ids=["ended", "running"])
@pytest.mark.parametrize("step", ["build_indexes", "verify", "publish"])
def test_a_request_that_arrives_late(
    server: RestImportServer,
    place: Place,
    step: str,
    stays_at: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    truth = place.write(SPEC)["songs"]
    params = {"cutover_alias": True, "verify": "full"}
    sent = kill_when_sent(place, lambda patch: RestInFlight(server, patch), **params)
    with monkeypatch.context() as patch, pytest.raises(Mismatch) as error:
        late = before(patch, step, lambda: sent.deliver(stays_at))
        place.run(**params)
    said = str(error.value)
    name = f"songs__{place.migration_id}"
    assert f"'{name}': import job {late[0]} " in said
    with place.migration(**params) as migration:
        [collection] = migration.staging.plan().collections
        chunk = collection.chunks[0].id
        recorded = migration.staging.import_record(name, chunk)
    assert recorded and recorded.job != late[0]
    assert f"took the files of the chunk {chunk} (recorded: job {recorded.job})" in said
    if stays_at:
        assert f"it still runs ({stays_at} %)" in said and "wait until it has ended, then" in said
    else:
        [job] = [job for job in server.jobs if job.job_id == late[0]]
        assert f"its {job.total_rows} rows came in addition" in said
    assert f"drop the collection '{name}' and run again with the same migration_id" in said
    # Nobody takes it for good: no alias, not loaded, and publishing alone does not help.
    assert not place.client.has_collection("songs")
    assert place.client.get_load_state(name)["state"].name == "NotLoad"
    with place.migration(**params) as migration:
        with pytest.raises(AirliftError, match="is not verified; clear the task verify"):
            airlift.run.publish(migration)
        verified = migration.staging.read("verification.json", Verifications)
        assert verified and late[0] in " ".join(verified.collections[0].problems)
    # The harm is real, and doing as it says mends it.
    sent.release()
    doubled = next(job.total_rows for job in server.jobs if job.job_id == late[0])
    assert loaded_count(place, name) == ROWS + doubled > ROWS
    place.client.drop_collection(name)
    report = place.run(**params)
    assert report["state"] == "done" and loaded_count(place, name) == ROWS
    assert_holds(place.client, "songs", truth)


@pytest.mark.parametrize("step", ["verify", "publish"])
def test_a_late_job_that_does_not_name_its_files_yet(
    server: RestImportServer, place: Place, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be ours, so nothing is decided, nor dropped, until it says what it takes."""
    place.write(SPEC)
    params = {"on_mismatch": "drop"}
    sent = kill_when_sent(place, lambda patch: RestInFlight(server, patch), **params)
    with monkeypatch.context() as patch, pytest.raises(AirliftError) as error:
        patch.setattr(unrecorded_jobs, "_NAMES_FILES_SECONDS", 0.5)
        before(patch, step, lambda: sent.deliver(SILENT))
        place.run(**params)
    assert not isinstance(error.value, Mismatch)
    assert "does not tell its files" in str(error.value)
    assert str(error.value).endswith(f"then clear the task {step}")
    assert place.client.has_collection("songs")
    sent.release()
    with pytest.raises(Mismatch, match="is not recorded"):
        place.run(**params)
    assert not place.client.has_collection("songs")


def test_what_is_to_be_dropped_is_not_dropped_under_the_late_job(
    server: RestImportServer, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = place.write(SPEC)["songs"]
    params = {"on_mismatch": "drop"}
    sent = kill_when_sent(place, lambda patch: RestInFlight(server, patch), **params)
    waited: list[int] = []
    wait = airlift.steps.verify.wait_for_imports

    def release_and_wait(*given: Any) -> None:
        waited.append(sum(not job.done for job in server.jobs))
        sent.release()
        wait(*given)
        assert place.client.has_collection("songs")

    with monkeypatch.context() as patch, pytest.raises(Mismatch, match="still runs"):
        patch.setattr(airlift.steps.verify, "wait_for_imports", release_and_wait)
        before(patch, "publish", lambda: sent.deliver(RUNNING))
        place.run(**params)
    assert waited == [1] and not place.client.has_collection("songs")
    place.run(**params)
    assert_holds(place.client, "songs", truth)


def test_a_server_that_knows_the_key_makes_no_second_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        RestImportServer(tmp_path / "server", version="2.6.24") as server,
        place_on(server, tmp_path / "source", str(tmp_path / "server/bucket/staging")) as place,
    ):
        truth = place.write(SPEC)["songs"]
        sent = kill_when_sent(place, lambda patch: RestInFlight(server, patch), chunk_mb=1)
        late = before(monkeypatch, "verify", sent.deliver)
        report = place.run(chunk_mb=1, verify="full")
        assert report["state"] == "done"
        assert len(own_jobs(server)) == len({job.files[0][0] for job in own_jobs(server)})
        assert late[0] in {job.job_id for job in own_jobs(server)}
        assert_holds(place.client, "songs", truth)


def test_a_request_that_arrives_before_the_look_is_adopted(
    server: RestImportServer, place: Place
) -> None:
    truth = place.write(SPEC)["songs"]
    sent = kill_when_sent(place, lambda patch: RestInFlight(server, patch))
    sent.deliver()
    report = place.run(verify="full")
    assert report["collections"][0]["jobs_adopted"] == 1
    assert_holds(place.client, "songs", truth)


def test_the_request_of_an_earlier_plan(
    server: RestImportServer, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run again with another file format: the old chunks are ours too."""
    place.write(SPEC)
    sent = kill_when_sent(place, lambda patch: RestInFlight(server, patch), file_format="numpy")
    with monkeypatch.context() as patch, pytest.raises(Mismatch) as error:
        before(patch, "publish", sent.deliver)
        place.run(file_format="parquet")
    assert "took the files of the chunk 000000-" in str(error.value)


def test_what_is_not_ours_or_brought_no_row_is_left_alone(
    server: RestImportServer, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jobs of others, one that failed, and one that took no row."""
    truth = place.write(SPEC)["songs"]
    sent = kill_when_sent(place, lambda patch: RestInFlight(server, patch))
    bucket = Path(server.storage.root)
    others = bucket / "others"
    others.mkdir()
    for name, values in (
        ("id", np.zeros(0, np.int64)),
        ("vector", np.zeros((0, 16), np.float32)),
    ):
        np.save(others / f"{name}.npy", values)

    def act() -> None:
        server.faults.fail_job[len(server.jobs) + 1] = "the disk is full"
        sent.deliver()
        url, body = sent._request
        sent._request = (url, body | {"files": [["others/id.npy", "others/vector.npy"]]})
        sent.deliver()

    before(monkeypatch, "publish", act)
    assert place.run()["state"] == "done"
    states = [(job.state, job.total_rows, job.details_visible) for job in own_jobs(server)[-2:]]
    assert [one[:2] for one in states] == [("Failed", 0), ("Completed", 0)]
    assert_holds(place.client, "songs", truth)


def test_it_is_found_by_a_run_after_the_publishing(server: RestImportServer, place: Place) -> None:
    """No client can prevent that; whoever runs the migration once more is told."""
    place.write(SPEC)
    sent = kill_when_sent(place, lambda patch: RestInFlight(server, patch))
    assert place.run()["state"] == "done"
    late = sent.deliver()
    with pytest.raises(Mismatch, match=f"import job {late} took the files of the chunk 000000-"):
        place.run()


def test_rolling_back_is_the_other_way_out(
    server: RestImportServer, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.write(SPEC)
    sent = kill_when_sent(place, lambda patch: RestInFlight(server, patch))
    with monkeypatch.context() as patch, pytest.raises(Mismatch, match="or roll the migration"):
        before(patch, "publish", sent.deliver)
        place.run()
    assert undo(place, place.migration_id).collections == ("songs",)
    assert not place.client.has_collection("songs")


@pytest.mark.parametrize("stays_at", [None, RUNNING], ids=["ended", "running"])
def test_rows_appended_to_others(
    server: RestImportServer,
    place: Place,
    stays_at: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody is told to drop what others have there; doing as it says puts the rows right."""
    place.folder = place.folder.parent / "theirs"
    place.write(replace(SPEC, ids=np.arange(5_000, 5_600), partitions={}))
    theirs = place.kind.params(place.folder)
    place.folder = place.folder.parent / "ours"
    place.write(replace(SPEC, partitions={}))
    ours = place.kind.params(place.folder) | {"if_exists": "append", "migration_id": "ours"}
    place.run(**theirs)
    sent = kill_when_sent(place, lambda patch: RestInFlight(server, patch), **ours)
    with monkeypatch.context() as patch, pytest.raises(Mismatch) as error:
        before(patch, "publish", lambda: sent.deliver(stays_at))
        place.run(**ours)
    assert "drop the collection" not in str(error.value)
    assert "append them again with a new migration_id" in str(error.value)
    sent.release()
    assert loaded_count(place, "songs") > 1_200
    chunks = Path(place.staging_url) / "ours" / "songs"
    added = [pq.read_table(file)["id"].to_pylist() for file in chunks.glob(f"*/{APPENDED_KEYS}")]
    place.client.delete("songs", ids=[key for keys in added for key in keys])
    assert loaded_count(place, "songs") == 600
    place.run(**(ours | {"migration_id": "anew"}))
    assert loaded_count(place, "songs") == 1_200


@pytest.mark.parametrize("stays_at", [None, RUNNING], ids=["ended", "running"])
def test_on_zilliz_cloud(
    tmp_path: Path,
    s3_server: S3Server,
    stays_at: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    s3_server.make_bucket("late-imports")
    storage = S3Storage(
        s3_server.endpoint_url, "late-imports", s3_server.access_key, s3_server.secret_key
    )
    zilliz = Zilliz(buckets={"late-imports": storage})
    url = f"s3://late-imports/{tmp_path.name}/x"
    with (
        RestImportServer(tmp_path / "server", zilliz=zilliz) as server,
        place_on(server, tmp_path / "source", url, s3_server) as place,
    ):
        truth = place.write(SPEC)["songs"]
        sent = kill_when_sent(place, lambda patch: RestInFlight(server, patch), chunk_mb=1)
        with monkeypatch.context() as patch, pytest.raises(Mismatch) as error:
            late = before(patch, "publish", lambda: sent.deliver(stays_at))
            place.run(chunk_mb=1)
        assert f"import job {late[0]} " in str(error.value)
        assert "of the chunk 000000-" in str(error.value)
        # Its list of jobs goes by the collection's name, so those of the one before are in it.
        sent.release()
        place.client.drop_collection("songs")
        creates = sum(one["path"].endswith("/create") for one in server.requests)
        server.faults.create[creates + 2] = "drop_before"  # after the probe: the first chunk's
        place.run(chunk_mb=1)
        assert_holds(place.client, "songs", truth)


@pytest.mark.parametrize("stays_at", [None, RUNNING], ids=["ended", "running"])
@pytest.mark.parametrize("step", ["verify", "publish"])
def test_logs_of_a_backup(
    server: RestImportServer,
    place: Place,
    step: str,
    stays_at: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place.kind = BACKUP
    params = {
        "backup_url": backup(place.folder, None, small("tunes")),
        "copy_source": "always",
        "backup_way": "native",
        "write_mode": "auto",
        "mapping": {"tunes": {"dynamic_field": False}},
    }
    sent = kill_when_sent(place, lambda patch: RestInFlight(server, patch), **params)
    with monkeypatch.context() as patch, pytest.raises(Mismatch) as error:
        late = before(patch, step, lambda: sent.deliver(stays_at))
        place.run(**params)
    assert f"'tunes': import job {late[0]} took the files of the chunk 000000-" in str(error.value)
    sent.release()
    assert loaded_count(place, "tunes") == 6
    place.client.drop_collection("tunes")
    [one] = place.run(**params)["collections"]
    assert (one["way"], counts(one)) == ("rest_backup_import", {3})
    assert [row["id"] for row in place.client.query("tunes", "id > 0")] == [1, 2, 3]
    # Its own jobs are no late ones when it runs once more, the copy of the source being gone.
    assert place.run(**params | {"keep_staging": False})["state"] == "done"
    assert place.run(**params)["state"] == "done"


# --- a real Milvus 2.3.5 ---------------------------------------------------------------------


@pytest.fixture
def real(milvus: Milvus, tmp_path: Path) -> Iterator[Place]:
    with local_place(milvus, tmp_path / "milvus1x") as place:
        place.defaults |= {"verify": "counts", "keep_staging": True}
        yield place


@pytest.mark.parametrize("stays_at", [None, RUNNING], ids=["ended", "running"])
@pytest.mark.parametrize("step", ["verify", "publish"])
def test_on_a_real_milvus(
    real: Place, step: str, stays_at: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = real.write(replace(SPEC, segments=1, partitions={}))["songs"]
    # Dropped under an import, Milvus 2.3 would begin no other for a quarter of an hour.
    params = {"cutover_alias": True, "on_mismatch": "drop" if stays_at else "fail"}
    name = f"songs__{real.migration_id}"
    sent = kill_when_sent(real, lambda patch: GrpcInFlight(real.client, patch), **params)
    with monkeypatch.context() as patch, pytest.raises(Mismatch) as error:
        late = before(patch, step, lambda: sent.deliver(stays_at))
        real.run(**params)
    assert f"'{name}': import job {late[0]} " in str(error.value)
    assert "of the chunk 000000-" in str(error.value)
    assert not real.client.has_collection("songs")
    if stays_at:
        assert not real.client.has_collection(name)
    else:
        assert loaded_count(real, name) == 1_200
        real.client.drop_collection(name)
    assert real.run(**params)["state"] == "done"
    assert_holds(real.client, "songs", truth)


def test_logs_of_a_backup_on_a_real_milvus(real: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    real.kind = BACKUP
    real.defaults["write_mode"] = "auto"
    [folder] = real.write("types")
    params = {**CODES, "backup_url": str(folder), "copy_source": "always", "verify": "counts"}
    sent = kill_when_sent(real, lambda patch: GrpcInFlight(real.client, patch), **params)
    with monkeypatch.context() as patch, pytest.raises(Mismatch) as error:
        late = before(patch, "publish", sent.deliver)
        real.run(**params)
    assert f"import job {late[0]} took the files of the chunk" in str(error.value)
    real.client.drop_collection("codes")
    [one] = real.run(**params)["collections"]
    assert counts(one) == {1861}
    holds(real.client, "codes", truth_of_backup("types", "default.codes"), "code")
