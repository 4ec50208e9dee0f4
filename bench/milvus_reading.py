"""Reading from Milvus, against what its own client does in the same run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bench.child import case
from bench.workers import shared, slowest

ROWS, DIM = 500_000, 128

Say = Callable[..., None]


def milvus_reading(rounds: int, work: Path, say: Say) -> None:
    """500k x 128 and three scalars: rows a second and CPU seconds, of one worker and of two."""
    from localservers import Milvus

    with Milvus(work / "milvus-source") as server:
        uri = server.uri
        case("milvus_fill", uri=uri, rows=ROWS, dim=DIM)
        scratch = work / "scratch"
        scratch.mkdir()
        # Two chunks, for two workers.
        planned = case("milvus_plan", uri=uri, scratch=str(scratch), chunk_bytes=200 << 20)
        iterated = min(
            (case("milvus_iterate", uri=uri) for _ in range(rounds)), key=lambda one: slowest([one])
        )
        ones = [
            shared("milvus_read", 1, ROWS, uri=uri, scratch=str(scratch)) for _ in range(rounds)
        ]
        twos = [
            shared("milvus_read", 2, ROWS, uri=uri, scratch=str(scratch)) for _ in range(rounds)
        ]
    one, two = (min(runs, key=slowest) for runs in (ones, twos))
    print(f"Milvus 2.3.5, {ROWS:,} x {DIM} and three scalars, {planned.told['chunks']} chunks")
    say("pass over the keys", planned.told["wall"], "s")
    for label, found in (("query_iterator", [iterated]), ("one worker", one), ("two workers", two)):
        say(f"{label}: rows a second", ROWS / slowest(found), "/s")
        say(f"{label}: CPU of the client", sum(run.told["cpu"] for run in found), "s")
    for label, found in (("one worker", one), ("two workers", two)):
        ratio = slowest([iterated]) / slowest(found)
        say(f"{label}: rows a second / query_iterator", ratio, "x", f"milvus {label}")
    say("process: peak memory", max(run.peak_mb for run in [*one, *two]), "MB", "milvus peak")
    say("process: peak memory of query_iterator", iterated.peak_mb, "MB")


def milvus_job(work: Path, say: Say) -> None:
    """500k x 128 and two scalars, from one Milvus 2.3.5 into another, loaded and verified."""
    from localservers import Milvus

    with Milvus(work / "milvus-from") as source, Milvus(work / "milvus-to") as target:
        case("milvus_fill", uri=source.uri, rows=ROWS, dim=DIM, scalars=2)
        options = {"source": source.uri, "uri": target.uri, "path": "milvus", "verify": "sample"}
        staging = str(target.data_dir / "staging")
        one = case("end_to_end", **options, staging=staging, wait_for_index=False)
        print(f"Milvus 2.3.5 into Milvus 2.3.5, {ROWS:,} x {DIM} and two scalars")
        for step, seconds in one.told["steps"].items():
            say(step, seconds, "s")
        say("all steps", one.told["wall"], "s", "milvus job")
        say("process: CPU with imports", one.cpu, "s")
        say("process: peak memory", one.peak_mb, "MB")
