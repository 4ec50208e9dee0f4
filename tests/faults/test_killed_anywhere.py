"""Migrations whose process is killed at seeded points, up to three times, on real servers.

Each is run again with the same `migration_id`, as a retry of Airflow does, until it is done; every
row of the target is then compared with the truth. The name of a case repeats it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from localservers import Milvus, MilvusLite, MilvusOnS3
from tests.faults.cases import Case, seeded
from tests.faults.playing import Outcomes, playing
from tests.faults.routes import ROUTES, Ground

CASES = seeded(ROUTES, 60)


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest,
    milvus: Milvus,
    milvus_on_s3: MilvusOnS3,
    milvus_lite: MilvusLite,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Outcomes]:
    servers = {"milvus": milvus, "milvus_on_s3": milvus_on_s3, "lite": milvus_lite}
    ground = Ground(tmp_path_factory.mktemp("sources"), servers)
    with playing(request, ground, tmp_path_factory.mktemp("logs")) as outcomes:
        yield outcomes


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_no_row_is_lost_doubled_or_altered(case: Case, outcomes: Outcomes) -> None:
    outcome = outcomes[case]
    assert outcome.points, "nothing was killed"
    assert not outcome.problems, str(outcome)


def test_no_check_has_left_anything(outcomes: Outcomes) -> None:
    """Once all have come to their end, nothing of theirs is left on the targets."""
    assert outcomes.left() == []
