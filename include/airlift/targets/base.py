"""What a way into Milvus must offer, and what an import job looks like."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Protocol

import pyarrow as pa

from airlift.milvus.database import MilvusDatabase
from airlift.schema import CollectionSchema
from airlift.storage import Storage


class JobState(StrEnum):
    """The states of an import job, whatever the server calls them."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


@dataclass(frozen=True)
class ImportJob:
    """An import job on the target.

    Attributes:
        files: the names that the target knows its files by; empty where it does not name them.
        progress: percent.
        rows: rows imported so far.
        reason: why it failed.
    """

    id: str
    state: JobState
    files: frozenset[str] = frozenset()
    progress: int = 0
    rows: int = 0
    reason: str = ""

    @property
    def has_unknown_files(self) -> bool:
        """Whether it may bring, or have brought, rows from files that the target does not name.

        A new job names its files after some seconds. One that has taken no row never does, nor
        does one that failed before it imported any; neither leaves rows behind.
        """
        if self.files or self.state is JobState.FAILED:
            return False
        return self.rows > 0 or self.state is not JobState.COMPLETED


class ImportWay(Protocol):
    """A way in through files that the target reads by itself.

    Attributes:
        earlier_jobs: ids of jobs that `jobs` and `submit` leave out; they were for a collection of
            the same name that is gone.
    """

    name: ClassVar[str]
    earlier_jobs: frozenset[str]

    def __init__(self, collections: MilvusDatabase, staging: Storage) -> None:
        """Makes the way; `staging` is where the files lie (the source's folder for its own)."""

    def file_name(self, path: str) -> str:
        """What the target calls a staging file, given its path relative to `staging`."""
        ...

    def submit(self, collection: str, partition: str, files: list[str], key: str) -> str:
        """Submits a job for one group of files; returns its id.

        Args:
            partition: "" for the default one.
            files: the names that `file_name` gives.
            key: the same for the same files and collection, for servers that know such keys.
        """
        ...

    def job(self, job_id: str) -> ImportJob | None:
        """The job's state now; None when the target has forgotten it."""
        ...

    def jobs(self, collection: str, known: Collection[str] = ()) -> list[ImportJob]:
        """The jobs of a collection that the target still remembers, with their files.

        Args:
            known: ids of jobs that are left out; no question is spent on them.
        """
        ...

    def jobs_of_gone_collections(self, name: str) -> list[str]:
        """The ids of the jobs that are listed under the name of a collection that is not there.

        Empty for targets that list the jobs of a collection by its id.
        """
        ...


class WriteWay(Protocol):
    """A way in through requests that carry the rows.

    Attributes:
        repeat_needs_loading: whether the collection must be loaded before a chunk is written again.
    """

    name: ClassVar[str]
    repeat_needs_loading: ClassVar[bool]

    def __init__(self, collections: MilvusDatabase) -> None:
        """Makes the way."""

    def write_chunk(
        self,
        schema: CollectionSchema,
        partition: str,
        batches: Iterable[pa.RecordBatch],
        again: bool,
    ) -> int:
        """Writes a chunk's rows; returns how many.

        Args:
            batches: iterable of record batches with the schema's written fields.
            again: an earlier attempt may have written some of them.
        """
        ...
