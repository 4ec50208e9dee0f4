"""Reading ahead in threads: the same as reading one after the other, only sooner."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlift.reading_ahead import map_ahead, read_ahead


@given(items=st.lists(st.integers()), ahead=st.integers(0, 5))
def test_what_comes_out_is_what_a_plain_map_gives(items: list[int], ahead: int) -> None:
    assert list(map_ahead(lambda item: item * 2, items, ahead)) == [item * 2 for item in items]


@given(ranges=st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99))), ahead=st.integers(0, 5))
def test_each_range_comes_with_what_was_read_of_it(
    ranges: list[tuple[int, int]], ahead: int
) -> None:
    found = list(read_ahead(lambda start, end: end - start, ranges, ahead))
    assert found == [((start, end), end - start) for start, end in ranges]


def test_many_are_under_way_at_once_but_not_more_than_asked_for() -> None:
    together = threading.Barrier(8, timeout=30)
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for item in range(80):
            taken += 1
            yield item

    def call(item: int) -> int:
        together.wait()  # is passed only when eight are called for at the same time
        return item

    for at, found in enumerate(map_ahead(call, items(), 8)):
        assert found == at
        assert taken <= at + 8


@pytest.mark.parametrize("ahead", [0, 3])
def test_a_failure_comes_in_its_turn(ahead: int) -> None:
    def call(item: int) -> int:
        if item == 5:
            raise ValueError("the sixth")
        return item

    found = map_ahead(call, range(100), ahead)
    assert [next(found) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="the sixth"):
        next(found)


def test_nothing_goes_on_when_the_reader_stops() -> None:
    threads = []

    def call(item: int) -> int:
        threads.append(threading.current_thread())
        return item

    found = map_ahead(call, range(100), 4)
    next(found)
    found.close()
    assert len(threads) <= 5
    assert not any(thread.is_alive() for thread in threads)
