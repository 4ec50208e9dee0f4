"""Servers that are killed while a migration uses them, and are started again: nothing is lost.

What fails meanwhile fails with an error that says why; run again, the migration comes to its end.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from localservers import MilvusLite, MilvusOnS3
from tests.faults.cases import Case, Harness
from tests.faults.points import Point
from tests.faults.routes import Ground, Route
from tests.faults.servers import ends_of, mortal_config

BULK = Route("milvus1x", "milvus_on_s3", {"write_mode": "bulk_insert"})
INSERT = Route("milvus1x", "milvus_on_s3", {"write_mode": "insert", "chunk_mb": 1})
FROM_LITE = Route("milvus", "milvus_on_s3", {"write_mode": "insert"})

CHOSEN = {
    "milvus while it imports": (BULK, Point("ask GetImportState", 30, "after", "milvus")),
    "milvus while it takes rows": (INSERT, Point("call Insert", 2, "after", "milvus")),
    "milvus after it made the collection": (
        INSERT,
        Point("call CreateCollection", 1, "after", "milvus"),
    ),
    "the store while chunks are written": (BULK, Point("write vector.npy", 3, "in", "s3")),
    "the store when a job is written down": (BULK, Point("write import.json", 1, "before", "s3")),
    "the store while the target loads": (BULK, Point("call LoadCollection", 1, "after", "s3")),
    "the source while it is read": (FROM_LITE, Point("ask Query", 3, "before", "source")),
}


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    """Servers of its own, as they are killed."""
    folder = tmp_path_factory.mktemp("mortal")
    with (
        MilvusOnS3(folder / "milvus", auth=True, config=mortal_config()) as milvus,
        MilvusLite(folder / "lite") as lite,
    ):
        ground = Ground(folder, {"milvus_on_s3": milvus, "lite": lite})
        yield Harness(ground, Path(folder / "logs"), ends_of(milvus, lite))


@pytest.mark.parametrize("what", CHOSEN)
def test_a_server_is_killed(what: str, harness: Harness) -> None:
    route, point = CHOSEN[what]
    number = list(CHOSEN).index(what)
    case = Case(route, 800 + number, victims=(point.victim,), points=(point,))
    outcome = harness.play(case)
    assert not outcome.problems, str(outcome)
    assert outcome.points[0][0] == point
