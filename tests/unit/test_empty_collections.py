"""What is said of collections without rows, and when nothing is said."""

from __future__ import annotations

import pytest

from airlift.datatypes import DataType
from airlift.empty_collections import (
    all_set_aside,
    is_all_set_aside,
    moves_nothing,
    nothing_new,
    refusals,
    warning_of,
)
from airlift.mapping import MappedCollection
from airlift.plan import CollectionPlan
from airlift.schema import CollectionSchema, Field, SourceCollection

SCHEMA = CollectionSchema(
    name="songs", fields=(Field(name="id", type=DataType.INT64, primary_key=True),)
)


def source(**changes: object) -> SourceCollection:
    return SourceCollection.model_validate({"collection_schema": SCHEMA, "rows": 0, **changes})


def plan(*warnings: str) -> CollectionPlan:
    mapped = MappedCollection(source="songs", target=SCHEMA, fields={}, partitions={"": ""})
    return CollectionPlan(
        mapped=mapped,
        way="insert",
        file_format="parquet",
        rows=0,
        deleted=0,
        left_out=0,
        warnings=warnings,
        chunks=(),
    )


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "the source has none"),
        ({"empty_because": "the filter 'a > 1' chooses none"}, "none: the filter 'a > 1' chooses"),
        ({"rows": 5, "deleted": 5}, "all 5 rows are deleted at the source"),
        ({"rows": 1_500, "deleted": 500}, "500 are deleted and 1,000 are left out"),
        ({"rows": 7, "left_out": 7}, "of 7 rows at the source, 0 are deleted and 7 are left out"),
        ({"since_field": "id"}, "the source has none"),  # the first run of several
    ],
)
def test_why_no_row_is_moved(changes, told):
    said = warning_of(source(**changes), 0)
    assert told in said and "'songs'" in said
    assert not nothing_new(source(**changes), 0)


def test_nothing_is_said_where_rows_are_moved():
    assert warning_of(source(rows=5, deleted=4), 1) == ""
    assert nothing_new(source(rows=5, since=3, since_field="id"), 5) == ""


@pytest.mark.parametrize("since", [0, 7, "2026-01-01"])
def test_an_incremental_run_without_news_is_quiet(since):
    one = source(since=since, since_field="id", empty_because="the condition chooses none")
    assert warning_of(one, 0) == ""
    assert f"nothing new: no row's 'id' is above {since!r}" in nothing_new(one, 0)


@pytest.mark.parametrize(
    ("plans", "nothing"),
    [([], False), ([plan()], False), ([plan("x")], True), ([plan("x"), plan()], False)],
)
def test_a_run_that_moves_nothing(plans, nothing):
    assert moves_nothing(plans) is nothing
    assert len(refusals(plans)) == sum(bool(one.warnings) for one in plans)


@pytest.mark.parametrize(
    ("planned", "aside", "every"),
    [(0, 0, False), (5, 4, False), (5, 5, True), (1, 1, True), (5, 0, False)],
)
def test_rows_that_were_all_set_aside(planned, aside, every):
    assert is_all_set_aside(planned, aside) is every
    assert f"all {aside} of {planned} rows" in all_set_aside("songs", planned, aside)
