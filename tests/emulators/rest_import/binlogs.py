"""Reads the logs of a backup (``options.backup``), the way Milvus 2.6 does, in storage version 1.

From the format's description alone: it shares no code with the engine's own reader, nor with what
writes the samples. What it doesn't know (arrays, storage version 2, encrypted logs) fails the job.

- A request's group is one folder of insert logs and, where there are some, one of delta logs; the
  server makes a group of each segment in them: milvus ``datacoord/import_util.go``
  (``ListBinlogsAndGroupBySegment``), ``proxy/task_import.go`` (the partition must be named).
- A row is dead when a delete of its key in the same segment is later, strictly: milvus
  ``importutilv2/binlog/filter.go``.
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from . import fields as F
from .contract import ImportFailed
from .schema import META, Field, Schema
from .storage import Storage
from .versions import Behaviour

_MAGIC = 0xFFFABC
_FIRST_FIELD = 100
_TIMES = 1
_INSERT, _DELETE = 1, 2
_HEADER = struct.Struct("<Qbii")


def segment_groups(storage: Storage, paths: list[str]) -> list[list[str]]:
    """A group for each segment below the folders that a request names."""
    if len(paths) > 2:
        raise ImportFailed(
            "too many input paths for binlog import. Valid paths length should be one or two, "
            f"but got paths:[{' '.join(paths)}]"
        )
    inserts = _segments(storage, paths[0], 2)
    deltas = _segments(storage, paths[1], 1) if len(paths) > 1 else set()
    return [
        [f"{paths[0]}{name}/", *([f"{paths[1]}{name}/"] if name in deltas else [])]
        for name in sorted(inserts)
    ]


def _segments(storage: Storage, folder: str, below: int) -> set[str]:
    """The names of the segments' folders; their files lie so many folders further down."""
    return {name.rsplit("/", below + 1)[-below - 1] for name in storage.list(folder)}


def read_segment(
    storage: Storage, paths: list[str], schema: Schema, behaviour: Behaviour
) -> pa.Table:
    """The living rows of one segment."""
    logs: dict[int, list[str]] = {}
    for name in sorted(storage.list(paths[0]), key=lambda one: int(one.rsplit("/", 1)[-1])):
        logs.setdefault(int(name.split("/")[-2]), []).append(name)
    columns = {
        number: pa.chunked_array([c for name in names for c in _payloads(storage, name, _INSERT)])
        for number, names in logs.items()
    }
    lengths = {len(column) for column in columns.values()}
    if len(lengths) != 1 or _TIMES not in columns:
        raise ImportFailed(f"the logs of [{paths[0]}] have {sorted(lengths)} rows")
    fields = list(schema.fields)
    if schema.dynamic:
        fields.append(Field(META, "JSON", nullable=True))
    given: dict[str, pa.Array] = {}
    for number, field in enumerate(fields, _FIRST_FIELD):
        if number in columns:
            given[field.name] = _column(columns[number].combine_chunks(), field)
        elif not field.optional:
            raise ImportFailed(f"no binlog for field:{field.name}")
    key = next(field.name for field in schema.fields if field.primary)
    alive = _alive(storage, paths[1:], given[key], columns[_TIMES].to_numpy())
    living = {name: column.filter(alive) for name, column in given.items()}
    return F.complete(schema, living, len(living[key]), behaviour)


def _payloads(storage: Storage, name: str, wanted: int) -> Iterator[pa.Array]:
    """The values of each event of a log file."""
    data = bytes(storage.read(name))
    if len(data) < 4 or struct.unpack_from("<i", data)[0] != _MAGIC:
        raise ImportFailed(f"parse magic number failed, file {name}")
    at = 4
    while at < len(data):
        _, kind, length, _ = _HEADER.unpack_from(data, at)
        if kind == wanted:
            payload = data[at + _HEADER.size + 16 : at + length]
            yield pq.read_table(io.BytesIO(payload)).column("val").combine_chunks()
        elif kind != 0:
            raise ImportFailed(f"unexpected event {kind} in {name}")
        at += length


def _column(values: pa.Array, field: Field) -> pa.Array:
    if field.type == "Array":
        raise ImportFailed("emulator: it reads no arrays from binlogs")
    if field.type == "FloatVector":
        flat = np.frombuffer(b"".join(values.to_pylist()), np.float32)
        return F.vectors_array(flat, field.dim)
    if field.type == "JSON":
        return values.cast(pa.string())
    return values


def _alive(storage: Storage, deltas: list[str], keys: pa.Array, times: np.ndarray) -> pa.Array:
    latest: dict[object, int] = {}
    for folder in deltas:
        for name in storage.list(folder):
            for texts in _payloads(storage, name, _DELETE):
                for text in texts.to_pylist():
                    told = json.loads(text)
                    latest[told["pk"]] = max(told["ts"], latest.get(told["pk"], 0))
    return pa.array(
        [
            time >= latest.get(key, 0)
            for key, time in zip(keys.to_pylist(), times.tolist(), strict=True)
        ],
        pa.bool_(),
    )
