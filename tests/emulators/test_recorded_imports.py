"""Import jobs that real servers of two versions ran, run by the emulator again.

Compared are the HTTP status, codes and messages, the states that a job goes through, and row
counts, in whole answers but for what `recorded.plain` leaves out. The clock is simulated.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pymilvus.grpc_gen import schema_pb2

from tests.emulators.recorded import VERSIONS, plain, recordings, stage, stage_seconds
from tests.emulators.recorded_cases import CASES
from tests.emulators.recorded_files import Case, table
from tests.emulators.recorded_server import (
    ACCEPTED,
    JOBS,
    ROOT,
    Asked,
    assert_same_states,
    by_version,
    check_sizes,
    recording_of,
)
from tests.emulators.rest_import import RestImportServer, SimulatedClock
from tests.emulators.test_recorded_requests import REQUESTS, WATCHED
from tests.real_backups import unpack

NOT_COVERED: dict[str, str] = {}
"""Recordings that the emulator does not follow -> why."""


def test_every_recording_is_asked_again():
    for version in VERSIONS:
        names = {*CASES, *REQUESTS, *WATCHED, *LOCAL, "job_limit", "native_mixed", *NOT_COVERED}
        assert set(recordings(version)) <= names


@by_version(*CASES)
def test_a_job(ask: Asked, name: str):
    case, recording = CASES[name], recording_of(ask, name)
    made = ask.make(f"t_{name}", case)
    if "request" not in recording:
        assert plain(made) == plain(recording["create"])
        return
    body = recording["request"]
    created = recording["created_collection"]
    if isinstance(created, list):
        partition = {"collectionName": f"t_{name}", "partitionName": body["partitionName"]}
        assert ask(f"{ROOT}partitions/create", partition) == created[1]
    assert made == ACCEPTED
    body = body | {"collectionName": f"t_{name}"}
    for key in _all_keys(body["files"]):
        content = case.files.get(key.rsplit("/", 1)[-1])
        if content is not None and "://" not in key:
            ask.put(key, content)
    answer = ask(f"{JOBS}create", body, recording["headers"])
    assert plain(answer) == plain(recording["create"])
    if "describe" not in recording:
        return
    seen = ask.watch(answer["answer"]["data"]["jobId"])
    named = json.loads(
        json.dumps(recording).replace(recording["request"]["collectionName"], f"t_{name}")
    )
    assert_same_states(named["describe"], seen)
    listed = ask(f"{JOBS}list", {"collectionName": f"t_{name}"})
    assert plain(listed) == plain(named["list"])
    assert ask(f"{ROOT}collections/get_stats", {"collectionName": f"t_{name}"}) == named["stats"]
    assert ask(f"{ROOT}collections/drop", {"collectionName": f"t_{name}"}) == ACCEPTED


def _all_keys(files: list[Any]) -> list[str]:
    return [key for group in files if isinstance(group, list) for key in group]


@pytest.mark.parametrize("version", VERSIONS)
def test_stages_are_reached_when_they_were(ask: Asked):
    ask.make("t_seconds", Case())
    ask.put("in/seconds/a.parquet", table(20)["a.parquet"])
    body = {"collectionName": "t_seconds", "files": [["in/seconds/a.parquet"]]}
    job = ask(f"{JOBS}create", body)["answer"]["data"]["jobId"]
    seconds = stage_seconds(ask.server.version)
    seen = ask.watch(job)
    assert len(seen) == 10
    for answer in seen:
        earliest, latest = seconds[stage(answer["answer"])]
        assert earliest <= answer["at"] <= latest, answer


@by_version("job_limit")
def test_no_more_jobs_than_the_limit(ask: Asked, name: str, monkeypatch):
    ask.server.wait_jobs()
    monkeypatch.setattr("tests.emulators.rest_import.contract.MAX_JOBS", 1)
    ask.make("t_lim", Case())
    ask.put("in/lim/a.parquet", table(20)["a.parquet"])
    body = {"collectionName": "t_lim", "files": [["in/lim/a.parquet"]]}
    answers = [ask(f"{JOBS}create", body) for _ in range(3)]
    assert plain(answers) == plain(recording_of(ask, name))
    ask.server.wait_jobs()


# --- a server that stores locally --------------------------------------------------------------

LOCAL = (
    "local_missing_parquet",
    "local_missing_npy",
    "local_missing_json",
    "local_relative",
    "local_folder",
)


def test_files_that_are_missing_on_a_disk(tmp_path: Path):
    folder = tmp_path / "srv"
    (folder / "run25" / "a.parquet").mkdir(parents=True)
    with RestImportServer(
        tmp_path, VERSIONS[0], data_dir=str(folder), token=None, clock=SimulatedClock()
    ) as server:
        ask = Asked(server, tmp_path / "bucket")
        ask.make("t_local", Case())
        for name in LOCAL:
            recording = recordings(VERSIONS[0])[name]
            # A folder of the server.
            told = json.loads(json.dumps(recording).replace("/srv/run25", f"{folder}/run25"))
            answer = ask(f"{JOBS}create", told["request"])
            assert plain(answer) == plain(told["create"])
            assert_same_states(told["describe"], ask.watch(answer["answer"]["data"]["jobId"]))
            listed = ask(f"{JOBS}list", {"collectionName": "t_local"})
            assert plain(listed) == plain(told["list"])


# --- the logs of a backup -----------------------------------------------------------------------


@by_version("native_mixed")
def test_logs_of_a_backup(ask: Asked, name: str, tmp_path: Path):
    """Each job's files, rows and bytes, of a real backup."""
    recording = recording_of(ask, name)
    backup = unpack("mixed", tmp_path)
    [meta] = json.loads((backup / "meta" / "full_meta.json").read_text())["collection_backups"]
    articles = Case(fields=tuple(map(_field, meta["schema"]["fields"])), dynamic=True)
    assert ask.make("articles", articles) == ACCEPTED
    partitions = {
        str(partition["partition_id"]): partition["partition_name"]
        for partition in meta["partition_backups"]
    }
    for partition in set(partitions.values()) - {"_default"}:
        body = {"collectionName": "articles", "partitionName": partition}
        ask(f"{ROOT}partitions/create", body)
    jobs = []
    for told in recording["describe"]:
        [group] = told["answer"]["data"]["details"]
        folders = group["fileName"][1:-1].split(" ")
        top = folders[0].partition("/insert_log/")[0]
        if not (ask.bucket / top).exists():
            (ask.bucket / top).parent.mkdir(parents=True)
            (backup / "binlogs").rename(ask.bucket / top)
        partition = folders[0].partition("/insert_log/")[2].split("/")[1]
        # The folder above the segment's is what is asked for.
        above = [folder.rstrip("/").rpartition("/")[0] + "/" for folder in folders]
        body = {
            "collectionName": "articles",
            "partitionName": partitions[partition],
            "files": [above],
            "options": {"backup": "true"},
        }
        answer = ask(f"{JOBS}create", body)["answer"]
        assert answer["code"] == 0, answer
        jobs.append(answer["data"]["jobId"])
    ask.server.wait_jobs()
    for told, job in zip(recording["describe"], jobs, strict=True):
        answer = ask(f"{JOBS}describe", {"jobId": job})
        assert plain(answer) == plain(told)
        check_sizes(answer["answer"], ask.bucket)
        assert answer["answer"]["data"]["fileSize"] == told["answer"]["data"]["fileSize"]
    listed = ask(f"{JOBS}list", {"collectionName": "articles"})
    assert plain(listed) == plain(recording["list"])
    stats = ask(f"{ROOT}collections/get_stats", {"collectionName": "articles"})
    assert stats == recording["stats"]


def _field(field: dict[str, Any]) -> dict[str, Any]:
    """A field of a backup, as REST takes it."""
    return {
        "fieldName": field["name"],
        "dataType": schema_pb2.DataType.Name(field["data_type"]),
        "isPrimary": bool(field.get("is_primary_key")),
        "elementTypeParams": {pair["key"]: pair["value"] for pair in field.get("type_params", ())},
    }
