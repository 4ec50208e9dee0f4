"""Migrations from a real Elasticsearch that are killed; see test_killed_anywhere."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from localservers import Elasticsearch, Milvus, MilvusLite
from tests.faults.cases import Case, seeded
from tests.faults.playing import Outcomes, playing
from tests.faults.routes import SEARCH_ROUTES, Ground

CASES = seeded(SEARCH_ROUTES, 12)


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest,
    milvus: Milvus,
    milvus_lite: MilvusLite,
    elasticsearch_8: Elasticsearch,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Outcomes]:
    servers = {"milvus": milvus, "lite": milvus_lite, "elasticsearch": elasticsearch_8}
    ground = Ground(tmp_path_factory.mktemp("sources"), servers)
    with playing(request, ground, tmp_path_factory.mktemp("logs")) as outcomes:
        yield outcomes


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_no_row_is_lost_doubled_or_altered(case: Case, outcomes: Outcomes) -> None:
    outcome = outcomes[case]
    assert outcome.points, "nothing was killed"
    assert not outcome.problems, str(outcome)
