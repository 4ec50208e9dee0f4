"""Reads ranges of an index, page by page, safe to repeat at every page."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict

from airlift.errors import AirliftError
from airlift.sources.elasticsearch.answers import unexpected
from airlift.sources.elasticsearch.bounded_answers import TOO_LARGE
from airlift.sources.elasticsearch.client import SearchServer
from airlift.sources.elasticsearch.pages import Page, page_of
from airlift.sources.elasticsearch.refusals import ServerError
from airlift.sources.elasticsearch.snapshots import KEEP_ALIVE, Snapshots
from airlift.sources.elasticsearch.vectors import VectorCutter

log = logging.getLogger("airlift")

SEQ_NO = "_seq_no"

# A server that restarts often enough to lose more of them has other troubles.
_MOST_RENEWALS = 20
# What a smaller page may help against; the first is what Elasticsearch calls "Data too large".
_TOO_MUCH = ("circuit_breaking_exception", TOO_LARGE)
_LOST = ("search_context_missing_exception", "no_shard_available_action_exception")


class IndexPart(BaseModel):
    """An index, and which of its documents are moved.

    Attributes:
        filters: queries that they all fulfil.
    """

    model_config = ConfigDict(frozen=True)

    index: str
    uuid: str
    shards: int
    filters: tuple[dict[str, Any], ...] = ()


class Span(BaseModel):
    """The documents of one shard whose `_seq_no` lies from `start` to before `stop`.

    Every change of a document gives it a new number, above all others in its shard. So a range
    below the highest number can lose documents, but never get one: when it has as many as before,
    they are the same.

    Attributes:
        rows: documents in it.
        objects: nested objects in them, where these are what becomes rows (`explode`).
    """

    model_config = ConfigDict(frozen=True)

    index: str
    shard: int
    start: int
    stop: int
    rows: int
    objects: int | None = None

    @property
    def rows_made(self) -> int:
        """Rows of the collection that it gives."""
        return self.rows if self.objects is None else self.objects


class Reader:
    """Asks for documents.

    Args:
        server: whom.
        snapshots: the points in time to read at.
    """

    def __init__(self, server: SearchServer, snapshots: Snapshots) -> None:
        self._server = server
        self._snapshots = snapshots

    def search(
        self,
        part: IndexPart,
        shard: int | None,
        filters: Sequence[Any],
        body: dict[str, Any],
        unless: Collection[str] = (),
    ) -> bytes:
        """Searches an index, or one shard of it, at its point in time.

        Args:
            filters: queries on top of the part's own.
            body: the rest of the request.
            unless: see `SearchServer.raw`.
        """
        body = {"track_total_hits": False, "query": _all_of([*part.filters, *filters]), **body}
        version = self._server.version
        is_new = version.product == "Elasticsearch" and version.order >= (9, 2)
        source = body.get("_source", True)
        if is_new and source is not False:
            # Vectors are left out by default from then on, without a word.
            body["_source"] = {**({} if source is True else source), "exclude_vectors": False}
        snapshot = self._snapshots.of(part.index)
        for _ in range(_MOST_RENEWALS):
            try:
                return self._send(part, shard, snapshot.id, body, unless)
            except ServerError as error:
                if not snapshot.id or error.kind not in _LOST:
                    raise
                log.warning("%s: the point in time was lost (%s); renewed", part.index, error)
                snapshot = self._snapshots.renewed(snapshot)
        raise AirliftError(
            f"index {part.index!r}: the server lost {_MOST_RENEWALS} points in time, one after the "
            "other; look at its log"
        )

    def _send(
        self,
        part: IndexPart,
        shard: int | None,
        point: str,
        body: dict[str, Any],
        unless: Collection[str],
    ) -> bytes:
        params = {"allow_partial_search_results": "false"}
        one_shard = shard is not None and part.shards > 1
        if point:
            body = {**body, "pit": {"id": point, "keep_alive": KEEP_ALIVE}}
            if one_shard:  # with as many slices as shards, each slice is a shard
                body["slice"] = {"id": shard, "max": part.shards}
            return self._server.raw("POST", "/_search", body, params, unless)
        if one_shard:
            params["preference"] = f"_shards:{shard}"
        path = f"/{quote(part.index, safe='')}/_search"
        return self._server.raw("POST", path, body, params, unless)

    def pages(
        self,
        part: IndexPart,
        span: Span,
        size: int,
        cutters: Sequence[VectorCutter] = (),
        beside: Mapping[str, Any] | None = None,
    ) -> Iterator[Page]:
        """The span's documents in order.

        The next page is asked for while the caller works on one. A page that is too large for the
        server, as where some documents are much larger than others, is asked for in smaller ones.

        Args:
            size: documents of a page, at most.
            beside: what to ask for beside `_source`.

        Raises:
            AirliftError: documents were changed or deleted since the span was counted, and there
                is no point in time any more that has them as they were.
        """
        rows, start, most = 0, span.start, size
        with ThreadPoolExecutor(1) as pool:
            waiting = (
                pool.submit(self._page, part, span, start, size, beside) if span.rows else None
            )
            while waiting is not None:
                answer, size = waiting.result()
                size = min(2 * size, most)
                page = page_of(answer, f"index {part.index!r}", cutters=cutters)
                _check_order(page.numbers, start, span)
                rows += len(page.hits)
                waiting = None
                if page.hits and rows < span.rows:
                    start = page.numbers[-1] + 1
                    waiting = pool.submit(self._page, part, span, start, size, beside)
                if page.hits:
                    yield page
        if rows != span.rows:
            raise AirliftError(
                f"index {part.index!r}, shard {span.shard}: {span.rows - rows:,} of {span.rows:,} "
                "documents were changed or deleted since the migration was planned, and the server "
                "has lost the point in time that held them as they were (it restarted, or has "
                "none); stop writing to the index, then run again with a new migration_id"
            )

    def _page(
        self,
        part: IndexPart,
        span: Span,
        start: int,
        size: int,
        beside: Mapping[str, Any] | None,
    ) -> tuple[bytes, int]:
        """The documents from a number on, and how many were asked for in the end."""
        wanted = {"range": {SEQ_NO: {"gte": start, "lt": span.stop}}}
        while True:
            body = {"size": size, "sort": [{SEQ_NO: "asc"}], **(beside or {})}
            # One document alone is waited for: the server may have more memory a little later.
            unless = _TOO_MUCH if size > 1 else ()
            try:
                return self.search(part, span.shard, [wanted], body, unless), size
            except ServerError as error:
                if error.kind not in unless:
                    raise
                log.warning("%s: %d documents are too many at once: %s", part.index, size, error)
                size = -(-size // 2)


def _check_order(numbers: Sequence[int], start: int, span: Span) -> None:
    """Refuses documents that were not asked for: one that comes twice would hide one that lacks."""
    is_rising = all(left < right for left, right in pairwise(numbers))
    if not is_rising or (numbers and not start <= numbers[0] <= numbers[-1] < span.stop):
        raise unexpected(
            f"index {span.index!r}, shard {span.shard}",
            f"expected documents in the order of {SEQ_NO}, from {start} to below {span.stop}",
            numbers,
        )


def _all_of(filters: Sequence[Any]) -> dict[str, Any]:
    return {"bool": {"filter": list(filters)}} if filters else {"match_all": {}}
