"""`make chaos`: migrations are killed at random for a while, and a report is printed at its end.

Every path, by every way in, into real servers. Most of the time the migration's own process is
killed, now and then a server or its answers. The exit code is 1 when a row was lost, doubled or
altered, or a run was wrongly called a success. A seed repeats a case: `--only NAME-SEED`.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from localservers import Elasticsearch, Milvus, MilvusLite, MilvusOnS3
from tests.faults.cases import WILD, Case, Harness, Outcome
from tests.faults.lossy import LossyConnection
from tests.faults.routes import ROUTES, SEARCH_ROUTES, Ground, Route
from tests.faults.servers import ends_of, mortal_config

AT_ONCE = 3
LIVES = (1, 1, 2, 3)
# Of the cases on servers that nobody else uses at the time.
VICTIMS = ("process", "connection", "milvus", "s3", "source")


class Report:
    """What came of all cases, told line by line as they end, and in sum at the end."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self._lock = threading.Lock()

    def add(self, outcome: Outcome) -> None:
        """Tells of a case."""
        with self._lock:
            self.outcomes.append(outcome)
            print(f"{'WRONG' if outcome.problems else 'right':6}{outcome}", flush=True)

    @property
    def wrong(self) -> list[Outcome]:
        """The cases with problems."""
        return [one for one in self.outcomes if one.problems]

    def sum_up(self, minutes: float) -> str:
        """Cases by route, by what was ended, and how it came out."""
        points = [at for one in self.outcomes for at in one.points]
        lines = [
            f"\n{len(self.outcomes)} migrations, {len(points)} faults in {minutes:.0f} minutes",
            *_table("route", Counter(one.case.route.name for one in self.outcomes)),
            *_table("ended", Counter(point.victim for point, _ in points)),
            *_table("moment", Counter(point.moment for point, _ in points)),
            *_table("at", Counter(point.action for point, _ in points)),
            *_table("the process", Counter(how for _, how in points)),
            f"\n{len(self.wrong)} went wrong",
            *(f"  {one}\n    again: --only {one.case.name}" for one in self.wrong),
        ]
        return "\n".join(lines)


def _table(title: str, counts: Counter[str]) -> list[str]:
    return [f"\n{title}", *(f"  {count:6} {name}" for name, count in counts.most_common())]


def main(arguments: list[str]) -> int:
    """Runs for as long as is asked; 1 when something went wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 24))
    parser.add_argument("--only", help="one case, as the report names it: ROUTE-SEED")
    given = parser.parse_args(arguments)
    report = Report()
    with servers() as (shared, mortal):
        began = time.monotonic()
        routes = [*ROUTES, *SEARCH_ROUTES]
        if given.only:
            report.add(_play_one(shared, mortal, routes, given.only))
        else:
            print(f"seed {given.seed}: repeats this run", flush=True)
            until = began + 60 * given.minutes
            _play(shared, mortal, routes, given.seed, until, report)
        minutes = (time.monotonic() - began) / 60
    print(report.sum_up(minutes))
    return 1 if report.wrong or not report.outcomes else 0


def _play(
    shared: Harness,
    mortal: Harness,
    routes: list[Route],
    seed: int,
    until: float,
    report: Report,
) -> None:
    """Plays cases a few at a time, and beside them one whose servers are ended too."""
    numbers = iter(range(seed, seed + (1 << 24)))
    lock = threading.Lock()

    def worker(harness: Harness, victims: tuple[str, ...], own: list[Route]) -> None:
        while time.monotonic() < until:
            with lock:
                number = next(numbers)
            report.add(_safely(harness, _case(own, number, victims)))

    calm = (shared, ("process",), routes)
    # One that is killed has no other user, and is asked by one migration at a time.
    wild = (mortal, VICTIMS, [one for one in routes if one.server == "milvus_on_s3"])
    with ThreadPoolExecutor(AT_ONCE + 1) as pool:
        for future in [pool.submit(worker, *calm) for _ in range(AT_ONCE)] + [
            pool.submit(worker, *wild)
        ]:
            future.result()


def _case(routes: list[Route], number: int, victims: tuple[str, ...]) -> Case:
    route = random.Random(number).choice(routes)
    return Case(route, number, LIVES[number % len(LIVES)], victims)


def _play_one(shared: Harness, mortal: Harness, routes: list[Route], name: str) -> Outcome:
    route_name, _, number = name.rpartition("-")
    route = next(one for one in routes if one.name == route_name.removeprefix(WILD))
    lives = LIVES[int(number) % len(LIVES)]
    if route_name.startswith(WILD):
        return _safely(mortal, Case(route, int(number), lives, VICTIMS))
    return _safely(shared, Case(route, int(number), lives))


def _safely(harness: Harness, case: Case) -> Outcome:
    """Plays a case; a harness that fails is told as a problem, too."""
    try:
        return harness.play(case)
    except Exception:
        return Outcome(case, problems=[traceback.format_exc()[-1500:]])


@contextmanager
def servers() -> Iterator[tuple[Harness, Harness]]:
    """All servers: those that live, and those that are ended."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="airlift-chaos-")))
        start: Callable[..., object] = stack.enter_context
        eager = {"queryCoord.distPullInterval": 100, "proxy.timeTickInterval": 50}
        living = {
            "milvus": Milvus(folder / "milvus", config=eager),
            "milvus_on_s3": MilvusOnS3(folder / "milvus-s3", auth=True, config=eager),
            "lite": MilvusLite(folder / "lite"),
            "elasticsearch": Elasticsearch(folder / "elasticsearch", short_lived=True),
        }
        mortal = MilvusOnS3(folder / "mortal", auth=True, config=mortal_config())
        source = MilvusLite(folder / "mortal-lite")
        for server in (*living.values(), mortal, source):
            start(server)
        lossy = stack.enter_context(LossyConnection(mortal.address))
        ends = {**ends_of(mortal, source), "connection": lossy.lose_answers}
        ends_on = {"milvus_on_s3": mortal, "lite": source}
        for part in ("calm", "wild"):
            (folder / part).mkdir()
        # What a case leaves after something went wrong is kept.
        logs = Path(os.environ.get("CHAOS_LOGS", tempfile.mkdtemp(prefix="airlift-chaos-logs-")))
        print(f"logs of what goes wrong: {logs}", flush=True)
        yield (
            Harness(Ground(folder / "calm", living), logs),
            Harness(
                Ground(folder / "wild", ends_on, {"milvus_on_s3": lossy.uri}), logs / "wild", ends
            ),
        )
