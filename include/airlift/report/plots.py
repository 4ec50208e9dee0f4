"""The plots of `report.html`: what is drawn where. The template `plots.html` draws it."""

from __future__ import annotations

from dataclasses import dataclass

from airlift.report.throughput import PIECES, Piece, Throughput
from airlift.report.time_axis import AXIS
from airlift.verification import SearchCheck

HEIGHT = 100.0
"""Height of a plot of throughput, in units of the drawing; it is as wide as the axis of time."""

MOST_DOTS = 200
"""Searches of a collection that are drawn; the report's JSON has them all."""


@dataclass(frozen=True)
class Series:
    """What one kind of work did over time: an outline of steps, as an SVG path."""

    kind: str
    path: str
    average: float
    highest: float


@dataclass(frozen=True)
class Chart:
    """A plot over time; `top` is the number at its upper edge."""

    unit: str
    top: float
    series: list[Series]


def charts(found: Throughput) -> list[Chart]:
    """The plots of rows and of megabytes a second; none where nothing was measured."""
    if not found.pieces:
        return []
    return [
        _chart("rows/s", found, {kind: _rates(p, "rows", 1) for kind, p in found.pieces.items()}),
        _chart("MB/s", found, {kind: _rates(p, "bytes", 1e6) for kind, p in found.pieces.items()}),
    ]


def _rates(pieces: tuple[Piece, ...], what: str, unit: float) -> dict[int, float]:
    """The number of each piece of time, and what was done in it per second."""
    width = AXIS / PIECES
    return {
        round(one.place / width): getattr(one, what) / one.seconds / unit
        for one in pieces
        if one.seconds
    }


def _chart(unit: str, found: Throughput, rates: dict[str, dict[int, float]]) -> Chart:
    top = round_up(max((max(one.values(), default=0.0) for one in rates.values()), default=0.0))
    series = [
        Series(
            kind=kind,
            path=_outline(one, top),
            average=sum(one.values()) / len(one) if one else 0.0,
            highest=max(one.values(), default=0.0),
        )
        for kind, one in rates.items()
    ]
    return Chart(unit, top, series)


def _outline(rates: dict[int, float], top: float) -> str:
    """The closed outline of steps, down to the axis where there was nothing."""
    width, height, path = AXIS / PIECES, 0.0, f"M0 {HEIGHT:g}"
    for at in range(PIECES):
        rate = rates.get(at, 0.0)
        if rate != height:
            path += f"H{at * width:g}V{HEIGHT - HEIGHT * rate / top:.4g}"
            height = rate
    return f"{path}H{AXIS:g}V{HEIGHT:g}Z"


def round_up(number: float) -> float:
    """The next number of 1, 2 or 5 and zeros; 1 for nothing."""
    if number <= 0:
        return 1.0
    power = 10.0 ** (len(f"{number:.0f}") - 1) if number >= 1 else 0.1
    while power > number:
        power /= 10
    return next(power * step for step in (1, 2, 5, 10) if power * step >= number)


@dataclass(frozen=True)
class Dot:
    """A search for a sampled vector: its place, how it came out, and what it tells."""

    x: float
    y: float
    tone: str
    said: str


@dataclass(frozen=True)
class RankPlot:
    """The ranks at which sampled vectors found themselves; `levels` are the lines: y and name."""

    dots: list[Dot]
    levels: list[tuple[float, str]]
    width: float
    left_off: int


_LEVELS = {"1": 14.0, "2 to 10": 34.0, "later": 54.0, "not found": 74.0}
_FIRST_X, _STEP = 78.0, 14.0
_LEAST_EFFORT = 10


def rank_plot(searches: tuple[SearchCheck, ...]) -> RankPlot | None:
    """A dot for each search; None where nothing was searched for."""
    if not searches:
        return None
    shown = searches[:MOST_DOTS]
    dots = [
        Dot(_FIRST_X + _STEP * at, _LEVELS[level(one)], _tone(one), _said(one))
        for at, one in enumerate(shown)
    ]
    width = max(_FIRST_X + _STEP * len(shown), 260.0)
    levels = [(y, name) for name, y in _LEVELS.items()]
    return RankPlot(dots, levels, width, len(searches) - len(shown))


def level(one: SearchCheck) -> str:
    """At which line a search's dot is; without keys of ours, one as near counts as the row."""
    if one.rank is None:
        return "1" if one.found else "not found"
    if one.rank == 1:
        return "1"
    return "2 to 10" if one.rank <= _LEAST_EFFORT else "later"


def _tone(one: SearchCheck) -> str:
    if not one.found:
        return "bad"
    return "good" if one.effort <= _LEAST_EFFORT else "warn"


def _said(one: SearchCheck) -> str:
    key = f"primary key {one.key}, " if one.key else ""
    rank = f"at rank {one.rank:,}" if one.rank else "not known by its key"
    first = "nothing found" if one.distance is None else f"the first at {one.distance:.6g}"
    return f"{one.field}: {key}{rank}, {first}, {one.effort:,} results asked for"
