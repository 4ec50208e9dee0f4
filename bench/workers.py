"""A case that several worker processes share."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bench.child import Measured, case


def shared(name: str, workers: int, rows: int, **options: Any) -> list[Measured]:
    """Runs a case in so many processes at once; together they must read `rows` rows.

    Args:
        name: a function of `bench.cases` that takes `worker` and `workers`.
    """
    with ThreadPoolExecutor(workers) as pool:
        running = [
            pool.submit(case, name, **options, worker=number, workers=workers)
            for number in range(workers)
        ]
        found = [one.result() for one in running]
    if sum(one.told["rows"] for one in found) != rows:
        raise SystemExit(f"expected {rows} rows, read {[one.told['rows'] for one in found]}")
    return found


def slowest(found: list[Measured]) -> float:
    """Seconds until the last worker was done."""
    return max(float(one.told["wall"]) for one in found)
