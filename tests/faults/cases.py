"""One migration that is ended again and again, and then left alone: is the target right?"""

from __future__ import annotations

import random
import re
import shutil
import threading
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pymilvus.exceptions import MilvusException

from airlift.storage import open_storage
from localservers import LocalServerError
from localservers.ports import wait_until
from tests.faults.child import DONE, KILLED, REFUSED, Ended, Job, run_child
from tests.faults.points import Point, choose
from tests.faults.routes import Ground, Route, fill, rows_after, rows_before
from tests.faults.rows import differences
from tests.faults.servers import revive

_PROCESS = ("process",)
WILD = "wild-"
"""Before the name of a case in which not only the migration's own process is ended."""
_AWAY_SECONDS = 20.0
"""How long a server stays away, at most."""
_LAST_TRIES = 3
"""How often a migration may be run again after a server was ended; a process needs one."""


@dataclass(frozen=True)
class Case:
    """What is ended, and where: all of it follows from the route and the seed.

    Attributes:
        lives: how often the migration is ended before it is left alone.
        victims: what is ended at each.
        points: where, if it is not the seed's choice.
    """

    route: Route
    seed: int
    lives: int = 2
    victims: tuple[str, ...] = _PROCESS
    points: tuple[Point, ...] = ()

    @property
    def name(self) -> str:
        """What to repeat it by."""
        wild = WILD if self.victims != _PROCESS else ""
        return f"{wild}{self.route.name}-{self.seed}"


def once_answered(call: Callable[..., list[str]], *args: Any) -> list[str]:
    """What a call gives, once a server that was started anew has loaded its collections again.

    Raises:
        LocalServerError: it does not within a minute.
    """
    answers: list[list[str]] = []
    said: list[str] = []

    def try_it() -> bool:
        try:
            answers.append(call(*args))
        except MilvusException as error:
            said.append(str(error))
        return bool(answers)

    wait_until(try_it, 60, lambda: f"the target does not answer: {said[-1]}")
    return answers[-1]


@dataclass
class Outcome:
    """What came of a case.

    Attributes:
        points: where something was ended, and how the process came to its end.
        problems: what should not be; none where all is well.
    """

    case: Case
    points: list[tuple[Point, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        told = "; ".join(f"{point}: {how}" for point, how in self.points)
        return f"{self.case.name} [{told}] " + ("; ".join(self.problems) or "right")


class Harness:
    """Plays cases on a ground.

    Args:
        folder: for the logs of the processes.
        ends: server -> ends and starts it again.
    """

    def __init__(
        self, ground: Ground, folder: Path, ends: dict[str, Callable[[], None]] | None = None
    ) -> None:
        self.ground = ground
        self.folder = folder
        self._ends = ends or {}
        self._actions: dict[str, dict[str, int]] = {}
        self._learning: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def learn(self, route: Route) -> dict[str, int]:
        """Runs a route unharmed; returns what its process did. The target must be right."""
        with self._learning[route.name]:
            return self._learn(route)

    def _learn(self, route: Route) -> dict[str, int]:
        if route.name not in self._actions:
            outcome = Outcome(Case(route, 0, lives=0))
            with closing(_Life(self, outcome)) as life:
                ended = life.run(None)
            if outcome.problems:
                raise AssertionError(str(outcome))
            self._actions[route.name] = ended.actions
        return self._actions[route.name]

    def play(self, case: Case) -> Outcome:
        """Plays a case to its end."""
        actions = self.learn(case.route)
        seed = random.Random(case.name)
        outcome = Outcome(case)
        with closing(_Life(self, outcome)) as life:
            for point in case.points or [
                choose(seed, actions, seed.choice(case.victims)) for _ in range(case.lives)
            ]:
                life.run(point)
                if outcome.problems:
                    return outcome
            tries = 1 if case.victims == _PROCESS else _LAST_TRIES
            life.finish(tries)
        if not outcome.problems:
            shutil.rmtree(self.folder / case.name, ignore_errors=True)
        return outcome

    def revive(self) -> None:
        """Starts the servers again that were ended."""
        for server in self.ground.servers.values() if self._ends else ():
            revive(server)

    def end(self, victim: str) -> Callable[[], None] | None:
        """What ends a server."""
        return self._ends.get(victim)


class _Life:
    """The life of one migration."""

    def __init__(self, harness: Harness, outcome: Outcome) -> None:
        case, ground = outcome.case, harness.ground
        self._harness, self._outcome, self._ground = harness, outcome, ground
        self._route = case.route
        self._target = re.sub(r"\W", "_", f"k_{case.name}")
        self._client = ground.client(self._route.server)
        self._job = Job(
            source=ground.sample(self._route.sample).kind,
            params=ground.params(self._route, self._target),
            migration_id=self._target[2:],
            connections=ground.connections(self._route.server),
            folder=harness.folder / case.name,
        )
        if self._route.there:
            fill(self._client, self._target, rows_before(ground, self._route))

    def run(self, point: Point | None) -> Ended:
        """Runs the migration once; what can't be right becomes a problem."""
        self._harness.revive()
        end = self._harness.end(point.victim) if point else None
        # What waits for a server that stays away, as the target does for its store, must go on.
        later = threading.Timer(_AWAY_SECONDS, self._harness.revive)

        def end_for_a_while() -> None:
            if end:
                end()
                later.start()

        ended = run_child(replace(self._job, point=point), end and end_for_a_while)
        if later.is_alive():
            later.cancel()
            later.join()
        how = {DONE: "came to its end", REFUSED: "failed", KILLED: "killed"}.get(ended.code)
        if point:
            self._outcome.points.append((point, how or f"exit code {ended.code}"))
        if how is None:
            self._outcome.problems.append(f"a defect: {ended.told[-1500:] or ended.code}")
        elif ended.code == REFUSED and (point is None or point.victim == "process"):
            self._outcome.problems.append(f"refused: {ended.told}")
        elif ended.code == DONE:
            self._harness.revive()
            self.compare()
        return ended

    def finish(self, tries: int) -> None:
        """Runs it unharmed until it is done."""
        for left in reversed(range(tries)):
            before = list(self._outcome.problems)
            ended = self.run(None)
            if ended.code == DONE or not left:
                return
            if ended.code == REFUSED:
                self._outcome.problems[:] = before

    def compare(self) -> None:
        """Compares what the target holds, as the migration says that it is done."""
        name = self._target
        if self._route.params.get("cutover_alias"):
            points_to = self._client.describe_collection(name)["collection_name"]
            if points_to != f"{name}__{self._job.migration_id}":
                self._outcome.problems.append(f"the alias points to {points_to}")
        truth = rows_after(self._ground, self._route)
        try:
            self._outcome.problems += once_answered(differences, self._client, name, truth)
        except LocalServerError as error:
            self._outcome.problems.append(str(error))

    def close(self) -> None:
        """Removes what the case has made."""
        for name in self._client.list_collections():
            if name.startswith(self._target):
                for alias in self._client.describe_collection(name)["aliases"]:
                    self._client.drop_alias(alias)
                self._client.drop_collection(name)
        self._client.close()
        params: dict[str, Any] = self._job.params
        bucket = self._job.connections.buckets.get(params.get("staging_conn_id", ""))
        staging = open_storage(params["staging_url"], bucket)
        staging.delete_folder(self._job.migration_id)


def seeded(routes: list[Route], count: int, first: int = 1) -> list[Case]:
    """As many cases, spread over the routes; with one, two or three lives each."""
    return [
        Case(routes[n % len(routes)], first + n, lives=1 + n // len(routes) % 3)
        for n in range(count)
    ]
