"""Vectors one by one: as numbers to calculate with, and as a search takes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from airlift.datatypes import DataType
from airlift.schema import Field
from airlift.sparse_vectors import to_dict


def numbers(field: Field, vector: Any) -> npt.NDArray[np.float64]:
    """The vector's values; of a sparse vector those that it has, of a binary one its bits.

    Args:
        vector: as Arrow's `to_pylist` gives it: a list of numbers, or bytes.
    """
    match field.type:
        case DataType.BINARY_VECTOR:
            values: Any = np.unpackbits(np.frombuffer(vector, np.uint8))
        case DataType.FLOAT16_VECTOR:
            values = np.frombuffer(vector, "<f2")
        case DataType.BFLOAT16_VECTOR:
            values = (np.frombuffer(vector, "<u2").astype("<u4") << 16).view("<f4")
        case DataType.SPARSE_FLOAT_VECTOR:
            values = list(to_dict(vector).values())
        case _:
            values = vector
    return np.array(values, dtype=np.float64)


def query_vector(field: Field, vector: Any) -> Any:
    """The vector as pymilvus' `search` takes it.

    Args:
        vector: as Arrow's `to_pylist` gives it.
    """
    match field.type:
        case DataType.FLOAT16_VECTOR:
            return np.frombuffer(vector, "<f2")
        case DataType.BFLOAT16_VECTOR:
            import ml_dtypes  # pymilvus brings it

            return np.frombuffer(vector, ml_dtypes.bfloat16)
        case DataType.INT8_VECTOR:
            return np.array(vector, dtype=np.int8)
        case DataType.SPARSE_FLOAT_VECTOR:
            return to_dict(vector)
        case _:
            return vector
