"""Where a scalar lies in Milvus' messages: ScalarField and ValueField of `schema.proto` agree."""

from __future__ import annotations

from airlift.datatypes import DataType

SCALAR_SLOTS = {
    DataType.BOOL: "bool_data",
    DataType.INT8: "int_data",
    DataType.INT16: "int_data",
    DataType.INT32: "int_data",
    DataType.INT64: "long_data",
    DataType.FLOAT: "float_data",
    DataType.DOUBLE: "double_data",
    DataType.VARCHAR: "string_data",
}
