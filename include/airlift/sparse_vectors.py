"""Sparse vectors in their three forms: the bytes that Milvus sends, dictionaries, and JSON.

The bytes are pairs of a little-endian uint32 index and float32 value, by rising index; see
`SparseFloatArray` in milvus-proto's `schema.proto`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

_PAIR = np.dtype([("index", "<u4"), ("value", "<f4")])
PAIR_BYTES = _PAIR.itemsize


def to_bytes(vector: Mapping[int, float]) -> bytes:
    """A vector's bytes. Raises OverflowError for an index below 0 or above 2**32 - 1."""
    pairs = np.empty(len(vector), _PAIR)
    for place, index in enumerate(sorted(vector)):
        pairs[place] = (index, vector[index])
    return pairs.tobytes()


def to_dict(raw: bytes) -> dict[int, float]:
    """A vector as index -> value."""
    pairs = np.frombuffer(raw, _PAIR)
    return dict(zip(pairs["index"].tolist(), pairs["value"].tolist(), strict=True))


@dataclass(frozen=True)
class Pairs:
    """The pairs of a column's rows, one row after the other.

    Attributes:
        indices: uint32.
        values: float32, as many.
        counts: pairs of each row.
    """

    indices: npt.NDArray[np.uint32]
    values: npt.NDArray[np.float32]
    counts: npt.NDArray[np.int64]


def pairs_of(column: pa.Array) -> Pairs:
    """The pairs of a column of bytes, without Python objects per value.

    Args:
        column: a null has no pairs; other values are expected to be whole pairs.
    """
    if column.null_count:
        column = column.fill_null(b"")
    _, offset_buffer, data = column.buffers()
    offsets = np.zeros(1, np.int32)
    if len(column):
        offsets = np.frombuffer(offset_buffer, np.int32, len(column) + 1, 4 * column.offset)
    pairs = np.empty(0, _PAIR)
    if offsets[-1] > offsets[0]:
        count = int(offsets[-1] - offsets[0]) // PAIR_BYTES
        pairs = np.frombuffer(data, _PAIR, count, int(offsets[0]))
    # Copies, which lie one beside the other as serializers need them.
    counts = (offsets[1:].astype(np.int64) - offsets[:-1]) // PAIR_BYTES
    return Pairs(pairs["index"].copy(), pairs["value"].copy(), counts)


def column_of(pairs: Pairs, valid: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """The inverse of `pairs_of`.

    Args:
        valid: false where the value is null; None when none is.
    """
    raw = np.empty(len(pairs.indices), _PAIR)
    raw["index"], raw["value"] = pairs.indices, pairs.values
    offsets = np.zeros(len(pairs.counts) + 1, np.int32)
    offsets[1:] = np.cumsum(pairs.counts * PAIR_BYTES)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(raw.tobytes())]
    column = pa.Array.from_buffers(pa.binary(), len(pairs.counts), buffers)
    return column if valid is None else pc.if_else(pa.array(valid), column, None)


def to_json(column: pa.Array) -> pa.Array:
    """A column of bytes as JSON texts, such as `{"3":0.5}`; the numbers read back the same."""
    texts = [
        None if raw is None else orjson.dumps({str(at): v for at, v in to_dict(raw).items()})
        for raw in column.to_pylist()
    ]
    return pa.array([text and text.decode() for text in texts], pa.string())


def from_json(column: pa.Array) -> pa.Array:
    """The inverse of `to_json`."""
    raw = [
        None if text is None else to_bytes({int(at): v for at, v in orjson.loads(text).items()})
        for text in column.to_pylist()
    ]
    return pa.array(raw, pa.binary())
