"""Reads the rows of a chunk: a segment's logs side by side, without its dead rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from airlift.errors import AirliftError
from airlift.sources.backup.columns import absent, to_column
from airlift.sources.backup.cutting import ReadPlan, Span
from airlift.sources.backup.dead import Offsets, load
from airlift.sources.backup.log_file import reading
from airlift.sources.backup.rows import LogSet, fields_by_id
from airlift.sources.base import BATCH_BYTES
from airlift.storage import Storage

_LEAST_ROWS = 256


def read_rows(storage: Storage, scratch: Storage, plan: ReadPlan) -> Iterator[pa.RecordBatch]:
    """Yields the live rows of a chunk.

    Raises:
        AirliftError: a file is damaged, or was changed since the chunk was planned.
    """
    for span in plan.spans:
        gone = gone_rows(scratch, span.gone, span.segment_rows)
        live = 0
        for batch in _SpanReader(storage, plan, span).batches(gone):
            live += batch.num_rows
            yield batch
        if live != span.live:
            raise AirliftError(
                f"segment {span.segment.id}: expected {span.live:,} live rows, found {live:,}; "
                "run again with a new migration_id"
            )


def gone_rows(scratch: Storage, paths: tuple[str, ...], rows: int) -> Offsets:
    """The sorted places of a segment's rows that are not read, of all their files."""
    found = [load(scratch, path, rows) for path in paths]
    return np.unique(np.concatenate([np.empty(0, np.uint32), *found]))


class _SpanReader:
    def __init__(self, storage: Storage, plan: ReadPlan, span: Span) -> None:
        self._storage = storage
        self._plan = plan
        self._span = span
        self._wanted = fields_by_id(plan.fields, plan.ids)
        width = sum(64 if field.width is None else field.width for field in plan.fields)
        self._rows = max(BATCH_BYTES // width, _LEAST_ROWS)
        self._schema = pa.schema([field.arrow for field in plan.fields])

    def batches(self, gone: Offsets) -> Iterator[pa.RecordBatch]:
        """Batches of the span's rows but those that are gone."""
        start = self._span.start
        declared = set(self._plan.ids.values())
        dynamic = any(field.is_dynamic for field in self._plan.fields)
        for index in range(len(self._span.segment.logs)):
            with LogSet(
                self._storage, self._span.segment, index, self._wanted, declared, dynamic
            ) as logs:
                left = logs.rows
                for stored in logs.batches(self._rows):
                    rows = min(self._rows, left)
                    left -= rows
                    first, last = np.searchsorted(gone, (start, start + rows))
                    dead = gone[first:last] - start
                    start += rows
                    if len(dead) < rows:
                        yield self._batch(logs, stored, dead, rows)

    def _batch(
        self, logs: LogSet, stored: dict[int, pa.Array], dead: Offsets, rows: int
    ) -> pa.RecordBatch:
        """A batch of the live rows: the dead ones go first, so that nothing is decoded in vain."""
        keep: pa.Array | None = None
        if len(dead):
            live = np.ones(rows, np.bool_)
            live[dead] = False
            bits = np.packbits(live, bitorder="little")
            keep = pa.Array.from_buffers(pa.bool_(), rows, [None, pa.py_buffer(bits)])
        columns = []
        for key, field in self._wanted.items():
            column = stored.get(key)
            if column is None:
                if not field.nullable and field.default is None and not field.is_dynamic:
                    raise AirliftError(
                        f"segment {self._span.segment.id} has no logs of the field {field.name!r}, "
                        "and it can't be null; copy the backup again"
                    )
                columns.append(absent(field, rows - len(dead)))
                continue
            file = logs.columns[key][0]
            with reading(f"{file.address}, field {field.name!r}"):
                columns.append(to_column(field, column if keep is None else column.filter(keep)))
        return pa.RecordBatch.from_arrays(columns, schema=self._schema)
