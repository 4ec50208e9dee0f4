"""The chunks of a batch, and what is known of each one's way into the target.

What is known stands in the chunk's `import.json`.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from airlift.chunk import Chunk, Manifest
from airlift.errors import AirliftError
from airlift.formats import OWN_FILES
from airlift.migration import Migration
from airlift.plan import CollectionPlan
from airlift.progress import BatchProgress, ChunkClock, TaskProgress, file_name
from airlift.staging import ImportRecord
from airlift.target_changes import Created
from airlift.targets.base import ImportWay
from airlift.targets.ways import IMPORT_WAYS

STEP = "bulk_insert"
"""The task, as timing and progress name it."""


@dataclass
class PendingChunk:
    """A chunk that is not known to be imported.

    Attributes:
        record_lost: whether it has no `import.json` although an earlier attempt was at it: its rows
            may be on the target.
    """

    collection: CollectionPlan
    chunk: Chunk
    manifest: Manifest
    record: ImportRecord
    record_lost: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """What names it."""
        return self.collection.name, self.chunk.id

    @property
    def what(self) -> str:
        """For messages."""
        return f"collection {self.collection.name!r}, chunk {self.chunk.id}"

    @property
    def partition(self) -> str:
        """The target partition; "" for the default one."""
        return self.collection.mapped.partitions[self.chunk.partition]


def chunks_of(migration: Migration, batch: int, ways: Container[str]) -> list[PendingChunk]:
    """The chunks of a batch, imported or not, with what is known of them.

    Args:
        ways: those in question; chunks of collections with another way are left out.
    """
    staging = migration.staging
    created, plan = staging.created(), staging.plan()
    refs = [one for one in plan.batches[batch] if plan.collection(one.collection).way in ways]
    begun = _begun_before(migration, batch)
    found = []
    for (collection, chunk), manifest, record in zip(
        plan.chunks(refs), staging.manifests(refs), staging.current_imports(refs), strict=True
    ):
        made = created.find(collection.name)
        if made is None or manifest is None:
            missing = "made on the target" if made is None else "converted"
            raise AirliftError(
                f"collection {collection.name!r}, chunk {chunk.id}: not {missing}; clear the task "
                f"{'create' if made is None else 'convert'}"
            )
        lost = record is None and (collection.name, chunk.id) in begun
        lost = lost and staging.import_record(collection.name, chunk.id) is None
        record = record or ImportRecord(collection_id=made.collection_id)
        found.append(PendingChunk(collection, chunk, manifest, record, lost))
    return found


def _begun_before(migration: Migration, batch: int) -> set[tuple[str, str]]:
    """The chunks that the progress of an earlier attempt at the batch names."""
    try:
        progress = migration.staging.read(file_name(STEP, batch), TaskProgress)
    except AirliftError:
        return set()  # it is for people, and written anew
    return {chunk.key for chunk in progress.chunks} if progress else set()


def import_way(migration: Migration, collection: CollectionPlan) -> ImportWay:
    """How the target imports a collection's files, by names of the folder that they lie in."""
    folder = migration.staging.folder
    if collection.file_format == OWN_FILES.name:
        folder = migration.source.folder() or folder
    way = IMPORT_WAYS[collection.way](migration.target(collection.mapped), folder)
    created = migration.staging.read("created.json", Created) or Created()
    way.earlier_jobs = frozenset(job for one in created.collections for job in one.earlier_jobs)
    return way


def earlier_jobs(migration: Migration, collection: CollectionPlan) -> list[str]:
    """The import jobs that the target lists for a collection that is still to be made."""
    if collection.way not in IMPORT_WAYS:
        return []
    return import_way(migration, collection).jobs_of_gone_collections(collection.target_name)


def keep(migration: Migration, one: PendingChunk, **changes: Any) -> None:
    """Writes down how far a chunk got."""
    one.record = one.record.model_copy(update=changes)
    migration.staging.write_import_record(one.collection.name, one.chunk.id, one.record)


def now() -> str:
    """The time, as import records have it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def record_done(migration: Migration, one: PendingChunk, rows: int) -> None:
    """Writes down that a chunk's rows are in."""
    started = datetime.fromisoformat(one.record.started or now())
    seconds = (datetime.now(UTC) - started).total_seconds()
    keep(migration, one, done=True, rows=rows, seconds=seconds)


def tell_done(progress: BatchProgress, one: PendingChunk) -> None:
    """Tells the page of a chunk whose rows are in."""
    clock = ChunkClock(progress, one.collection, one.chunk, one.record.started)
    clock.done(one.manifest, one.record.rows, one.record.seconds)
