"""A chunk on its way from the source to its files: rows are checked, counted and fingerprinted."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from airlift.bad_rows import find_bad_rows
from airlift.chunk import APPENDED_KEYS, SAMPLE, Chunk, ChunkFile, Manifest
from airlift.errors import AirliftError
from airlift.fixed_width import int64_array
from airlift.formats.base import ChunkWriter
from airlift.long_texts import rows_with_long_texts, shortened
from airlift.longest_values import LongestValues
from airlift.migration import Migration
from airlift.params import OnBadRow, OnLongText
from airlift.plan import CollectionPlan
from airlift.prime_field import U64
from airlift.sources.base import BadRows
from airlift.storage import Storage
from airlift.transform import Transform, Unfit
from airlift.unique_keys import KeyHashes

if TYPE_CHECKING:
    from airlift.steps.present_rows import PresentRows

SAMPLE_ROWS = 1000
"""Rows of a collection that are kept aside to be compared with what the target returns."""
_SHOWN = 200
"""Characters of a key in a message."""


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


class Conversion:
    """One chunk on its way from the source to its files.

    Args:
        writer: of the chunk's files.
        present_rows: tells the rows that the target holds already; None where it can't hold any.
    """

    def __init__(
        self,
        migration: Migration,
        collection: CollectionPlan,
        chunk: Chunk,
        writer: ChunkWriter,
        present_rows: PresentRows | None = None,
    ) -> None:
        self._migration = migration
        self._collection = collection
        self._chunk = chunk
        self._writer = writer
        self._fields = collection.mapped.target.written
        self._transform = Transform(collection.mapped)
        self._key = next((field.name for field in self._fields if field.primary_key), None)
        self._read = self._rows = 0
        self._fingerprinter = collection.fingerprint_key.fingerprinter(self._key)
        self._partition = collection.partition_of(chunk)
        self._fingerprint_seconds = 0.0
        self._keys: list[pa.Scalar] = []
        self._since: list[pa.Scalar] = []
        self._appended: list[pa.RecordBatch] = []
        self._bad: list[BadRows] = []
        wanted = sample_share([one.rows for one in collection.chunks])
        self._sample_at = np.unique(np.linspace(0, max(chunk.rows - 1, 0), wanted).astype(np.int64))
        self._sample: list[pa.RecordBatch] = []
        self._longest = LongestValues(self._fields)
        self._texts_cut = Counter[str]()
        self._present_rows = present_rows
        self._present = 0
        self._key_hashes = None if collection.keys_unique or not self._key else KeyHashes()

    def run(self, folder: Storage, so_far: Callable[[int, int, int], None]) -> Manifest:
        """Reads, converts and writes; returns the manifest, which is still to be written.

        Args:
            so_far: told rows read, rows converted and bad rows, again and again.
        """
        started, start = datetime.now(UTC), time.monotonic()
        for given in self._migration.source.read(self._chunk):
            self.take(given)
            so_far(self._read, self._rows, self._bad_rows)
        self.ensure_all_read()
        files = self._writer.close()
        if self._key_hashes:
            self._key_hashes.write(folder)
        self._write_sample(folder)
        if self._collection.appends and self._key:
            # What tells them from other rows there, also when the chunk's files are cleaned away.
            schema = pa.schema([self._transform.schema.field(self._key)])
            _write_table(folder, APPENDED_KEYS, pa.Table.from_batches(self._appended, schema))
        self._write_bad_rows()
        return self._manifest(files, started, time.monotonic() - start)

    def take(self, given: pa.RecordBatch | BadRows) -> None:
        """Takes what the source gave: checks it, and writes what is good.

        Raises:
            AirliftError: a row can't be taken, and none may be set aside any more.
        """
        if isinstance(given, BadRows):
            self._read += given.rows.num_rows
            self._set_aside(given, self._migration.params.on_bad_row is OnBadRow.SET_ASIDE)
        else:
            self._take(given)

    def ensure_all_read(self) -> None:
        """Raises AirliftError when the source gave more or fewer rows than were planned."""
        if self._read != self._chunk.rows:
            raise AirliftError(
                f"{self._collection.mapped.source!r}, chunk {self._chunk.id}: the source gave "
                f"{self._read:,} rows, the plan counted {self._chunk.rows:,}: it changed in "
                "between; run again with a new migration_id"
            )

    @property
    def key_buckets(self) -> U64:
        """The fingerprints of the converted rows by buckets; see `Fingerprinter.buckets`."""
        return self._fingerprinter.buckets

    @property
    def rows_read(self) -> int:
        """Rows that the source gave so far."""
        return self._read

    def _take(self, batch: pa.RecordBatch) -> None:
        before, self._read = self._read, self._read + batch.num_rows
        if self._collection.since_field and batch.num_rows:
            self._since.append(pc.max(batch.column(self._collection.since_field)))
        sampled = self._sample_at[(self._sample_at >= before) & (self._sample_at < self._read)]
        converted, unfit = self._transform.apply(batch)
        if self._migration.params.on_long_text is OnLongText.TRUNCATE:
            converted, cut = shortened(converted, self._fields)
            self._texts_cut.update(cut)
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
        self._fingerprinter.add(converted, self._partition)
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
        params = self._migration.params
        apart = params.on_long_text in (OnLongText.FAIL, OnLongText.SET_ASIDE)
        reasons = dict(unfit)
        found = find_bad_rows(converted, self._fields, with_long_texts=not apart)
        if found is not None:
            for row, reason in zip(np.flatnonzero(found[0]), found[1], strict=True):
                reasons.setdefault(int(row), reason)
        long = rows_with_long_texts(converted, self._fields) if apart else {}
        long = {row: reason for row, reason in long.items() if row not in reasons}
        if not reasons and not long:
            return None
        if reasons:
            may_stay_out = params.on_bad_row is OnBadRow.SET_ASIDE
            self._set_aside(self._bad_rows_of(batch, reasons), may_stay_out)
        if long:
            may_stay_out = params.on_long_text is OnLongText.SET_ASIDE
            self._set_aside(self._bad_rows_of(batch, long), may_stay_out, "on_long_text")
        marks = np.zeros(batch.num_rows, dtype=np.bool_)
        marks[[*reasons, *long]] = True
        return marks

    def _bad_rows_of(self, batch: pa.RecordBatch, reasons: dict[int, str]) -> BadRows:
        """Rows of a batch as the source gave them, in their order."""
        at = sorted(reasons)
        rows = batch.take(int64_array(np.array(at, dtype=np.int64)))
        key = self._collection.mapped.key
        keys = rows.column(key).to_pylist() if key in rows.schema.names else ["unknown"] * len(at)
        return BadRows(rows, keys, [reasons[row] for row in at])

    @property
    def _bad_rows(self) -> int:
        return sum(len(one.reasons) for one in self._bad)

    def _set_aside(self, bad: BadRows, may_stay_out: bool, param: str = "on_bad_row") -> None:
        """Keeps bad rows apart, as far as `param` and `max_bad_rows` allow."""
        self._bad.append(bad)
        count = self._bad_rows
        allowed = self._migration.params.max_bad_rows if may_stay_out else 0
        if count > allowed:
            raise AirliftError(
                f"collection {self._collection.mapped.source!r}: {count:,} rows can't be taken, at "
                f"most {allowed:,} are allowed; the latest has the primary key "
                f"{_shown(bad.keys[0])}: "
                f"{bad.reasons[0]}; mend the rows at the source, or let them be set aside with "
                f"{param} set_aside and max_bad_rows"
            )

    def _write_sample(self, folder: Storage) -> None:
        table = pa.Table.from_batches(self._sample, schema=self._transform.schema)
        _write_table(folder, SAMPLE, table)

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

    def _manifest(self, files: list[ChunkFile], started: datetime, seconds: float) -> Manifest:
        keys = [key.as_py() for key in self._keys]
        return Manifest(
            chunk=self._chunk.id,
            rows_read=self._read,
            rows=self._rows,
            bad_rows=self._bad_rows,
            rows_present=self._present,
            bytes=sum(file.size for file in files),
            files=tuple(files),
            fingerprint=str(self._fingerprinter.fingerprint),
            fingerprint_key=self._collection.fingerprint_key.id,
            max_bytes=self._longest.bytes,
            max_items=self._longest.items,
            texts_cut=dict(self._texts_cut),
            high_water=max((one.as_py() for one in self._since if one.is_valid), default=None),
            pk_min=min(keys, default=None),
            pk_max=max(keys, default=None),
            started=started.isoformat(timespec="milliseconds"),
            seconds=seconds,
            fingerprint_seconds=self._fingerprint_seconds,
        )


def _write_table(folder: Storage, name: str, table: pa.Table) -> None:
    output = folder.open_output(name)
    try:
        pq.write_table(table, output)
        output.commit()
    except BaseException:
        output.abandon()
        raise


def _shown(key: Any) -> str:
    """A key for a message; of a long text its beginning and its length."""
    text = str(key)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text):,} characters)"
