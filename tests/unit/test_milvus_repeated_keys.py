"""Rows that share a key, as a running Milvus shows them: by what it counts and what it gives."""

import pytest

from airlift.chunk import Chunk
from airlift.datatypes import DataType
from airlift.errors import Refused
from airlift.schema import CollectionSchema, Field, SourceCollection
from airlift.sources.milvus.params import MilvusParams
from airlift.sources.milvus.repeated import tell_repeated_keys

SCHEMA = CollectionSchema(
    name="songs",
    fields=[
        Field(name="id", type=DataType.INT64, primary_key=True),
        Field(name="vector", type=DataType.FLOAT_VECTOR, dim=4),
    ],
)


def told(counted: int, given: int, **params: str) -> SourceCollection:
    collection = SourceCollection(collection_schema=SCHEMA, rows=counted)
    chunk = Chunk(id="0", collection="songs", partition="", rows=given, bytes=1, read={})
    staging = {"staging_url": "/s", "target_database": "elsewhere"}
    tell_repeated_keys(collection, [chunk] if given else [], MilvusParams(**staging, **params))
    return collection


def test_as_many_as_counted():
    assert told(200, 200).live == 200 and not told(0, 0).notes


def test_fewer_than_counted_are_repeated_keys():
    with pytest.raises(Refused, match="5 of 200 rows share their primary key"):
        told(200, 195)
    kept = told(200, 195, on_duplicate_id="keep_one")
    assert (kept.rows, kept.left_out, kept.live) == (200, 5, 195)
    assert kept.partition_rows == {"": 195}


@pytest.mark.parametrize("counted", [0, 150])
def test_more_than_counted_have_come_in_meanwhile(counted):
    """The source is written to while a scheduled run looks what is new."""
    found = told(counted, 200)
    assert (found.rows, found.left_out, found.live) == (200, 0, 200)
    assert f"{200 - counted} rows came in between" in found.notes[0]
