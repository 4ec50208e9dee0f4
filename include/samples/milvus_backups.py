"""Writes folders as milvus-backup does, from the format's description: for tests and benchmarks.

It knows what no real backup at hand has: nullable fields, all vector types, deletes of level 0,
delta logs with columns, storage v2. Shares no code with what reads them.
"""

from __future__ import annotations

import io
import itertools
import json
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

MAGIC = 0xFFFABC
TYPES = {
    "BOOL": 1,
    "INT8": 2,
    "INT16": 3,
    "INT32": 4,
    "INT64": 5,
    "FLOAT": 10,
    "DOUBLE": 11,
    "STRING": 20,
    "VARCHAR": 21,
    "ARRAY": 22,
    "JSON": 23,
    "BINARY_VECTOR": 100,
    "FLOAT_VECTOR": 101,
    "FLOAT16_VECTOR": 102,
    "BFLOAT16_VECTOR": 103,
    "SPARSE_FLOAT_VECTOR": 104,
    "INT8_VECTOR": 105,
}
_FIRST_FIELD = 100
_INSERT, _DELETE = 1, 2
_ALL_PARTITIONS = -1


@dataclass(frozen=True)
class BackupField:
    """A field; the first one of a collection is its primary key.

    Attributes:
        type: a key of TYPES.
        params: `dim`, `max_length`, `max_capacity`.
        more: other keys of the metadata, such as `nullable` or `default_value_base64`.
    """

    name: str
    type: str
    params: dict[str, int] = field(default_factory=dict)
    element: str = ""
    more: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class BackupSegment:
    """A segment.

    Attributes:
        columns: field -> its values as a binlog stores them; `$meta` is the dynamic field. A field
            that was added later has none.
        times: the timestamp of each row.
        deletes: key and timestamp of each.
        logs: how many log files a field's rows lie in.
        deltas: the form of the delta log: `json`, `columns`, `commas`, or `parquet` (no binlog).
        packed: storage v2; the fields of these groups lie together, the others alone.
    """

    partition: str = "_default"
    columns: dict[str, pa.Array] = field(default_factory=dict)
    times: Sequence[int] = ()
    deletes: Sequence[tuple[Any, int]] = ()
    logs: int = 1
    deltas: str = "json"
    packed: tuple[tuple[str, ...], ...] = ()
    level_0: bool = False
    id: int = 0


@dataclass(frozen=True)
class BackupCollection:
    """A collection; partitions are those of its segments, `_default` and `partitions`."""

    name: str
    fields: Sequence[BackupField]
    segments: Sequence[BackupSegment]
    partitions: Sequence[str] = ()
    dynamic: bool = False
    database: str = "default"
    more: dict[str, Any] = field(default_factory=dict)


def write_backup(
    folder: Path, collections: Iterable[BackupCollection], rbac: dict[str, Any] | None = None
) -> Path:
    """Writes a backup into a folder; returns it.

    Args:
        rbac: what `rbac_meta` holds, where it is made with users and roles.
    """
    writer = _Writer(folder)
    meta = {
        "id": "sample",
        "name": folder.name,
        "collection_backups": [writer.collection(one) for one in collections],
        "milvus_version": "v2.6.0",
    }
    if rbac is not None:
        meta["rbac_meta"] = rbac
    (folder / "meta").mkdir(parents=True)
    (folder / "meta" / "full_meta.json").write_text(json.dumps(meta))
    return folder


def vectors(values: np.ndarray[Any, Any]) -> pa.Array:
    """Vectors of fixed width as a binlog stores them: the bytes of each row."""
    raw = np.ascontiguousarray(values)
    width = raw.itemsize * raw.shape[1]
    return pa.Array.from_buffers(pa.binary(width), len(raw), [None, pa.py_buffer(raw)])


def binlog(payload: bytes, field_id: int, kind: int, event: int = _INSERT, **extras: Any) -> bytes:
    """A log file around a Parquet file."""
    told = json.dumps({"original_size": str(len(payload)), **extras}).encode()
    fixed = struct.pack("<qqqqQQi", 1, 2, 3, field_id, 1, 1, kind)
    descriptor = fixed + bytes([52, *[16] * 7]) + struct.pack("<i", len(told)) + told
    head = struct.pack("<i", MAGIC) + _event(0, descriptor)
    return head + _event(event, struct.pack("<QQ", 1, 1) + payload)


def _event(kind: int, data: bytes) -> bytes:
    return struct.pack("<Qbii", 1, kind, 17 + len(data), -1) + data


def parquet(columns: dict[str, pa.Array], ids: dict[str, int] | None = None) -> bytes:
    """A Parquet file as Milvus writes it; with field ids where it holds a group of fields."""
    fields = [
        pa.field(
            name,
            column.type,
            metadata={b"PARQUET:field_id": str(ids[name]).encode()} if ids else None,
        )
        for name, column in columns.items()
    ]
    table = pa.Table.from_arrays(list(columns.values()), schema=pa.schema(fields))
    data = io.BytesIO()
    pq.write_table(table, data, compression="zstd", use_dictionary=False, store_schema=False)
    return data.getvalue()


