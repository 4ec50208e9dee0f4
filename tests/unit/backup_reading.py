"""Reads backups through the source as a migration does, without a target."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from airlift.datatypes import DataType
from airlift.errors import Refused
from airlift.schema import CollectionSchema
from airlift.sources.backup.params import BackupParams
from airlift.sources.backup.source import BackupSource
from airlift.storage import open_storage
from tests.unit.faiss_reading import NoConnections

_serial = itertools.count()


def source_of(url: Path | str, **params: Any) -> BackupSource:
    given = {"backup_url": str(url), "staging_url": "/s", **params}
    beside = Path(given["backup_url"] or given["backup_yaml_url"]).parent
    scratch = beside / f"scratch-{next(_serial)}"
    return BackupSource(BackupParams(**given), NoConnections(), open_storage(str(scratch)))


class Read:
    """All that a source gives of its collections; rows by collection, sorted by key."""

    def __init__(self, source: BackupSource, chunk_bytes: int = 1 << 30) -> None:
        reasons = source.check()
        if reasons:
            raise Refused(reasons)
        self.collections = {one.name: one for one in source.describe()}
        self.chunks = {}
        self.rows: dict[str, list[dict[str, Any]]] = {}
        for name, one in self.collections.items():
            self.chunks[name] = source.cut(one, chunk_bytes)
            schema = one.collection_schema
            rows = []
            for chunk in self.chunks[name]:
                batches = list(source.read(chunk))
                assert sum(batch.num_rows for batch in batches) == chunk.rows
                for batch in batches:
                    batch.validate(full=True)
                    assert batch.schema == schema.arrow
                    rows += [
                        {"partition": chunk.partition or "_default", **row}
                        for row in plain(batch, schema)
                    ]
            assert len(rows) == one.live == sum(one.partition_rows.values())
            key = schema.primary_key.name
            self.rows[name] = sorted(rows, key=lambda row: row[key])


def _single(value: Any) -> bytes:
    return np.asarray(value, np.float32).tobytes()


def plain(batch: pa.RecordBatch, schema: CollectionSchema) -> list[dict[str, Any]]:
    """Rows with numbers of single precision as their bytes, and JSON as what it says."""
    columns = {}
    for field in schema.written:
        column = batch.column(field.name)
        values = column.to_pylist()
        if field.type is DataType.FLOAT or (
            field.type is DataType.FLOAT_VECTOR and not column.null_count
        ):
            values = [value if value is None else _single(value) for value in values]
        elif field.type is DataType.JSON:
            values = [None if text is None else orjson.loads(text) for text in values]
        columns[field.name] = values
    names = list(columns)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]
