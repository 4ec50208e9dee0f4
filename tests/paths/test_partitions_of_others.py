"""Partitions that a migration does not write to: nothing may come into them meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from airlift.datatypes import DataType
from airlift.errors import Mismatch
from airlift.migration import Migration
from airlift.schema import CollectionSchema, Field
from airlift.steps.check import check
from airlift.steps.convert import convert_batch
from airlift.steps.create import create
from airlift.steps.export_meta import export_meta
from airlift.steps.index import build_indexes, load_collections
from airlift.steps.plan import make_plan
from airlift.steps.verify import verify
from airlift.steps.write_chunks import write_batch
from tests.paths.arrow_source import ArrowSource, migration_of, run_from
from tests.paths.place import Place, lite_place

SCHEMA = CollectionSchema(
    name="songs",
    partitions=("rock",),
    fields=(
        Field(name="id", type=DataType.INT64, primary_key=True),
        Field(name="vector", type=DataType.FLOAT_VECTOR, dim=2, metric_type="L2"),
    ),
)


def row(key: int) -> dict[str, Any]:
    return {"id": key, "vector": [key, key / 2]}


def source(start: int) -> ArrowSource:
    chunks = [
        [pa.RecordBatch.from_pylist([row(n) for n in range(at, at + 10)], schema=SCHEMA.arrow)]
        for at in (start, start + 10)
    ]
    return ArrowSource(SCHEMA, chunks, partitions=("", "rock"))


@pytest.fixture
def place(milvus_lite: Any, tmp_path: Path) -> Iterator[Place]:
    """Milvus Lite with a collection of ours, and two partitions that others have made in it."""
    with lite_place(milvus_lite, tmp_path / "source") as place:
        run_from(place, source(0), migration_id="first", verify="full")
        for partition, key in (("others", 1000), ("empty", None)):
            place.client.create_partition("songs", partition)
            if key:
                place.client.insert("songs", [row(key)], partition_name=partition)
        yield place


def count(place: Place, partition: str) -> int:
    found = place.client.query(
        "songs", filter="id >= 0", output_fields=["id"], partition_names=[partition], limit=1000
    )
    return len(found)


@pytest.mark.parametrize("level", ["counts", "sample", "full"])
def test_rows_of_others_that_stay_as_they_were_are_no_difference(place, level):
    report = run_from(place, source(20), verify=level, if_exists="append")
    assert report["state"] == "done"
    partitions = report["collections"][0]["verification"]["partitions"]
    assert {name: one["counted"] for name, one in partitions.items()} == {
        "": 20,
        "rock": 20,
        "others": 1,
        "empty": 0,
    }
    assert partitions["others"]["before"] == 1 and report["collections"][0]["rows_counted"] == 41
    assert [count(place, name) for name in ("_default", "rock", "others")] == [20, 20, 1]


CHANGES: dict[str, Callable[[Any], Any]] = {
    "one more": lambda client: client.insert("songs", [row(1001)], partition_name="others"),
    "one in an empty partition": lambda client: client.insert(
        "songs", [row(1001)], partition_name="empty"
    ),
    "one less": lambda client: client.delete("songs", ids=[1000]),
    "one of an earlier migration's": lambda client: client.delete("songs", ids=[3]),
    "a partition less": lambda client: (
        client.release_collection("songs"),
        client.drop_partition("songs", "others"),
    ),
    "a partition with a row": lambda client: (
        client.create_partition("songs", "new"),
        client.insert("songs", [row(1001)], partition_name="new"),
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_rows_that_change_meanwhile_are_a_difference(place, change):
    def migration(level: str) -> Migration:
        return migration_of(place, source(20), verify=level, if_exists="append")

    with migration("counts") as one:
        check(one)
        export_meta(one)
        make_plan(one, 1)
        convert_batch(one, 0)
        create(one)
        write_batch(one, 0)
        build_indexes(one)
        load_collections(one)
        change(place.client)
    for level in ("counts", "full"):
        with migration(level) as one, pytest.raises(Mismatch, match="counted"):
            verify(one)
