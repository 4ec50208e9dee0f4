"""Whatever a search server answers: right rows, or an error of ours that names the request."""

from __future__ import annotations

import copy
import gzip
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from airlift.connections import ElasticsearchConnection
from airlift.errors import AirliftError, Refused
from airlift.sources.base import BadRows
from airlift.sources.elasticsearch import source as source_module
from airlift.sources.elasticsearch.bounded_answers import MAX_BYTES
from airlift.sources.elasticsearch.client import SearchServer, Version, connect, with_patience
from airlift.sources.elasticsearch.params import ElasticsearchParams
from airlift.sources.elasticsearch.refusals import ServerError, refusal
from airlift.sources.elasticsearch.source import ElasticsearchSource
from airlift.storage import open_storage

ROWS = 5
HITS = [
    {
        "_index": "songs",
        "_id": str(n),
        "_source": {"v": [n, 0.5], "title": f"t{n}"},
        "sort": [n * 3],
    }
    for n in range(ROWS)
]
VERSION = {"name": "n", "version": {"number": "8.19.21", "build_flavor": "default"}}
SHARDS = {"total": 1, "successful": 1, "skipped": 0, "failed": 0}


def searched(body: Mapping[str, Any]) -> dict[str, Any]:
    """What a search of the five documents gives, as Elasticsearch 8.19 answers."""
    aggs = body.get("aggs") or {}
    answer: dict[str, Any] = {"took": 1, "timed_out": False, "_shards": SHARDS, "pit_id": "p"}
    hits = HITS if body.get("size") else []
    filters = body["query"].get("bool", {}).get("filter", [])
    limits = [one["range"]["_seq_no"] for one in filters if "range" in one]
    if limits and "gte" in limits[0]:
        hits = [hit for hit in hits if limits[0]["gte"] <= hit["sort"][0] < limits[0]["lt"]]
    if next(iter(body.get("sort") or [{}]), {}).get("_seq_no") == "desc":
        hits = hits[::-1]
    answer["hits"] = {"max_score": None, "hits": hits[: body.get("size", 0)]}
    if body.get("track_total_hits"):
        answer["hits"]["total"] = {"value": ROWS, "relation": "eq"}
    made: dict[str, Any] = {}
    for name, wanted in aggs.items():
        if "filters" in wanted:
            named = wanted["filters"]["filters"]
            made[name] = {"buckets": {one: {"doc_count": 0} for one in named}}
        elif "histogram" in wanted:
            made[name] = {"buckets": [{"key": float(n * 3), "doc_count": 1} for n in range(ROWS)]}
        elif "value_count" in wanted:
            made[name] = {"value": ROWS}
        else:
            made[name] = {"value": 0.0 if "min" in wanted else 12.0}
    return answer | ({"aggregations": made} if made else {})


def answered(method: str, path: str, body: Mapping[str, Any]) -> Any:
    """The right answer to a request."""
    if path.endswith("/_search"):
        return searched(body)
    properties = {"v": {"type": "dense_vector", "dims": 2}, "title": {"type": "keyword"}}
    settings = {"index.uuid": "u1", "index.number_of_shards": "1"}
    return {
        "/": VERSION,
        "/_resolve/index/songs": {
            "indices": [{"name": "songs", "attributes": ["open"]}],
            "aliases": [],
            "data_streams": [],
        },
        "/songs/_mapping": {"songs": {"mappings": {"properties": properties}}},
        "/songs/_settings": {"songs": {"settings": settings, "defaults": {"index.x": "y"}}},
        "/songs/_pit": {"id": "p", "_shards": SHARDS},
        "/_pit": {"succeeded": True, "num_freed": 1},
    }[path]


