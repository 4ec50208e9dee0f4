"""Single requests that real servers were asked, in their order, asked of the emulator again."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from tests.emulators.recorded import VERSIONS, Answer, plain, plain_text, recordings
from tests.emulators.recorded_files import Case, table
from tests.emulators.recorded_server import (
    JOBS,
    ROOT,
    Asked,
    assert_same_states,
    by_version,
    recording_of,
)


@cache
def _flow(ask: Asked) -> dict[str, Any]:
    """Every request of `REQUESTS`, and every job of `WATCHED`, with the answers."""
    got: dict[str, Any] = {}

    def again(name: str) -> str:
        """Asks what was recorded under a name; the job, if there is one."""
        recording = recording_of(ask, f"req_{name}")
        answer = ask(recording["path"], recording["request"], recording["headers"])
        got[f"req_{name}"] = answer
        data = answer["answer"].get("data")
        return data.get("jobId", "") if isinstance(data, dict) else ""

    for key in ("req", "twice", "drop"):
        ask.put(f"in/{key}/a.parquet", table(20)["a.parquet"])
    ask.make("t_req", Case())
    for name in BEFORE:
        again(name)
    bad = ask.http.post(f"{JOBS}create", content=b"{bad")
    unknown = ask.http.post(f"{JOBS}nothing", json={})
    open_list = ask.http.post(f"{JOBS}list", json={})
    for name, answer in (("bad_json", bad), ("unknown_path", unknown), ("no_token", open_list)):
        got[f"req_{name}"] = {"http": answer.status_code, "text": answer.text}
    for name in ("describe_collection", "has", "collections_list", "stats_missing"):
        again(name)
    ask.server.wait_jobs()
    ask.make("t_twice", Case())
    first, second, _ = (again(name) for name in ("twice_first", "twice_second", "key_too_long"))
    got["twice_jobs"] = [ask.watch(first), ask.watch(second)]
    again("twice_list")
    ask.make("t_drop", Case())
    job = again("drop_create")
    again("drop_drop")
    got["drop_watch"] = ask.watch(job)
    again("drop_list")
    again("drop_list_all")
    ask.make("t_al", Case())
    ask(f"{ROOT}aliases/create", {"aliasName": "al1", "collectionName": "t_al"})
    got["alias_watch"] = ask.watch(again("alias_create"))
    again("alias_list")
    again("alias_list_by_name")
    got["rows of t_twice"] = ask(f"{ROOT}collections/get_stats", {"collectionName": "t_twice"})
    return got


BEFORE = (
    "unknown_job",
    "unknown_job_get_progress",
    "job_id_not_number",
    "job_id_as_number",
    "job_id_missing",
    "job_id_empty",
    "create_missing_collection",
    "create_no_collection",
    "create_no_files_key",
    "create_missing_db",
    "create_db_default",
    "list_empty_body",
    "list_missing_collection",
    "list_missing_db",
    "list_with_paging_keys",
)
WATCHED = ("twice_jobs", "drop_watch", "alias_watch")
REQUESTS = tuple(name for name in recordings(VERSIONS[0]) if name.startswith("req_"))
# The lists of all jobs and collections that a server had then.
ALL = ("req_list_empty_body", "req_drop_list_all", "req_no_token", "req_collections_list")


@by_version(*(name for name in REQUESTS if name not in ALL))
def test_a_request(ask: Asked, name: str):
    recording, answer = recording_of(ask, name), _flow(ask)[name]
    assert answer["http"] == recording["http"]
    if "answer" in recording:
        assert plain(answer["answer"]) == plain(recording["answer"])
    else:
        assert plain_text(_message(answer["text"])) == plain_text(_message(recording["text"]))


def _message(text: str) -> str:
    return json.loads(text)["message"] if text.startswith("{") else text


@by_version(*ALL)
def test_a_list_of_everything(ask: Asked, name: str):
    """It holds other things, of the same shapes."""
    recording, answer = recording_of(ask, name), _flow(ask)[name]
    assert answer["http"] == recording["http"]
    shapes = [
        _shapes(json.loads(told["text"]) if "text" in told else told["answer"])
        for told in (answer, recording)
    ]
    assert shapes[0] and shapes[0] <= shapes[1]


def _shapes(answer: Answer) -> set[Any]:
    assert answer["code"] == 0
    data = answer["data"]
    if isinstance(data, list):
        return {type(item) for item in data}
    assert set(data) == {"records"}
    return {
        (*sorted(record), record["state"], record["progress"] in (0, 100))
        for record in data["records"]
    }


@by_version("drop_watch", "alias_watch")
def test_a_job_whose_collection_is_dropped_or_named_by_an_alias(ask: Asked, name: str):
    assert_same_states(recording_of(ask, name), _flow(ask)[name])


@by_version("twice_jobs")
def test_the_same_files_three_times_are_three_jobs(ask: Asked, name: str):
    """Idempotency-Key is ignored, also one that is too long."""
    first, second = recording_of(ask, name)
    jobs = _flow(ask)[name]
    assert_same_states(first, jobs[0])
    assert_same_states(second, jobs[1])
    assert _flow(ask)["rows of t_twice"]["answer"]["data"] == {"rowCount": 60}
