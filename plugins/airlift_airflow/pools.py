"""Makes the pools of `airlift_airflow.limits` when a part of Airflow starts.

The DAG processor hands its environment on to the processes that parse DAG files, so the DAGs name
the pools exactly where they are known to exist: parsing must not ask the database, and tasks can't.
"""

from __future__ import annotations

import logging
import os

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

from airlift_airflow.limits import SOURCE_READS, TARGET_WRITES, Limit

log = logging.getLogger(__name__)


def _provide(limit: Limit) -> None:
    """Makes a limit's pool, unless it is there or the environment names another one."""
    if os.environ.get(limit.pool_variable):
        return
    try:
        _make(limit)
    except Exception as error:  # whatever it is, Airflow shall start
        log.warning("no pool %s: %s; each DAG has a limit of its own", limit.pool, error)
    else:
        os.environ[limit.pool_variable] = limit.pool


def _make(limit: Limit) -> None:
    from airflow.models.pool import Pool
    from sqlalchemy.exc import IntegrityError

    if Pool.get_pool(limit.pool):
        return  # with the slots that somebody may have given it
    try:
        Pool.create_or_update_pool(
            limit.pool, limit.at_once(), limit.description, include_deferred=True
        )
    except IntegrityError:
        # Other parts of Airflow start at the same moment.
        if not Pool.get_pool(limit.pool):
            raise


class _Starts:
    """Airflow tells it of each scheduler, triggerer, DAG processor and task that starts."""

    @hookimpl
    def on_starting(self, component: object) -> None:
        # Tasks have no database; by name, as they should not import Airflow's models either.
        if type(component).__name__ == "Job":
            for limit in (SOURCE_READS, TARGET_WRITES):
                _provide(limit)


class Pools(AirflowPlugin):
    """Makes the project's pools."""

    name = "airlift_pools"
    listeners = [_Starts()]  # noqa: RUF012 - Airflow's base class has it as a plain attribute
