"""Documents without a value of a vector field: refused, or noted, before rows are read."""

from __future__ import annotations

from typing import Any

from airlift.sources.elasticsearch.choosing import Found
from airlift.sources.elasticsearch.description import Description
from airlift.sources.elasticsearch.measuring import Measured
from airlift.sources.elasticsearch.pages import page_of
from airlift.sources.elasticsearch.params import OnMissingVector
from airlift.sources.elasticsearch.reading import Reader
from airlift.sources.elasticsearch.rows import Layout

_SHOWN = 3


def report_missing_vectors(
    reader: Reader,
    found: Found,
    layout: Layout,
    measured: Measured,
    made: Description,
    on_missing: OnMissingVector,
) -> None:
    """Adds a reason, or a note, for each vector field that some documents have no value of.

    Args:
        made: the description whose `reasons` or `notes` get it.
        on_missing: the param `on_missing_vector`: with `fail` it is a reason.
    """
    for column in layout.columns:
        missing = measured.missing.get(column.name)
        if not column.is_vector or column.skipped or not missing:
            continue
        below = made.is_below(column.name)
        rows, total = (
            (f"objects of {made.explode!r}", measured.total)
            if below
            else ("documents", measured.documents)
        )
        problem = f"{missing:,} of {total:,} {rows} have no vector {column.name!r}"
        if on_missing is not OnMissingVector.FAIL:
            made.notes.append(f"{problem} (on_missing_vector {on_missing.value})")
            continue
        first = _first_without(reader, found, column.name, made.explode if below else "")
        made.reasons.append(
            f"{problem}, such as {first}; correct them, leave them out by `query`, or set "
            "on_missing_vector to set_aside or null"
        )


def _first_without(reader: Reader, found: Found, name: str, explode: str) -> list[str]:
    """The ids of up to three documents without a vector.

    Args:
        name: of the vector's field.
        explode: the path of nested objects where one of these lacks it; else empty.
    """
    lacking: dict[str, Any] = {"bool": {"must_not": {"exists": {"field": name}}}}
    if explode:
        lacking = {"nested": {"path": explode, "query": lacking}}
    ids: list[str] = []
    for part in found.parts:
        body = {"size": _SHOWN, "_source": False, "sort": [{part.order: "asc"}]}
        answer = reader.search(part, None, [lacking], body)
        ids += [str(hit["_id"]) for hit in page_of(answer, part.index).hits]
    return ids[:_SHOWN]
