"""What the import calls do, for a Milvus server and for Zilliz Cloud."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Any, ClassVar

from milvus_lite.exceptions import CollectionNotFoundError, MilvusLiteError

from . import contract as C
from .binlogs import segment_groups
from .config import Zilliz
from .engine import Engine
from .jobs import Job, JobRunner
from .readers import file_type
from .storage import Storage, split_object_url

Body = dict[str, Any]
Headers = Mapping[str, str]


class MilvusApi:
    """create, describe and list of a Milvus server."""

    actions: ClassVar[dict[str, str]] = {
        "create": "create",
        "describe": "describe",
        "get_progress": "describe",
        "list": "list",
    }

    def __init__(
        self, runner: JobRunner, storage: Storage, token: str | None, idempotency: bool
    ) -> None:
        self.runner, self.storage, self.token, self.idempotency = (
            runner,
            storage,
            token,
            idempotency,
        )
        self._submitting = threading.Lock()
        self.engine: Engine | None = None

    def authenticate(self, headers: Headers) -> None:
        if self.token and headers.get("Authorization") != f"Bearer {self.token}":
            raise C.RestError(C.NEED_AUTHENTICATE, "user hasn't authenticated", http_status=401)

    def create(self, body: Body, headers: Headers) -> Any:
        _require(body, "ImportReq", CollectionName="collectionName", Files="files")
        files = body["files"]
        if not isinstance(files, list) or not all(
            isinstance(g, list) and all(isinstance(p, str) for p in g) for g in files
        ):
            raise C.RestError(
                C.BAD_FORMAT,
                "can only accept json format request, error: json: cannot unmarshal "
                "into Go struct field ImportReq.files of type []string",
            )
        job = self._submit(body, headers, files, self.storage)
        return C.ok({"jobId": job.job_id})

    def describe(self, body: Body, headers: Headers) -> Any:
        _require(body, "JobIDReq", JobID="jobId")
        return C.ok(C.describe_milvus(self._job(body["jobId"])))

    def list(self, body: Body, headers: Headers) -> Any:
        database = self._database(body, headers)
        jobs = list(self.runner.jobs)
        if body.get("collectionName"):
            self._collection(database, body["collectionName"])
            uid = self.engine.identity(database, body["collectionName"])
            jobs = [j for j in jobs if j.collection_id == uid]
        return C.ok(C.list_milvus(jobs))

    def _job(self, job_id: str) -> Job:
        job = self.runner.get(job_id)
        if job is None:
            raise C.import_refused(f"import job does not exist, jobID={job_id}")
        return job

    def _database(self, body: Body, headers: Headers) -> str:
        database = body.get("dbName") or headers.get("DB-Name") or "default"
        if not self.engine.db.has_database(database):
            raise C.RestError(C.DATABASE_NOT_FOUND, f"database not found, database: {database}")
        return database

    def _collection(self, database: str, name: str) -> Any:
        try:
            return self.engine.collection(database, name)
        except CollectionNotFoundError:
            raise C.RestError(
                C.COLLECTION_NOT_FOUND,
                f"can't find collection[database={database}][collection={name}]",
            ) from None
        except MilvusLiteError as err:
            raise C.RestError(C.INVALID_PARAMETER, str(err)) from None

    def _submit(
        self, body: Body, headers: Headers, files: list[list[str]], storage: Storage
    ) -> Job:
        """The proxy's checks, then a new job, or the one that the idempotency key names."""
        key = headers.get(C.IDEMPOTENCY_HEADER) if self.idempotency else None
        if key is not None and (
            len(key.encode()) > C.MAX_KEY_BYTES or not key.isascii() or not key.isprintable()
        ):
            raise C.RestError(C.INVALID_PARAMETER, "invalid idempotency key: invalid parameter")
        options = body.get("options") or {}
        if not isinstance(options, dict) or not all(isinstance(v, str) for v in options.values()):
            raise C.RestError(
                C.BAD_FORMAT,
                "can only accept json format request, error: json: cannot unmarshal "
                "into Go struct field ImportReq.options of type string",
            )
        database = self._database(body, headers)
        name = self.engine.db.resolve_collection_name(
            body["collectionName"], database_name=database
        )
        col = self._collection(database, name)
        partition = body.get("partitionName") or ""
        backup = options.get("backup", "").lower() == "true"
        if backup and not partition:
            raise C.RestError(C.INVALID_PARAMETER, "partition not specified")
        if col._partition_key_field and partition and not backup:
            raise C.import_refused(
                "not allow to set partition name for collection with partition key"
            )
        if partition and not col.has_partition(partition):
            raise C.RestError(C.PARTITION_NOT_FOUND, f"partition not found[partition={partition}]")
        files = [g for g in files if g]
        if not files:
            raise C.RestError(C.INVALID_PARAMETER, "import request is empty: invalid parameter")
        if len(files) > C.MAX_FILE_GROUPS:
            raise C.import_refused(
                f"The max number of import files should not exceed {C.MAX_FILE_GROUPS}, "
                f"but got {len(files)}"
            )
        if backup:
            files = [one for group in files for one in segment_groups(storage, group)]
            if not files:
                raise C.import_refused("no binlog to import")
        else:
            for group in files:
                file_type(group)
        uid = self.engine.identity(database, name)
        with self._submitting:
            known = self.runner.by_key(uid, key) if key else None
            return known or self.runner.create(
                database=database,
                collection=name,
                collection_id=uid,
                partition=partition or "_default",
                storage=storage,
                files=files,
                options=options,
                key=key,
            )


class ZillizApi(MilvusApi):
    """The same on Zilliz Cloud's control plane, for one cluster."""

    actions: ClassVar[dict[str, str]] = {**MilvusApi.actions, "getProgress": "describe"}

    def __init__(self, runner: JobRunner, cloud: Zilliz, idempotency: bool) -> None:
        super().__init__(runner, storage=None, token=cloud.api_key, idempotency=idempotency)
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
    """gin's ``binding:"required"``: absent, null, "" and [] are all missing."""
    for go_name, name in names.items():
        if body.get(name) in (None, "", []):
            raise C.RestError(
                C.MISSING_PARAMETERS,
                f"missing required parameters, error: Key: '{struct}.{go_name}' Error:Field "
                f"validation for '{go_name}' failed on the 'required' tag",
            )
