import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlift.read_ahead import read_ahead


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.is_alive()}


@given(st.lists(st.integers()))
def test_gives_the_same_items_in_the_same_order(items):
    assert list(read_ahead(iter(items))) == items
    assert "read-ahead" not in threads()


def test_an_error_comes_after_the_items_before_it():
    def broken():
        yield 1
        yield 2
        raise ValueError("the disk is gone")

    taken = []
    with pytest.raises(ValueError, match="the disk is gone"):
        for item in read_ahead(broken()):
            taken.append(item)  # noqa: PERF402
    assert taken == [1, 2]


def test_reads_no_further_than_it_must_when_it_is_closed_early():
    read = []

    def endless():
        number = 0
        while True:
            read.append(number)
            yield number
            number += 1

    ahead = read_ahead(endless())
    assert next(ahead) == 0
    ahead.close()
    assert len(read) < 10
    assert "read-ahead" not in threads()
