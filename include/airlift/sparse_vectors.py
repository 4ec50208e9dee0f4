"""Sparse vectors in their three forms: the bytes that Milvus sends, dictionaries, and JSON.

The bytes are pairs of a little-endian uint32 index and float32 value, by rising index; see
`SparseFloatArray` in milvus-proto's `schema.proto`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import orjson
import pyarrow as pa

_PAIR = np.dtype([("index", "<u4"), ("value", "<f4")])


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
