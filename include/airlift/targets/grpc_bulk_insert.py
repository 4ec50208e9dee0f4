"""Bulk insert by gRPC (`Import`), as Milvus 2.2 and 2.3 have it."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, ClassVar

from pymilvus.client.call_context import _api_level_md
from pymilvus.client.prepare import Prepare
from pymilvus.client.utils import check_status
from pymilvus.grpc_gen import milvus_pb2

from airlift.errors import AirliftError
from airlift.milvus.database import MilvusDatabase
from airlift.storage import Storage
from airlift.targets.base import ImportJob, JobState

# Milvus' ImportState: Pending 0, Failed 1, Started 2, Persisted 5, Completed 6, FailedAndCleaned 7.
_STATES = {1: JobState.FAILED, 7: JobState.FAILED, 6: JobState.COMPLETED}
# What 2.3 and 2.2 say of a job that they do not know (any more).
_UNKNOWN_JOB = re.compile(r"key not found\[key=[^]]*/importtask/|import task id doesn't exist")
# Names are joined by commas, which may also be in them.
_BETWEEN_FILES = re.compile(r"(?<=/),|(?<=\.npy),|(?<=\.json),|(?<=\.parquet),")


class GrpcBulkInsert:
    """Jobs of one file group each; the server runs them one at a time.

    The server forgets a job a day after it ended (`rootCoord.importTaskRetention`).
    """

    name: ClassVar[str] = "grpc_bulk_insert"
    _options: ClassVar[dict[str, str]] = {}

    def __init__(self, collections: MilvusDatabase, staging: Storage) -> None:
        self._collections = collections
        self._staging = staging
        self.earlier_jobs: frozenset[str] = frozenset()

    @property
    def _handler(self) -> Any:
        return self._collections.client._get_connection()

    @property
    def _context(self) -> Any:
        return self._collections.client._generate_call_context()

    def file_name(self, path: str) -> str:
        """A key relative to the bucket (not to Milvus' rootPath), or an absolute path."""
        return self._staging.key(path)

    def submit(self, collection: str, partition: str, files: list[str], key: str) -> str:
        """Submits a job; this server knows no idempotency key.

        Asked once only: pymilvus' own call asks again where the answer is lost, and the server
        would take the files a second time. Whoever comes after that error looks for the job first.
        """
        # The server retries for a minute before it says that a collection is missing.
        if not self._collections.exists(collection):
            raise AirliftError(f"the collection {collection!r} is not there; clear the task create")
        request = Prepare.do_bulk_insert(collection, partition, files, **self._options)

        def send() -> str:
            answer = self._handler._stub.Import(
                request,
                timeout=self._collections.connection.timeout,
                metadata=_api_level_md(self._context),
            )
            check_status(answer.status)
            return str(answer.tasks[0])

        return self._collections.repeating(f"import {files[0]} into {collection!r}", send)

    def job(self, job_id: str) -> ImportJob | None:
        """The job's state now; None when the server has forgotten it."""
        try:
            with self._collections.explaining(f"look at the import job {job_id}"):
                return _job(self._handler.get_bulk_insert_state(int(job_id), context=self._context))
        except AirliftError as error:
            if _UNKNOWN_JOB.search(str(error)):
                return None
            raise

    def jobs(self, collection: str, known: Collection[str] = ()) -> list[ImportJob]:
        """The jobs of a collection that the server still remembers."""
        with self._collections.explaining(f"list the import jobs of {collection!r}"):
            states = self._handler.list_bulk_insert_tasks(0, collection, context=self._context)
        return [job for job in map(_job, states) if job.id not in known]

    def jobs_of_gone_collections(self, name: str) -> list[str]:
        """None: the server lists jobs by the collection's id."""
        return []


class GrpcBackupImport(GrpcBulkInsert):
    """Imports the logs of a backup as they are; a job's files are two folders.

    The folders are those of the insert logs and of the delta logs ("" where there are none) of
    neighbouring segments of one partition.
    """

    name: ClassVar[str] = "grpc_backup_import"
    _options: ClassVar[dict[str, str]] = {"backup": "true"}

    def file_name(self, path: str) -> str:
        """A key relative to the bucket, or an absolute path; "" stays what it is."""
        return super().file_name(path) + "/" if path else ""

    def submit(self, collection: str, partition: str, files: list[str], key: str) -> str:
        """Submits a job, which must name its partition."""
        return super().submit(collection, partition or "_default", files, key)

    def jobs(self, collection: str, known: Collection[str] = ()) -> list[ImportJob]:
        """The jobs of this very collection: other ones of its name took the same logs."""
        own = int(self._collections.collection_id(collection))
        request = milvus_pb2.ListImportTasksRequest(collection_name=collection)
        with self._collections.explaining(f"list the import jobs of {collection!r}"):
            answer = self._handler._stub.ListImportTasks(
                request,
                timeout=self._collections.connection.timeout,
                metadata=_api_level_md(self._context),
            )
            check_status(answer.status)
        ids = {str(task.id) for task in answer.tasks if task.collection_id == own}
        return [job for job in super().jobs(collection, known) if job.id in ids]


def _job(state: Any) -> ImportJob:
    return ImportJob(
        id=str(state.task_id),
        state=_STATES.get(int(state.state), JobState.RUNNING),
        files=frozenset(_BETWEEN_FILES.split(state.infos.get("files", ""))) - {""},
        progress=int(state.infos.get("progress_percent", 0) or 0),
        rows=int(state.row_count),
        reason=state.failed_reason,
    )
