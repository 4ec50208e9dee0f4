"""Import jobs by REST, as Milvus 2.4 and later and Zilliz Cloud have them.

References: Milvus RESTful API v2, `/v2/vectordb/jobs/import/{create,describe,list}`; Zilliz Cloud's
control plane has the same with `clusterId`, object URLs and the bucket's keys in the request.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Collection, Iterable
from typing import Any, ClassVar
from urllib.parse import urlsplit

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt
from tenacity.wait import wait_exponential_jitter

from airlift.connections import MilvusConnection
from airlift.errors import AirliftError
from airlift.milvus.database import MilvusDatabase
from airlift.milvus.errors import Unavailable
from airlift.storage import Storage
from airlift.targets.base import ImportJob, JobState
from airlift.targets.rest_answers import NoAnswer, RestRefusal, data_of
from airlift.waiting import wait_for

_STATES = {"Completed": JobState.COMPLETED, "Failed": JobState.FAILED}
_PATH = "/v2/vectordb/jobs/import/"
_PAGE = 100
_ATTEMPTS = 6
_TELLS_FILES_SECONDS = 600.0
# Milvus takes a new job again when some of the 1,024 unfinished ones have ended.
_FULL_SECONDS = 600.0
# A job's file names as they are told: `[a.npy b.npy]` (as Go prints a list), or `a.npy,b.npy`.
_FILE_NAMES = re.compile(r"[\[\], ]*(.+?\.(?:npy|parquet|json))(?=[\], ]|$)")
# The same in the reason of a failure: `file: id:470760450198676741 paths:"in/a.parquet"`.
_FAILED_PATHS = re.compile(r'\bpaths:"([^"]+)"')


class RestImport:
    """Jobs of one chunk each."""

    name: ClassVar[str] = "rest_import"
    _options: ClassVar[dict[str, str]] = {}

    def __init__(self, collections: MilvusDatabase, staging: Storage) -> None:
        self._collections = collections
        self._connection = collections.connection
        self._staging = staging
        self.earlier_jobs: frozenset[str] = frozenset()
        if self._is_cloud and staging.is_local:
            raise AirliftError(
                f"Zilliz Cloud can't read {staging.url}: stage in a bucket (s3://…, gs://…, "
                "abfss://…), or set write_mode to insert"
            )
        self._http = httpx.Client(
            base_url=_rest_address(self._connection),
            headers={"Authorization": f"Bearer {_token(self._connection)}"},
            timeout=self._connection.timeout,
            verify=_tls(self._connection),
        )

    def file_name(self, path: str) -> str:
        """A key relative to the bucket; for Zilliz Cloud the object's URL."""
        if not self._is_cloud:
            return self._staging.key(path)
        return self._staging.store.object_url(self._staging.path(path))

    @property
    def _is_cloud(self) -> bool:
        return bool(self._connection.cluster_id)

    def submit(self, collection: str, partition: str, files: list[str], key: str) -> str:
        """Submits a job.

        Where the answer is lost, the job may have been accepted all the same: it is looked for
        before the files are sent again. Servers that know `Idempotency-Key` do so by themselves.
        """
        body: dict[str, Any] = {"collectionName": collection}
        if partition:
            body["partitionName"] = partition
        if self._options:
            body["options"] = self._options
        if self._is_cloud:
            body |= {"objectUrls": [files]} | self._staging.store.import_keys()
        else:
            body["files"] = [files]

        def submit_or_find() -> str:
            if attempts.statistics["attempt_number"] > 1:
                accepted = self._job_with(collection, set(files))
                if accepted:
                    return accepted
            created = self._ask("create", body, {"Idempotency-Key": key})
            if not created.get("jobId"):
                raise NoAnswer(f"the answer names no job: {created}")
            return str(created["jobId"])

        attempts = _patiently()

        def submit_unless_full() -> str | None:
            try:
                return attempts(submit_or_find)
            except RestRefusal as refusal:
                if refusal.is_full:
                    return None
                raise

        try:
            job = wait_for(submit_unless_full, bool, _FULL_SECONDS, slowest=15)
        except NoAnswer as error:
            raise AirliftError(_lost(self._where("create"), error)) from error
        if not job:
            raise Unavailable(
                f"the server takes no import job for {collection!r}: as many as it allows "
                "(dataCoord.import.maxImportJobNum) have not ended yet; see what they wait for, "
                "and clear the task when some have ended"
            )
        return job

    def _job_with(self, collection: str, files: set[str]) -> str | None:
        """The job that took those files and did not fail; new ones tell theirs after a while."""
        jobs = wait_for(
            lambda: self.jobs(collection),
            lambda jobs: not any(job.has_unknown_files for job in jobs),
            _TELLS_FILES_SECONDS,
        )
        if jobs is None:
            raise AirliftError(
                f"an import job of the collection {collection!r} does not tell its files, so it "
                "can't be known whether it was accepted; wait for it to end, then clear the task"
            )
        for job in jobs:
            if job.state is not JobState.FAILED and files <= job.files:
                return job.id
        return None

    def job(self, job_id: str) -> ImportJob | None:
        """The job's state now; None when the server has forgotten it."""
        try:
            return self._job(job_id, self._post("describe", {"jobId": job_id}))
        except RestRefusal as refusal:
            if refusal.is_unknown_job:
                return None
            raise

    def jobs(self, collection: str, known: Collection[str] = ()) -> list[ImportJob]:
        """The jobs of a collection that the server still remembers, with their files.

        A list tells no file names, so each job is asked for its own; a job tells them only once it
        has begun to read the files.
        """
        ids = self._job_ids(collection) - set(known) - self.earlier_jobs
        jobs = (self.job(job_id) for job_id in sorted(ids))
        return [job for job in jobs if job]

    def jobs_of_gone_collections(self, name: str) -> list[str]:
        """Zilliz Cloud lists jobs by the collection's name; Milvus by its id."""
        if not self._is_cloud:
            return []
        try:
            return sorted(self._job_ids(name))
        except RestRefusal:  # it lists none for what is not there
            return []

    def _job_ids(self, collection: str) -> set[str]:
        """The ids of the jobs that the server lists; several pages of them on Zilliz Cloud."""
        found: set[str] = set()
        page = 0
        while True:
            page += 1
            paging = {"pageSize": _PAGE, "currentPage": page} if self._is_cloud else {}
            data = self._post("list", {"collectionName": collection, **paging})
            records = data.get("records") or []
            found |= {str(record["jobId"]) for record in records}
            if not self._is_cloud or len(records) < _PAGE:
                return found

    def _post(self, call: str, body: dict[str, Any]) -> dict[str, Any]:
        """Asks what changes nothing, again if need be."""
        try:
            return _patiently()(self._ask, call, body, {})
        except NoAnswer as error:
            raise AirliftError(_lost(self._where(call), error)) from error

    def _where(self, call: str) -> str:
        return f"{str(self._http.base_url).rstrip('/')}{_PATH}{call}"

    def _ask(self, call: str, body: dict[str, Any], headers: dict[str, str]) -> dict[str, Any]:
        """Asks once.

        Raises:
            NoAnswer: the server may have done it or not.
            RestRefusal: it did not.
            AirliftError: it refused the login, or is no Milvus.
        """
        if self._collections.database:
            body = {"dbName": self._collections.database, **body}
        if self._is_cloud:
            body = {"clusterId": self._connection.cluster_id, **body}
        where = self._where(call)
        try:
            answer = self._http.post(_PATH + call, json=body, headers=headers)
        except httpx.RequestError as error:
            raise NoAnswer(str(error) or type(error).__name__) from error
        return data_of(where, answer)

    def _job(self, job_id: str, data: dict[str, Any]) -> ImportJob:
        groups = [detail.get("fileName") or "" for detail in data.get("details") or []]
        if not groups:
            # One that failed before it imported anything names its files in the reason only.
            groups = _FAILED_PATHS.findall(data.get("reason") or "")
        told = {name for group in groups for name in self._names(group)}
        if self._is_cloud:
            told = {url for name in told for url in self._urls(name)}
        return ImportJob(
            id=job_id,
            state=_STATES.get(data.get("state", ""), JobState.RUNNING),
            files=frozenset(told),
            progress=int(data.get("progress") or 0),
            rows=int(data.get("importedRows") or 0),
            reason=data.get("reason") or "",
        )

    def _names(self, group: str) -> Iterable[str]:
        """The names of a group's files, as they are told."""
        return _FILE_NAMES.findall(group)

    def _urls(self, told: str) -> set[str]:
        """The URLs of ours that a file's name may stand for: with its bucket in it, or without."""
        store, parts = self._staging.store, urlsplit(told)
        if parts.scheme in store.schemes:
            return {store.object_url(f"{parts.netloc}{parts.path}")}
        path = (parts.path if parts.scheme else told).lstrip("/")
        return {store.object_url(path), store.object_url(f"{self._staging.bucket}/{path}")}


