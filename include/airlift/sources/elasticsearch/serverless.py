"""Whether an index of Amazon OpenSearch Serverless can be read.

Serverless has a part of OpenSearch's interface. Its documentation lists `_resolve`, `_alias`,
`_mapping`, `_settings`, `_search` and points in time, which the reading needs. Of `_seq_no`, on
which ranges of documents rest, it says nothing, and answers of Serverless that people have
published give every new document the number 0. So the collection itself is asked, before anything
is planned.
"""

from __future__ import annotations

from urllib.parse import quote

from airlift.sources.elasticsearch.answers import SEARCH, SEQUENCE_LIMITS, understood
from airlift.sources.elasticsearch.client import SearchServer
from airlift.sources.elasticsearch.refusals import ServerError
from airlift.sources.elasticsearch.spans import SEQ_NO, IndexPart

_ADVICE = (
    "copy it into a domain of Amazon OpenSearch Service (a pipeline of OpenSearch Ingestion can "
    "read collections) and move it from there"
)
_UNSUPPORTED = (400, 404, 405, 501)
"""HTTP statuses of a server that does not know a request, or a field to sort by."""


def serverless_reasons(server: SearchServer, part: IndexPart) -> list[str]:
    """Why the documents of an index can't be read; always none where it is not in Serverless.

    Raises:
        ServerError: the server can't be asked: it refuses the login or does not answer.
    """
    missing = _missing_feature(server, part) if server.version.is_serverless else ""
    if not missing:
        return []
    return [
        f"index {part.index!r} is in OpenSearch Serverless, which {missing}; by that number "
        f"documents are read in ranges, and counted; {_ADVICE}"
    ]


def _missing_feature(server: SearchServer, part: IndexPart) -> str:
    """What keeps the documents from being read in ranges, as the end of "which …"; "" for nothing.

    One search sorts by `_seq_no` and asks for its least and largest value.
    """
    path = f"/{quote(part.index, safe='')}/_search"
    body = {
        "size": 1,
        "track_total_hits": True,
        "_source": False,
        "sort": [{SEQ_NO: "asc"}],
        "aggs": {"low": {"min": {"field": SEQ_NO}}, "high": {"max": {"field": SEQ_NO}}},
    }
    try:
        answer = server.ask("POST", path, SEARCH, body)
    except ServerError as error:
        if error.status not in _UNSUPPORTED:
            raise
        return f"can't search by {SEQ_NO} ({error})"
    if not answer.total:
        return ""
    nothing = f"gives its documents no {SEQ_NO}"
    try:
        limits = understood(answer.aggregations, SEQUENCE_LIMITS, f"POST {path}")
    except ServerError:
        return nothing
    low, high = limits.low.value, limits.high.value
    if low is None or high is None:
        return nothing
    if low == high and answer.total > part.shards:  # a number is unique in its shard
        return f"gives all {answer.total:,} documents the same {SEQ_NO}"
    return ""
