"""A page of search results, parsed without loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from airlift.errors import AirliftError
from airlift.json_exact import exact_value
from airlift.json_text import may_be_rounded
from airlift.sources.elasticsearch.vectors import VectorCutter


class Page(NamedTuple):
    """One answer.

    Attributes:
        hits: the documents, as the server gives them; with marks where vectors were cut out.
        last: the `_seq_no` of the last one; -1 when there is none.
        answer: what the documents were parsed from.
        texts: by cutter, what it cut out.
    """

    hits: list[dict[str, Any]]
    last: int
    answer: bytes
    texts: tuple[list[bytes], ...] = ()

    def whole(self) -> Page:
        """The same page with its vectors in the documents."""
        return page_of(self.answer, "the same page")


def parse(answer: bytes, what: str) -> Any:
    """An answer as Python values with nothing lost; see `json_exact.exact_value`.

    Nearly all answers go through orjson. At a fifth of its speed, those are read that have numbers
    which it would round, or what it refuses: NaN, and halves of surrogate pairs.

    Args:
        what: what was searched, for the message.

    Raises:
        AirliftError: it is no JSON, or documents are nested deeper than Python reads.
    """
    if not may_be_rounded(answer):
        try:
            return orjson.loads(answer)
        except orjson.JSONDecodeError:
            pass
    try:
        return exact_value(answer.decode("utf-8", "surrogatepass"))
    except ValueError as error:
        raise AirliftError(f"{what}: the server's answer can't be read: {error}") from error


def source_of(hit: Mapping[str, Any]) -> dict[str, Any]:
    """A document. Raises AirliftError when the server gives none: it would become an empty row."""
    source: dict[str, Any] | None = hit.get("_source")
    if source is None:
        raise AirliftError(
            f"document {hit['_id']!r} of {hit['_index']!r} comes without its _source, so it can't "
            "be moved: the index keeps none, or hides it from this user; reindex it, or let the "
            "connection's user see whole documents"
        )
    return source


def page_of(answer: bytes, what: str, cutters: Sequence[VectorCutter] = ()) -> Page:
    """The documents in a search's answer. Raises AirliftError when not all shards gave theirs.

    Args:
        what: what was searched, for the message.
        cutters: take vectors out before it is parsed.
    """
    rest, texts = answer, []
    for cutter in cutters:
        rest, cut_out = cutter.cut(rest)
        texts.append(cut_out)
    found = parse(rest, what)
    shards = found.get("_shards") or {}
    if found.get("timed_out") or shards.get("failed"):
        raise AirliftError(
            f"{what}: {shards.get('failed', 0)} of {shards.get('total', 0)} shards gave no answer, "
            "or in part only; look at the server's health, then clear the task"
        )
    hits = found["hits"]["hits"]
    last = int(hits[-1]["sort"][0]) if hits else -1
    return Page(hits, last, answer, tuple(texts))
