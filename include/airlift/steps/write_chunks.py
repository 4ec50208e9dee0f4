"""The step `bulk_insert` where rows are inserted or upserted by requests that carry them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from airlift.errors import AirliftError
from airlift.formats import FORMATS
from airlift.migration import Migration, log
from airlift.progress import BatchProgress, ChunkClock
from airlift.steps.index import begin_load
from airlift.steps.pending_chunks import (
    STEP,
    PendingChunk,
    chunks_of,
    keep,
    now,
    record_done,
    tell_done,
)
from airlift.steps.staged_chunk import reading_chunk
from airlift.targets.ways import WRITE_WAYS

_INSERT_BYTES = 8 << 20
"""Bytes of rows in one insert request; Milvus takes 64 MB, and answers small ones sooner."""


def write_batch(migration: Migration, batch: int) -> dict[str, Any]:
    """Inserts or upserts the chunks of a batch; those that are imported by jobs are left out.

    Returns:
        Rows written.
    """
    chunks = chunks_of(migration, batch, WRITE_WAYS)
    if not chunks:
        return {"rows": 0}
    total = 0
    with BatchProgress(migration, STEP, batch) as progress:
        for one in chunks:
            if not one.record.done:
                _write_chunk(migration, one, ChunkClock(progress, one.collection, one.chunk))
                total += one.record.rows
            tell_done(progress, one)
    return {"rows": total}


def _write_chunk(migration: Migration, one: PendingChunk, clock: ChunkClock) -> None:
    mapped = one.collection.mapped
    way = WRITE_WAYS[one.collection.way](migration.target(mapped))
    again = bool(one.record.started) or one.record_lost
    if again and one.collection.repeated_keys and way.repeat_needs_loading:
        raise AirliftError(
            f"{one.what} was inserted in part, and rows that share an id can't be told apart: "
            f"drop the collection {one.collection.name!r} and run again with the same "
            "migration_id"
        )
    if again and way.repeat_needs_loading:
        # Which keys are there can only be asked of a loaded collection.
        begin_load(migration, one.collection)
        migration.target(mapped).wait_loaded(mapped.target.name)
    keep(migration, one, started=now())
    batches = _told(_read_back(migration, one), clock)
    rows = way.write_chunk(mapped.target, one.partition, batches, again)
    if rows != one.manifest.rows:
        raise AirliftError(
            f"{one.what}: {rows:,} rows were read back from staging, the manifest says "
            f"{one.manifest.rows:,}; clear the task convert"
        )
    record_done(migration, one, rows)
    log.info("%s: %s rows written", one.what, f"{rows:,}")


def _told(batches: Iterator[pa.RecordBatch], clock: ChunkClock) -> Iterator[pa.RecordBatch]:
    """The batches; when the next one is asked for, the rows of those before are in."""
    rows = 0
    for batch in batches:
        yield batch
        rows += batch.num_rows
        clock.so_far(rows, rows)


def _read_back(migration: Migration, one: PendingChunk) -> Iterator[pa.RecordBatch]:
    name, schema = one.collection.name, one.collection.mapped.target
    if not migration.staging.has_files(name, one.manifest):
        raise AirliftError(f"{one.what}: its files are gone or cut short; clear the task convert")
    folder = migration.staging.chunk_folder(one.collection.name, one.chunk.id)
    batch_rows = max(1, _INSERT_BYTES // schema.row_bytes)
    with reading_chunk(migration, name, one.chunk.id):
        yield from FORMATS[one.collection.file_format].read(folder, schema, batch_rows)
