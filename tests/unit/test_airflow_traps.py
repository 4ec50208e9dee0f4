"""Limits and habits of Airflow that a large or unlucky migration must not run into."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from airlift.chunk import Chunk
from airlift.mapping import MappedCollection
from airlift.migration import Migration
from airlift.plan import CollectionPlan, Plan, group_chunks
from airlift.schema import CollectionSchema
from airlift.sources.registry import params_class
from airlift.steps.plan import summary
from airlift.timing import timed
from airlift_airflow.opening import migration_id_of
from airlift_airflow.operators import moving, preparing
from airlift_airflow.xcom import bounded

BERLIN = ZoneInfo("Europe/Berlin")
XCOM_BYTES, STORE_BYTES = 1 << 20, 64 << 10


def large_plan(collections: int, chunks: int) -> Plan:
    """A plan of so many collections with so many chunks each."""
    plans = []
    for number in range(collections):
        name = f"collection_{number:05d}_{'x' * 200}"
        mapped = MappedCollection.model_construct(
            source=name,
            database="",
            target=CollectionSchema.model_construct(name=name, fields=()),
            partitions={"": ""},
        )
        cut = tuple(
            Chunk.model_construct(id=f"c{at:06d}", rows=1_000, bytes=64 << 20, partition="")
            for at in range(chunks)
        )
        plans.append(
            CollectionPlan.model_construct(
                mapped=mapped,
                way="grpc_bulk_insert",
                file_format="numpy",
                rows=chunks * 1_000,
                deleted=0,
                left_out=0,
                chunks=cut,
            )
        )
    batches = group_chunks(plans, preparing.max_mapped(), 256 << 20)
    return Plan.model_construct(migration_id="m", collections=tuple(plans), batches=batches)


@pytest.mark.parametrize("collections", [1, 1_000])
@pytest.mark.parametrize("most", [1_024, 100])
def test_a_plan_of_100_000_chunks_fits_airflow(monkeypatch, collections: int, most: int) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__MAX_MAP_LENGTH", str(most))
    plan = large_plan(collections, 100_000 // collections)
    assert sum(len(one.chunks) for one in plan.collections) == 100_000
    assert 50 < len(plan.batches) <= min(most, 256)
    returned = list(range(len(plan.batches)))
    assert bounded(returned) == returned  # each of them is mapped to a task
    for value in (bounded(summary(plan)), returned):
        assert len(json.dumps(value)) < XCOM_BYTES
    made = {"made": [one.name for one in plan.collections], "found": []}
    assert len(json.dumps(bounded(made))) < XCOM_BYTES
    assert ("and 700 more" in json.dumps(bounded(made))) == (collections == 1_000)


def test_the_task_store_stays_small(monkeypatch) -> None:
    """A batch of 100,000 chunks, each with an import job of its own."""
    jobs = [str(448_000_000_000_000_000 + number) for number in range(100_000)]

    class Import:
        def __init__(self, *_: Any) -> None: ...

        def submit(self) -> list[str]:
            return jobs

        def finish(self) -> int:
            return 0

    stored: dict[str, Any] = {}
    monkeypatch.setattr("airlift.steps.import_chunks.BatchImport", Import)
    monkeypatch.setattr("airlift.steps.write_chunks.write_batch", lambda *_: None)
    monkeypatch.setattr(moving.BulkInsertOperator, "moved", lambda *_: {"rows": 0})
    task = moving.BulkInsertOperator(task_id="bulk_insert", source="milvus1x", batch=0)
    task.step(None, {"task_state_store": type("Store", (), {"set": stored.__setitem__})})  # type: ignore[arg-type, typeddict-item]
    assert stored["import_jobs"][0] == jobs[0]
    assert "99,700 more" in stored["import_jobs"][-1]
    assert len(json.dumps(stored["import_jobs"])) < STORE_BYTES


def test_what_is_small_is_handed_over_as_it_is() -> None:
    value = {"rows": 3, "names": ["a", "b"], "deep": {"x": [1, 2]}, "none": None}
    assert bounded(value) == value


def scheduled(after: datetime) -> tuple[str, datetime]:
    """The run of a schedule, as Airflow names it."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.types import DagRunType

    run_id = DagRun.generate_run_id(
        run_type=DagRunType.SCHEDULED, logical_date=after, run_after=after
    )
    return run_id, after


def test_the_hour_that_comes_twice() -> None:
    """Both runs of 02:30 on the night when summer time ends have a migration of their own."""
    twice = [datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=fold) for fold in (0, 1)]
    assert f"{twice[0]:%H%M}" == f"{twice[1]:%H%M}"
    for zone in (BERLIN, UTC):
        runs = [scheduled(one.astimezone(UTC).astimezone(zone)) for one in twice]
        ids = {migration_id_of({}, "dag", *run) for run in runs}
        assert len(ids) == 2
        assert {name[:16] for name in ids} == {"m20261025_003000", "m20261025_013000"}
    # Not even where somebody's own run id says the clock time only.
    same = {migration_id_of({}, "dag", "nightly_0230", one) for one in twice}
    assert len(same) == 2


def test_two_dags_on_one_schedule() -> None:
    run = scheduled(datetime(2026, 11, 21, tzinfo=UTC))
    assert migration_id_of({}, "one", *run) != migration_id_of({}, "two", *run)


def test_a_run_without_a_logical_date() -> None:
    """As triggered by hand: Airflow knows when it was to run all the same."""
    now = datetime(2026, 11, 21, 22, 0, 1, tzinfo=UTC)
    assert migration_id_of({}, "dag", "manual__x", now).startswith("m20261121_220001_")
    assert migration_id_of({"migration_id": "own"}, "dag", "manual__x", now) == "own"


def test_a_try_that_staging_knows_and_airflow_does_not(tmp_path: Path) -> None:
    params = params_class("milvus1x")(tables_url="/t", meta_url="/m", staging_url=str(tmp_path))
    migration = Migration("milvus1x", params, "m", None)  # type: ignore[arg-type]

    def begin(run: str, attempt: int) -> bool:
        with timed(migration, "convert", 3, run=run, attempt=attempt) as clock:
            return clock.set_back

    assert not begin("run 1", 1)
    assert not begin("run 1", 2)  # cleared
    assert begin("run 1", 1)  # Airflow's database knows nothing of the two any more
    assert not begin("run 2", 1)  # triggered again with the same migration_id
    with pytest.raises(RuntimeError), timed(migration, "convert", 3, run="run 3", attempt=1):
        raise RuntimeError
    assert not begin("run 3", 1)