class ScriptedWire:
    """Answers rightly but for one kind of request."""

    def __init__(self, kind: str = "", change: Callable[[Any], Any] | None = None) -> None:
        self._kind, self._change = kind, change

    def send(self, method: str, path: str, params: Mapping[str, str], body: bytes | None) -> bytes:
        asked = json.loads(body) if body else {}
        try:
            answer = copy.deepcopy(answered(method, path, asked))
        except KeyError:  # an index of another name
            raise refusal(404, b'{"error": "no such index"}', f"{method} {path}") from None
        if self._change and kind_of(path, asked) == self._kind:
            answer = self._change(answer)
        return answer if isinstance(answer, bytes) else json.dumps(answer).encode()

    def close(self) -> None:
        pass


def kind_of(path: str, body: Mapping[str, Any]) -> str:
    """Which of the requests it is, by what it asks for."""
    if not path.endswith("/_search"):
        return path
    aggs = "+".join(sorted(body.get("aggs") or {}))
    return f"search {aggs}" if aggs else f"search {'page' if body['size'] == 4 else 'sample'}"


KINDS = (
    "/_resolve/index/songs",
    "/songs/_mapping",
    "/songs/_settings",
    "/songs/_pit",
    "search missing+values title",
    "search sample",
    "search high+low",
    "search cells",
    "search page",
)


class NoSecrets:
    """The connection of a server that nobody connects to."""

    def elasticsearch(self, conn_id: str) -> ElasticsearchConnection:
        return ElasticsearchConnection(hosts=("http://x:1",))


