"""The harness itself: many processes at once, and how each has come to its end."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.faults.child import BROKEN, Job, run_child
from tests.paths.place import KnownConnections

PROCESSES = 200


def test_many_at_once_are_each_told_apart(tmp_path: Path) -> None:
    def end_at_once(number: int) -> int:
        # Without params there is nothing to run.
        job = Job("milvus1x", {}, f"m{number}", KnownConnections({}), tmp_path / str(number))
        return run_child(job).code

    with ThreadPoolExecutor(4) as pool:
        assert Counter(pool.map(end_at_once, range(PROCESSES))) == {BROKEN: PROCESSES}
