"""What a collection's definition says to the server, as pymilvus sends it."""

from __future__ import annotations

import pytest
from pymilvus import MilvusClient
from pymilvus.client.prepare import Prepare

from airlift.datatypes import DataType
from airlift.milvus.new_collection import field_arguments
from airlift.schema import Field


@pytest.mark.parametrize(
    ("kind", "value", "data"),
    [
        (DataType.BOOL, False, "bool_data"),
        (DataType.INT8, 0, "int_data"),
        (DataType.INT16, -(2**15), "int_data"),
        (DataType.INT32, 2**31 - 1, "int_data"),
        (DataType.INT64, 2**63 - 1, "long_data"),
        (DataType.FLOAT, 0.5, "float_data"),
        (DataType.DOUBLE, 0.1, "double_data"),
        (DataType.VARCHAR, "", "string_data"),
    ],
)
def test_a_default_value_is_sent_as_the_servers_own_type(kind, value, data):
    """pymilvus would send every integer as an INT64, whatever the field."""
    schema = MilvusClient.create_schema()
    fields = (
        Field(name="id", type=DataType.INT64, primary_key=True),
        Field(name="f", type=kind, default=value, max_length=8 if data == "string_data" else 0),
        Field(name="v", type=DataType.FLOAT_VECTOR, dim=2),
    )
    for field in fields:
        schema.add_field(**field_arguments(field))
    sent = Prepare.get_schema_from_collection_schema("c", schema).fields[1].default_value
    assert sent.WhichOneof("data") == data and getattr(sent, data) == value
