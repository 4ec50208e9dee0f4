"""Reads pieces of an index, page by page, safe to repeat at every page."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

from airlift.errors import AirliftError
from airlift.sources.elasticsearch.answers import unexpected
from airlift.sources.elasticsearch.bounded_answers import TOO_LARGE
from airlift.sources.elasticsearch.client import SearchServer
from airlift.sources.elasticsearch.pages import Page, page_of
from airlift.sources.elasticsearch.refusals import LOST_POINTS, ServerError
from airlift.sources.elasticsearch.sliced_points import SlicedPoints
from airlift.sources.elasticsearch.snapshots import Snapshot, Snapshots
from airlift.sources.elasticsearch.spans import IndexPart, ReadBy, Slice, Span
from airlift.sources.elasticsearch.vectors import VectorCutter

log = logging.getLogger("airlift")

# A server that restarts often enough to lose more of them has other troubles.
_MOST_RENEWALS = 20
# What a smaller page may help against; the first is what Elasticsearch calls "Data too large".
_TOO_MUCH = ("circuit_breaking_exception", TOO_LARGE)


class Reader:
    """Asks for documents.

    Args:
        server: whom.
        snapshots: the points in time to read at.
        points: those of indices that are read by slices.
    """

    def __init__(self, server: SearchServer, snapshots: Snapshots, points: SlicedPoints) -> None:
        self._server = server
        self._snapshots = snapshots
        self._points = points

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
        if part.read_by is ReadBy.SLICES:
            return self._search_slices(part, body, unless)
        snapshot = self._snapshots.of(part.index)
        for _ in range(_MOST_RENEWALS):
            try:
                return self._send(part, shard, snapshot, body, unless)
            except ServerError as error:
                if not snapshot.id or error.kind not in LOST_POINTS:
                    raise
                log.warning("%s: the point in time was lost (%s); renewed", part.index, error)
                snapshot = self._snapshots.renewed(snapshot)
        raise AirliftError(
            f"index {part.index!r}: the server lost {_MOST_RENEWALS} points in time, one after the "
            "other; look at its log"
        )

    def _search_slices(
        self, part: IndexPart, body: dict[str, Any], unless: Collection[str]
    ) -> bytes:
        """Searches an index in the point in time that its chunks are slices of, and in no other."""
        snapshot = self._points.pinned(part.index)
        try:
            return self._send(part, None, snapshot, body, unless)
        except ServerError as error:
            if error.kind not in LOST_POINTS:
                raise
            raise self._points.lost_error(snapshot, error) from error

    def _send(
        self,
        part: IndexPart,
        shard: int | None,
        snapshot: Snapshot,
        body: dict[str, Any],
        unless: Collection[str],
    ) -> bytes:
        params = {"allow_partial_search_results": "false"}
        one_shard = shard is not None and part.shards > 1
        if snapshot.id:
            body = {**body, "pit": {"id": snapshot.id, "keep_alive": snapshot.keep_alive}}
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
        span: Span | Slice,
        size: int,
        cutters: Sequence[VectorCutter] = (),
        beside: Mapping[str, Any] | None = None,
    ) -> Iterator[Page]:
        """A piece's documents in order.

        The next page is asked for while the caller works on one. A page that is too large for the
        server, as where some documents are much larger than others, is asked for in smaller ones.

        Args:
            size: documents of a page, at most.
            beside: what to ask for beside `_source`.

        Raises:
            Refused: the point in time that it is a slice of is lost.
            AirliftError: documents were changed or deleted since the span was counted, and there
                is no point in time any more that has them as they were.
        """
        if isinstance(span, Slice):
            self._points.pin(span.index, span.point)
        rows, most = 0, size
        after: int | None = None
        with ThreadPoolExecutor(1) as pool:
            waiting = (
                pool.submit(self._page, part, span, after, size, beside) if span.rows else None
            )
            while waiting is not None:
                answer, size = waiting.result()
                size = min(2 * size, most)
                page = page_of(answer, f"index {part.index!r}", cutters=cutters)
                if problem := span.order_problem(page.numbers, after):
                    raise unexpected(span.label, problem, page.numbers)
                rows += len(page.hits)
                waiting = None
                if page.hits and rows < span.rows:
                    after = page.numbers[-1]
                    waiting = pool.submit(self._page, part, span, after, size, beside)
                if page.hits:
                    yield page
        if rows != span.rows:
            raise AirliftError(span.shortage(rows))

    def _page(
        self,
        part: IndexPart,
        span: Span | Slice,
        after: int | None,
        size: int,
        beside: Mapping[str, Any] | None,
    ) -> tuple[bytes, int]:
        """The documents after a number, and how many were asked for in the end."""
        self._points.keep_others_alive(part.index)
        wanted = span.request(after)
        body = {"size": size, **wanted.body, **(beside or {})}
        return self.documents(part, wanted.shard, wanted.filters, body)

    def documents(
        self, part: IndexPart, shard: int | None, filters: Sequence[Any], body: dict[str, Any]
    ) -> tuple[bytes, int]:
        """As `search`, for fewer documents where the server can't give as many at once.

        Args:
            body: with `size`, the most documents to ask for.

        Returns:
            The answer, and how many documents were asked for in the end.
        """
        size: int = body["size"]
        while True:
            # One document alone is waited for: the server may have more memory a little later.
            unless = _TOO_MUCH if size > 1 else ()
            try:
                return self.search(part, shard, filters, {**body, "size": size}, unless), size
            except ServerError as error:
                if error.kind not in unless:
                    raise
                log.warning("%s: %d documents are too many at once: %s", part.index, size, error)
                size = -(-size // 2)


def _all_of(filters: Sequence[Any]) -> dict[str, Any]:
    return {"bool": {"filter": list(filters)}} if filters else {"match_all": {}}
