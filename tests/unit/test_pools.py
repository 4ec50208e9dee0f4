"""The pools that the project makes as Airflow starts, in Airflow's database."""

import pytest
from airflow.jobs.job import Job
from airflow.models.pool import Pool
from airflow.models.team import Team
from airflow.utils.session import create_session

from airlift_airflow.limits import SOURCE_READS, TARGET_WRITES
from airlift_airflow.pools import Pools

VARIABLES = [
    variable
    for limit in (SOURCE_READS, TARGET_WRITES)
    for variable in (limit.pool_variable, limit.most_variable)
]


@pytest.fixture(autouse=True)
def database(monkeypatch):
    """No pools, and an environment that says nothing."""
    for variable in VARIABLES:
        monkeypatch.setenv(variable, "")  # so that what the test sets is taken back
        monkeypatch.delenv(variable)
    tables = [Team.__table__, Pool.__table__]
    with create_session() as session:
        Pool.metadata.create_all(session.get_bind(), tables)
    yield
    with create_session() as session:
        Pool.metadata.drop_all(session.get_bind(), tables)


def start(component=None):
    [listener] = Pools.listeners
    listener.on_starting(component or Job())


def pools():
    return {pool.pool: (pool.slots, pool.include_deferred) for pool in Pool.get_pools()}


def test_they_are_made_and_named_to_the_dags():
    start()
    assert pools() == {"airlift_source_reads": (16, True), "airlift_target_writes": (8, True)}
    assert SOURCE_READS.arguments() == {"pool": "airlift_source_reads"}
    assert TARGET_WRITES.arguments() == {"pool": "airlift_target_writes"}


def test_slots_that_somebody_gave_stay(monkeypatch):
    start()
    Pool.create_or_update_pool("airlift_target_writes", 3, "ours", include_deferred=False)
    monkeypatch.delenv(TARGET_WRITES.pool_variable)
    start()
    assert pools()["airlift_target_writes"] == (3, False)
    assert TARGET_WRITES.arguments() == {"pool": "airlift_target_writes"}


def test_the_environment_says_how_many_and_which(monkeypatch):
    monkeypatch.setenv("AIRLIFT_SOURCE_READS", "40")
    monkeypatch.setenv("AIRLIFT_TARGET_POOL", "milvus_writes")
    start()
    assert pools() == {"airlift_source_reads": (40, True)}
    assert TARGET_WRITES.arguments() == {"pool": "milvus_writes"}


def test_without_a_pool_the_environment_says_how_many_of_a_dag(monkeypatch):
    monkeypatch.setenv("AIRLIFT_SOURCE_READS", "3")
    assert SOURCE_READS.arguments() == {"max_active_tis_per_dag": 3}


@pytest.mark.parametrize("wrong", ["0", "many", ""])
def test_a_number_that_is_none_shows_as_an_import_error(monkeypatch, wrong):
    monkeypatch.setenv("AIRLIFT_SOURCE_READS", wrong)
    start()
    with pytest.raises(ValueError, match="AIRLIFT_SOURCE_READS is"):
        SOURCE_READS.arguments()
    assert TARGET_WRITES.arguments() == {"pool": "airlift_target_writes"}


def test_a_database_that_does_not_answer_leaves_limits_of_each_dag(monkeypatch, caplog):
    def refuse(*args, **kwargs):
        raise ConnectionError("database is away")

    monkeypatch.setattr(Pool, "get_pool", refuse)
    start()
    assert SOURCE_READS.arguments() == {"max_active_tis_per_dag": 16}
    assert "no pool airlift_source_reads: database is away" in caplog.text


def test_one_that_is_made_at_the_same_moment_is_taken(monkeypatch):
    real, answers = Pool.get_pool, iter([None])
    start()
    for limit in (SOURCE_READS, TARGET_WRITES):
        monkeypatch.delenv(limit.pool_variable)

    def late(name):
        return next(answers, None) or real(name)

    monkeypatch.setattr(Pool, "get_pool", late)
    monkeypatch.setattr(Pool, "create_or_update_pool", lambda *args, **kwargs: made_by_another())
    start()
    assert SOURCE_READS.arguments() == {"pool": "airlift_source_reads"}


def made_by_another():
    with create_session() as session:
        session.add(Pool(pool="airlift_source_reads", slots=1, include_deferred=True))


def test_tasks_make_none():
    class TaskRunnerMarker:
        pass

    start(TaskRunnerMarker())
    assert pools() == {}
