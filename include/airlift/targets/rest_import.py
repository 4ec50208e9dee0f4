"""Import jobs by REST, as Milvus 2.4 and later and Zilliz Cloud have them.

References: Milvus RESTful API v2, `/v2/vectordb/jobs/import/{create,describe,list}`; Zilliz Cloud's
control plane has the same with `clusterId`, object URLs and the bucket's keys in the request.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

import httpx
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from airlift.connections import MilvusConnection, StorageConnection
from airlift.errors import AirliftError
from airlift.storage import Storage
from airlift.targets.base import ImportJob, JobState
from airlift.targets.collections import TargetCollections

_STATES = {"Completed": JobState.COMPLETED, "Failed": JobState.FAILED}
_PATH = "/v2/vectordb/jobs/import/"
_PAGE = 100
# Milvus answers ErrImportFailed for a job that it does not know (any more).
_UNKNOWN_JOB = {2100}
_RATE_LIMITED = 8


class _Refusal(AirliftError):
    """The server understood and said no."""

    def __init__(self, where: str, answer: dict[str, Any]) -> None:
        self.code = answer.get("code")
        super().__init__(f"{where} was refused: {answer.get('message', answer)}")


class _Busy(Exception):
    """The server asks to come back later; nothing was accepted."""


class RestImport:
    """Jobs of one chunk each."""

    name: ClassVar[str] = "rest_import"

    def __init__(self, collections: TargetCollections, staging: Storage) -> None:
        self._collections = collections
        self._connection = collections.connection
        self._staging = staging
        self._http = httpx.Client(
            base_url=_rest_address(self._connection),
            headers={"Authorization": f"Bearer {_token(self._connection)}"},
            timeout=self._connection.timeout,
            verify=self._connection.ca_file or True,
        )

    def file_name(self, path: str) -> str:
        """A key relative to the bucket; for Zilliz Cloud the object's URL."""
        return self._staging.address(path) if self._is_cloud else self._staging.key(path)

    @property
    def _is_cloud(self) -> bool:
        return bool(self._connection.cluster_id)

    def submit(self, collection: str, partition: str, files: list[str], key: str) -> str:
        """Submits a job; servers that know `Idempotency-Key` take the same files only once."""
        body: dict[str, Any] = {"collectionName": collection}
        if partition:
            body["partitionName"] = partition
        if self._is_cloud:
            body |= {"objectUrls": [files]} | _bucket_keys(self._staging.connection)
        else:
            body["files"] = [files]
        data = self._post("create", body, {"Idempotency-Key": key})
        return str(data["jobId"])

    def job(self, job_id: str) -> ImportJob | None:
        """The job's state now; None when the server has forgotten it."""
        try:
            return _job(job_id, self._post("describe", {"jobId": job_id}))
        except _Refusal as refusal:
            if refusal.code in _UNKNOWN_JOB:
                return None
            raise

    def jobs(self, collection: str) -> list[ImportJob]:
        """All jobs of a collection that the server still remembers, with their files.

        A list tells no file names, so each job is asked for its own; a job tells them only once it
        has begun to read the files.
        """
        found: list[ImportJob] = []
        page = 0
        while True:
            page += 1
            paging = {"pageSize": _PAGE, "currentPage": page} if self._is_cloud else {}
            data = self._post("list", {"collectionName": collection, **paging})
            records = data.get("records") or []
            jobs = (self.job(str(record["jobId"])) for record in records)
            found += [job for job in jobs if job]
            if not self._is_cloud or len(records) < _PAGE:
                return found

    @retry(
        retry=retry_if_exception_type(_Busy),
        wait=wait_exponential_jitter(initial=0.5, max=20),
        stop=stop_after_attempt(8),
        reraise=True,
    )
    def _send(self, call: str, body: dict[str, Any], headers: dict[str, str]) -> httpx.Response:
        answer = self._http.post(_PATH + call, json=body, headers=headers)
        if answer.status_code in (429, 503):
            raise _Busy(f"HTTP {answer.status_code}")
        if answer.status_code == 200 and answer.json().get("code") == _RATE_LIMITED:
            raise _Busy(f"rate limit: {answer.json().get('message')}")
        return answer

    def _post(
        self, call: str, body: dict[str, Any], headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        if self._collections.database:
            body = {"dbName": self._collections.database, **body}
        if self._is_cloud:
            body = {"clusterId": self._connection.cluster_id, **body}
        where = f"{self._http.base_url}{_PATH.lstrip('/')}{call}"
        try:
            answer = self._send(call, body, headers or {})
            answer.raise_for_status()
            value = answer.json()
        except (httpx.HTTPError, ValueError, _Busy) as error:
            raise AirliftError(
                f"{where} failed: {error}; check the connection's REST address, and clear the task: "
                "a job that was accepted is found again"
            ) from error
        if value.get("code") != 0:
            raise _Refusal(where, value)
        data: dict[str, Any] = value.get("data") or {}
        return data


def _job(job_id: str, data: dict[str, Any]) -> ImportJob:
    # A group's names come as Go prints a list: `[a.npy b.npy]`.
    names = (detail.get("fileName") or "" for detail in data.get("details") or [])
    files = {name for group in names for name in re.split(r"[\[\], ]+", group)}
    return ImportJob(
        id=job_id,
        state=_STATES.get(data.get("state", ""), JobState.RUNNING),
        files=frozenset(files - {""}),
        progress=int(data.get("progress") or 0),
        rows=int(data.get("importedRows") or 0),
        reason=data.get("reason") or "",
    )


def _rest_address(connection: MilvusConnection) -> str:
    return connection.rest_uri or connection.uri


def _token(connection: MilvusConnection) -> str:
    token = connection.token.get_secret_value()
    return token or f"{connection.user}:{connection.password.get_secret_value()}"


def _bucket_keys(connection: StorageConnection) -> dict[str, str]:
    """The keys that Zilliz Cloud reads the bucket with."""
    keys = {
        "accessKey": connection.access_key,
        "secretKey": connection.secret_key.get_secret_value(),
        "token": connection.session_token.get_secret_value(),
    }
    return {name: value for name, value in keys.items() if value}
