"""Arrow columns into Milvus' messages and back."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymilvus import DataType as MilvusType
from pymilvus.grpc_gen import schema_pb2

from airlift.datatypes import TYPES, DataType
from airlift.errors import AirliftError
from airlift.milvus.columns import to_batch, to_fields_data
from airlift.schema import Field
from tests.unit.arrow_rows import (
    EVERY_NULLABLE_TYPE,
    EVERY_TYPE,
    batch_of,
    fingerprint_of,
    schema_of,
    slices,
)


@pytest.mark.parametrize("schema", [EVERY_TYPE, EVERY_NULLABLE_TYPE], ids=["full", "nullable"])
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_every_type_there_and_back(schema, data):
    for batch in data.draw(slices(schema)):
        sent = [one.SerializeToString() for one in to_fields_data(batch, schema.fields)]
        received = [schema_pb2.FieldData.FromString(one) for one in sent]
        found = to_batch(received, schema.fields)
        assert found.equals(batch) and found.schema == schema.arrow
        assert fingerprint_of(found) == fingerprint_of(batch)  # bit for bit


def test_a_server_may_send_something_for_every_null():
    """Milvus sends nothing for a missing vector, and a zero for a missing number."""
    field = Field(name="year", type=DataType.INT64, nullable=True)
    for numbers in ([1, 0, 3], [1, 3]):
        data = schema_pb2.FieldData(field_name="year", valid_data=[True, False, True])
        data.scalars.long_data.data.extend(numbers)
        assert to_batch([data], (field,)).column("year").to_pylist() == [1, None, 3]


@pytest.mark.parametrize("kind", list(DataType), ids=str)
def test_messages_are_those_that_pymilvus_makes(kind):
    """Its own packing is the reference for what a server understands."""
    schema = schema_of(kind)
    (key, data, *_) = to_fields_data(batch_of(schema, 7), schema.fields)
    assert key.field_name == "id" and key.scalars.long_data.data
    assert data.field_name == schema.fields[1].name
    assert data.type == MilvusType[kind.value]
    if kind is DataType.SPARSE_FLOAT_VECTOR:
        assert len(data.vectors.sparse_float_vector.contents) == 7
    elif TYPES[kind].is_vector:
        assert data.vectors.dim == schema.fields[1].dim
        ((_, vectors),) = [one for one in data.vectors.ListFields() if one[0].name != "dim"]
        values = getattr(vectors, "data", vectors)
        width = 1 if kind is DataType.FLOAT_VECTOR else schema.fields[1].width / data.vectors.dim
        assert len(values) == 7 * width * data.vectors.dim
    else:
        assert len(next(value for _, value in data.scalars.ListFields()).data) == 7


@given(st.integers(0, 3000), st.integers(1, 40))
@settings(max_examples=30)
def test_float_vectors_of_any_size(rows, dim):
    schema = schema_of(DataType.FLOAT_VECTOR)
    fields = (schema.fields[1].model_copy(update={"dim": dim}),)
    wide = schema.model_copy(update={"fields": fields})
    batch = batch_of(wide, rows)
    (data,) = to_fields_data(batch, fields)
    again = schema_pb2.FieldData.FromString(data.SerializeToString())
    assert to_batch([again], fields).equals(batch)


def test_fields_come_in_the_order_asked_for():
    batch = batch_of(EVERY_TYPE, 3)
    messages = to_fields_data(batch, EVERY_TYPE.fields)
    wanted = EVERY_TYPE.fields[::-2]
    found = to_batch(messages, wanted)
    assert found.equals(batch.select([field.name for field in wanted]))


def test_a_missing_field_is_named():
    batch = batch_of(EVERY_TYPE, 3)
    messages = to_fields_data(batch, EVERY_TYPE.fields[:3])
    with pytest.raises(AirliftError, match="the server's answer lacks the field 'int16'"):
        to_batch(messages, EVERY_TYPE.fields[:4])


def test_nothing_comes_back_as_nothing():
    found = to_batch(to_fields_data(batch_of(EVERY_TYPE, 0), EVERY_TYPE.fields), EVERY_TYPE.fields)
    assert found.equals(pa.RecordBatch.from_pylist([], schema=EVERY_TYPE.arrow))


JSON_ROWS = {
    b'{"b": 1, "a": 2.0}': '{"a":2.0,"b":1}',
    b'{"a":NaN}': '{"a":NaN}',
    b'{"a": 1, "a": 2}': '{"a": 1, "a": 2}',
    b'{"a": 12345678901234567890123}': '{"a": 12345678901234567890123}',
    b"{": "{",
    b"": "",
    b'"\xff"': 'not UTF-8, "\\xff"',
}
"""What a server may send, and what it is then: canonical, or unlike whatever is canonical."""


@pytest.mark.parametrize("canonical", [True, False])
def test_json_of_any_kind_comes_without_loss(canonical):
    field = Field(name="json", type=DataType.JSON)
    data = schema_pb2.FieldData(field_name="json")
    data.scalars.json_data.data.extend(JSON_ROWS)
    found = to_batch([data], (field,), canonical).column(0).to_pylist()
    stored = ['{"b": 1, "a": 2.0}', *list(JSON_ROWS.values())[1:]]
    assert found == (list(JSON_ROWS.values()) if canonical else stored)


def test_a_dynamic_field_without_values_may_come_as_nothing():
    data = schema_pb2.FieldData(field_name="$meta", is_dynamic=True)
    data.scalars.json_data.data.extend([b"", b"{}"])
    assert to_batch([data], (Field(name="$meta", type=DataType.JSON),)).column(0).to_pylist() == [
        "{}",
        "{}",
    ]
