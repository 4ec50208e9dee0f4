"""How long the steps would take: what was measured here, and what was measured elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

from airlift.assessment.assessment import CollectionAssessment, StepEstimate
from airlift.assessment.rates import (
    GRAPH_INDEX,
    GRAPH_INDEXES,
    LOAD,
    MEASURED_FACTOR,
    READ_BACK,
    STATED_FACTOR,
    import_rate,
)
from airlift.params import MigrationParams, Verify
from airlift.plan import Plan


def estimate_steps(
    params: MigrationParams, plan: Plan, collections: tuple[CollectionAssessment, ...]
) -> tuple[StepEstimate, ...]:
    """The steps that take long, each by one task at a time; others take seconds."""
    return tuple(one for one in _steps(params, plan, collections) if one.seconds > 0)


def _steps(
    params: MigrationParams, plan: Plan, collections: tuple[CollectionAssessment, ...]
) -> Iterator[StepEstimate]:
    yield from _convert(collections)
    sizes = {
        one.target: [chunk.rows * one.row_bytes for chunk in plan.collection(one.target).chunks]
        for one in collections
    }
    rates = [(one.way, import_rate(one.way, one.file_format)) for one in collections]
    for way, rate in dict.fromkeys(rates):
        moved = [
            size
            for one, its in zip(collections, rates, strict=True)
            if its == (way, rate)
            for size in sizes[one.target]
        ]
        yield _stated("bulk_insert", rate.seconds(moved), f"{way}: {rate.origin}")
    if params.wait_for_index:
        graphs = [
            sum(sizes[one.target])
            for one in collections
            if any(memory.index_type in GRAPH_INDEXES for memory in one.memory)
        ]
        yield _stated("index", GRAPH_INDEX.seconds(graphs), GRAPH_INDEX.origin)
    loaded = [sum(sizes[one.target]) for one in collections]
    yield _stated("load", LOAD.seconds(loaded), LOAD.origin)
    if params.verify is Verify.FULL:
        yield _stated("verify", READ_BACK.seconds(loaded), READ_BACK.origin)


def _convert(collections: tuple[CollectionAssessment, ...]) -> Iterator[StepEstimate]:
    """From what was measured; collections that were not tried are as fast by their bytes."""
    tried = [(one, one.probe) for one in collections if one.probe and one.probe.rows]
    spent = sum(probe.seconds for _, probe in tried)
    if not spent:
        return
    bytes_a_second = sum(probe.rows * one.row_bytes for one, probe in tried) / spent
    seconds = sum(
        one.rows * one.probe.seconds / one.probe.rows
        if one.probe and one.probe.rows
        else one.rows * one.row_bytes / bytes_a_second
        for one in collections
    )
    rows = sum(probe.rows for _, probe in tried)
    origin = (
        f"measured here: {rows:,} rows in {spent:.1f} s, "
        f"{bytes_a_second / 1e6:,.1f} MB/s, by one task"
    )
    yield _within("convert", seconds, MEASURED_FACTOR, origin)


def _stated(step: str, seconds: float, origin: str) -> StepEstimate:
    return _within(step, seconds, STATED_FACTOR, origin)


def _within(step: str, seconds: float, factor: float, origin: str) -> StepEstimate:
    return StepEstimate(
        step=step, seconds=seconds, low=seconds / factor, high=seconds * factor, origin=origin
    )