class _Writer:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ids = itertools.count(4711)

    def collection(self, one: BackupCollection) -> dict[str, Any]:
        collection_id = next(self._ids)
        ids = {of.name: _FIRST_FIELD + place for place, of in enumerate(one.fields)}
        if one.dynamic:
            ids["$meta"] = _FIRST_FIELD + len(one.fields)
        names = ["_default", *one.partitions, *(s.partition for s in one.segments)]
        partitions = {name: next(self._ids) for name in dict.fromkeys(names) if name}
        partitions[""] = _ALL_PARTITIONS
        segments = [
            self._segment(one, s, collection_id, partitions[s.partition], ids) for s in one.segments
        ]
        return {
            "collection_id": collection_id,
            "db_name": one.database,
            "collection_name": one.name,
            "schema": {
                "fields": [
                    _field_meta(of, ids[of.name], place == 0) for place, of in enumerate(one.fields)
                ],
                "enable_dynamic_field": one.dynamic,
            },
            "shards_num": 1,
            "consistency_level": 2,
            "partition_backups": [
                {
                    "partition_id": partition_id,
                    "partition_name": name,
                    "segment_backups": [s for s in segments if s["partition_id"] == partition_id],
                }
                for name, partition_id in partitions.items()
                if name
            ],
            "l0_segments": [s for s in segments if s["partition_id"] == _ALL_PARTITIONS],
            **one.more,
        }

    def _segment(
        self,
        collection: BackupCollection,
        one: BackupSegment,
        collection_id: int,
        partition_id: int,
        ids: dict[str, int],
    ) -> dict[str, Any]:
        segment_id = one.id or next(self._ids)
        group = [] if partition_id == _ALL_PARTITIONS else [segment_id]
        place = "/".join(map(str, [collection_id, partition_id, *group, segment_id]))
        kinds = {of.name: TYPES[of.type] for of in collection.fields} | {"$meta": TYPES["JSON"]}
        rows = len(one.times)
        columns = {
            "RowID": pa.array(np.arange(rows)),
            "Timestamp": pa.array(np.array(one.times, np.int64)),
            **one.columns,
        }
        kinds |= {"RowID": TYPES["INT64"], "Timestamp": TYPES["INT64"]}
        ids = {"RowID": 0, "Timestamp": 1, **ids}
        logs: dict[int, list[dict[str, Any]]] = {}
        bounds = np.linspace(0, rows, one.logs + 1).astype(int).tolist()
        for start, stop in itertools.pairwise(bounds) if rows else ():
            part = {name: column.slice(start, stop - start) for name, column in columns.items()}
            for field_id, data in self._files(one, part, ids, kinds):
                log = self._write(f"insert_log/{place}/{field_id}", data)
                logs.setdefault(field_id, []).append(log)
        deltas = []
        if one.deletes:
            key = collection.fields[0]
            deltas.append(self._write(f"delta_log/{place}", _deltas(one, key)))
        return {
            "segment_id": segment_id,
            "collection_id": collection_id,
            "partition_id": partition_id,
            "num_of_rows": rows,
            "binlogs": [{"fieldID": key, "binlogs": found} for key, found in logs.items()],
            "deltalogs": [{"binlogs": deltas}],
            "is_l0": one.level_0,
            "storage_version": 2 if one.packed else 0,
        }

    def _files(
        self,
        one: BackupSegment,
        columns: dict[str, pa.Array],
        ids: dict[str, int],
        kinds: dict[str, int],
    ) -> Iterable[tuple[int, bytes]]:
        if one.packed:
            together = {name for group in one.packed for name in group}
            groups = [*one.packed, *((name,) for name in columns if name not in together)]
            for number, group in enumerate(groups):
                yield number, parquet({name: columns[name] for name in group}, ids)
            return
        for name, column in columns.items():
            extras = {"nullable": True} if column.null_count else {}
            yield ids[name], binlog(parquet({"val": column}), ids[name], kinds[name], **extras)

    def _write(self, place: str, data: bytes) -> dict[str, Any]:
        log_id = next(self._ids)
        path = self._folder / "binlogs" / place / str(log_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return {"log_id": log_id, "log_size": len(data), "log_path": f"files/{place}/{log_id}"}


def _field_meta(one: BackupField, field_id: int, is_key: bool) -> dict[str, Any]:
    return {
        "fieldID": field_id,
        "name": one.name,
        "data_type": TYPES[one.type],
        "is_primary_key": is_key,
        "type_params": [{"key": key, "value": str(value)} for key, value in one.params.items()],
        "element_type": TYPES.get(one.element, 0),
        **one.more,
    }


def _deltas(one: BackupSegment, key: BackupField) -> bytes:
    """A delta log in one of its forms."""
    keys, times = [pk for pk, _ in one.deletes], [ts for _, ts in one.deletes]
    if one.deltas in ("columns", "parquet"):
        kind = pa.int64() if key.type == "INT64" else pa.string()
        columns = {"pk": pa.array(keys, kind), "ts": pa.array(times, pa.int64())}
        if one.deltas == "parquet":
            return parquet(columns, {"pk": 0, "ts": 1})
        return binlog(parquet(columns), -1, TYPES["INT64"], _DELETE, version="MULTI_FIELD")
    texts = [json.dumps({"pk": pk, "ts": ts, "pkType": TYPES[key.type]}) for pk, ts in one.deletes]
    if one.deltas == "commas":
        texts = [f"{pk},{ts}" for pk, ts in one.deletes]
    return binlog(parquet({"val": pa.array(texts)}), -1, TYPES["STRING"], _DELETE)
