"""What the source reads of real servers, row for row."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from airlift.errors import AirliftError, Refused
from airlift.mapping_params import CollectionMapping
from airlift.sources.elasticsearch.snapshots import Snapshot
from airlift.storage import open_storage
from tests.servers.search_place import (
    DIM,
    batches,
    eight,
    make_index,
    open_contexts,
    planned,
    read_all,
    source_of,
    vector_field,
    vectors,
    write,
)

SERVERS = ["elasticsearch_7", "elasticsearch_8", "elasticsearch_9", "opensearch"]


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


@pytest.fixture
def scratch(tmp_path: Any) -> Any:
    return tmp_path / "scratch"


def fields(server: Any) -> dict[str, Any]:
    return {"n": {"type": "integer"}, "word": {"type": "keyword"}, "v": vector_field(server)}


def documents(count: int, seed: int = 0, prefix: str = "d") -> dict[str, Any]:
    made = vectors(count, seed=seed)
    return {f"{prefix}{n}": {"n": n, "word": f"w{n % 7}", "v": made[n]} for n in range(count)}


def expected(docs: dict[str, Any]) -> dict[str, Any]:
    return {
        key: {
            "_id": key,
            "n": doc["n"],
            "v": [float(one) for one in np.array(doc["v"], np.float32)],
            "word": doc["word"],
        }
        for key, doc in docs.items()
    }


def filled(server: Any, name: str, count: int = 5000, shards: int = 3) -> dict[str, Any]:
    """An index whose documents were updated and deleted before anybody looks."""
    make_index(server, name, fields(server), settings={"number_of_shards": shards})
    docs = documents(count)
    write(server, name, docs)
    newer = documents(count // 5, seed=1)
    write(server, name, newer)
    gone = dict.fromkeys(list(docs)[count // 2 : count // 2 + count // 10])
    write(server, name, gone)
    return {key: doc for key, doc in {**docs, **newer}.items() if key not in gone}


@pytest.mark.parametrize("shards", [1, 3])
def test_every_live_document_comes_once(server: Any, scratch: Any, shards: int) -> None:
    before = open_contexts(server)  # of processes that other tests have killed
    name = f"all-{shards}"
    docs = filled(server, name, shards=shards)
    source = source_of(server, scratch, [name], page_rows=333)
    assert source.check() == []
    collection, chunks = planned(source, chunk_bytes=50_000)
    assert len(chunks) > 5
    assert collection.keys_unique
    assert sum(chunk.rows for chunk in chunks) == collection.rows == len(docs)
    with ThreadPoolExecutor(2) as pool:
        halves = list(pool.map(lambda part: read_all(source, part), (chunks[::2], chunks[1::2])))
    rows = halves[0][0] | halves[1][0]
    assert sum(len(half[0]) for half in halves) == len(rows)
    assert rows == expected(docs)
    assert not any(half[1] for half in halves)
    source.finish()
    source.finish()
    source.close()
    assert open_contexts(server) == before


def test_planning_again_gives_the_same_chunks(server: Any, scratch: Any) -> None:
    filled(server, "again", 1000)
    source = source_of(server, scratch, ["again"])
    _, first = planned(source, 20_000)
    source.finish()
    source.close()
    _, second = planned(source_of(server, scratch, ["again"]), 20_000)
    assert first == second
    write(server, "again", {"d1": None})
    other = source_of(server, scratch / "other", ["again"])
    _, third = planned(other, 20_000)
    assert {one.id for one in first} != {one.id for one in third}
    source.finish()
    other.finish()


def test_writes_during_the_reading_change_nothing(server: Any, scratch: Any) -> None:
    docs = filled(server, "busy", 3000)
    source = source_of(server, scratch, ["busy"], page_rows=100)
    _, chunks = planned(source, 60_000)
    rows, _ = read_all(source, chunks[:1])
    later = documents(3000, seed=9)
    write(server, "busy", dict(list(later.items())[::3]))
    write(server, "busy", documents(500, seed=3, prefix="new"))
    write(server, "busy", dict.fromkeys(list(docs)[1::7]))
    more, _ = read_all(source, chunks[1:])
    assert not rows.keys() & more.keys()
    assert rows | more == expected(docs)
    source.finish()


def test_without_points_in_time_what_is_read_is_proven_by_counting(
    server: Any, scratch: Any
) -> None:
    """As on an OpenSearch before 2.4: no such server runs here, so the source is told of it."""
    before = open_contexts(server)  # of processes that other tests have killed
    docs = filled(server, "pointless", 3000)
    for name in ("1", "2"):
        none = Snapshot(index="pointless", id="", opened=1).model_dump(mode="json")
        open_storage(str(scratch / name)).write_json("points_in_time/pointless@none", none)
    source = source_of(server, scratch / "1", ["pointless"], page_rows=100)
    _, chunks = planned(source, 60_000)
    write(server, "pointless", documents(100, prefix="new"))
    assert read_all(source, chunks)[0] == expected(docs)
    late = source_of(server, scratch / "2", ["pointless"], query={"prefix": {"word": "w"}})
    _, chunks = planned(late, 60_000)
    write(server, "pointless", {"d1": None, "d2": documents(3)["d2"]})
    with pytest.raises(AirliftError, match="changed or deleted since the migration was planned"):
        read_all(late, chunks)
    assert open_contexts(server) == before


def test_ids_may_hold_anything(server: Any, scratch: Any) -> None:
    make_index(server, "odd-ids", fields(server))
    [vector] = vectors(1)
    ids = ['a"b', "a\\b", "a\bb", "a\nb", 'x","cat":"EVIL', "ß漢😀", " ", "a" * 512, "{}", "%2F/?&"]
    docs = {key: {"n": n, "word": key[:9], "v": vector} for n, key in enumerate(ids)}
    write(server, "odd-ids", docs)
    source = source_of(server, scratch, ["odd-ids"])
    _, chunks = planned(source)
    rows, bad = read_all(source, chunks)
    assert not bad
    assert rows == expected(docs)
    source.finish()


def test_documents_without_a_vector(server: Any, scratch: Any) -> None:
    before = open_contexts(server)  # of processes that other tests have killed
    docs = filled(server, "lacking", 1500, shards=1)
    lacking = {"z-null": {"n": 1, "v": None}, "z-none": {"n": 2, "word": "x"}}
    write(server, "lacking", lacking)
    with pytest.raises(Refused, match=rf"{len(lacking)} of 1,352 .* no vector 'v', such as .*z-n"):
        source_of(server, scratch / "1", ["lacking"]).describe()
    aside = source_of(
        server, scratch / "2", ["lacking"], on_missing_vector="set_aside", on_bad_row="set_aside"
    )
    _, chunks = planned(aside)
    rows, bad = read_all(aside, chunks)
    assert rows == expected(docs)
    assert bad == dict.fromkeys(lacking, "field 'v': is missing")
    null = source_of(server, scratch / "3", ["lacking"], on_missing_vector="null")
    collection, chunks = planned(null)
    assert next(one for one in collection.collection_schema.fields if one.name == "v").nullable
    rows, bad = read_all(null, chunks)
    assert not bad
    assert {key for key, row in rows.items() if row["v"] is None} == set(lacking)
    assert {k: v for k, v in rows.items() if k not in lacking} == expected(docs)
    for number in "123":
        source_of(server, scratch / number, ["lacking"]).finish()
    assert open_contexts(server) == before


def has_sliced_indices(server: Any) -> bool:
    return (server.NAME, server.version.split(".")[0]) == ("elasticsearch", "9")


def sliced_and_begun(server: Any, scratch: Any) -> tuple[Any, list[Any], dict[str, Any]]:
    """A source of an index without `_seq_no`, its chunks (the first was read), its documents."""
    settings = {"index.disable_sequence_numbers": True}
    make_index(server, "killed-sliced", fields(server), settings=settings)
    docs = documents(1000)
    write(server, "killed-sliced", docs)
    source = source_of(server, scratch, ["killed-sliced"], page_rows=100)
    _, chunks = planned(source, 30_000)
    read_all(source, chunks[:1])
    return source, chunks, docs


def test_a_server_killed_in_the_middle(server: Any, scratch: Any) -> None:
    """A new point in time goes on where the lost one was, when nothing was changed."""
    docs = filled(server, "killed", 4000)
    source = source_of(server, scratch / "1", ["killed"], page_rows=50)
    _, chunks = planned(source, 100_000)
    sliced = [sliced_and_begun(server, scratch / "3")] if has_sliced_indices(server) else []
    then_changed = list(filled(server, "killed-changed", 4000))
    late = source_of(server, scratch / "2", ["killed-changed"], page_rows=50)
    _, late_chunks = planned(late, 100_000)
    read_all(late, late_chunks[:1])
    url, cluster = server.url, server.request("GET", "/")["cluster_uuid"]
    rows: dict[str, Any] = {}
    killed = False
    for batch in batches(source, chunks):
        rows |= {row["_id"]: row for row in batch.drop_columns(["$meta"]).to_pylist()}
        if not killed:
            killed = True
            server.kill()
            assert not server.running
            server.start()
    assert rows == expected(docs)
    source.finish()
    assert (server.url, server.request("GET", "/")["cluster_uuid"]) == (url, cluster)
    write(server, "killed-changed", {then_changed[-1]: None})
    with pytest.raises(AirliftError, match=r": 1 of [\d,]+ documents were changed or deleted"):
        read_all(late, late_chunks[1:])
    late.finish()
    for reader, sliced_chunks, there in sliced:
        with pytest.raises(Refused, match="same migration_id, and every document is read anew"):
            read_all(reader, sliced_chunks[1:])
        anew = source_of(server, scratch / "3", ["killed-sliced"], page_rows=100)
        collection, others = planned(anew, 30_000)
        assert not {chunk.id for chunk in others} & {chunk.id for chunk in sliced_chunks}
        assert any("an earlier run has read in is lost" in note for note in collection.notes)
        assert read_all(anew, others)[0] == expected(there)
        anew.changes(collection)
        anew.finish()
    assert open_contexts(server) == 0


@pytest.mark.parametrize(
    "settings",
    [{"index.disable_sequence_numbers": True}, {"index.mode": "columnar"}],
    ids=["disabled", "columnar"],
)
def test_indices_without_sequence_numbers(
    elasticsearch_9: Any, scratch: Any, settings: dict[str, Any]
) -> None:
    server = elasticsearch_9
    before = open_contexts(server)  # of processes that other tests have killed
    settings = {"number_of_shards": 3, **settings}
    make_index(server, "numberless", fields(server), settings=settings)
    docs = documents(3000)
    write(server, "numberless", docs)
    newer = documents(600, seed=1)
    write(server, "numberless", {**newer, **dict.fromkeys(list(docs)[1500:1800])})
    docs = {key: doc for key, doc in {**docs, **newer}.items() if not 1500 <= doc["n"] < 1800}
    source = source_of(server, scratch, ["numberless"], page_rows=100)
    assert source.check() == []
    collection, chunks = planned(source, 30_000)
    assert any("keeps no _seq_no" in note for note in collection.notes)
    assert len(chunks) > 3
    rows, bad = read_all(source, chunks[::2])
    write(server, "numberless", documents(2000, seed=9))
    write(server, "numberless", documents(500, seed=3, prefix="new"))
    write(server, "numberless", dict.fromkeys(list(docs)[1::7]))
    source.finish()  # as after a failure
    source.close()
    later = source_of(server, scratch, ["numberless"], page_rows=70)
    collection, again = planned(later, 30_000)
    assert [chunk.id for chunk in again] == [chunk.id for chunk in chunks]
    more, more_bad = read_all(later, again[1::2])
    assert not bad
    assert not more_bad
    assert not rows.keys() & more.keys()
    assert rows | more == expected(docs)
    assert collection.rows == len(docs)
    later.changes(collection)
    later.finish()
    later.finish()
    assert open_contexts(server) == before
    assert planned(later, 30_000)[1] == again
    with pytest.raises(Refused, match="use a new migration_id"):
        read_all(later, again[:1])
    later.close()


def test_aliases_patterns_and_queries(server: Any, scratch: Any) -> None:
    for name in ("part-a", "part-b"):
        make_index(server, name, fields(server))
        write(server, name, documents(20, prefix=f"{name}-"))
    filtered = {"filter": {"term": {"word": "w3"}}}
    actions = [
        {"add": {"index": "part-a", "alias": "parts"}},
        {"add": {"index": "part-b", "alias": "parts", **filtered}},
    ]
    server.request("POST", "/_aliases", json={"actions": actions})
    one = source_of(server, scratch / "1", ["parts"])
    collection, chunks = planned(one)
    assert collection.name == "parts"
    assert not collection.keys_unique
    rows, _ = read_all(one, chunks)
    assert len(rows) == 20 + 3
    both = source_of(server, scratch / "2", ["part-*"], query={"range": {"n": {"lt": 5}}})
    assert {c.name: c.rows for c in both.describe()} == {"part-a": 5, "part-b": 5}
    chosen = source_of(server, scratch / "3", ["part-*"], collections=("*-b",))
    assert [c.name for c in chosen.describe()] == ["part-b"]
    for used in (one, both, chosen):
        used.finish()


def test_several_indices_into_one_collection(server: Any, scratch: Any) -> None:
    for name in ("year-1", "year-2"):
        make_index(server, name, fields(server) | {name.replace("-", ""): {"type": "integer"}})
        write(server, name, documents(10, seed=len(name)))
    source = source_of(server, scratch / "1", ["year-*"], into_collection="years")
    collection, chunks = planned(source)
    assert (collection.name, collection.rows, collection.keys_unique) == ("years", 20, False)
    keyed = source_of(
        server, scratch / "2", ["year-*"], into_collection="years", primary_key="_index/_id"
    )
    collection, chunks = planned(keyed)
    assert collection.keys_unique
    rows, _ = read_all(keyed, chunks)
    assert set(rows) == {f"year-{y}/d{n}" for y in (1, 2) for n in range(10)}
    make_index(server, "year-3", {"n": {"type": "keyword"}, "v": vector_field(server)})
    unlike = source_of(server, scratch / "3", ["year-*"], into_collection="years")
    with pytest.raises(Refused, match="'n' is integer and keyword .* one type by mapping"):
        unlike.describe()
    text = {"years": CollectionMapping(fields=({"source": "n", "type": "VARCHAR"},))}
    alike = source_of(server, scratch / "4", ["year-*"], into_collection="years", mapping=text)
    assert alike.describe()[0].rows == 20
    for used in (source, keyed, unlike, alike):
        used.finish()


def test_another_field_as_the_primary_key(server: Any, scratch: Any) -> None:
    make_index(server, "keyed", fields(server))
    docs = documents(50)
    write(server, "keyed", docs)
    source = source_of(server, scratch, ["keyed"], primary_key="n")
    collection, chunks = planned(source)
    assert not collection.keys_unique
    assert collection.collection_schema.primary_key.type == "INT64"
    rows, _ = read_all(source, chunks)
    assert {key: row["_id"] for key, row in rows.items()} == {n: f"d{n}" for n in range(50)}
    source.finish()


def test_routed_documents_may_share_an_id(server: Any, scratch: Any) -> None:
    make_index(server, "routed", fields(server), settings={"number_of_shards": 3})
    write(server, "routed", documents(10), routing="a")
    write(server, "routed", documents(10), routing="b")
    source = source_of(server, scratch, ["routed"])
    collection, _ = planned(source)
    assert not collection.keys_unique
    source.finish()


def test_what_is_not_there_is_told_with_what_is(server: Any, scratch: Any) -> None:
    make_index(server, "tunes", fields(server))
    [reason] = source_of(server, scratch, ["tune"]).check()
    assert re.search(r"no index, alias or data stream 'tune' on the server; it has tunes", reason)
    assert source_of(server, scratch, ["tunes", "x-*"]).check() == [
        reason.replace("'tune'", "'x-*'") for reason in source_of(server, scratch, ["x-*"]).check()
    ]


def test_user_may_say_what_a_list_of_numbers_is(server: Any, scratch: Any) -> None:
    plain = {"type": "float", "index": False, "doc_values": False}
    make_index(server, "plain", {"v": plain, "tags": {"type": "keyword"}})
    made = vectors(30)
    write(server, "plain", {str(n): {"v": made[n], "tags": f"t{n}"} for n in range(30)})
    write(server, "plain", {"short": {"v": made[0][:3]}, "text": {"v": [str(x) for x in made[0]]}})
    edits = (
        {"source": "v", "type": "FLOAT_VECTOR"},
        {"source": "tags", "type": "ARRAY", "element_type": "VARCHAR"},
    )
    mapping = {"plain": CollectionMapping(fields=edits)}
    aside = {"on_missing_vector": "set_aside", "on_bad_row": "set_aside"}
    query = {"exists": {"field": "tags"}}
    source = source_of(server, scratch, ["plain"], mapping=mapping, query=query, **aside)
    collection, chunks = planned(source)
    [vector] = collection.collection_schema.vectors
    assert (vector.name, vector.dim) == ("v", DIM)
    rows, bad = read_all(source, chunks)
    assert not bad
    assert rows["7"]["tags"] == ["t7"]
    assert rows["7"]["v"] == [float(x) for x in np.array(made[7], np.float32)]
    source.finish()
    ambiguous = source_of(server, scratch / "2", ["plain"], mapping=mapping)
    with pytest.raises(Refused, match=r"one dimension; .* have \[3, 8\]"):
        ambiguous.describe()
    ambiguous.finish()


def test_fields_that_mapping_leaves_out_do_not_come(server: Any, scratch: Any) -> None:
    attachment = {"properties": {"data": {"type": "binary"}}}
    make_index(server, "files", fields(server) | {"attachment": attachment})
    docs = documents(20)
    spellings = ({"attachment": {"data": "eA=="}}, {"attachment.data": "eA=="}, {})
    write(server, "files", {k: doc | spellings[n % 3] for n, (k, doc) in enumerate(docs.items())})
    mapping = {"files": CollectionMapping(exclude=("attachment",))}
    source = source_of(server, scratch, ["files"], mapping=mapping)
    _, cut = planned(source)
    found, bad = read_all(source, cut)
    source.finish()
    assert not bad
    assert {row.pop("attachment") for row in found.values()} == {None}
    assert found == expected(docs)


@pytest.mark.parametrize("shards", [1, 2])
def test_a_closed_index_behind_an_alias_is_named(server: Any, scratch: Any, shards: int) -> None:
    names = [f"closed-{shards}-{n}" for n in range(2)]
    for name in names:
        make_index(server, name, fields(server), settings={"number_of_shards": shards})
        write(server, name, documents(3, prefix=name))
    alias = f"behind-{shards}"
    actions = [{"add": {"index": name, "alias": alias}} for name in names]
    server.request("POST", "/_aliases", json={"actions": actions})
    server.request("POST", f"/{names[1]}/_close")
    source = source_of(server, scratch, [alias])
    said = f"collection {alias!r}: its index {names[1]!r} is closed; open it"
    [reason] = source.check()
    assert reason.startswith(said)
    with pytest.raises(Refused, match=said):
        source.describe()
    server.request("POST", f"/{names[1]}/_open")
    server.request("GET", f"/_cluster/health/{names[1]}", params={"wait_for_status": "yellow"})
    assert source.check() == []
    source.close()


def chunked(server: Any, count: int = 40) -> dict[str, Any]:
    """Documents with none to several chunks, in all the spellings that a server takes."""
    made = iter(vectors(count * 4, seed=7))
    docs: dict[str, Any] = {}
    for n in range(count):
        chunks: list[Any] = [
            {"text": f"t{n}-{place}", "v": next(made), "page": {"number": place}, "extra": n}
            for place in range(n % 4)
        ]
        docs[f"d#{n}"] = {"title": f"title {n}", "chunks": chunks}
    docs["d#1"]["chunks"] = docs["d#1"]["chunks"][0]
    docs["d#2"]["chunks"].insert(0, None)
    docs["d#3"]["chunks"] = [[*docs["d#3"]["chunks"][:2]], docs["d#3"]["chunks"][2]]
    docs["d#4"]["chunks"] = None
    del docs["d#8"]["chunks"]
    del docs["d#5"]["title"]
    docs["d#7"]["chunks"][1]["tags"] = ["x", "y"]
    return docs


def rows_of_chunks(docs: dict[str, Any]) -> dict[str, Any]:
    """The rows that the documents are, by key."""
    rows = {}
    for key, doc in docs.items():
        chunks = doc.get("chunks")
        listed = chunks if isinstance(chunks, list) else [chunks]
        listed = [each for item in listed for each in (item if isinstance(item, list) else [item])]
        for place, chunk in enumerate(listed):
            if chunk is not None:
                rows[f"{key}#{place}"] = {
                    "_id": f"{key}#{place}",
                    "title": doc.get("title"),
                    "chunks.text": chunk["text"],
                    "chunks.v": [float(number) for number in np.array(chunk["v"], np.float32)],
                    "chunks.page": chunk["page"],
                    "chunks.tags": chunk.get("tags"),
                    "$meta": {"chunks.extra": chunk["extra"]},
                }
    return rows


@pytest.mark.parametrize("shards", [1, 3])
def test_each_nested_object_is_a_row(server: Any, scratch: Any, shards: int) -> None:
    if server.NAME == "elasticsearch" and not eight(server):
        vector: dict[str, Any] = {"type": "float", "index": False, "doc_values": False}
    else:
        vector = vector_field(server)
    chunks = {
        "type": "nested",
        "dynamic": False,
        "properties": {
            "text": {"type": "text"},
            "v": vector,
            "page": {"properties": {"number": {"type": "integer"}}},
            "tags": {"type": "keyword"},
        },
    }
    name = f"chunks-{shards}"
    settings: dict[str, Any] = {"number_of_shards": shards}
    if shards > 1 and has_sliced_indices(server):
        settings["index.disable_sequence_numbers"] = True
    title = {"type": "keyword"}
    make_index(server, name, {"title": title, "chunks": chunks}, settings=settings)
    docs = chunked(server)
    write(server, name, {"gone": docs["d#7"], **docs})
    write(server, name, {"gone": None, "d#6": docs["d#6"]})
    mapping = {name: CollectionMapping(fields=({"source": "chunks.v", "type": "FLOAT_VECTOR"},))}
    source = source_of(server, scratch, [name], explode="chunks", mapping=mapping, page_rows=7)
    assert source.check() == []
    collection, cut = planned(source, chunk_bytes=1500)
    found, bad = read_all(source, cut)
    source.finish()
    for row in found.values():
        row |= {key: json.loads(row[key]) for key in ("chunks.page", "$meta")}
    assert found == rows_of_chunks(docs)
    assert not bad
    assert collection.rows == len(found) == sum(chunk.rows for chunk in cut)
    assert len(cut) > 2
    without = sum(not doc.get("chunks") for doc in docs.values())
    assert any(note.startswith(f"{without} documents have no object") for note in collection.notes)
