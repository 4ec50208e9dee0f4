"""A page of search results, parsed without loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from airlift.errors import AirliftError
from airlift.json_exact import exact_value
from airlift.json_text import may_be_rounded
from airlift.sources.elasticsearch.answers import SEARCH, SearchAnswer, understood, unexpected
from airlift.sources.elasticsearch.vectors import VectorCutter


class Page(NamedTuple):
    """One answer.

    Attributes:
        hits: the documents, as the server gives them; with marks where vectors were cut out.
        numbers: the `_seq_no` of each.
        answer: what the documents were parsed from.
        texts: by cutter, what it cut out.
    """

    hits: list[dict[str, Any]]
    numbers: list[int]
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
    source = hit.get("_source")
    if isinstance(source, dict):
        return source
    if source is None:
        raise AirliftError(
            f"document {hit['_id']!r} of {hit['_index']!r} comes without its _source, so it can't "
            "be moved: the index keeps none, or hides it from this user; reindex it, or let the "
            "connection's user see whole documents"
        )
    raise unexpected(f"index {hit['_index']!r}", f"the _source of {hit['_id']!r}", source)


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
    hits = complete(parse(rest, what), what).hits.hits
    return Page(hits, _numbers(hits, what), answer, tuple(texts))


def complete(found: Any, what: str) -> SearchAnswer:
    """The answer to a search, which must be that of all shards.

    Args:
        found: Python values, as they were parsed.
        what: what was searched, for the message.

    Raises:
        AirliftError: it is no such answer, or shards are missing.
    """
    answer = understood(found, SEARCH, what)
    if answer.timed_out or answer.shards.failed:
        raise AirliftError(
            f"{what}: {answer.shards.failed} of {answer.shards.total} shards gave no answer, "
            "or in part only; look at the server's health, then clear the task"
        )
    return answer


def _numbers(hits: list[Any], what: str) -> list[int]:
    """The `_seq_no` by which each document is sorted; what is no document is an error."""
    for hit in hits:
        # Of every document that is moved: so no model of pydantic.
        if not (
            type(hit) is dict and type(hit.get("_id")) is str and type(hit.get("_index")) is str
        ):
            raise unexpected(what, "expected a document with _id and _index", hit)
    try:
        numbers = [hit["sort"][0] for hit in hits]
    except (KeyError, TypeError, IndexError) as error:
        raise unexpected(what, "documents are not sorted by _seq_no", hits[0]) from error
    if wrong := [number for number in numbers if type(number) is not int]:
        raise unexpected(what, "a _seq_no is no whole number", wrong[0])
    return numbers