@contextmanager
def serving(wire: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    server = SearchServer(wire, Version(product="Elasticsearch", number="8.19.21"), 0)
    params = ElasticsearchParams(
        indices=("songs",), staging_url=str(tmp_path), source_conn_id="x", page_rows=4
    )
    monkeypatch.setattr(source_module, "connect", lambda connection, patience: server)
    connections: Any = NoSecrets()
    yield ElasticsearchSource(params, connections, open_storage(str(tmp_path / "scratch")))


def titles(source: Any) -> list[str | None]:
    """All rows, by describing, cutting and reading; None where there is no title."""
    read: list[str | None] = []
    for collection in source.describe():
        for chunk in source.cut(collection, 1 << 30):
            for batch in source.read(chunk):
                if isinstance(batch, BadRows):  # they are set aside, and counted
                    read += [None] * len(batch.rows)
                    continue
                has_title = "title" in batch.schema.names
                read += batch.column("title").to_pylist() if has_title else [None] * len(batch)
    source.finish()
    return read


def test_right_answers_give_all_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Listening(ScriptedWire):
        def send(self, method: str, path: str, params: Any, body: bytes | None) -> bytes:
            asked.append(kind_of(path, json.loads(body) if body else {}))
            return super().send(method, path, params, body)

    with serving(Listening(), tmp_path, monkeypatch) as source:
        assert source.check() == []
        assert titles(source) == [f"t{n}" for n in range(ROWS)]
    assert {*KINDS, "/_pit"} == set(asked)


# --- answers of another form ----------------------------------------------------------------------

ODD: tuple[Any, ...] = (None, [], {}, "x", "", -1, 1e300, True, [None], [[]], {"a": None}, [{}])


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where each value stands, from the whole answer to its leaves."""
    yield at
    if isinstance(value, dict | list):
        below = value.items() if isinstance(value, dict) else enumerate(value[:1])
        for key, inner in below:
            yield from places(inner, (*at, key))


def changed(answer: Any, place: tuple[Any, ...], value: Any) -> Any:
    """The answer with another value in a place; left out with `...`."""
    if not place:
        return value
    holder = answer
    try:
        for key in place[:-1]:
            holder = holder[key]
        if value is ...:
            del holder[place[-1]]
        else:
            holder[place[-1]] = value
    except (KeyError, IndexError):
        pass  # this page is shorter
    return answer


def example(kind: str) -> Any:
    """A right answer to a kind of request."""
    if not kind.startswith("search"):
        return answered("GET", kind, {})
    names = kind.removeprefix("search ").split("+")
    aggs = {
        "missing": {"filters": {"filters": {"_routing": {}, "title": {}, "v": {}}}},
        "values title": {"value_count": {}},
        "low": {"min": {}},
        "high": {"max": {}},
        "cells": {"histogram": {}},
    }
    wanted = {name: aggs[name] for name in names if name in aggs}
    body = {"size": 0 if wanted else 4, "aggs": wanted, "track_total_hits": bool(wanted)}
    return searched({**body, "query": {"match_all": {}}})


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_of_another_form(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each value of each answer, left out or replaced: all rows, or an error of ours; no crash."""
    refused = 0
    for number, place in enumerate(places(example(kind))):
        for way, value in enumerate((*ODD, ...)):
            if not place and value is ...:
                continue
            wire = ScriptedWire(kind, lambda answer, p=place, v=value: changed(answer, p, v))
            with serving(wire, tmp_path / f"{number}-{way}", monkeypatch) as source:
                try:
                    found = titles(source)
                except AirliftError as error:
                    refused += 1
                    assert re.search("songs|(GET|POST|DELETE) /", str(error)), (place, value)
                    continue
                # A value of a document may well be another one; a row may not be lost or doubled.
                assert len(found) == ROWS, (place, value, found)
    assert refused > 20


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html><body>502 Bad Gateway</body></html>",
        b'{"hits": {"hits": [',
        b"\xff\xfe{}",
        b"[" * 100_000,
        b'{"a":' * 2_000 + b"1" + b"}" * 2_000,
        b"NaN",
        b'"\\ud800"',
    ],
    ids=["nothing", "html", "cut", "utf16", "lists", "objects", "nan", "half a pair"],
)
def test_what_is_no_answer_at_all(
    kind: str, answer: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = ScriptedWire(kind, lambda _: answer)
    with (
        serving(wire, tmp_path, monkeypatch) as source,
        pytest.raises(AirliftError, match="songs") as error,
    ):
        titles(source)
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ([0, 3, 3, 9], "in the order of _seq_no"),
        ([9, 6, 3, 0], "in the order of _seq_no"),
        ([-3, 0, 3, 6], "in the order of _seq_no"),
        ([0, 3, 6, 1 << 40], "in the order of _seq_no"),
        ([0, 3, 6, True], "no whole number"),
        ([0, 3, 6, "9"], "no whole number"),
    ],
)
def test_documents_that_were_not_asked_for(
    numbers: list[Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that comes twice has as many rows as the two that it stands for."""

    def change(answer: Any) -> Any:
        answer["hits"]["hits"] = [
            {**HITS[0], "sort": [number]} for number in numbers[: len(answer["hits"]["hits"])]
        ]
        return answer

    wire = ScriptedWire("search page", change)
    with (
        serving(wire, tmp_path, monkeypatch) as source,
        pytest.raises(ServerError, match=message),
    ):
        titles(source)


@pytest.mark.parametrize("most", [1, 2, 3])
@pytest.mark.parametrize("kind", ["circuit_breaking_exception", "answer_too_large"])
def test_pages_that_are_too_large_are_halved(
    most: int, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    class Small(ScriptedWire):
        def send(self, method: str, path: str, params: Any, body: bytes | None) -> bytes:
            asked = json.loads(body) if body else {}
            filters = asked.get("query", {}).get("bool", {}).get("filter", [])
            if any("gte" in one.get("range", {}).get("_seq_no", {}) for one in filters):
                sizes.append(asked["size"])
            if asked.get("size", 0) > most:  # also where the documents are looked at in the plan
                raise ServerError("Data too large", 429, kind, passes=True)
            return super().send(method, path, params, body)

    with serving(Small(), tmp_path, monkeypatch) as source:
        assert titles(source) == [f"t{n}" for n in range(ROWS)]
    assert sizes[0] == 4 and sizes.count(4) <= 2 + ROWS and max(sizes) == 4


def test_one_document_that_is_too_large_ends_the_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(ScriptedWire):
        def send(self, method: str, path: str, params: Any, body: bytes | None) -> bytes:
            if body and json.loads(body).get("size") in (1, 2, 4):
                raise refusal(
                    429,
                    b'{"error": {"type": "circuit_breaking_exception", "reason": "too large"}}',
                    path,
                )
            return super().send(method, path, params, body)

    with (
        serving(Full(), tmp_path, monkeypatch) as source,
        pytest.raises(ServerError, match="circuit_breaking_exception: too large"),
    ):
        titles(source)


# --- by the client libraries ----------------------------------------------------------------------


@contextmanager
def listening(status: int, headers: Mapping[str, str], pieces: list[bytes]) -> Iterator[str]:
    """A server that answers every request alike; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                for piece in pieces:
                    self.wfile.write(piece)
            except OSError:
                pass  # the client has heard enough

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


ELASTIC = {"X-Elastic-Product": "Elasticsearch"}
JSON = {"Content-Type": "application/json"}
OPEN = {"version": {"number": "2.19.0", "distribution": "opensearch"}}
MEGABYTE = b" " * (1 << 20)


@pytest.mark.parametrize("headers", [ELASTIC, {}], ids=["elasticsearch", "opensearch"])
@pytest.mark.parametrize(
    ("more", "pieces", "message"),
    [
        ({**JSON, "Content-Encoding": "gzip"}, [gzip.compress(b"{}")], r"is compressed \(gzip\)"),
        ({**JSON, "Content-Encoding": "br"}, [b"?"], r"is compressed \(br\)"),
        (JSON, [MEGABYTE] * ((MAX_BYTES >> 20) + 2), "has more than 536,870,912 bytes"),
        ({"Content-Type": "text/html"}, [b"<html>"], ""),
        ({"Content-Type": "?"}, [b"{}"], ""),
        (JSON, [b"[1]"], "neither an Elasticsearch nor an OpenSearch"),
        (JSON, [b"\xff"], ""),
        ({**JSON, "Content-Length": "9"}, [b"{}"], ""),
    ],
    ids=["gzip", "br", "large", "html", "odd type", "list", "no text", "short"],
)
def test_what_a_server_may_answer_at_first(
    headers: dict[str, str], more: dict[str, str], pieces: list[bytes], message: str
) -> None:
    with listening(200, {**headers, **more}, pieces) as address:
        connection = ElasticsearchConnection(hosts=(address,))
        with pytest.raises(ServerError, match=message) as error:
            connect(connection, 0.1)
    assert address in str(error.value)


@pytest.mark.parametrize("root", [VERSION, OPEN], ids=["elasticsearch", "opensearch"])
def test_a_right_answer_of_either(root: Any) -> None:
    headers = {**JSON, **(ELASTIC if root is VERSION else {})}
    with listening(200, headers, [json.dumps(root).encode()]) as address:
        server = connect(ElasticsearchConnection(hosts=(address,)), 0.1)
        assert server.version.number == root["version"]["number"]
        server.close()


# --- patience -------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", ["100000", "1", "0", "x", "-1", "9" * 5000])
def test_a_server_that_asks_for_time_gets_what_is_left(
    asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("tenacity.nap.time.sleep", slept.append)

    def send() -> bytes:
        raise refusal(429, b"{}", "GET /", asked)

    with pytest.raises(ServerError, match="429"):
        with_patience(send, 0.05)
    assert slept
    assert max(slept) <= 0.05


def test_reasons_of_a_refusal_in_any_form() -> None:
    for body in (b"", b"[]", b'{"error": []}', b'{"error": {"root_cause": 1}}', b'{"error": 5}'):
        assert re.match(r"GET /: the server answers 400", str(refusal(400, body, "GET /")))
    for error in (
        {"root_cause": [1]},
        {"root_cause": [{"reason": {"a": 1}}]},
        {"failed_shards": [{"reason": "x"}]},
        {"failed_shards": 7},
        {"failed_shards": [{"reason": {"caused_by": 3}}]},
    ):
        body = json.dumps({"error": error}).encode()
        assert isinstance(refusal(400, body, "GET /"), Refused | ServerError)
