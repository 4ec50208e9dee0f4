"""What the import calls do, for a Milvus server and for Zilliz Cloud."""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar

from . import contract as C
from .binlogs import segment_groups
from .collection_calls import Body, CollectionCalls, Headers
from .config import Zilliz
from .engine import Engine
from .jobs import Job, JobRunner
from .readers import file_type
from .storage import Storage, split_object_url
from .versions import Behaviour

_IMPORT_CALLS = {
    "jobs/import/create": "create",
    "jobs/import/describe": "describe",
    "jobs/import/get_progress": "describe",
    "jobs/import/list": "list",
}
# A duration as Go writes it: 300s, 1h30m, 1.5s.
_DURATION = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|ms|s|m|h))+|0")


class MilvusApi(CollectionCalls):
    """create, describe and list of a Milvus server."""

    calls: ClassVar[dict[str, str]] = {**_IMPORT_CALLS, **CollectionCalls.collection_calls}

    def __init__(
        self, runner: JobRunner, storage: Storage | None, token: str | None, behaviour: Behaviour
    ) -> None:
        self.runner, self.storage, self.token, self.behaviour = runner, storage, token, behaviour
        self._submitting = threading.Lock()
        self.engine: Engine | None = None

    def authenticate(self, headers: Headers) -> None:
        if self.token and headers.get("Authorization") != f"Bearer {self.token}":
            raise C.RestError(C.NEED_AUTHENTICATE, "user hasn't authenticated", http_status=401)

    def create(self, body: Body, headers: Headers) -> Any:
        _text(body, "ImportReq", "collectionName")
        _typed(body.get("files") or [], "ImportReq.files", "[]string", _is_group)
        options = body.get("options") or {}
        _typed([options], "ImportReq.options", "map[string]string", lambda v: isinstance(v, dict))
        _typed(list(options.values()), "ImportReq.options", "string", _is_text)
        _require(body, "ImportReq", CollectionName="collectionName", Files="files")
        job = self._submit(body, headers, body["files"], self.storage)
        return C.ok({"jobId": job.job_id})

    def describe(self, body: Body, headers: Headers) -> Any:
        _text(body, "JobIDReq", "jobId")
        _require(body, "JobIDReq", JobID="jobId")
        if not re.fullmatch(r"[+-]?\d+", body["jobId"]):
            raise self.behaviour.refuse("job_id", job=body["jobId"])
        job = self._job(body["jobId"])
        return C.ok(C.describe_milvus(job, self.behaviour.create_time))

    def list(self, body: Body, headers: Headers) -> Any:
        database = self.find_database(body, headers)
        jobs = list(self.runner.jobs)
        name = body.get("collectionName")
        if name:
            self._find_or_dropped(database, name)
            uid = self.engine.identity(database, name)
            jobs = [job for job in jobs if job.collection_id == uid]
        return C.ok(C.list_milvus(jobs))

    def _find_or_dropped(self, database: str, name: str) -> None:
        """Raises with the number of a collection that had the name, where it is dropped."""
        try:
            self.find_collection(database, name)
        except C.RestError:
            dropped = self.engine.dropped.get((database, name))
            if not dropped:
                raise
            said = f"collection not found[collection={dropped}]"
            raise C.RestError(C.COLLECTION_NOT_FOUND, said) from None

    def _job(self, job_id: str) -> Job:
        job = self.runner.get(job_id)
        if job is None:
            raise self.behaviour.refuse("unknown_job", job=job_id)
        return job

    def _submit(
        self, body: Body, headers: Headers, files: list[list[str]], storage: Storage
    ) -> Job:
        """The proxy's checks, then a new job, or the one that the idempotency key names."""
        key = headers.get(C.IDEMPOTENCY_HEADER) if self.behaviour.idempotency else None
        if key is not None and (
            len(key.encode()) > C.MAX_KEY_BYTES or not key.isascii() or not key.isprintable()
        ):
            raise C.RestError(C.INVALID_PARAMETER, "invalid idempotency key: invalid parameter")
        options = body.get("options") or {}
        database = self.find_database(body, headers)
        name = self.engine.db.resolve_collection_name(
            body["collectionName"], database_name=database
        )
        collection = self.find_collection(database, name)
        partition = body.get("partitionName") or ""
        backup = options.get("backup", "").lower() == "true"
        if backup and not partition:
            raise C.RestError(C.INVALID_PARAMETER, "partition not specified")
        if collection._partition_key_field and partition and not backup:
            raise C.import_refused(
                "not allow to set partition name for collection with partition key"
            )
        if partition and not collection.has_partition(partition):
            raise C.RestError(C.PARTITION_NOT_FOUND, f"partition not found[partition={partition}]")
        timeout = options.get("timeout")
        if timeout and not _DURATION.fullmatch(timeout):
            raise self.behaviour.refuse("timeout", text=timeout)
        uid = self.engine.identity(database, name)
        groups = _groups(files, storage, backup)
        with self._submitting:
            known = self.runner.by_key(uid, key) if key else None
            return known or self.runner.create(
                database=database,
                collection=name,
                collection_id=uid,
                partition=partition or "_default",
                storage=storage,
                files=groups,
                options=options,
                key=key,
                asked_name=body["collectionName"],
            )