def _patiently() -> Retrying:
    return Retrying(
        retry=retry_if_exception_type(NoAnswer),
        wait=_wait,
        stop=stop_after_attempt(_ATTEMPTS),
        reraise=True,
    )


def _wait(state: RetryCallState) -> float:
    return wait_exponential_jitter(multiplier=0.25, max=15, jitter=0.25)(state)


def _lost(where: str, error: NoAnswer) -> str:
    return (
        f"{where} failed: {error}; {error.advice}, and clear the task: a job that was accepted is "
        "found again"
    )


def _tls(connection: MilvusConnection) -> ssl.SSLContext | bool:
    """What the server's certificate is checked against, and our own for mutual TLS."""
    if not (connection.ca_file or connection.client_cert_file):
        return True
    try:
        context = ssl.create_default_context(cafile=connection.ca_file or None)
        if connection.client_cert_file:
            context.load_cert_chain(connection.client_cert_file, connection.client_key_file or None)
    except OSError as error:
        raise AirliftError(
            f"the TLS files of the connection can't be used: {error}; check ca_file, "
            "client_cert_file and client_key_file"
        ) from error
    return context


def _rest_address(connection: MilvusConnection) -> str:
    return connection.rest_uri or connection.uri


def _token(connection: MilvusConnection) -> str:
    token = connection.token.get_secret_value()
    return token or f"{connection.user}:{connection.password.get_secret_value()}"
