"""Milvus data types, and what each is in Arrow and in a fixed number of bytes.

The table `TYPES` is the only place that knows these; a new type is a new row of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa


class DataType(StrEnum):
    """A Milvus field type, spelled as Milvus' REST interface and pymilvus' enum spell it."""

    BOOL = "BOOL"
    INT8 = "INT8"
    INT16 = "INT16"
    INT32 = "INT32"
    INT64 = "INT64"
    FLOAT = "FLOAT"
    DOUBLE = "DOUBLE"
    VARCHAR = "VARCHAR"
    JSON = "JSON"
    ARRAY = "ARRAY"
    FLOAT_VECTOR = "FLOAT_VECTOR"
    FLOAT16_VECTOR = "FLOAT16_VECTOR"
    BFLOAT16_VECTOR = "BFLOAT16_VECTOR"
    INT8_VECTOR = "INT8_VECTOR"
    SPARSE_FLOAT_VECTOR = "SPARSE_FLOAT_VECTOR"
    BINARY_VECTOR = "BINARY_VECTOR"


@dataclass(frozen=True)
class TypeFacts:
    """What the engine needs to know of a data type.

    Attributes:
        arrow: the Arrow type of a column, given the vector's dimension (ignored by scalars).
        width: bytes of one value, given the dimension; None where values differ in length.
        numpy: the dtype of the value's elements in a `.npy` file; None where none fits.
        metric_types: the metrics that an index on such a field takes; the first is the default.
        wider: a type that holds the same values exactly, for targets that have not this one.
    """

    arrow: Callable[[int], pa.DataType]
    width: Callable[[int], int] | None
    numpy: str | None
    metric_types: tuple[str, ...] = ()
    wider: DataType | None = None

    @property
    def is_vector(self) -> bool:
        """Whether values are vectors."""
        return bool(self.metric_types)


_FLOAT_METRICS = ("L2", "IP", "COSINE")


def _scalar(arrow: pa.DataType, width: int, numpy: str) -> TypeFacts:
    return TypeFacts(lambda _: arrow, lambda _: width, numpy)


TYPES: dict[DataType, TypeFacts] = {
    DataType.BOOL: _scalar(pa.bool_(), 1, "?"),
    DataType.INT8: _scalar(pa.int8(), 1, "|i1"),
    DataType.INT16: _scalar(pa.int16(), 2, "<i2"),
    DataType.INT32: _scalar(pa.int32(), 4, "<i4"),
    DataType.INT64: _scalar(pa.int64(), 8, "<i8"),
    DataType.FLOAT: _scalar(pa.float32(), 4, "<f4"),
    DataType.DOUBLE: _scalar(pa.float64(), 8, "<f8"),
    DataType.VARCHAR: TypeFacts(lambda _: pa.string(), None, None),
    DataType.JSON: TypeFacts(lambda _: pa.string(), None, None),
    # Of what, the field's `element_type` says.
    DataType.ARRAY: TypeFacts(lambda _: pa.list_(pa.null()), None, None),
    DataType.FLOAT_VECTOR: TypeFacts(
        lambda dim: pa.list_(pa.float32(), dim),
        lambda dim: 4 * dim,
        "<f4",
        _FLOAT_METRICS,
    ),
    DataType.FLOAT16_VECTOR: TypeFacts(
        lambda dim: pa.binary(2 * dim),
        lambda dim: 2 * dim,
        None,
        _FLOAT_METRICS,
        wider=DataType.FLOAT_VECTOR,
    ),
    DataType.BFLOAT16_VECTOR: TypeFacts(
        lambda dim: pa.binary(2 * dim),
        lambda dim: 2 * dim,
        None,
        _FLOAT_METRICS,
        wider=DataType.FLOAT_VECTOR,
    ),
    DataType.INT8_VECTOR: TypeFacts(
        lambda dim: pa.list_(pa.int8(), dim),
        lambda dim: dim,
        None,
        _FLOAT_METRICS,
        wider=DataType.FLOAT_VECTOR,
    ),
    # Values as Milvus sends them: pairs of a uint32 index and a float32, by rising index.
    DataType.SPARSE_FLOAT_VECTOR: TypeFacts(lambda _: pa.binary(), None, None, ("IP", "BM25")),
    DataType.BINARY_VECTOR: TypeFacts(
        lambda dim: pa.binary(dim // 8),
        lambda dim: dim // 8,
        "|u1",
        ("HAMMING", "JACCARD"),
    ),
}
