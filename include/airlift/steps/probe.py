"""Converts a part of each collection to see how fast that is, and how large the rows are.

A dry run does so: nothing of it stays.
"""

from __future__ import annotations

import time
import uuid

import pyarrow as pa

from airlift.assessment.assessment import Probe
from airlift.chunk import Chunk, ChunkFile
from airlift.errors import AirliftError
from airlift.formats import FORMATS
from airlift.formats.base import ChunkWriter
from airlift.migration import Migration, log
from airlift.plan import CollectionPlan, Plan
from airlift.steps.conversion import Conversion

_SECONDS = 5.0
_BYTES = 512 << 20
"""A collection is read no longer, and no more of it."""

_ALL_SECONDS = 15.0
"""For all collections; the largest comes first, and is always tried."""


def probe_collections(migration: Migration, plan: Plan) -> tuple[dict[str, Probe], list[str]]:
    """Converts a part of every collection, the largest first, as far as the time suffices.

    Returns:
        What was measured, by target collection; and why rows can't be read or taken, if so.
    """
    probes: dict[str, Probe] = {}
    reasons: list[str] = []
    until = time.monotonic() + _ALL_SECONDS
    for collection in sorted(plan.collections, key=lambda one: -sum(c.bytes for c in one.chunks)):
        if not collection.planned_rows or (probes and time.monotonic() > until):
            continue
        try:
            probes[collection.name] = one = _probe(migration, collection)
        except AirliftError as error:
            reasons.append(str(error))
        else:
            log.info("%s: %s rows tried in %.1f s", collection.name, f"{one.rows:,}", one.seconds)
    return probes, reasons


def _probe(migration: Migration, collection: CollectionPlan) -> Probe:
    """Converts the beginning of a collection's largest chunk into a folder that is removed."""
    chunk = max(collection.chunks, key=lambda one: one.rows)
    folder = f"probe-{uuid.uuid4().hex[:12]}"
    file_format, schema = FORMATS[collection.file_format], collection.mapped.target
    storage = migration.staging.folder.folder(folder)
    writer = _MeasuringWriter(file_format.writer(storage, schema, chunk.rows))
    started = time.monotonic()
    try:
        conversion = Conversion(migration, collection, chunk, writer)
        whole = _read(migration, chunk, conversion, writer, started)
        files: list[ChunkFile] = []
        if whole or not file_format.needs_row_count:
            files = writer.close()
        seconds = time.monotonic() - started
    finally:
        writer.abandon()
        migration.staging.folder.delete_folder(folder)
    rows = max(writer.rows, 1)
    return Probe(
        chunk=chunk.id,
        rows=conversion.rows_read,
        whole=whole,
        seconds=seconds,
        file_bytes=sum(file.size for file in files) / rows if files else None,
        value_bytes={name: size / rows for name, size in writer.bytes.items()},
    )


def _read(
    migration: Migration,
    chunk: Chunk,
    conversion: Conversion,
    writer: _MeasuringWriter,
    started: float,
) -> bool:
    """Converts until it took long enough; returns whether the chunk came to its end."""
    for given in migration.source.read(chunk):
        conversion.take(given)
        enough = time.monotonic() - started > _SECONDS or sum(writer.bytes.values()) > _BYTES
        if enough and conversion.rows_read < chunk.rows:
            return False
    conversion.ensure_all_read()
    return True


class _MeasuringWriter:
    """Adds up the bytes of what it passes on.

    Attributes:
        rows: written so far.
        bytes: of their values in memory, by field.
    """

    def __init__(self, writer: ChunkWriter) -> None:
        self._writer = writer
        self._ended = False
        self.rows = 0
        self.bytes: dict[str, int] = {}

    def write(self, batch: pa.RecordBatch) -> None:
        """Appends rows."""
        self.rows += batch.num_rows
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            self.bytes[name] = self.bytes.get(name, 0) + column.nbytes
        self._writer.write(batch)

    def close(self) -> list[ChunkFile]:
        """Ends the files."""
        self._ended = True
        return self._writer.close()

    def abandon(self) -> None:
        """Removes what was written, unless it was ended."""
        if not self._ended:
            self._writer.abandon()
