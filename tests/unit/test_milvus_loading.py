"""How a server that loads a collection is waited for."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from airlift.errors import AirliftError
from airlift.milvus.errors import Unavailable
from airlift.milvus.loading import patiently, wait_loaded


def answers(given: Iterable[int | Exception]) -> Callable[[], int]:
    """Asks that are answered one after the other; the last answer stays."""
    left = list(given)

    def ask() -> int:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return ask


AWAY = Unavailable("look at the load state: the store does not answer")


def test_what_comes_on_slowly_is_waited_for() -> None:
    asked = []

    def ask() -> int:
        asked.append(1)
        return min(10 * len(asked), 100)

    # Far longer in all than it may stand still.
    wait_loaded("songs", ask, standstill=1.0)
    assert len(asked) == 10


def test_what_stands_still_ends_the_wait_and_says_where() -> None:
    with pytest.raises(AirliftError, match=r"'songs' is loaded to 37 %.*query nodes.*clear"):
        wait_loaded("songs", answers([12, 37]), standstill=0.3)


def test_a_load_that_loses_ground_has_not_stood_still() -> None:
    wait_loaded("songs", answers([50, 60, 20, 40, 100]), standstill=0.4)


def test_a_failure_that_goes_away_is_no_failure() -> None:
    wait_loaded("songs", answers([10, AWAY, AWAY, 20, AWAY, 100]), patience=30)
    assert patiently(answers([AWAY, 55]), patience=30) == 55


def test_a_failure_that_stays_is_told() -> None:
    with pytest.raises(Unavailable, match="the store does not answer"):
        wait_loaded("songs", answers([10, AWAY]), patience=0.3)
