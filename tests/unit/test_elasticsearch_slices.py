"""Indices without `_seq_no`: read in slices of one point in time, and of no other."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from airlift.chunk import Chunk
from airlift.connections import ElasticsearchConnection
from airlift.errors import AirliftError, Refused
from airlift.schema import SourceCollection
from airlift.sources.elasticsearch import sliced_points
from airlift.sources.elasticsearch import source as source_module
from airlift.sources.elasticsearch.client import SearchServer, Version
from airlift.sources.elasticsearch.params import ElasticsearchParams
from airlift.sources.elasticsearch.refusals import ServerError, refusal
from airlift.sources.elasticsearch.source import ElasticsearchSource
from airlift.storage import open_storage

# What Elasticsearch 9.5.3 answers.
NO_NUMBERS = (
    "Cannot query field [_seq_no]: _seq_no cannot be queried when "
    "[index.disable_sequence_numbers] is [true]"
)
LOST = ("search_context_missing_exception", "No search context found for id [[x][1]]")
TOO_LONG = "Keep alive for request (1d) is too large. It must be less than (1h)."
PROPERTIES = {"v": {"type": "dense_vector", "dims": 2}, "title": {"type": "keyword"}}


def failure(status: int, kind: str, reason: str, what: str) -> ServerError:
    body = {"error": {"root_cause": [{"type": kind, "reason": reason}]}, "status": status}
    return refusal(status, json.dumps(body).encode(), what)


class SlicingServer:
    """Indices without `_seq_no`: points in time, slices and `_shard_doc`, as a real one has them.

    Attributes:
        indices: index -> shards -> documents in the order of the shard's own numbers.
        points: what is open: id -> index, shards, and how long it is kept.
        asked: how often each point in time was searched.
    """

    def __init__(self, **indices: list[list[str]]) -> None:
        self.indices = indices
        self.points: dict[str, tuple[str, list[list[str]], str]] = {}
        self.asked: dict[str, int] = {}
        self.change: Callable[[dict[str, Any], Any], Any] = lambda body, answer: answer
        self.longest = ""
        self._opened = 0

    def send(self, method: str, path: str, params: Mapping[str, str], body: bytes | None) -> bytes:
        asked = json.loads(body) if body else {}
        return json.dumps(self._answer(method, path, params, asked)).encode()

    def _answer(self, method: str, path: str, params: Mapping[str, str], body: Any) -> Any:
        what = f"{method} {path}"
        if path == "/_search":
            return self.change(body, self._searched(body, what))
        if path == "/_pit":
            if self.points.pop(body["id"], None) is None:
                raise failure(404, *LOST, what)
            return {"succeeded": True, "num_freed": 1}
        index = path.split("/")[1]
        if path.endswith("/_pit"):
            if self.longest:
                raise failure(400, "illegal_argument_exception", self.longest, what)
            self._opened += 1
            point = f"{index}-{self._opened}"
            shards = copy.deepcopy(self.indices[index])
            self.points[point] = (index, shards, params["keep_alive"])
            return {"id": point}
        if path.startswith("/_resolve/index/"):
            name = path.rpartition("/")[2]
            there = [{"name": name, "attributes": ["open"]}] if name in self.indices else []
            return {"indices": there, "aliases": [], "data_streams": []}
        if path.endswith("/_mapping"):
            return {index: {"mappings": {"properties": PROPERTIES}}}
        assert path.endswith("/_settings"), path
        settings = {
            "index.uuid": f"u-{index}",
            "index.number_of_shards": str(len(self.indices[index])),
            "index.disable_sequence_numbers": "true",
        }
        return {index: {"settings": settings, "defaults": {}}}

    def _searched(self, body: Any, what: str) -> Any:
        if "_seq_no" in json.dumps(body):
            raise failure(400, "illegal_argument_exception", NO_NUMBERS, what)
        point = body["pit"]["id"]
        if point not in self.points:
            raise failure(404, *LOST, what)
        self.asked[point] = self.asked.get(point, 0) + 1
        index, shards, _ = self.points[point]
        self.points[point] = (index, shards, body["pit"]["keep_alive"])
        hits = [
            (shard << 32 | number, key)
            for shard, keys in enumerate(shards)
            for number, key in enumerate(keys)
            if _is_in(body.get("slice"), shard, number, len(shards), len(keys))
        ]
        total = len(hits)
        if body.get("sort") == [{"_shard_doc": "desc"}]:
            hits = hits[::-1]
        if "search_after" in body:
            hits = [hit for hit in hits if hit[0] > body["search_after"][0]]
        found = {
            "hits": [
                {
                    "_index": index,
                    "_id": key,
                    "_source": {"v": [1, 0.5], "title": f"t-{key}"},
                    "sort": [place],
                }
                for place, key in hits[: body["size"]]
            ]
        }
        answer: dict[str, Any] = {"timed_out": False, "_shards": {"total": 1, "failed": 0}}
        answer["hits"] = found
        if body.get("track_total_hits"):
            answer["hits"]["total"] = {"value": total, "relation": "eq"}
        made: dict[str, Any] = {}
        for name, wanted in (body.get("aggs") or {}).items():
            if "filters" in wanted:
                named = wanted["filters"]["filters"]
                made[name] = {"buckets": {key: {"doc_count": 0} for key in named}}
            else:
                made[name] = {"value": total}
        return answer | ({"aggregations": made} if made else {})

    def close(self) -> None:
        pass


def _is_in(clause: Any, shard: int, number: int, shards: int, documents: int) -> bool:
    """As Elasticsearch's `SliceBuilder`: slices go round the shards, then through each of them."""
    if not clause:
        return True
    asked, of = clause["id"], clause["max"]
    assert of > 1, "max must be greater than 1"
    assert 0 <= asked < of
    if of < shards:
        return shard % of == asked
    in_shard = of // shards + (of % shards > shard)
    width = max(-(-documents // in_shard), 1)
    return asked % shards == shard and min(number // width, in_shard - 1) == asked // shards


class NoSecrets:
    def elasticsearch(self, conn_id: str) -> ElasticsearchConnection:
        return ElasticsearchConnection(hosts=("http://x:1",))


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes sources of the same migration, as each task and each run has one."""
    version = Version(product="Elasticsearch", number="9.5.3")

    def source(server: Any, version: Version = version, **params: Any) -> ElasticsearchSource:
        given = {"indices": tuple(server.indices), "source_conn_id": "x", "page_rows": 4} | params
        made = ElasticsearchParams(staging_url=str(tmp_path), **given)
        monkeypatch.setattr(
            source_module, "connect", lambda connection, patience: SearchServer(server, version, 0)
        )
        connections: Any = NoSecrets()
        return ElasticsearchSource(made, connections, open_storage(str(tmp_path / "scratch")))

    return source


def keys(shards: int, documents: int) -> list[list[str]]:
    return [[f"s{shard}d{number}" for number in range(documents)] for shard in range(shards)]


def all_of(shards: list[list[str]]) -> list[str]:
    return [key for shard in shards for key in shard]


def planned(
    source: ElasticsearchSource, chunk_bytes: int = 1 << 30
) -> tuple[list[SourceCollection], list[Chunk]]:
    collections = source.describe()
    return collections, [chunk for one in collections for chunk in source.cut(one, chunk_bytes)]


def read(source: ElasticsearchSource, chunks: list[Chunk]) -> list[str]:
    found: list[str] = []
    for chunk in chunks:
        rows = [row for batch in source.read(chunk) for row in batch.to_pylist()]  # type: ignore[union-attr]
        assert len(rows) == chunk.rows
        assert all(row["title"] == f"t-{row['_id']}" for row in rows)
        found += [row["_id"] for row in rows]
    return found


@pytest.mark.parametrize("chunk_bytes", [1 << 30, 400, 60])
@pytest.mark.parametrize(("shards", "documents"), [(1, 0), (1, 1), (1, 50), (3, 17), (5, 40)])
def test_every_document_comes_once(
    opened: Any, shards: int, documents: int, chunk_bytes: int
) -> None:
    there = keys(shards, documents)
    server = SlicingServer(songs=there)
    source = opened(server)
    assert source.check() == []
    [collection], chunks = planned(source, chunk_bytes)
    assert any("keeps no _seq_no" in note for note in collection.notes)
    server.indices["songs"] = keys(shards, documents + 9)  # written meanwhile
    found = read(opened(server), chunks[::-1])  # another worker
    assert sorted(found) == sorted(all_of(there))
    assert collection.rows == len(found) == sum(chunk.rows for chunk in chunks)
    assert len(chunks) > 1 or chunk_bytes == 1 << 30 or documents < 2


def test_chunks_are_those_of_one_point_in_time(opened: Any) -> None:
    server = SlicingServer(songs=keys(2, 30))
    first = planned(opened(server), 400)[1]
    same = planned(opened(server), 400)[1]
    assert [chunk.id for chunk in first] == [chunk.id for chunk in same]
    assert len(server.points) == 1
    server.points.clear()
    others = planned(opened(server), 400)[1]
    assert not {chunk.id for chunk in first} & {chunk.id for chunk in others}


LOSSES = ["lost before it is read", "lost in mid-chunk", "closed", "of another index"]


@pytest.mark.parametrize("loss", LOSSES)
def test_a_lost_point_in_time_is_refused_and_never_replaced(opened: Any, loss: str) -> None:
    server = SlicingServer(songs=keys(2, 30), tunes=keys(1, 4))
    source = opened(server)
    [collection, _], chunks = planned(source, 400)
    wanted = [chunk for chunk in chunks if chunk.collection == "songs"]
    rows = source.read(wanted[0])
    if loss == "lost in mid-chunk":
        pages = 0

        def lose(body: dict[str, Any], answer: Any) -> Any:
            nonlocal pages
            pages += "search_after" in body
            if pages:
                server.points.clear()
            return answer

        server.change = lose
    elif loss == "closed":
        source.finish()
    elif loss == "of another index":
        server.points = {key: one for key, one in server.points.items() if one[0] == "tunes"}
    else:
        server.points.clear()
    before = dict(server.asked)
    with pytest.raises(Refused) as refused:
        list(rows)
    [reason] = refused.value.reasons
    assert "index 'songs' keeps no _seq_no, and the point in time" in reason
    assert "trigger the migration again with the same migration_id" in reason
    assert server._opened == 2
    assert loss == "lost in mid-chunk" or server.asked["songs-1"] == before["songs-1"]
    # What the message says to do.
    server.change = lambda body, answer: answer
    there = planned(opened(server), 400)
    assert collection.name == "songs"
    anew = [chunk for chunk in there[1] if chunk.collection == "songs"]
    assert not {chunk.id for chunk in anew} & {chunk.id for chunk in wanted}
    assert sorted(read(opened(server), anew)) == sorted(all_of(keys(2, 30)))
    noted = any("an earlier run has read in is lost" in note for note in there[0][0].notes)
    assert noted == (loss != "closed")


def test_a_run_that_failed_goes_on_in_the_same_point_in_time(opened: Any) -> None:
    server = SlicingServer(songs=keys(2, 30))
    source = opened(server)
    _, chunks = planned(source, 400)
    half = read(source, chunks[::2])
    source.finish()
    assert [kept for _, _, kept in server.points.values()] == ["240m"]
    server.indices["songs"] = keys(2, 50)
    later = opened(server, keep_alive_minutes=60)
    again = planned(later, 400)[1]
    assert [chunk.id for chunk in again] == [chunk.id for chunk in chunks]
    rest = read(later, again[1::2])
    assert sorted(half + rest) == sorted(all_of(keys(2, 30)))


@pytest.mark.parametrize("dry_run", [True, False])
def test_nothing_stays_open_that_no_run_needs(opened: Any, dry_run: bool) -> None:
    server = SlicingServer(songs=keys(2, 30))
    source = opened(server, dry_run=dry_run)
    collections, chunks = planned(source, 400)
    if dry_run:
        read(source, chunks[:1])
    else:
        source.finish()
        assert not server.points, "nothing was read yet"
        collections, chunks = planned(source, 400)
        read(source, chunks)
        assert source.changes(collections[0]) == []
    source.finish()
    assert not server.points


def test_when_all_is_read_a_run_goes_on_without_the_point_in_time(opened: Any) -> None:
    server = SlicingServer(songs=keys(2, 30))
    source = opened(server)
    [collection], chunks = planned(source, 400)
    described = collection.model_copy(deep=True)
    read(source, chunks)
    source.changes(collection)
    source.finish()
    server.indices["songs"] = keys(2, 60)
    later = opened(server, page_rows=3)
    [collection], again = planned(later, 400)
    assert again == chunks
    assert collection == described
    assert not server.points
    with pytest.raises(Refused, match=r"files in staging are gone.* use a new migration_id"):
        list(later.read(again[0]))
    with pytest.raises(Refused, match=r"chunk_mb or the params .* use a new migration_id"):
        later.cut(collection, 60)


def test_indices_that_wait_are_kept_alive(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sliced_points, "_TOUCH_SECONDS", 0.0)
    server = SlicingServer(songs=keys(1, 30), tunes=keys(1, 30), lost=keys(1, 5))
    source = opened(server)
    _, chunks = planned(source)
    server.points = {key: one for key, one in server.points.items() if one[0] != "lost"}
    before = dict(server.asked)
    read(source, [chunk for chunk in chunks if chunk.collection == "songs"])
    assert server.asked["tunes-2"] >= before["tunes-2"] + 30 // 4
    with pytest.raises(Refused, match="index 'lost' keeps no _seq_no"):
        read(source, [chunk for chunk in chunks if chunk.collection == "lost"])


def doubled(body: dict[str, Any], answer: Any) -> Any:
    if "slice" in body and body["size"]:
        answer["hits"]["hits"][-1:] = answer["hits"]["hits"][:1]
    return answer


def from_the_beginning(body: dict[str, Any], answer: Any) -> Any:
    if "search_after" in body:
        for hit in answer["hits"]["hits"]:
            hit["sort"][0] -= 20
    return answer


def fewer(body: dict[str, Any], answer: Any) -> Any:
    if "search_after" in body:
        answer["hits"]["hits"] = []
    return answer


def not_whole_numbers(body: dict[str, Any], answer: Any) -> Any:
    for hit in answer["hits"]["hits"] if "slice" in body else ():
        hit["sort"] = ["0"]
    return answer


def other_counts(body: dict[str, Any], answer: Any) -> Any:
    if "slice" in body and not body["size"]:
        answer["hits"]["total"]["value"] += 1
    return answer


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (doubled, "slice 0 of 2: .*in the order of _shard_doc"),
        (from_the_beginning, "in the order of _shard_doc, above 3"),
        (fewer, "slice 0 of 2: the server counted 20 documents in its point in time and gave 4"),
        (not_whole_numbers, "is no whole number"),
        (other_counts, "40 documents, but 42 in its slices"),
    ],
)
def test_slices_with_other_documents_than_counted_are_refused(
    opened: Any, change: Callable[[dict[str, Any], Any], Any], message: str
) -> None:
    server = SlicingServer(songs=keys(1, 40))
    server.change = change
    source = opened(server)
    with pytest.raises(AirliftError, match=message):
        read(source, planned(source)[1])


@pytest.mark.parametrize(
    ("product", "number"),
    [
        ("OpenSearch", "2.19.1"),
        ("OpenSearch", "3.3.0"),
        ("Elasticsearch", "7.10.2"),
        ("Elasticsearch", "7.11.0"),
        ("OpenSearch", "1.3.0"),
    ],
)
def test_servers_without_slices_of_points_in_time_are_refused(
    opened: Any, product: str, number: str
) -> None:
    source = opened(SlicingServer(songs=[[]]), Version(product=product, number=number))
    [reason] = source.check()
    assert f"index 'songs': it keeps no _seq_no, and {product} {number} has no slices" in reason
    with pytest.raises(Refused, match="has no slices"):
        source.describe()


def test_a_keep_alive_above_the_servers_limit_is_refused(opened: Any) -> None:
    server = SlicingServer(songs=keys(1, 4))
    server.longest = TOO_LONG
    with pytest.raises(Refused, match=r"none for 1440m \(keep_alive_minutes\): .*less than \(1h\)"):
        opened(server, keep_alive_minutes=1440).describe()


def test_a_node_that_cannot_be_reached_may_come_back(opened: Any) -> None:
    server = SlicingServer(songs=keys(1, 40))
    source = opened(server)
    _, chunks = planned(source)

    def away(body: dict[str, Any], answer: Any) -> Any:
        raise failure(503, "no_shard_available_action_exception", "[songs][0]", "POST /_search")

    server.change = away
    with pytest.raises(AirliftError, match="point in time can't be reached .* clear the task") as e:
        read(source, chunks)
    assert not isinstance(e.value, Refused)
    server.change = lambda body, answer: answer
    assert sorted(read(source, chunks)) == sorted(all_of(keys(1, 40)))
