"""The step `convert`: reads chunks, turns them into the target's rows, and writes their files."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from airlift.bad_rows import find_bad_rows
from airlift.chunk import APPENDED_KEYS, Chunk, ChunkFile, Manifest
from airlift.errors import AirliftError
from airlift.fingerprint import combined, fingerprint, to_text
from airlift.fixed_width import int64_array
from airlift.formats import FORMATS
from airlift.formats.base import ChunkWriter
from airlift.longest_values import LongestValues
from airlift.migration import Migration, log
from airlift.params import OnBadRow
from airlift.plan import CollectionPlan
from airlift.progress import BatchProgress, ChunkClock
from airlift.sources.base import BadRows
from airlift.storage import Storage
from airlift.transform import Transform, Unfit
from airlift.unique_keys import KeyHashes

if TYPE_CHECKING:
    from airlift.steps.present_rows import PresentRows

SAMPLE_ROWS = 1000
"""Rows of a collection that are kept aside to be compared with what the target returns."""


def convert_batch(migration: Migration, batch: int) -> dict[str, Any]:
    """Converts the chunks of a batch; those that are done are not read again.

    Returns:
        Rows and bytes written, and how many chunks were done before.
    """
    rows = size = done_before = 0
    with BatchProgress(migration, "convert", batch) as progress:
        for collection, chunk in migration.staging.plan().batch(batch):
            clock = ChunkClock(progress, collection, chunk)
            manifest, was_done = convert_chunk(migration, collection, chunk, clock.so_far)
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
    so_far: Callable[[int, int, int], None] = lambda read, rows, bad_rows: None,
) -> tuple[Manifest, bool]:
    """Converts one chunk, unless it is done.

    Args:
        so_far: told rows read, rows converted and bad rows, again and again.

    Returns:
        Its manifest, and whether it was done before.

    Raises:
        AirliftError: the source can't be read as planned, or a row can't be taken.
    """
    staging = migration.staging
    manifest = staging.manifest(collection.name, chunk.id)
    if manifest and (
        staging.is_imported(collection.name, chunk.id)
        or staging.has_files(collection.name, manifest)
    ):
        return manifest, True
    folder = staging.chunk_folder(collection.name, chunk.id)
    schema = collection.mapped.target
    writer = FORMATS[collection.file_format].writer(folder, schema, chunk.rows)
    try:
        conversion = _Conversion(migration, collection, chunk, writer)
        manifest = conversion.run(folder, so_far)
    except BaseException:
        writer.abandon()
        raise
    staging.write(f"{collection.name}/{chunk.id}/manifest.json", manifest)
    return manifest, False


def sample_share(rows: list[int], wanted: int = SAMPLE_ROWS) -> int:
    """How many rows to keep aside of each chunk (all, where it has fewer) to have `wanted` or more.

    Args:
        rows: the chunks' rows.
    """
    for place, count in enumerate(sorted(rows)):
        share = -(-wanted // (len(rows) - place))
        if share <= count:
            return share
        wanted -= count
    return max(rows)


class _Conversion:
    """One chunk on its way from the source to its files."""

    def __init__(
        self,
        migration: Migration,
        collection: CollectionPlan,
        chunk: Chunk,
        writer: ChunkWriter,
    ) -> None:
        self._migration = migration
        self._collection = collection
        self._chunk = chunk
        self._writer = writer
        self._fields = collection.mapped.target.written
        self._transform = Transform(collection.mapped)
        self._key = next((field.name for field in self._fields if field.primary_key), None)
        self._read = self._rows = 0
        self._fingerprint = 0
        self._fingerprint_seconds = 0.0
        self._keys: list[pa.Scalar] = []
        self._since: list[pa.Scalar] = []
        self._appended: list[pa.RecordBatch] = []
        self._bad: list[BadRows] = []
        wanted = sample_share([one.rows for one in collection.chunks])
        self._sample_at = np.unique(np.linspace(0, max(chunk.rows - 1, 0), wanted).astype(np.int64))
        self._sample: list[pa.RecordBatch] = []
        self._longest = LongestValues(self._fields)
        self._present_rows = _present_rows(migration, collection, chunk)
        self._present = 0
        self._key_hashes = None if collection.keys_unique or not self._key else KeyHashes()

    def run(self, folder: Storage, so_far: Callable[[int, int, int], None]) -> Manifest:
        """Reads, converts and writes; returns the manifest, which is still to be written."""
        start = time.monotonic()
        for given in self._migration.source.read(self._chunk):
            if isinstance(given, BadRows):
                self._read += given.rows.num_rows
                self._set_aside(given)
            else:
                self._take(given)
            so_far(self._read, self._rows, self._bad_rows)
        if self._read != self._chunk.rows:
            raise AirliftError(
                f"{self._collection.mapped.source!r}, chunk {self._chunk.id}: the source gave "
                f"{self._read:,} rows, the plan counted {self._chunk.rows:,}: it changed in "
                "between; run again with a new migration_id"
            )
        files = self._writer.close()
        if self._key_hashes:
            self._key_hashes.write(folder)
        self._write_sample(folder)
        if self._collection.appends and self._key:
            # What tells them from other rows there, also when the chunk's files are cleaned away.
            schema = pa.schema([self._transform.schema.field(self._key)])
            _write_table(folder, APPENDED_KEYS, pa.Table.from_batches(self._appended, schema))
        self._write_bad_rows()
        return self._manifest(files, time.monotonic() - start)

    def _take(self, batch: pa.RecordBatch) -> None:
        before, self._read = self._read, self._read + batch.num_rows
        if self._collection.since_field and batch.num_rows:
            self._since.append(pc.max(batch.column(self._collection.since_field)))
        sampled = self._sample_at[(self._sample_at >= before) & (self._sample_at < self._read)]
        converted, unfit = self._transform.apply(batch)
        marks = self._set_bad_rows_aside(batch, converted, unfit)
        marks = self._with_present_rows(converted, marks)
        if marks is not None:
            good = ~marks
            # A sampled row that stays out gives way to nothing: the others are enough.
            sampled = np.array(
                [before + good[: at - before].sum() for at in sampled if good[at - before]],
                dtype=np.int64,
            )
            converted = converted.filter(pa.array(good))
        if converted.num_rows == 0:
            return
        started = time.monotonic()
        self._fingerprint = combined(self._fingerprint, fingerprint(converted))
        self._fingerprint_seconds += time.monotonic() - started
        if len(sampled):
            self._sample.append(converted.take(int64_array(sampled - before)))
        self._longest.add(converted)
        if self._key_hashes and self._key:
            self._key_hashes.add(converted.column(self._key))
        if self._key:
            extremes = pc.min_max(converted.column(self._key))
            self._keys += [extremes["min"], extremes["max"]]
            if self._collection.appends:
                self._appended.append(converted.select([self._key]))
        self._writer.write(converted)
        self._rows += converted.num_rows

    def _with_present_rows(
        self, converted: pa.RecordBatch, marks: npt.NDArray[np.bool_] | None
    ) -> npt.NDArray[np.bool_] | None:
        """Counts the rows that the target holds already; marks them too if they stay out."""
        if not self._present_rows:
            return marks
        present = self._present_rows.marks(converted)
        if marks is not None:
            present &= ~marks
        self._present += int(present.sum())
        if not self._collection.leaves_present_rows_out:
            return marks
        return present if marks is None else marks | present

    def _set_bad_rows_aside(
        self, batch: pa.RecordBatch, converted: pa.RecordBatch, unfit: Unfit
    ) -> npt.NDArray[np.bool_] | None:
        """Sets the bad rows aside as the source gave them; returns their marks, None for none."""
        reasons = dict(unfit)
        found = find_bad_rows(converted, self._fields)
        if found is not None:
            for row, reason in zip(np.flatnonzero(found[0]), found[1], strict=True):
                reasons.setdefault(int(row), reason)
        if not reasons:
            return None
        at = sorted(reasons)
        marks = np.zeros(batch.num_rows, dtype=np.bool_)
        marks[at] = True
        rows = batch.filter(pa.array(marks))
        key = self._collection.mapped.key
        keys = rows.column(key).to_pylist() if key in rows.schema.names else ["unknown"] * len(at)
        self._set_aside(BadRows(rows, keys, [reasons[row] for row in at]))
        return marks

    @property
    def _bad_rows(self) -> int:
        return sum(len(one.reasons) for one in self._bad)

    def _set_aside(self, bad: BadRows) -> None:
        params = self._migration.params
        self._bad.append(bad)
        count = self._bad_rows
        allowed = params.max_bad_rows if params.on_bad_row is OnBadRow.SET_ASIDE else 0
        if count > allowed:
            raise AirliftError(
                f"collection {self._collection.mapped.source!r}: {count:,} rows can't be taken, at "
                f"most {allowed:,} are allowed; the latest has the primary key {bad.keys[0]}: "
                f"{bad.reasons[0]}; mend the rows at the source, or let them be set aside with "
                "on_bad_row set_aside and max_bad_rows"
            )

    def _write_sample(self, folder: Storage) -> None:
        table = pa.Table.from_batches(self._sample, schema=self._transform.schema)
        _write_table(folder, "sample.parquet", table)

    def _write_bad_rows(self) -> None:
        """One file for each kind of columns: those of the source's batches, and of its bad rows."""
        tables: dict[str, list[pa.Table]] = {}
        for bad in self._bad:
            table = pa.Table.from_batches([bad.rows])
            table = table.append_column("reason", pa.array(bad.reasons, pa.string()))
            tables.setdefault(table.schema.to_string(), []).append(table)
        folder = self._migration.staging.folder.folder(f"{self._collection.name}/bad_rows")
        for place, same in enumerate(tables.values()):
            name = f"{self._chunk.id}-{place}" if place else self._chunk.id
            _write_table(folder, f"{name}.parquet", pa.concat_tables(same))

    def _manifest(self, files: list[ChunkFile], seconds: float) -> Manifest:
        keys = [key.as_py() for key in self._keys]
        return Manifest(
            chunk=self._chunk.id,
            rows_read=self._read,
            rows=self._rows,
            bad_rows=self._bad_rows,
            rows_present=self._present,
            bytes=sum(file.size for file in files),
            files=tuple(files),
            fingerprint=to_text(self._fingerprint),
            max_bytes=self._longest.bytes,
            max_items=self._longest.items,
            high_water=max((one.as_py() for one in self._since if one.is_valid), default=None),
            pk_min=min(keys, default=None),
            pk_max=max(keys, default=None),
            seconds=seconds,
            fingerprint_seconds=self._fingerprint_seconds,
        )


def _present_rows(
    migration: Migration, collection: CollectionPlan, chunk: Chunk
) -> PresentRows | None:
    if not collection.appends:
        return None  # and no client of the target is imported, which takes seconds
    from airlift.steps.present_rows import PresentRows

    return PresentRows.of(migration, collection, chunk)


def _write_table(folder: Storage, name: str, table: pa.Table) -> None:
    output = folder.open_output(name)
    try:
        pq.write_table(table, output)
        output.commit()
    except BaseException:
        output.abandon()
        raise
