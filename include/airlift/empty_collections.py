"""Warnings about collections without rows: a run that moves nothing is never a plain success.

A misspelt query, a backup of metadata alone or a filter that selects nothing looks like a source
without rows. So each such collection has a warning, and so has a run that moves no row at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from airlift.plan import CollectionPlan
from airlift.schema import SourceCollection

ALLOW = (
    "correct what selects the rows, leave the collection out by `collections`, or allow it with "
    "allow_empty"
)
NO_ROW_AT_ALL = "no row is moved, of any collection"


def warning_of(collection: SourceCollection, planned: int) -> str:
    """Why no row of a collection is moved; "" where some are, or where the run is incremental.

    Args:
        collection: as it was described and cut.
        planned: rows of its chunks that are moved.
    """
    if planned or collection.since is not None:
        return ""
    return f"collection {collection.name!r}: no row is moved: {_cause(collection)}"


def nothing_new(collection: SourceCollection, planned: int) -> str:
    """What is noted of an incremental run that finds nothing, which is as it should be; else ""."""
    if planned or collection.since is None:
        return ""
    return (
        f"collection {collection.name!r}: nothing new: no row's {collection.since_field!r} is "
        f"above {collection.since!r}, the largest that earlier runs have moved"
    )


def _cause(collection: SourceCollection) -> str:
    rows, deleted = collection.rows, collection.deleted
    if not rows:
        because = f": {collection.empty_because}" if collection.empty_because else ""
        return f"the source has none{because}"
    if rows == deleted:
        return f"all {rows:,} rows are deleted at the source"
    left = f"{rows - deleted:,} are left out by the params"
    return f"of {rows:,} rows at the source, {deleted:,} are deleted and {left}"


def refusals(plans: Iterable[CollectionPlan]) -> list[str]:
    """Why a plan is refused where the params don't allow empty collections."""
    return [f"{warning}; {ALLOW}" for plan in plans for warning in plan.warnings]


def all_set_aside(name: str, planned: int, set_aside: int) -> str:
    """The warning of a collection whose every row was set aside."""
    return (
        f"collection {name!r}: no row is moved: all {set_aside:,} of {planned:,} rows were set "
        "aside as bad rows"
    )


def is_all_set_aside(planned: int, set_aside: int) -> bool:
    """Whether there were rows to move, and each of them was set aside."""
    return 0 < planned <= set_aside


def moves_nothing(plans: Sequence[CollectionPlan]) -> bool:
    """Whether not a single row is planned, and that is not what an incremental run expects."""
    return bool(plans) and all(plan.warnings for plan in plans)
