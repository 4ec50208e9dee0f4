"""The step `convert`: reads chunks, turns them into the target's rows, and writes their files."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airlift.chunk import Chunk, Manifest
from airlift.errors import AirliftError
from airlift.formats import FORMATS
from airlift.key_buckets import BatchBuckets
from airlift.migration import Migration, log
from airlift.plan import CollectionPlan
from airlift.progress import BatchProgress, ChunkClock
from airlift.steps.conversion import Conversion

if TYPE_CHECKING:
    from airlift.steps.present_rows import PresentRows


def convert_batch(migration: Migration, batch: int) -> dict[str, Any]:
    """Converts the chunks of a batch; those that are done are not read again.

    Returns:
        Rows and bytes written, and how many chunks were done before.
    """
    rows = size = done_before = 0
    buckets = BatchBuckets(migration.staging, batch)
    with BatchProgress(migration, "convert", batch) as progress:
        for collection, chunk in migration.staging.plan().batch(batch):
            clock = ChunkClock(progress, collection, chunk)
            manifest, was_done = convert_chunk(migration, collection, chunk, buckets, clock.so_far)
            if was_done:
                clock.done_before(manifest)
            else:
                clock.done(manifest, manifest.rows, manifest.seconds)
            done_before += was_done
            rows += manifest.rows
            size += manifest.bytes
            log.info(
                "%s, chunk %s: %s rows, %s bytes%s",
                collection.name,
                chunk.id,
                f"{manifest.rows:,}",
                f"{manifest.bytes:,}",
                " (done before)" if was_done else f" in {manifest.seconds:.1f} s",
            )
    return {"rows": rows, "bytes": size, "chunks_done_before": done_before}


def convert_chunk(
    migration: Migration,
    collection: CollectionPlan,
    chunk: Chunk,
    buckets: BatchBuckets,
    so_far: Callable[[int, int, int], None] = lambda read, rows, bad_rows: None,
) -> tuple[Manifest, bool]:
    """Converts one chunk, unless it is done.

    Args:
        buckets: of the batch that it belongs to.
        so_far: told rows read, rows converted and bad rows, again and again.

    Returns:
        Its manifest, and whether it was done before.

    Raises:
        AirliftError: the source can't be read as planned, or a row can't be taken.
    """
    staging = migration.staging
    manifest = staging.manifest(collection.name, chunk.id)
    is_imported = manifest is not None and staging.is_imported(collection.name, chunk.id)
    if manifest and manifest.fingerprint_key != collection.fingerprint_key.id:
        if is_imported:
            raise AirliftError(
                f"collection {collection.name!r}, chunk {chunk.id}: it was imported by a run with "
                "another plan, whose fingerprint key is gone, so its rows can't be compared; drop "
                "the collection on the target, and run again with the same migration_id"
            )
    elif manifest and (is_imported or staging.has_files(collection.name, manifest)):
        return manifest, True
    folder = staging.chunk_folder(collection.name, chunk.id)
    schema = collection.mapped.target
    writer = FORMATS[collection.file_format].writer(folder, schema, chunk.rows)
    try:
        present = _present_rows(migration, collection, chunk)
        conversion = Conversion(migration, collection, chunk, writer, present)
        manifest = conversion.run(folder, so_far)
        buckets.add(collection.name, manifest, conversion.key_buckets)
    except BaseException:
        writer.abandon()
        raise
    staging.write(f"{collection.name}/{chunk.id}/manifest.json", manifest)
    return manifest, False


def _present_rows(
    migration: Migration, collection: CollectionPlan, chunk: Chunk
) -> PresentRows | None:
    if not collection.appends:
        return None  # and no client of the target is imported, which takes seconds
    from airlift.steps.present_rows import PresentRows

    return PresentRows.of(migration, collection, chunk)
