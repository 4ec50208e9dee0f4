"""The key of a migration's fingerprints: drawn once, kept in the plan, missed when it is gone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest

from airlift.datatypes import DataType
from airlift.errors import AirliftError
from airlift.run import run
from airlift.schema import CollectionSchema, Field
from airlift.steps.check import check
from airlift.steps.convert import convert_batch
from airlift.steps.export_meta import export_meta
from airlift.steps.plan import make_plan
from airlift.steps.publish import clean_staging
from airlift.steps.unfinished import end_unfinished
from tests.paths.arrow_source import ArrowMigration, ArrowSource, migration_of
from tests.paths.place import Place, lite_place

SCHEMA = CollectionSchema(
    name="songs",
    fields=(
        Field(name="id", type=DataType.INT64, primary_key=True),
        Field(name="vector", type=DataType.FLOAT_VECTOR, dim=2, metric_type="L2"),
    ),
)


@pytest.fixture
def place(milvus_lite: Any, tmp_path: Path) -> Iterator[Place]:
    with lite_place(milvus_lite, tmp_path / "source") as place:
        yield place


def migration(place: Place) -> ArrowMigration:
    rows = [{"id": n, "vector": [n, -n]} for n in range(8)]
    chunks = [
        [pa.RecordBatch.from_pylist(part, schema=SCHEMA.arrow)] for part in (rows[:5], rows[5:])
    ]
    return migration_of(place, ArrowSource(SCHEMA, chunks), verify="full")


def convert(place: Place) -> None:
    with migration(place) as one:
        check(one)
        export_meta(one)
        make_plan(one, 1)
        convert_batch(one, 0)


def plan_file(place: Place) -> Path:
    return Path(place.staging_url) / place.migration_id / "plan.json"


def reads(place: Place) -> list[str]:
    """Runs to the end, and returns what was read of the source."""
    with migration(place) as one:
        run(one)
        return [call for call in one.given.calls if call.startswith("read")]


def test_a_resumed_run_keeps_the_key(place):
    convert(place)
    before = orjson.loads(plan_file(place).read_bytes())["collections"][0]["fingerprint_key"]
    assert reads(place) == []
    plan = orjson.loads(plan_file(place).read_bytes())
    assert plan["collections"][0]["fingerprint_key"] == before
    assert len(before["key"]) == 64


@pytest.mark.parametrize(
    "change",
    [
        lambda collection: collection.pop("fingerprint_key"),
        lambda collection: collection["fingerprint_key"].update(construction="64-bit sum"),
        lambda collection: collection["fingerprint_key"].update(construction="of a later version"),
    ],
    ids=["an earlier version's", "named", "a later version's"],
)
def test_a_run_that_was_begun_with_other_fingerprints_is_refused_by_name(place, change):
    convert(place)
    plan = orjson.loads(plan_file(place).read_bytes())
    change(plan["collections"][0])
    plan_file(place).write_bytes(orjson.dumps(plan))
    for manifest in plan_file(place).parent.glob("songs/*/manifest.json"):
        value = orjson.loads(manifest.read_bytes())
        manifest.write_bytes(orjson.dumps(value | {"fingerprint": "0123456789abcdef"}))
    with pytest.raises(AirliftError, match=r"another kind of fingerprint .*new migration_id"):
        reads(place)
    assert not place.client.has_collection("songs")
    report = orjson.loads((plan_file(place).parent / "report.json").read_bytes())
    assert report["state"] == "failed" and "fingerprint" in str(report["failures"])
    with migration(place) as one:
        assert end_unfinished(one, is_whole=False) == []
        assert "kept_because" in clean_staging(one)


def test_chunks_of_a_plan_that_is_gone_are_converted_again(place):
    convert(place)
    plan_file(place).unlink()
    assert reads(place) == ["read 0", "read 1"]


def test_imported_chunks_of_a_plan_that_is_gone_are_refused(place):
    reads(place)
    plan_file(place).unlink()
    with pytest.raises(AirliftError, match=r"whose fingerprint key is gone.*same migration_id"):
        reads(place)


@pytest.mark.parametrize("chunks", [[], [[]]], ids=["no chunk", "an empty chunk"])
def test_a_collection_without_rows_is_verified_and_published(place, chunks):
    with migration_of(place, ArrowSource(SCHEMA, chunks), verify="full") as one:
        run(one)
        report = orjson.loads(one.staging.folder.read_bytes("report.json"))
    assert report["state"] == "done" and report["collections"][0]["rows_counted"] == 0
