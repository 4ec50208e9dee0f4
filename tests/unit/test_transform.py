"""The source's batches become the target's, with every value as it was."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given

from airlift.datatypes import DataType
from airlift.errors import AirliftError
from airlift.mapping import map_collections
from airlift.params import MigrationParams
from airlift.schema import CollectionSchema, SourceCollection
from airlift.transform import Transform
from tests.unit.arrow_rows import EVERY_TYPE, slices


def transform(mapping: dict, schema: CollectionSchema = EVERY_TYPE) -> Transform:
    params = MigrationParams(staging_url="/s", mapping={"c": mapping})
    collection = SourceCollection(collection_schema=schema, rows=0)
    return Transform(map_collections([collection], params, "m")[0])


@given(slices(EVERY_TYPE))
def test_unchanged_batches_share_their_memory(batches):
    same = transform({})
    for batch in batches:
        made = same.apply(batch)
        assert made.equals(batch) and made.schema == EVERY_TYPE.arrow
        for before, after in zip(batch.columns, made.columns, strict=True):
            assert [b and b.address for b in before.buffers()] == [
                b and b.address for b in after.buffers()
            ]


@given(slices(EVERY_TYPE))
def test_columns_are_chosen_and_renamed_wherever_they_stand(batches):
    chosen = transform(
        {
            "include": ["id", "float_vector", "varchar"],
            "fields": [{"source": "varchar", "target": "text"}],
        }
    )
    assert chosen.schema.names == ["id", "text", "float_vector"]
    for batch in batches:
        turned = batch.select(batch.schema.names[::-1])
        made = chosen.apply(turned)
        assert made.column("text").equals(batch.column("varchar"))
        assert made.column("id").equals(batch.column("id"))
        assert made.column("float_vector").equals(batch.column("float_vector"))


@given(slices(EVERY_TYPE))
def test_wider_types_keep_every_value(batches):
    wide = transform(
        {"fields": [{"source": "int32", "type": "INT64"}, {"source": "id", "type": "VARCHAR"}]}
    )
    for batch in batches:
        made = wide.apply(batch)
        assert made.column("int32").to_pylist() == batch.column("int32").to_pylist()
        assert made.column("int32").type == pa.int64()
        assert [int(text) for text in made.column("id").to_pylist()] == batch.column(
            "id"
        ).to_pylist()


@pytest.mark.parametrize("value", [2**53 + 1, -(2**63) + 1, 2**63 - 1])
def test_an_integer_that_a_double_cannot_hold_is_refused(value):
    to_double = transform({"fields": [{"source": "int64", "type": "DOUBLE"}]})
    row = dict.fromkeys(EVERY_TYPE.arrow.names)
    columns = [
        pa.array([value if field.name == "int64" else row[field.name]], field.type)
        for field in EVERY_TYPE.arrow
    ]
    batch = pa.RecordBatch.from_arrays(columns, names=EVERY_TYPE.arrow.names)
    with pytest.raises(AirliftError, match=r"collection 'c': .*'int64' does not fit double"):
        to_double.apply(batch)


def test_an_integer_that_a_double_holds_is_the_same_number():
    schema = CollectionSchema(name="c", fields=EVERY_TYPE.fields)
    to_double = transform({"fields": [{"source": "int64", "type": "DOUBLE"}]}, schema)
    assert to_double.schema.field("int64").type == pa.float64()
    assert schema.fields[5].type is DataType.INT64
