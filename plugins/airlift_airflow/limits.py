"""How many tasks read sources, and write to targets, at the same moment.

Airflow's pools say that across all DAGs, and `airlift_airflow.pools` makes one for each. But a task
whose pool does not exist is never run, so a DAG takes a pool only where the environment that its
file is parsed in names one: whoever names it knows that it is there. Elsewhere each DAG has a limit
of its own.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Limit:
    """Of tasks that do the same.

    Attributes:
        pool: the name of the pool that the project makes.
        description: of that pool.
        pool_variable: names the pool to take, in the environment.
        most_variable: how many at once, in the environment: the slots of the pool that the project
            makes, or of one DAG's tasks over all its runs where there is no pool.
        most: how many where the environment does not say.
    """

    pool: str
    description: str
    pool_variable: str
    most_variable: str
    most: int

    def at_once(self) -> int:
        """How many tasks may run at once.

        Raises:
            ValueError: the environment says something else than a number.
        """
        given = os.environ.get(self.most_variable, str(self.most))
        if not given.isdigit() or int(given) < 1:
            raise ValueError(
                f"{self.most_variable} is {given!r}; a whole number from 1 on is expected"
            )
        return int(given)

    def arguments(self) -> dict[str, Any]:
        """Arguments of an operator that put its tasks under the limit."""
        if pool := os.environ.get(self.pool_variable):
            return {"pool": pool}
        return {"max_active_tis_per_dag": self.at_once()}


SOURCE_READS = Limit(
    "airlift_source_reads",
    "Milvus Airlift: tasks that read a source, over all DAGs.",
    "AIRLIFT_SOURCE_POOL",
    "AIRLIFT_SOURCE_READS",
    16,
)
TARGET_WRITES = Limit(
    "airlift_target_writes",
    "Milvus Airlift: tasks that write to a target, also those that wait for its import jobs.",
    "AIRLIFT_TARGET_POOL",
    "AIRLIFT_TARGET_WRITES",
    8,
)
