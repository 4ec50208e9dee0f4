"""The REST shapes of the import API, and where each of them comes from.

What real servers of 2.5.27 and 2.6.20 answered is recorded in ``tests/fixtures/rest_import`` and
replayed by ``tests/emulators/test_recorded_imports.py``; what differs between them is data of
`versions`. The rest is from public references, and was not compared with a server:

Milvus 2.4 - 2.6: ``POST /v2/vectordb/jobs/import/{create,describe,get_progress,list}``

- Requests: milvus ``httpserver/request_v2.go``. ``ImportReq`` (``collectionName`` and ``files``
  required, ``options`` a map of strings), ``JobIDReq`` (``jobId`` required),
  ``OptionalCollectionNameReq`` for list. Unknown keys are ignored, so that pymilvus'
  ``bulk_import`` may send its cloud keys as empty strings.
- Answers: milvus ``httpserver/handler_v2.go`` (``createImportJob``, ``getImportJobProcess``,
  ``listImportJob``). Success and refusal are both HTTP 200: ``{"code": 0, "data": {...}}`` or
  ``{"code": N, "message": "..."}``. ``reason`` is there only when it is not empty. List takes no
  pages and names no files.
- Refused at once, with these words: milvus ``proxy/task_import.go`` (collection, partition,
  partition with a partition key, no files, too many files) and ``importutilv2/util.go`` (types).
- The logs of a backup: ``options`` ``{"backup": "true"}`` as milvus-backup sends them (its
  ``internal/client/milvus/restful.go``); see `binlogs`.
- Job states and progress: milvus ``datacoord/import_util.go``. ``GetJobProgress``: Pending,
  Importing, Completed, Failed; 0-10 pending, 10-40 pre-import, 40-70 import, 70-90 sort and index;
  a failed job says progress 0 and rows 0. ``GetTaskProgresses``: a group's ``fileName`` is Go's
  print of its paths, ``[a.npy b.npy]``; ``details`` is empty until the pre-import is done; the
  states there are Pending, InProgress, Completed, Failed. A job of no rows is Completed with empty
  ``details`` (recorded).
- List and ``details`` have the order of a Go map (recorded; milvus ``datacoord/services.go``).
- Files: milvus ``importutilv2/{numpy,parquet,json,common}`` (see `readers` and `fields`).
- ``Idempotency-Key``: milvus-docs ``idempotent-import.md``. 2.6.24+ and 3.0.2+; per collection; the
  two requests are not compared; printable ASCII up to 256 bytes, else 1100; the key of a failed
  job still answers that failed job.
- Error numbers: milvus ``pkg/util/merr/errors.go``. From memory, neither recorded nor looked up:
  HTTP 401 for a bad token, and the text of code 8.

Zilliz Cloud control plane: the same paths, and ``getProgress``

- docs.zilliz.com ``create-import-jobs-v2``, ``get-import-job-progress-v2``,
  ``list-import-jobs-v2``, ``import-data-via-restful-api``, and pymilvus
  ``bulk_writer/bulk_import.py``: ``clusterId``; ``objectUrls`` / ``objectUrl`` with ``accessKey``,
  ``secretKey``, ``token``, or ``volumeName`` with ``dataPaths``.
- Job ids look like ``job-...``; list is paged (``count``, ``currentPage``, ``pageSize``,
  ``records``); ``reason`` is always there; a bad API key is ``{"code": 21119, "message": "The
  apikey is illegal."}``.
- The docs give no other error numbers, and don't say which refusals come at once, nor how
  ``fileName`` prints a group of several files: those here are ours, so a client must not branch
  on them.
- GetVersion and Connect: the Go client's tests (Connect says "Zilliz Cloud Vector
  Database(Compatible with Milvus 2.6)", GetVersion a build tag) and a user's log (GetVersion says
  the former): both can be set.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

PREFIX = "/v2/vectordb/"
IDEMPOTENCY_HEADER = "Idempotency-Key"
MAX_FILE_GROUPS = 1024
MAX_JOBS = 1024
MAX_KEY_BYTES = 256

RATE_LIMIT = 8
COLLECTION_NOT_FOUND = 100
PARTITION_NOT_FOUND = 200
DATABASE_NOT_FOUND = 800
INVALID_PARAMETER = 1100
NEED_AUTHENTICATE = 1800
BAD_FORMAT = 1801
MISSING_PARAMETERS = 1802
IMPORT_FAILED = 2100
ZILLIZ_BAD_KEY = 21119
ZILLIZ_BAD_CLUSTER = 40001
ZILLIZ_BAD_REQUEST = 40002
ZILLIZ_BAD_STORAGE = 40003

PENDING, IMPORTING, COMPLETED, FAILED = "Pending", "Importing", "Completed", "Failed"
IN_PROGRESS = "InProgress"


class RestError(Exception):
    """A refusal: what goes into ``code`` and ``message``, and the HTTP status."""

    def __init__(self, code: int, message: str, http_status: int = 200) -> None:
        super().__init__(message)
        self.code, self.message, self.http_status = code, message, http_status


class ImportFailed(Exception):
    """What ends a job in state Failed; its text becomes part of the job's ``reason``.

    `exact` texts are whole; others get the ending that servers give to most.
    """

    def __init__(self, text: str, exact: bool = False) -> None:
        super().__init__(text if exact else f"{text}: importing data failed")


def import_refused(message: str) -> RestError:
    """An immediate refusal of the import itself, as ``merr.WrapErrImportFailed`` words it."""
    return RestError(IMPORT_FAILED, f"{message}: importing data failed")


def ok(data: Any) -> dict[str, Any]:
    return {"code": 0, "data": data}


def refusal(err: RestError) -> dict[str, Any]:
    return {"code": err.code, "message": err.message}


def go_list(paths: Iterable[str]) -> str:
    """Go's ``fmt.Sprintf("%v", []string{...})``."""
    return f"[{' '.join(paths)}]"


