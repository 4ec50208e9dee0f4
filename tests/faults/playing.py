"""Plays the cases of a test module a few at a time: what they do most is wait for servers."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.faults.cases import Case, Harness, Outcome
from tests.faults.routes import Ground

_AT_ONCE = 4


class Outcomes:
    """What comes of the cases; to ask for one waits for it."""

    def __init__(self, ground: Ground, futures: dict[str, Future[Outcome]]) -> None:
        self._ground = ground
        self._futures = futures
        self._targets = {name for name in ground.servers if name != "elasticsearch"}
        self._before = self._held()

    def __getitem__(self, case: Case) -> Outcome:
        return self._futures[case.name].result()

    def left(self) -> list[str]:
        """The collections that are left on the targets, once all cases are played."""
        for future in self._futures.values():
            future.result()
        return sorted(self._held() - self._before)

    def _held(self) -> set[str]:
        held = set()
        for server in self._targets:
            with closing(self._ground.client(server)) as client:
                held |= {f"{server}: {name}" for name in client.list_collections()}
        return held


@contextmanager
def playing(request: pytest.FixtureRequest, ground: Ground, logs: Path) -> Iterator[Outcomes]:
    """Begins to play the cases of the tests that were chosen in the module."""
    chosen = [
        item.callspec.params["case"]
        for item in request.session.items
        if item.path == request.path and isinstance(item, pytest.Function)
        if hasattr(item, "callspec") and "case" in item.callspec.params
    ]
    futures: dict[str, Future[Outcome]] = {}
    for case in chosen:
        ground.sample(case.route.sample)
    outcomes = Outcomes(ground, futures)
    harness = Harness(ground, logs)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        futures |= {case.name: pool.submit(harness.play, case) for case in chosen}
        try:
            yield outcomes
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            ground.remove_samples()
