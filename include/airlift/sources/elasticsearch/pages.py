"""A page of search results, parsed exactly."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import orjson

from airlift.errors import AirliftError


class Page(NamedTuple):
    """One answer.

    Attributes:
        hits: the documents, as the server gives them.
        last: the `_seq_no` of the last one; -1 when there is none.
        point: the point in time's id by now; empty without one.
    """

    hits: list[dict[str, Any]]
    last: int
    point: str


def parse(answer: bytes, exact: bool = False) -> Any:
    """An answer as Python values.

    Args:
        exact: keep whole numbers of more than 64 bits, at a third of the speed; else they are
            rounded to doubles.
    """
    if exact:
        return json.loads(answer)
    try:
        return orjson.loads(answer)
    except orjson.JSONDecodeError:
        # Halves of Unicode pairs: the rows that have one are told later.
        return json.loads(answer)


def page_of(answer: bytes, what: str, exact: bool = False) -> Page:
    """The documents in a search's answer. Raises AirliftError when not all shards gave theirs."""
    found = parse(answer, exact)
    shards = found.get("_shards") or {}
    if found.get("timed_out") or shards.get("failed"):
        raise AirliftError(
            f"{what}: {shards.get('failed', 0)} of {shards.get('total', 0)} shards gave no answer, "
            "or in part only; look at the server's health, then clear the task"
        )
    hits = found["hits"]["hits"]
    last = int(hits[-1]["sort"][0]) if hits else -1
    return Page(hits, last, str(found.get("pit_id") or ""))
