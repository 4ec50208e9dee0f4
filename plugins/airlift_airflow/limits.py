"""How many tasks read sources, and write to targets, at the same moment.

Airflow's pools would say that across all DAGs. But a task whose pool does not exist is never run,
and nothing that this project can bring along makes a pool before the first task for sure: parsing
a DAG file must not write to the database, tasks can't reach it, and a plugin's or listener's code
runs only where and when a scheduler was started with it. So each DAG has limits of its own, which
hold from the first run on, and a pool is taken where the one who made it names it.
"""

from __future__ import annotations

import os
from typing import Any


def source_reads() -> dict[str, Any]:
    """Arguments of the tasks that read the source.

    `AIRLIFT_SOURCE_READS` of the environment that DAG files are parsed in: the most tasks of one
    DAG, over all its runs (16). `AIRLIFT_SOURCE_POOL`: a pool that exists.
    """
    return _limits("AIRLIFT_SOURCE", "READS", 16)


def target_writes() -> dict[str, Any]:
    """The same for tasks that write to the target: `AIRLIFT_TARGET_WRITES` (8) and `…_POOL`.

    Airflow counts those that wait in the triggerer too: so it also bounds the batches whose import
    jobs are at work.
    """
    return _limits("AIRLIFT_TARGET", "WRITES", 8)


def _limits(name: str, what: str, most: int) -> dict[str, Any]:
    given = os.environ.get(f"{name}_{what}", str(most))
    if not given.isdigit() or int(given) < 1:
        raise ValueError(f"{name}_{what} is {given!r}; a whole number from 1 on is expected")
    pool = os.environ.get(f"{name}_POOL", "default_pool")
    return {"max_active_tis_per_dag": int(given), "pool": pool}
