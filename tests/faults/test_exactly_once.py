"""Milvus 2.3.5 knows no idempotency key: a job that was accepted and never written down is found.

The gap between the two is where the process is killed, again and again, and where the answer of the
server gets lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from localservers import Milvus, MilvusLite
from samples.milvus1x_tables import TableSpec, write_milvus1x
from tests.faults.cases import Case, Harness
from tests.faults.child import DONE, KILLED, Job, run_child
from tests.faults.lossy import LossyConnection
from tests.faults.points import Point
from tests.faults.routes import Ground, Route
from tests.paths.place import FLAT
from tests.paths.truth import assert_holds

KILLS = 50


def test_killed_between_accepted_and_written_down(milvus: Milvus, tmp_path: Path) -> None:
    """Each life of the task finds the job of the one before, sends one more, and is killed."""
    spec = TableSpec("songs", 0, dim=8, partitions={f"p{n}": 40 for n in range(KILLS)})
    truth = write_milvus1x(tmp_path / "source", [spec])["songs"]
    ground = Ground(tmp_path, {"milvus": milvus})
    job = Job(
        source="milvus1x",
        params={
            "tables_url": f"{tmp_path}/source/tables",
            "meta_url": f"{tmp_path}/source/meta.sqlite",
            "mapping": {"songs": {"target": "once"}},
            "write_mode": "bulk_insert",
            "verify": "full",
            "index": FLAT,
            **ground.staging("milvus"),
        },
        migration_id="exactly_once",
        connections=ground.connections("milvus"),
        folder=tmp_path / "log",
    )
    with closing(ground.client("milvus")) as client:
        try:
            # The first import of all is the one that asks whether the server can read staging.
            first = run_child(replace(job, point=Point("call Import", 2, "after")))
            assert first.code == KILLED, first
            again = replace(job, step="submit", point=Point("call Import", 1, "after"))
            for kill in range(1, KILLS):
                assert run_child(again).code == KILLED, kill
            ended = run_child(job)
            assert ended.code == DONE, ended
            assert "call Import" not in ended.actions or ended.actions["call Import"] == 1
            jobs = client._get_connection().list_bulk_insert_tasks(
                0, "once", context=client._generate_call_context()
            )
            files = [one.infos["files"] for one in jobs]
            assert len(files) == len(set(files)) == KILLS
            assert_holds(client, "once", truth)
        finally:
            client.drop_collection("once")


@pytest.fixture(params=["milvus", "lite"])
def harness(
    request: pytest.FixtureRequest, milvus: Milvus, milvus_lite: MilvusLite, tmp_path: Path
) -> Iterator[Harness]:
    """The target is reached over a connection that may lose its answers."""
    servers = {"milvus": milvus, "lite": milvus_lite}
    with LossyConnection(servers[request.param].address) as connection:
        ground = Ground(tmp_path, servers, {request.param: connection.uri})
        yield Harness(ground, tmp_path / "logs", {"connection": connection.lose_answers})


LOST = {
    "milvus": [
        ("bulk_insert", "call Import", 2),
        ("bulk_insert", "call CreateCollection", 2),
        ("insert", "call Insert", 2),
        ("insert", "call CreateIndex", 1),
        ("insert", "call LoadCollection", 1),
    ],
    "lite": [
        ("insert", "call Insert", 1),
        ("upsert", "call Upsert", 2),
        ("insert", "call CreateCollection", 1),
        ("insert", "call CreatePartition", 1),
    ],
}


def test_answers_that_get_lost(request: pytest.FixtureRequest, harness: Harness) -> None:
    """The server did what was asked, and the connection broke before it could say so."""
    server = request.node.callspec.params["harness"]
    for number, (way, action, nth) in enumerate(LOST[server]):
        route = Route("milvus1x", server, {"write_mode": way, "chunk_mb": 1})
        point = Point(action, nth, "before", "connection")
        case = Case(route, 900 + number, victims=("connection",), points=(point,))
        outcome = harness.play(case)
        assert not outcome.problems, str(outcome)
        assert [str(at) for at, _ in outcome.points] == [str(point)]