def _groups(files: list[list[str]], storage: Storage, backup: bool) -> list[list[str]]:
    """The groups of files of a job: those of the request, or a backup's segments."""
    files = [group for group in files if group]
    if not files:
        raise C.RestError(C.INVALID_PARAMETER, "import request is empty: invalid parameter")
    if len(files) > C.MAX_FILE_GROUPS:
        raise C.import_refused(
            f"The max number of import files should not exceed {C.MAX_FILE_GROUPS}, "
            f"but got {len(files)}"
        )
    if not backup:
        for group in files:
            file_type(group)
        return files
    segments = [segment for group in files for segment in segment_groups(storage, group)]
    if not segments:
        raise C.import_refused("no binlog to import")
    return segments


class ZillizApi(MilvusApi):
    """The same on Zilliz Cloud's control plane, for one cluster."""

    calls: ClassVar[dict[str, str]] = {**_IMPORT_CALLS, "jobs/import/getProgress": "describe"}

    def __init__(self, runner: JobRunner, cloud: Zilliz, behaviour: Behaviour) -> None:
        super().__init__(runner, storage=None, token=cloud.api_key, behaviour=behaviour)
        self.cloud = cloud
        self._recent: deque[float] = deque()

    def authenticate(self, headers: Headers) -> None:
        if headers.get("Authorization") != f"Bearer {self.cloud.api_key}":
            raise C.RestError(C.ZILLIZ_BAD_KEY, "The apikey is illegal.")
        limit = self.cloud.requests_per_second
        if limit:
            now = time.monotonic()
            while self._recent and now - self._recent[0] > 1:
                self._recent.popleft()
            if len(self._recent) >= limit:
                raise C.RestError(429, "Too many requests.", http_status=429)
            self._recent.append(now)

    def create(self, body: Body, headers: Headers) -> Any:
        self._cluster(body)
        if not body.get("collectionName"):
            raise C.RestError(C.ZILLIZ_BAD_REQUEST, "collectionName is required.")
        if body.get("volumeName"):
            storage = self.cloud.volumes.get(body["volumeName"])
            if storage is None:
                raise C.RestError(
                    C.ZILLIZ_BAD_STORAGE, f"The volume {body['volumeName']} does not exist."
                )
            groups = [_expand(storage, g) for g in body.get("dataPaths") or []]
        else:
            storage, groups = self._objects(body)
        files = [group for expanded in groups for group in expanded]
        job = self._submit(body, headers, files, storage)
        return C.ok({"jobId": job.job_id})

    def describe(self, body: Body, headers: Headers) -> Any:
        self._cluster(body)
        return C.ok(C.describe_zilliz(self._job(body.get("jobId") or "")))

    def list(self, body: Body, headers: Headers) -> Any:
        self._cluster(body)
        jobs = list(self.runner.jobs)
        if body.get("collectionName"):
            jobs = [j for j in jobs if j.collection == body["collectionName"]]
        if body.get("dbName"):
            jobs = [j for j in jobs if j.database == body["dbName"]]
        return C.ok(
            C.list_zilliz(jobs, int(body.get("currentPage") or 1), int(body.get("pageSize") or 10))
        )

    def _cluster(self, body: Body) -> None:
        if body.get("clusterId") != self.cloud.cluster_id:
            raise C.RestError(
                C.ZILLIZ_BAD_CLUSTER, f"The cluster {body.get('clusterId') or ''} does not exist."
            )

    def _objects(self, body: Body) -> tuple[Storage, list[list[list[str]]]]:
        urls = body.get("objectUrls") or ([[body["objectUrl"]]] if body.get("objectUrl") else [])
        if not urls or not all(isinstance(g, list) and g for g in urls):
            raise C.RestError(C.ZILLIZ_BAD_REQUEST, "objectUrls is required, a list of lists.")
        cloud = self.cloud
        for wanted, sent in (
            (cloud.access_key, "accessKey"),
            (cloud.secret_key, "secretKey"),
            (cloud.session_token, "token"),
        ):
            if wanted is not None and (body.get(sent) or "") != wanted:
                raise C.RestError(C.ZILLIZ_BAD_STORAGE, "The bucket refused the credentials.")
        try:
            split = [[split_object_url(u) for u in g] for g in urls]
        except ValueError as err:
            raise C.RestError(C.ZILLIZ_BAD_REQUEST, str(err)) from None
        buckets = {bucket for group in split for bucket, _ in group}
        if len(buckets) != 1 or not buckets <= set(cloud.buckets):
            raise C.RestError(
                C.ZILLIZ_BAD_STORAGE, f"The bucket {sorted(buckets)} cannot be reached."
            )
        storage = cloud.buckets[buckets.pop()]
        return storage, [_expand(storage, [key for _, key in group]) for group in split]