def _group(group: Any, zilliz: bool) -> dict[str, Any]:
    out: dict[str, Any] = {
        "fileName": ",".join(group.paths) if zilliz else go_list(group.paths),
        "fileSize": group.size,
        "progress": group.progress,
        "completeTime": group.complete_time,
        "state": group.state,
        "importedRows": group.progress * group.rows // 100,
        "totalRows": group.rows,
    }
    if group.reason or zilliz:
        out["reason"] = group.reason
    return out


def describe_milvus(job: Any, create_time: bool) -> dict[str, Any]:
    """``data`` of Milvus' describe answer; the groups are in no order."""
    details = [_group(g, zilliz=False) for g in job.groups] if job.details_visible else []
    random.shuffle(details)
    data: dict[str, Any] = {
        "jobId": job.job_id,
        "collectionName": job.asked_name,
        "completeTime": job.complete_time,
        "state": job.state,
        "progress": job.progress,
        "importedRows": job.imported_rows,
        "totalRows": job.total_rows,
        "fileSize": sum(d["fileSize"] for d in details),
        "details": details,
    }
    if create_time:
        data["createTime"] = job.create_time
    if job.reason:
        data["reason"] = job.reason
    return data


def describe_zilliz(job: Any) -> dict[str, Any]:
    """``data`` of Zilliz Cloud's describe answer."""
    details = [_group(g, zilliz=True) for g in job.groups] if job.details_visible else []
    return {
        "jobId": job.job_id,
        "collectionName": job.collection,
        "fileName": details[0]["fileName"] if details else "",
        "fileSize": sum(d["fileSize"] for d in details),
        "state": job.state,
        "progress": job.progress,
        "completeTime": job.complete_time,
        "reason": job.reason,
        "importedRows": job.imported_rows,
        "totalRows": job.total_rows,
        "details": details,
    }


def list_milvus(jobs: list[Any]) -> dict[str, Any]:
    """``data`` of Milvus' list answer: all jobs, in no order, without file names."""
    records = []
    for job in random.sample(jobs, len(jobs)):
        record = {
            "jobId": job.job_id,
            "collectionName": job.asked_name,
            "state": job.state,
            "progress": job.progress,
        }
        if job.reason:
            record["reason"] = job.reason
        records.append(record)
    return {"records": records}


def list_zilliz(jobs: list[Any], page: int, size: int) -> dict[str, Any]:
    """``data`` of Zilliz Cloud's list answer: one page, newest first."""
    newest = list(reversed(jobs))[(page - 1) * size : page * size]
    return {
        "count": len(jobs),
        "currentPage": page,
        "pageSize": size,
        "records": [
            {"collectionName": j.collection, "jobId": j.job_id, "state": j.state} for j in newest
        ],
    }
