"""What the answers of import calls mean. Those with a version are as that server gave them."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlift.errors import AirliftError
from airlift.targets.base import ImportJob, JobState
from airlift.targets.rest_answers import Busy, NoAnswer, RestRefusal, data_of

FULL = (
    "The number of jobs has reached the limit, please try again later. If your request is set to "
    "only import a single file, please consider importing multiple files in one request for "
    "better efficiency."
)


def read(status: int, body: Any) -> dict[str, Any]:
    given = {"content": body} if isinstance(body, bytes) else {"json": body}
    return data_of("http://here/create", httpx.Response(status, **given))


@pytest.mark.parametrize(
    "body",
    [
        {"code": 0, "data": {"jobId": "470760090417221391"}},  # 2.5.27
        {"code": 200, "data": {"jobId": "470760090417221391"}},  # 2.4.0
        {"code": 0, "data": {"jobId": "470760090417221391"}, "message": ""},
        {"code": 0, "message": "fine", "data": {"jobId": "470760090417221391"}},
    ],
)
def test_done(body: dict[str, Any]) -> None:
    assert read(200, body) == {"jobId": "470760090417221391"}


@pytest.mark.parametrize("body", [{"code": 0}, {"code": 0, "data": None}, {"code": 0, "data": {}}])
def test_done_without_data(body: dict[str, Any]) -> None:
    assert read(200, body) == {}


# With `proxy.http.standardErrorStatus`, refusals have statuses that fit them; the rest is the same.
@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize(
    ("code", "message", "advice"),
    [
        # 2.5.27 and 2.6.20
        (100, "collection not found[database=default][collection=nope]", "clear the task create"),
        (200, "partition not found[partition=nope]", "clear the task create"),
        (800, "database not found[database=nodb]", "check target_database"),
        (1100, "import request is empty: invalid parameter", ""),
        (2100, "unexpected file type, files=[in/x/a.bin]: importing data failed", ""),
        (1802, "missing required parameters, error: Key: 'JobIDReq.JobID' Error:Field", ""),
        (9, "quota exceeded[reason=disk quota exceeded]", ""),
    ],
)
def test_refused(status: int, code: int, message: str, advice: str) -> None:
    with pytest.raises(RestRefusal) as error:
        read(status, {"code": code, "message": message})
    assert str(error.value).startswith(f"http://here/create was refused: {message}")
    assert advice in str(error.value)
    assert not error.value.is_unknown_job and not error.value.is_full


@pytest.mark.parametrize(
    "name",
    [
        "job does not exist",
        "import job does not exist",
        "number of jobs has reached the limit",
        "The number of jobs has reached the limit",
        "in/job does not exist/a",
    ],
)
@pytest.mark.parametrize("code", [100, 2100, 2101])
def test_a_name_is_no_meaning(code: int, name: str) -> None:
    with pytest.raises(RestRefusal) as error:
        read(200, {"code": code, "message": f"unexpected file type, files=[{name}]: it failed"})
    assert not error.value.is_unknown_job and not error.value.is_full


@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize(
    ("code", "message"),
    [
        (2100, "import job does not exist, jobID=123: importing data failed"),  # 2.5.27
        (2101, "import job does not exist, jobID=123: importing data failed on server side"),
    ],
)
def test_an_unknown_job(status: int, code: int, message: str) -> None:
    with pytest.raises(RestRefusal) as error:
        read(status, {"code": code, "message": message})
    assert error.value.is_unknown_job and not error.value.is_full


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize(
    ("code", "message"),
    [
        (2100, f"{FULL}: importing data failed"),
        (  # 2.6.20
            2101,
            f"failed to broadcast import: failed to validate import request: {FULL}: importing "
            "data failed on server side",
        ),
    ],
)
def test_a_server_with_too_many_jobs(status: int, code: int, message: str) -> None:
    with pytest.raises(RestRefusal) as error:
        read(status, {"code": code, "message": message})
    assert error.value.is_full and not error.value.is_unknown_job


def test_a_file_that_does_not_exist_is_no_unknown_job() -> None:
    with pytest.raises(RestRefusal) as error:
        read(200, {"code": 2100, "message": "the file a.npy does not exist: importing data failed"})
    assert not error.value.is_unknown_job


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, {"code": 8, "message": "request is rejected by grpc RateLimiter middleware"}),
        (500, {"code": 8, "message": "request is rejected by grpc RateLimiter middleware"}),
        (200, {"code": 1807, "message": "request is rejected by limiter"}),
        (429, {"code": 1807, "message": "request is rejected by limiter"}),
        (200, {"code": 1, "message": "service not ready[standalone=1]: Initializing"}),
        (503, {"code": 2, "message": "service unavailable"}),
        (200, {"code": 4, "message": "too many concurrent requests, queue is full"}),
        (429, {"code": 429, "message": "Too many requests."}),  # Zilliz Cloud
        (429, b"slow down"),
    ],
)
def test_busy(status: int, body: Any) -> None:
    with pytest.raises(Busy) as error:
        read(status, body)
    if isinstance(body, dict):
        assert body["message"] in str(error.value)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, {"code": 65535, "message": "unexpected error"}),
        (503, {"code": 65535, "message": "rpc error: code = Unavailable"}),
        (500, {"code": 10001, "message": "context deadline exceeded"}),
        (200, {"code": 10001, "message": "context deadline exceeded"}),
        (200, {"code": 10000, "message": "context canceled"}),
        (408, {"code": 65535, "message": "request timeout"}),
        (408, b"request timeout"),
        (502, b"<html>bad gateway</html>"),
        (504, b""),
        (500, {"code": 0, "data": {"jobId": "1"}}),
        (500, b"\xff\xfe"),
    ],
)
def test_it_may_have_been_done(status: int, body: Any) -> None:
    with pytest.raises(NoAnswer):
        read(status, body)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, {"code": 1800, "message": "user hasn't authenticated"}),
        (200, {"code": 1800, "message": "user hasn't authenticated"}),
        (403, b"forbidden"),
        (401, {"code": 65535, "message": "who are you"}),
    ],
)
def test_the_login_is_refused(status: int, body: Any) -> None:
    with pytest.raises(AirliftError, match=r"refused the login .*check the connection"):
        read(status, body)


def test_a_user_who_may_not() -> None:
    with pytest.raises(RestRefusal, match="deny; the user may not do that; grant the privilege"):
        read(403, {"code": 1401, "message": "permission deny"})


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, b"404 page not found"),
        (200, b"<html>hello</html>"),
        (200, []),
        (200, {"status": "ok"}),
        (200, {"code": "Success"}),
        (200, {"code": [0]}),
        (302, {"code": 0, "data": {}}),
        (200, {"code": 0, "data": "done"}),
        (200, {"code": 0, "data": [{"jobId": "1"}]}),
    ],
)
def test_no_milvus(status: int, body: Any) -> None:
    with pytest.raises(AirliftError, match="did not answer as Milvus' REST interface does"):
        read(status, body)


@given(
    st.integers(200, 599),
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda inner: st.dictionaries(
            st.sampled_from(["code", "data", "message", "x"]), inner, max_size=4
        ),
        max_leaves=6,
    ),
)
def test_whatever_comes_is_never_taken_for_done(status: int, body: Any) -> None:
    try:
        data = read(status, body)
    except (AirliftError, NoAnswer):
        return
    assert status == 200 and body["code"] in (0, 200)
    assert isinstance(data, dict) and data == (body.get("data") or {})


@pytest.mark.parametrize(
    ("job", "unknown"),
    [
        (ImportJob("1", JobState.RUNNING), True),
        (ImportJob("1", JobState.RUNNING, progress=40), True),
        (ImportJob("1", JobState.RUNNING, frozenset({"a.npy"})), False),
        (ImportJob("1", JobState.COMPLETED, progress=100), False),
        (ImportJob("1", JobState.COMPLETED, progress=100, rows=3), True),
        (ImportJob("1", JobState.COMPLETED, frozenset({"a.npy"}), rows=3), False),
        (ImportJob("1", JobState.FAILED), False),
        (ImportJob("1", JobState.FAILED, frozenset({"a.npy"}), rows=3), False),
    ],
)
def test_jobs_that_may_bring_rows_of_unknown_files(job: ImportJob, unknown: bool) -> None:
    assert job.has_unknown_files is unknown