def _expand(storage: Storage, group: list[str]) -> list[list[str]]:
    """A folder becomes its files: all its .npy one group, each other file its own."""
    if len(group) != 1 or not (group[0].endswith("/") or "." not in group[0].rsplit("/", 1)[-1]):
        return [group]
    names = storage.list(group[0])
    npy = [n for n in names if n.endswith(".npy")]
    rest = [[n] for n in names if n.endswith((".parquet", ".json"))]
    return ([npy] if npy else []) + rest


def _require(body: Body, struct: str, **names: str) -> None:
    """gin's ``binding:"required"``: absent, null and "" are missing, an empty list is not."""
    for go_name, name in names.items():
        if body.get(name) in (None, ""):
            raise C.RestError(
                C.MISSING_PARAMETERS,
                f"missing required parameters, error: Key: '{struct}.{go_name}' Error:Field "
                f"validation for '{go_name}' failed on the 'required' tag",
            )


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_group(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(path, str) for path in value)


def _text(body: Body, struct: str, name: str) -> None:
    if body.get(name) is not None:
        _typed([body[name]], f"{struct}.{name}", "string", _is_text)


def _typed(values: Any, where: str, go_type: str, fits: Callable[[Any], bool]) -> None:
    """Refuses what Go's JSON can't put into a struct."""
    for value in values if isinstance(values, list) else [values]:
        if not fits(value):
            kind = {str: "string", bool: "bool", list: "array", dict: "object"}
            found = kind.get(type(value), "number")
            raise C.RestError(
                C.BAD_FORMAT,
                f"can only accept json format request, error: json: cannot unmarshal {found} "
                f"into Go struct field {where} of type {go_type}",
            )
