"""From Milvus into Milvus, again and again: each run moves what is new since the last one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from pymilvus import DataType

from airlift.connections import MilvusConnection
from airlift.errors import Refused
from airlift.steps.publish import publish
from localservers import Milvus, MilvusLite
from tests.paths.place import FLAT, Place, lite_place
from tests.paths.test_milvus_to_milvus import DIM, MILVUS, rows_of, vectors


@pytest.fixture
def place(milvus: Milvus, milvus_lite: MilvusLite, tmp_path: Path) -> Iterator[Place]:
    """From Milvus 2.3.5 into Milvus Lite, with a collection `events` to read."""
    with closing(milvus.client()) as source:
        schema = source.create_schema()
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
        schema.add_field("at", DataType.INT64)
        schema.add_field("day", DataType.VARCHAR, max_length=30)
        schema.add_field("ok", DataType.BOOL)
        params = source.prepare_index_params()
        params.add_index("vector", **FLAT, metric_type="L2")
        source.create_collection("events", schema=schema, index_params=params)
        source.insert("events", [event(n) for n in range(100)])
        with lite_place(milvus_lite, tmp_path / "none", MILVUS) as place:
            place.connections.servers["milvus_source"] = MilvusConnection(uri=milvus.uri)
            place.source = source  # type: ignore[attr-defined]
            yield place
        source.drop_collection("events")


def event(n: int, **changes: Any) -> dict[str, Any]:
    day = f"2026-11-{n // 20:02d}"
    return {"id": n, "vector": vectors(1, n)[0], "at": n // 10, "day": day, "ok": True, **changes}


def run(place: Place, number: int, **params: Any) -> dict[str, Any]:
    """The nth run; what its report says of the collection."""
    given = {"collections": ["events"], "verify": "full", **params}
    [collection] = place.run(**given, migration_id=f"{place.migration_id}_{number}")["collections"]
    return {
        name: collection[f"rows_{name}"] for name in ("planned", "imported", "replaced", "counted")
    } | {"way": collection["way"]}


@pytest.mark.parametrize("field", ["at", "day"])
def test_each_run_moves_what_is_new_and_what_was_last(place, field):
    assert run(place, 1, since_field=field)["imported"] == 100
    # Rows with the largest value may have come after it was read: they are looked at again.
    again = {"at": 10, "day": 20}[field]
    told = {"planned": again, "imported": again, "replaced": again, "counted": 100, "way": "upsert"}
    assert run(place, 2, since_field=field) == told
    changed = [event(3, at=1000, day="2026-12-01", ok=False)]
    late = [event(n, at=9, day="2026-11-04") for n in (5000, 5001)]
    place.source.upsert("events", changed)
    place.source.insert("events", [*late, *(event(n) for n in range(100, 130))])
    found = run(place, 3, since_field=field)
    assert found["imported"] == again + 1 + 2 + 30 and found["counted"] == 132
    assert rows_of(place.client, "events") == rows_of(place.source, "events")
    assert run(place, 4, since_field=field)["planned"] == 1  # the row that was changed


def test_keys_that_only_grow(place):
    assert run(place, 1, since_pk=True)["imported"] == 100
    nothing = {"planned": 0, "imported": 0, "replaced": 0, "counted": 100, "way": "upsert"}
    assert run(place, 2, since_pk=True) == nothing
    place.source.insert("events", [event(n) for n in range(100, 130)])
    assert run(place, 3, since_pk=True)["imported"] == 30
    assert rows_of(place.client, "events") == rows_of(place.source, "events")


def test_the_mark_moves_only_when_a_run_is_published(place):
    run(place, 1, since_pk=True)
    place.source.insert("events", [event(n) for n in range(100, 130)])
    params = {"collections": ["events"], "since_pk": True, "verify": "full"}
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(
            "airlift.run.verify", lambda migration: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        run(place, 2, since_pk=True)
    # Another run begins where the last published one ended; the same one goes on where it was.
    assert run(place, 3, since_pk=True)["replaced"] == 30
    assert run(place, 2, since_pk=True)["imported"] == 30
    # And once it is published, repeating it changes nothing.
    with place.migration(**params, migration_id=f"{place.migration_id}_2") as migration:
        publish(migration)
    assert run(place, 2, since_pk=True)["imported"] == 30
    assert run(place, 4, since_pk=True)["planned"] == 0
    assert rows_of(place.client, "events") == rows_of(place.source, "events")


def test_a_target_that_is_another_by_now_gets_all_rows(place):
    run(place, 1, since_field="at")
    run(place, 2, since_field="at", mapping={"events": {"target": "elsewhere"}})
    assert len(rows_of(place.client, "elsewhere")) == 100
    place.client.drop_collection("events")
    assert run(place, 3, since_field="at")["way"] == "insert"
    assert run(place, 4, since_field="at", if_exists="replace")["way"] == "insert"
    assert rows_of(place.client, "events") == rows_of(place.source, "events")


def test_what_tells_nothing_new_is_refused(place):
    for field, told in (("gone", "it is not there"), ("ok", "it is BOOL")):
        with pytest.raises(Refused, match=f"since_field '{field}' must be .*; {told}"):
            run(place, 1, since_field=field)
    for wrong in ({"since_pk": True}, {"cutover_alias": True}):
        with pytest.raises(ValidationError, match="since_field"):
            run(place, 1, since_field="at", **wrong)
