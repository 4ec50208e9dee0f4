"""Rows and bytes over time: everything is counted once, in a bounded number of pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlift.report.plots import charts, level, rank_plot, round_up
from airlift.report.throughput import (
    PIECES,
    Throughput,
    Work,
    began,
    one_after_another,
    throughput,
)
from airlift.report.time_axis import AXIS, TimeAxis
from airlift.verification import SearchCheck

DAY = 86_400.0


def test_nothing_was_done():
    assert throughput([]) == Throughput()
    assert throughput([Work("convert", 0, 1, 0, 0)]) == Throughput()
    assert charts(Throughput()) == []


def test_one_chunk_is_as_fast_all_the_time():
    found = throughput([Work("convert", 1000, 10, 5_000, 1_000_000)])
    assert found.seconds == 10
    assert found.first.startswith("1970-01-01T00:16:40")
    assert len(found.pieces["convert"]) == PIECES
    rows, size = charts(found)
    assert (rows.unit, size.unit) == ("rows/s", "MB/s")
    assert rows.series[0].average == rows.series[0].highest == pytest.approx(500)
    assert size.series[0].highest == pytest.approx(0.1)
    assert (rows.top, size.top) == (500, pytest.approx(0.1))


def test_what_is_done_side_by_side_adds_up():
    works = [Work("convert", 0, 10, 1_000, 10), Work("convert", 5, 5, 1_000, 10)]
    pieces = throughput(works).pieces["convert"]
    assert pieces[0].rows / pieces[0].seconds == pytest.approx(100)
    assert pieces[-1].rows / pieces[-1].seconds == pytest.approx(300)


def test_jobs_that_wait_for_each_other_take_their_own_time():
    jobs = [Work("import", 100, seconds, 10, 0) for seconds in (6.0, 2.0, 4.0, 4.2)]
    jobs.append(Work("import", 200, 5.0, 10, 0))
    found = [(one.start, pytest.approx(one.seconds)) for one in one_after_another(jobs)]
    assert found == [(100, 2.0), (102, 2.0), (102, 2.0), (104, 2.0), (200, 5.0)]
    assert sum(one.rows for one in one_after_another(jobs)) == 50


def test_a_long_break_is_drawn_short_and_has_no_rows():
    works = [Work("convert", 0, 100, 1_000, 10), Work("import", DAY, 100, 1_000, 10)]
    found = throughput(works)
    assert found.breaks_seconds == pytest.approx(DAY - 100)
    assert len(found.marks) == 1
    assert {kind: len(pieces) for kind, pieces in found.pieces.items()}["convert"] > 40
    assert charts(found)[0].series[0].highest == pytest.approx(10, rel=0.1)


work = st.builds(
    Work,
    st.sampled_from(["convert", "import"]),
    st.floats(0, 1e6),
    st.floats(0.001, 1e4),
    st.integers(1, 10**9),
    st.integers(0, 10**12),
)


@given(st.lists(work, max_size=20))
def test_every_row_is_counted_once_and_stays_on_the_axis(works):
    found = throughput(works)
    for kind, pieces in found.pieces.items():
        own = [one for one in works if one.kind == kind]
        assert sum(one.rows for one in pieces) == pytest.approx(sum(one.rows for one in own))
        assert sum(one.bytes for one in pieces) == pytest.approx(sum(one.bytes for one in own))
        assert len(pieces) <= PIECES
        assert all(0 <= one.place < AXIS for one in pieces)
    for chart in charts(found):
        assert all(one.highest <= chart.top * 1.001 for one in chart.series)


def test_ten_thousand_chunks_make_a_small_plot():
    works = [Work("convert", n * 0.7, 1.0, 100_000, 52_000_000) for n in range(10_000)]
    works += [Work("import", 8_000, n * 2.0 + 1, 100_000, 52_000_000) for n in range(10_000)]
    found = throughput(works)
    assert sum(map(len, found.pieces.values())) <= 2 * PIECES
    assert len(found.model_dump_json()) < 30_000
    assert sum(len(one.path) for chart in charts(found) for one in chart.series) < 10_000


@pytest.mark.parametrize(
    ("number", "top"),
    [(0, 1), (0.03, 0.05), (0.1, 0.1), (0.7, 1), (1.4, 2), (9.9, 10), (53_000, 100_000)],
)
def test_the_upper_edge_is_a_round_number(number, top):
    assert round_up(number) == pytest.approx(top)


def test_times_without_a_zone_are_utc():
    assert began("1970-01-01T00:00:10") == began("1970-01-01T02:00:10+02:00") == 10


def search(**changes) -> SearchCheck:
    values = {"field": "v", "key": "7", "rank": 1, "distance": 0.0, "effort": 10, "found": True}
    return SearchCheck(**values | changes)


@pytest.mark.parametrize(
    ("changes", "line", "tone"),
    [
        ({}, "1", "good"),
        ({"rank": 3}, "2 to 10", "good"),  # others are just as near
        ({"effort": 1000}, "1", "warn"),
        ({"rank": 700, "effort": 1000, "found": False}, "later", "bad"),
        ({"rank": None, "found": False}, "not found", "bad"),
        ({"rank": None, "key": ""}, "1", "good"),  # the target makes the keys
    ],
)
def test_a_search_is_drawn_where_it_belongs(changes, line, tone):
    one = search(**changes)
    plot = rank_plot((one,))
    assert level(one) == line
    assert plot.dots[0].tone == tone
    assert (plot.dots[0].y, line) in plot.levels


def test_searches_are_bounded():
    plot = rank_plot((search(),) * 1_000)
    assert (len(plot.dots), plot.left_off) == (200, 800)
    assert rank_plot(()) is None


def test_an_axis_of_nothing():
    axis = TimeAxis([])
    assert (axis.elapsed, axis.place(5.0), axis.seconds(10)) == (0, 0, 0)
