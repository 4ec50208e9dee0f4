"""Delta logs: which keys were deleted, and when.

Two forms: a column of JSON texts (`{"pk":7,"ts":470,"pkType":5}`, of very old versions `7,470`),
and two columns, key and timestamp. See Milvus, `internal/storage/delta_data.go`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from airlift.datatypes import DataType
from airlift.fixed_width import fixed_bytes, int64_array
from airlift.schema import Field
from airlift.sources.backup.binlog import DELETE
from airlift.sources.backup.log_file import LogFile, reading
from airlift.sources.backup.segments import StoredLog
from airlift.storage import Storage

U64 = NDArray[np.uint64]
Mask = NDArray[np.bool_]

_BATCH_ROWS = 1 << 16
# A block of deletes that is looked for at once: about 64 MB of numbers, or of texts.
_BLOCK_KEYS = 4 << 20
_BLOCK_BYTES = 64 << 20


class Deletes(Protocol):
    """Deleted keys, each with the latest of its deletes' timestamps."""

    def hit(self, keys: pa.Array, times: U64) -> Mask:
        """Which rows are dead: a later delete has their key. An equal time is an upsert's own."""
        ...


class _NumberDeletes:
    def __init__(self, keys: NDArray[np.int64], times: U64) -> None:
        order = np.lexsort((times, keys))
        keys, times = keys[order], times[order]
        last = np.ones(len(keys), np.bool_)
        last[:-1] = keys[1:] != keys[:-1]
        self._keys, self._times = keys[last], times[last]

    def hit(self, keys: pa.Array, times: U64) -> Mask:
        wanted = int64_values(keys)
        at = np.searchsorted(self._keys, wanted)
        at[at == len(self._keys)] = 0
        dead: Mask = (self._keys[at] == wanted) & (self._times[at] > times)
        return dead


class _TextDeletes:
    def __init__(self, keys: pa.Array, times: U64) -> None:
        table = pa.table({"key": keys, "time": int64_array(times.view(np.int64))})
        last = table.group_by("key").aggregate([("time", "max")])
        self._keys = last.column("key").combine_chunks()
        self._times = int64_values(last.column("time_max").combine_chunks()).view(np.uint64)

    def hit(self, keys: pa.Array, times: U64) -> Mask:
        at = int64_values(pc.fill_null(pc.index_in(keys, self._keys), -1).cast(pa.int64()))
        return (at >= 0) & (self._times[at] > times)


def int64_values(column: pa.Array) -> NDArray[np.int64]:
    """The numbers of a column without nulls."""
    raw = fixed_bytes(column)
    assert raw is not None  # noqa: S101 - int64 has a fixed width
    return raw.reshape(-1).view(np.int64)


def deletes(storage: Storage, logs: Iterable[StoredLog], key: Field) -> Iterator[Deletes]:
    """The deletes of some logs, in blocks of bounded size.

    Raises:
        AirliftError: a log is damaged, or of other keys than the collection's.
    """
    held: list[tuple[pa.Array, U64]] = []
    keys = size = 0
    for log in logs:
        for some, times in _read(storage, log, key):
            held.append((some, times))
            keys, size = keys + len(some), size + some.nbytes
            if keys >= _BLOCK_KEYS or size >= _BLOCK_BYTES:
                yield _block(held)
                held, keys, size = [], 0, 0
    if held:
        yield _block(held)


def _block(held: list[tuple[pa.Array, U64]]) -> Deletes:
    keys = pa.concat_arrays([some for some, _ in held])
    times = np.concatenate([some for _, some in held])
    if pa.types.is_integer(keys.type):
        return _NumberDeletes(int64_values(keys), times)
    return _TextDeletes(keys, times)


def _read(storage: Storage, stored: StoredLog, key: Field) -> Iterator[tuple[pa.Array, U64]]:
    log = LogFile(storage, stored.path, stored.size, DELETE)
    try:
        with reading(log.address):
            for batch in log.batches(_BATCH_ROWS):
                keys, times = _columns(batch, key)
                if keys.null_count or times.null_count:
                    raise ValueError("a delete has no key or no timestamp")
                if keys.type == pa.string():
                    keys.validate(full=True)
                if len(keys):
                    yield keys, int64_values(times).view(np.uint64)
    finally:
        log.close()


def _columns(batch: pa.RecordBatch, key: Field) -> tuple[pa.Array, pa.Array]:
    if batch.num_columns == 1:
        keys, times = _parsed(batch.column(0).to_pylist(), key)
        # `pa.array` would import pandas, which takes a second.
        numbers = int64_array(np.array(times, np.int64))
        if key.type is DataType.INT64:
            return int64_array(np.array(keys, np.int64)), numbers
        return pa.array(keys, pa.string()), numbers
    names = batch.schema.names
    columns = ("pk", "ts") if {"pk", "ts"} <= set(names) else names[:2]
    keys, times = (batch.column(name) for name in columns)
    if keys.type != key.arrow.type or times.type != pa.int64() or len(names) != 2:
        raise ValueError(
            f"it has the columns {batch.schema.to_string(False, False, False)!r}, "
            f"expected a key of {key.arrow.type} and a timestamp"
        )
    return keys, times


def _parsed(texts: list[Any], key: Field) -> tuple[list[Any], list[int]]:
    """Keys and timestamps of a column of JSON texts."""
    kind = int if key.type is DataType.INT64 else str
    keys: list[Any] = []
    times: list[int] = []
    for row, text in enumerate(texts):
        if kind is int and text[:1] != "{":
            pk, _, ts = text.partition(",")
            told: Any = {"pk": int(pk), "ts": int(ts)}
        else:
            told = orjson.loads(text)
        if type(told["pk"]) is not kind or type(told["ts"]) is not int:
            raise ValueError(f"row {row}: {text[:80]!r} is no delete of a key of type {key.type}")
        keys.append(told["pk"])
        times.append(told["ts"])
    return keys, times
