"""Reading from Elasticsearch, against what its own client does in the same run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from bench.child import Measured, case
from bench.data import cache
from bench.workers import shared, slowest

ROWS, DIM = 300_000, 128

Say = Callable[..., None]


def elasticsearch(rounds: int, work: Path, say: Say) -> None:
    """300k x 128: documents a second and the client's CPU seconds, of one worker and of two."""
    from localservers import Elasticsearch

    with Elasticsearch(cache() / "elasticsearch-8", heap="1g") as server:
        url = server.url
        case("search_fill", url=url, rows=ROWS, dim=DIM)
        scans: list[Measured] = []
        ones: list[Measured] = []
        twos: list[list[Measured]] = []
        for _ in range(rounds):
            scans.append(case("search_scan", url=url))
            scratch = work / "scratch"
            scratch.mkdir()
            case("search_plan", url=url, scratch=str(scratch))
            ones.append(shared("search_read", 1, ROWS, url=url, scratch=str(scratch))[0])
            twos.append(shared("search_read", 2, ROWS, url=url, scratch=str(scratch)))
            case("search_finish", url=url, scratch=str(scratch))
            shutil.rmtree(scratch)
    scan = min(scans, key=_cpu)
    one = min(ones, key=_cpu)
    two = min(twos, key=lambda pair: sum(map(_cpu, pair)))
    print(f"Elasticsearch {server.version}, {ROWS:,} x {DIM}, one shard, pages of 1,000")
    for label, found in (("helpers.scan", [scan]), ("one worker", [one]), ("two workers", two)):
        say(f"{label}: documents a second", ROWS / slowest(found), "/s")
        say(f"{label}: CPU of the client", sum(map(_cpu, found)), "s")
    for label, best in (("one worker", [one]), ("two workers", two)):
        # What a worker needs, with a machine of its own; the server's share is not the client's.
        busiest = max(map(_cpu, best))
        say(f"{label}: scan / CPU of the busiest", _cpu(scan) / busiest, "x", f"search {label}")
        say(f"{label}: scan / CPU of all", _cpu(scan) / sum(map(_cpu, best)), "x")
        say(f"{label}: documents a second / scan", slowest([scan]) / slowest(best), "x")
    say("process: CPU with imports, one worker", one.cpu, "s")
    say("process: peak memory", max(run.peak_mb for run in [one, *two]), "MB", "search peak")
    say("process: peak memory of helpers.scan", scan.peak_mb, "MB")


def _cpu(one: Measured) -> float:
    return float(one.told["cpu"])
