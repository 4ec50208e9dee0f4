"""A server that is asked what the recorded ones were asked, and how its answers are compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.emulators.recorded import (
    SHORT,
    VERSIONS,
    Answer,
    is_between,
    plain,
    recordings,
    stage,
)
from tests.emulators.recorded_files import Case
from tests.emulators.rest_import import RestImportServer

ROOT = "/v2/vectordb/"
JOBS = f"{ROOT}jobs/import/"
ACCEPTED = {"http": 200, "answer": {"code": 0, "data": {}}}

Seen = dict[str, Any]


class Asked:
    """A server and a client of it, which answers as the recordings are written."""

    def __init__(self, server: RestImportServer, bucket: Path) -> None:
        self.server, self.bucket = server, bucket
        self.http = httpx.Client(base_url=server.rest_url, timeout=30)

    def __call__(
        self, path: str, body: Any, headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        answer = self.http.post(path, json=body, headers=headers)
        return {"http": answer.status_code, "answer": answer.json()}

    def make(self, name: str, case: Case) -> dict[str, Any]:
        body = {"collectionName": name, "schema": case.schema}
        return self(f"{ROOT}collections/create", body)

    def put(self, key: str, data: bytes) -> None:
        path = self.bucket / key.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def watch(self, job: str) -> list[Seen]:
        """Every different answer of a job, with the seconds after the first."""
        clock = self.server.clock
        began = clock.now()
        seen: list[Seen] = []
        while True:
            answer = self(f"{JOBS}describe", {"jobId": job})
            seen.append({"at": clock.now() - began, **answer})
            check_sizes(answer["answer"], self.bucket)
            if clock.advance_to_next() is None:
                return _different(seen)


def _different(seen: list[Seen]) -> list[Seen]:
    found: list[Seen] = []
    for answer in seen:
        if not found or plain(answer["answer"]) != plain(found[-1]["answer"]):
            found.append(answer)
    return found


def check_sizes(answer: Answer, bucket: Path) -> None:
    """A group is as large as its files, without logs of deletes; a job as its groups."""
    details = answer["data"]["details"]
    assert answer["data"]["fileSize"] == sum(group["fileSize"] for group in details)
    for group in details:
        keys = [key for key in _keys(group["fileName"]) if "/delta_log/" not in key]
        paths = [bucket / key.lstrip("/") for key in keys]
        files = [file for path in paths for file in (path, *path.rglob("*")) if file.is_file()]
        assert group["fileSize"] == sum(file.stat().st_size for file in files)


def _keys(file_name: str) -> list[str]:
    """The keys in a group's name; those with blanks in them are one."""
    inner = file_name[1:-1]
    return inner.split(" ") if inner.count(".") > 1 or "_log/" in inner else [inner]


def assert_same_states(recorded: list[Seen], seen: list[Seen]) -> None:
    """The recorded answers are all there, in their order; only short ones were not recorded."""
    wanted = [answer for answer in recorded if not is_between(answer["answer"])]
    found = [plain(answer["answer"]) for answer in seen]
    assert {answer["http"] for answer in seen} == {answer["http"] for answer in recorded} == {200}
    at = 0
    for answer in wanted:
        expected = plain(answer["answer"])
        while at < len(found) and found[at] != expected and stage(found[at]) in SHORT:
            at += 1
        assert at < len(found), f"nothing more after {seen[-1]}, but {expected} was recorded"
        assert found[at] == expected
        at += 1
    assert at == len(found), found[at:]


def by_version(*names: str) -> Any:
    """Runs a test for each recording of those names, of each version that has it."""
    params = [
        pytest.param(version, name, id=f"{version}-{name}")
        for version in VERSIONS
        for name in names
        if name in recordings(version)
    ]
    return pytest.mark.parametrize(("version", "name"), params)


def recording_of(ask: Asked, name: str) -> Any:
    return recordings(ask.server.version)[name]
