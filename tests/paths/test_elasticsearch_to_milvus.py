"""The path from Elasticsearch and OpenSearch on real servers, step by step in this process.

Every test reads the rows back from the target itself and compares them with the documents.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from airlift.errors import AirliftError, Refused
from airlift.run import run
from localservers import Elasticsearch, Milvus, MilvusLite
from tests.paths.place import Place, SourceKind, lite_place, local_place
from tests.paths.truth import count
from tests.servers.search_place import (
    connection_to,
    make_index,
    open_contexts,
    vector_field,
    vectors,
    write,
)

DIM = 16
SEARCH = SourceKind("elasticsearch", lambda folder, specs: None, lambda folder: {})


def on(place: Place, server: Any, index: str | list[str]) -> Place:
    """The place, with a server as its source."""
    place.connections.searches["elasticsearch_default"] = connection_to(server)
    place.defaults["indices"] = [index] if isinstance(index, str) else index
    return place


@pytest.fixture
def place(milvus: Milvus, tmp_path: Path) -> Iterator[Place]:
    """Milvus that stores locally."""
    with local_place(milvus, tmp_path / "source", SEARCH) as place:
        yield place


@pytest.fixture
def lite(milvus_lite: MilvusLite, tmp_path: Path) -> Iterator[Place]:
    """Milvus Lite."""
    with lite_place(milvus_lite, tmp_path / "source", SEARCH) as place:
        yield place


def fill(server: Any, name: str, documents: dict[str, Any]) -> None:
    """Indexes documents, as many at a time as a small server takes."""
    keys = list(documents)
    for start in range(0, len(keys), 20_000):
        write(server, name, {key: documents[key] for key in keys[start : start + 20_000]})


def rows_of(place: Place, name: str) -> dict[str, dict[str, Any]]:
    """All rows as pymilvus gives them, by `_id`."""
    client, found, after = place.client, {}, ""
    while True:
        page = client.query(
            name,
            filter=f'_id > "{after}"' if after else '_id >= ""',
            output_fields=["*"],
            limit=16_000,
            consistency_level="Strong",
        )
        found |= {row["_id"]: dict(row) for row in page}
        if len(page) < 16_000:
            assert len(found) == count(client, name, key="_id")
            return found
        after = max(row["_id"] for row in page)


def assert_holds(place: Place, name: str, documents: dict[str, Any]) -> None:
    """The collection holds the documents and no others; null and missing are the same."""
    found = rows_of(place, name)
    assert found.keys() == documents.keys()
    for key, document in documents.items():
        row = {field: plain(value) for field, value in found[key].items()}
        expected = {field: value for field, value in document.items() if value is not None}
        row = {field: value for field, value in row.items() if value is not None}
        assert row == {"_id": key, **expected}, key


def plain(value: Any) -> Any:
    """Lists instead of protobuf's or numpy's own sequences."""
    if isinstance(value, str | bytes | dict) or not hasattr(value, "__iter__"):
        return value
    return list(value)


def floats(vector: Any) -> list[float]:
    return [float(one) for one in np.asarray(vector, np.float32)]


ODD_IDS = [
    'with "quotes"',
    "back\\slash",
    "new\nline",
    "b\b",
    'x","cat":"EVIL',
    "漢字 😀",
    "a/b?c=d&e",
    "{}",
    "-1",
    " ",
]


def test_documents_of_all_types_and_odd_ids(elasticsearch_8, either):
    name = "every-type"
    fields = {
        "v": vector_field(elasticsearch_8, DIM),
        "keyword": {"type": "keyword"},
        "tags": {"type": "keyword"},
        "text": {"type": "text", "fields": {"raw": {"type": "keyword"}}},
        "byte": {"type": "byte"},
        "short": {"type": "short"},
        "integer": {"type": "integer"},
        "long": {"type": "long"},
        "double": {"type": "double"},
        "float": {"type": "float"},
        "flag": {"type": "boolean"},
        "day": {"type": "date"},
        "ip": {"type": "ip"},
        "object": {"properties": {"a": {"type": "long"}, "b": {"type": "keyword"}}},
        "point": {"type": "geo_point"},
        "numbers": {"type": "long"},
    }
    make_index(elasticsearch_8, name, fields, mappings={"dynamic": "false"})
    made = vectors(40, DIM)
    documents: dict[str, Any] = {}
    for n, key in enumerate([*ODD_IDS, *(f"k{n}" for n in range(30))]):
        documents[key] = {
            "v": made[n],
            "keyword": ["plain", 'a"b\\c\nd', "漢" * 300][n % 3],
            "tags": [["a", "b"], ["c"], "single"][n % 3],
            "text": "x" * (n * 97),
            "byte": [-128, 127, "12"][n % 3],
            "short": -(2**15) + n,
            "integer": 2**31 - 1 - n,
            "long": [2**63 - 1, -(2**62), 2**53 + 1][n % 3],
            "double": [0.1, -1e300, 1e-300][n % 3],
            "float": 0.25 * n,
            "flag": [True, False, "true"][n % 3],
            "day": ["2024-02-29T12:34:56.789Z", 86_400_000, "1969-12-31"][n % 3],
            "ip": ["10.0.0.1", "::1", "192.168.1.2"][n % 3],
            "object": {"a": n, "b": ["x", None], "deep": {"c": [1, {"d": n}]}},
            "point": {"lat": 1.5, "lon": -2.25},
            "numbers": [n, -n],
            "unlisted": {"anything": [n, "goes"]},
        }
        if n % 4 == 0:  # null and missing
            documents[key] |= {"integer": None, "keyword": None}
            del documents[key]["object"], documents[key]["unlisted"]
    write(elasticsearch_8, name, documents)
    report = on(either, elasticsearch_8, name).run(verify="full")
    [collection] = report["collections"]
    assert collection["target"] == "every_type"
    assert collection["verification"]["compared"] == 40
    expected = {}
    for n, (key, document) in enumerate(documents.items()):
        tags = document["tags"]
        expected[key] = document | {
            "v": floats(document["v"]),
            "tags": tags if isinstance(tags, list) else [tags],
            "byte": int(document["byte"]),
            "flag": document["flag"] in (True, "true"),
            "day": [1_709_210_096_789, 86_400_000, -86_400_000][n % 3],
        }
    assert_holds(either, "every_type", expected)


def test_every_spelling_arrives_and_other_names_are_noted(elasticsearch_8, lite):
    """Dotted keys, objects and both, below `subobjects: false` and elsewhere."""
    whole = {"type": "long"}
    fields = {
        "m": {"subobjects": False, "properties": {"time": whole, "time.max": whole}},
        "a": {"properties": {"b": whole, "c": whole}},
        "title": {"type": "keyword", "fields": {"raw": {"type": "text"}}},
        "heading": {"type": "alias", "path": "title"},
        "v": vector_field(elasticsearch_8, DIM),
    }
    make_index(elasticsearch_8, "spellings", fields)
    given = [
        {"m.time": 1, "m.time.max": 3, "a.b": 1, "a": {"c": 2}, "title": "t"},
        {"m": {"time.max": 3}, "m.time": 1, "a.b": 1, "a": {"b": 2}, "title": "u"},
        {"m.time.max": 3, "m.time": 1, "a.c": 2, "a": [{"b": 1}], "title": "w"},
    ]
    made = vectors(3, DIM)
    documents = {str(n): one | {"v": v} for n, (one, v) in enumerate(zip(given, made, strict=True))}
    write(elasticsearch_8, "spellings", documents)
    on(lite, elasticsearch_8, "spellings")
    asked = {"fields": [{"source": "heading"}]}
    report = lite.run(verify="full", mapping={"spellings": asked})
    [collection] = report["collections"]
    assert any("multi-fields of 'title'" in note for note in collection["notes"])
    time = {"time": 1, "time.max": 3}
    objects = [{"b": 1, "c": 2}, {"b": [2, 1]}, [{"b": 1}, {"c": 2}]]
    assert_holds(
        lite,
        "spellings",
        {
            key: {"v": floats(one["v"]), "m": time, "a": objects[int(key)]}
            | {"title": one["title"], "heading": one["title"]}
            for key, one in documents.items()
        },
    )


def many(rows: int, seed: int) -> dict[str, Any]:
    made = np.random.default_rng(seed).standard_normal((rows, DIM)).astype(np.float32)
    return {
        f"doc-{n}": {"v": [float(x) for x in made[n]], "word": f"w{n % 100}", "n": n + seed}
        for n in range(rows)
    }


MANY_FIELDS = {"word": {"type": "keyword"}, "n": {"type": "long"}}


@pytest.mark.parametrize("name", ["elasticsearch_8", "elasticsearch_7", "opensearch"])
def test_updates_and_deletes_before_and_writes_while_it_is_read(request, place, name):
    """Many documents; what comes after the point in time is not moved, and does no harm."""
    server = request.getfixturevalue(name)
    rows = 40_000 if name == "elasticsearch_8" else 20_000
    fields = {
        "v": vector_field(server, DIM) if name != "elasticsearch_7" else FLOATS,
        **MANY_FIELDS,
    }
    make_index(server, "busy", fields, settings={"number_of_shards": 2})
    documents = many(rows, seed=0)
    fill(server, "busy", documents)
    newer = many(rows // 10, seed=7)
    write(server, "busy", newer)
    gone = dict.fromkeys(list(documents)[rows // 2 : rows // 2 + rows // 20])
    write(server, "busy", gone)
    alive = {key: doc for key, doc in {**documents, **newer}.items() if key not in gone}
    stop = threading.Event()

    def keep_writing() -> None:
        n = 0
        while not stop.is_set():
            keys = [f"doc-{(n * 31 + at) % rows}" for at in range(50)]
            changed = {key: {**documents[key], "word": "changed"} for key in keys[:40]}
            write(
                server,
                "busy",
                {**changed, **dict.fromkeys(keys[40:]), f"new-{n}": documents["doc-0"]},
            )
            n += 1

    on(place, server, "busy")
    if name == "elasticsearch_7":
        vector = {"source": "v", "type": "FLOAT_VECTOR"}
        place.defaults["mapping"] = {"busy": {"fields": [vector], "metric_type": "L2"}}
    with place.migration(verify="full", chunk_mb=2) as migration:
        # From the plan on, the index changes.
        source = migration.source
        cut = source.cut

        def cut_and_let_go(*given: Any) -> Any:
            chunks = cut(*given)
            if not writer.is_alive():
                writer.start()
            return chunks

        source.cut = cut_and_let_go  # type: ignore[method-assign]
        writer = threading.Thread(target=keep_writing, daemon=True)
        try:
            run(migration)
        finally:
            stop.set()
            writer.join()
    found = rows_of(place, "busy")
    assert found.keys() == alive.keys()
    for key, document in alive.items():
        row = found[key]
        assert (row["word"], row["n"]) == (document["word"], document["n"]), key
        assert list(row["v"]) == floats(document["v"]), key
    assert server.request("GET", "/_nodes/stats/indices/search")  # still well


FLOATS = {"type": "float", "index": False, "doc_values": False}


def test_documents_that_other_tools_lose(elasticsearch_8, place):
    """One without a vector in the last page, a list in a keyword, a text that is too long."""
    name = "lost"
    make_index(elasticsearch_8, name, {"v": vector_field(elasticsearch_8, DIM), **MANY_FIELDS})
    documents = many(2_500, seed=1)
    write(elasticsearch_8, name, documents)
    write(elasticsearch_8, name, {"without": {"word": "w", "n": 1}, "null": {"v": None, "n": 2}})
    on(place, elasticsearch_8, name)
    with pytest.raises(Refused, match=r"2 of 2,502 documents have no vector 'v', such as"):
        place.run()
    assert not place.client.has_collection(name)
    aside = {"on_missing_vector": "set_aside", "on_bad_row": "set_aside"}
    report = place.run(**aside, verify="full")
    [collection] = report["collections"]
    assert (collection["rows_planned"], collection["rows_set_aside"]) == (2_502, 2)
    expected = {key: {**doc, "v": floats(doc["v"])} for key, doc in documents.items()}
    assert_holds(place, name, expected)
    with pytest.raises(Refused, match="'lost' exists on the target already"):
        place.run(**aside, migration_id="again")


def test_a_list_where_one_value_was_and_a_text_that_is_too_long(elasticsearch_8, place):
    name = "lists"
    make_index(elasticsearch_8, name, {"v": vector_field(elasticsearch_8, DIM), **MANY_FIELDS})
    documents = many(300, seed=1)
    documents["doc-150"]["word"] = ["two", "words"]
    documents["doc-151"]["word"] = "x" * 200
    write(elasticsearch_8, name, documents)
    on(place, elasticsearch_8, name)
    short = {"source": "word", "max_length": 100}
    with pytest.raises(AirliftError, match="doc-151: field 'word': .* more than max_length"):
        place.run(mapping={name: {"fields": [short]}})
    one = {"source": "word", "type": "VARCHAR"}
    with pytest.raises(AirliftError, match="doc-150: field 'word'"):
        place.run(mapping={name: {"fields": [one]}}, migration_id="one")
    assert not place.client.has_collection(name)
    place.run(verify="full", migration_id="lists")
    expected = {
        key: {
            **doc,
            "v": floats(doc["v"]),
            "word": doc["word"] if isinstance(doc["word"], list) else [doc["word"]],
        }
        for key, doc in documents.items()
    }
    assert_holds(place, name, expected)


def test_several_indices_in_one_collection(elasticsearch_8, either):
    fields = {"v": vector_field(elasticsearch_8, DIM), **MANY_FIELDS}
    documents = {}
    for month in ("2024-01", "2024-02"):
        make_index(elasticsearch_8, f"logs-{month}", fields)
        documents[month] = many(200, seed=len(month))
        write(elasticsearch_8, f"logs-{month}", documents[month])
    on(either, elasticsearch_8, "logs-*")
    one = {"into_collection": "logs", "verify": "full"}
    with pytest.raises(Refused, match="200 primary keys stand in several rows, such as"):
        either.run(**one)
    either.run(**one, primary_key="_index/_id", migration_id="both")
    described = either.client.describe_collection("logs")["fields"]
    [key] = [field["name"] for field in described if field.get("is_primary")]
    found = either.client.query("logs", filter="n >= 0", output_fields=["*"], limit=1000)
    assert {row[key] for row in found} == {
        f"logs-{month}/{key}" for month, some in documents.items() for key in some
    }
    either.run(verify="full", migration_id="apart")
    for month, some in documents.items():
        expected = {key: {**doc, "v": floats(doc["v"])} for key, doc in some.items()}
        assert_holds(either, f"logs_{month.replace('-', '_')}", expected)


def test_a_misspelt_query_is_refused_or_done_with_a_warning(elasticsearch_8, lite):
    make_index(
        elasticsearch_8, "misspelt", {"v": vector_field(elasticsearch_8, DIM), **MANY_FIELDS}
    )
    write(elasticsearch_8, "misspelt", many(20, seed=5))
    run = {"query": {"term": {"wrod": "w1"}}, "migration_id": "misspelt"}
    on(lite, elasticsearch_8, "misspelt")
    with pytest.raises(Refused, match=r"'misspelt'.*\{\"term\":\{\"wrod\":\"w1\"\}\} finds none"):
        lite.run(**run, allow_empty=False)
    assert not lite.client.has_collection("misspelt")
    report = lite.run(**run)
    assert report["state"] == "done" and len(report["warnings"]) == 1
    assert "finds none in misspelt" in report["collections"][0]["warnings"][0]
    assert rows_of(lite, "misspelt") == {}


def test_the_server_is_killed_in_mid_export_and_comes_back(tmp_path, place, monkeypatch):
    """The point in time is lost with it; nothing else is."""
    monkeypatch.setattr("airlift.sources.elasticsearch.source.BATCH_BYTES", 100_000)
    # One process does it all, so that of the check holds for the reading too; servers start slowly.
    monkeypatch.setattr("airlift.sources.elasticsearch.source._CHECK_PATIENCE", 180.0)
    with Elasticsearch(tmp_path / "es", short_lived=True) as server:
        make_index(server, "songs", {"v": vector_field(server, DIM), **MANY_FIELDS})
        documents = many(30_000, seed=2)
        fill(server, "songs", documents)
        on(place, server, "songs")
        with place.migration(verify="full", page_rows=500) as migration:
            source = migration.source
            read = source.read
            killed = threading.Event()

            def read_and_kill(chunk: Any) -> Iterator[Any]:
                for number, batch in enumerate(read(chunk)):
                    if number == 1 and not killed.is_set():
                        killed.set()
                        server.kill()
                        threading.Timer(1, server.start).start()
                    yield batch

            source.read = read_and_kill  # type: ignore[method-assign]
            run(migration)
        assert killed.is_set()
        expected = {key: {**doc, "v": floats(doc["v"])} for key, doc in documents.items()}
        assert_holds(place, "songs", expected)


def test_nine(elasticsearch_9, place):
    """9.2 and newer leave vectors out of what they answer unless asked, and keep none as it came.

    What they hold of a vector that is searched by its angle is its direction and its length, so
    what they give is another by a rounding.
    """
    searched = {"type": "dense_vector", "dims": DIM, "index": True}
    fields = {
        "near": {**searched, "similarity": "l2_norm"},
        "turned": {**searched, "similarity": "cosine"},
    }
    make_index(elasticsearch_9, "nine", fields)
    documents = {
        key: {"near": doc["v"], "turned": doc["v"]} for key, doc in many(500, seed=9).items()
    }
    write(elasticsearch_9, "nine", documents)
    on(place, elasticsearch_9, "nine")
    with pytest.raises(Refused, match=r"has 2 vector fields \['near', 'turned'\], .* at most 1"):
        place.run()
    metrics = {"near": "L2", "turned": "COSINE"}
    for name, other in (("near", "turned"), ("turned", "near")):
        mapping = {"nine": {"target": name, "exclude": [other]}}
        run = {"mapping": mapping, "migration_id": name, "verify": "full", "index": "source"}
        [collection] = place.run(**run)["collections"]
        assert collection["rows_counted"] == 500
        assert any("['turned']" in note and "rounded" in note for note in collection["notes"])
        found = rows_of(place, name)
        ours = np.array([floats(documents[key][name]) for key in found])
        theirs = np.array([list(row[name]) for row in found.values()])
        assert np.abs(ours - theirs).max() <= (0 if name == "near" else 1e-6)
        index = place.client.describe_index(name, name)
        assert index["metric_type"] == metrics[name]
        assert [index[key] for key in ("index_type", "M", "efConstruction")] == [
            "HNSW",
            "16",
            "100",
        ]


@pytest.mark.parametrize(("element", "order"), [("float", ">f4"), ("bit", "i1")])
def test_nine_takes_vectors_as_base64(elasticsearch_9, place, element, order):
    """It keeps them so, in `_source`, where source vectors are not left out; some are lists."""
    dim = DIM * 8 if element == "bit" else DIM
    field = {"type": "dense_vector", "dims": dim, "element_type": element, "index": False}
    settings = {"index.mapping.exclude_source_vectors": False}
    make_index(elasticsearch_9, "packed", {"v": field}, settings=settings)
    numbers = np.random.default_rng(3).integers(-128, 128, (40, DIM))
    raw = [(row / 3 if element == "float" else row).astype(order) for row in numbers]
    documents = {
        str(n): {"v": base64.b64encode(one.tobytes()).decode() if n % 4 else one.tolist()}
        for n, one in enumerate(raw)
    }
    write(elasticsearch_9, "packed", documents)
    on(place, elasticsearch_9, "packed")
    place.run(verify="full", index="autoindex")
    found = rows_of(place, "packed")
    assert found.keys() == documents.keys()
    for key, row in found.items():
        held = row["v"]
        one = raw[int(key)]
        if element == "float":
            assert np.asarray(held, np.float32).tobytes() == one.astype("<f4").tobytes()
        else:
            assert b"".join(held) == one.tobytes()


UNFIT_JSON = [
    ("123456789012345678901234567890", "whole number 123456789012345678901234567890"),
    ("[-9223372036854775809]", "whole number -9223372036854775809"),
    ("0.1234567890123456789", "number 0.1234567890123456789"),
    ("[[1e400]]", "number 1e400"),
    ("1e-400", "number 1e-400"),
    ('"\\ud83d"', "half of a surrogate pair"),
    ("[" * 300 + "]" * 300, "nested deeper"),
]
"""What the server keeps, in an object that it does not look into, and JSON in Milvus can't hold."""


def test_json_that_milvus_cannot_hold_is_a_bad_row(elasticsearch_8, lite):
    """In a field that the mapping has, and in one that it does not list."""
    name = "odd-json"
    make_index(
        elasticsearch_8,
        name,
        {"v": vector_field(elasticsearch_8, DIM), "off": {"type": "object", "enabled": False}},
        mappings={"dynamic": False},
    )
    good = '{"n":18446744073709551615,"f":[1.0,1,-0.0,5e-324],"t":"\\ud83d\\ude00 1e400"}'
    texts = {"good": (good, good)}
    for place, (text, _) in enumerate(UNFIT_JSON):
        texts[f"off{place}"] = (f'{{"a":{text}}}', "{}")
        texts[f"new{place}"] = ("{}", f'{{"a":{text}}}')
    [vector] = vectors(1, DIM)
    for key, (off, new) in texts.items():
        body = f'{{"v":{vector},"off":{off},"new":{new}}}'.encode()
        headers = {"content-type": "application/json"}
        elasticsearch_8.request("PUT", f"/{name}/_doc/{key}", content=body, headers=headers)
    elasticsearch_8.request("POST", f"/{name}/_refresh")
    on(lite, elasticsearch_8, name)
    bad = len(texts) - 1
    lite.run(on_bad_row="set_aside", max_bad_rows=bad, verify="full")
    [row] = rows_of(lite, "odd_json").values()
    assert (row["_id"], row["off"], row["new"]) == ("good", json.loads(good), json.loads(good))
    assert [type(number) for number in row["off"]["f"]] == [float, int, float, float]
    with lite.migration() as migration:
        folder = migration.staging.folder.folder("odd_json/bad_rows")
        rows: list[Any] = []
        for path in folder.list():
            with folder.open_input(path) as stream:
                rows += pq.read_table(stream).to_pylist()
    reasons = {row["_id"]: row["reason"] for row in rows}
    assert len(reasons) == bad
    for place, (_, reason) in enumerate(UNFIT_JSON):
        assert reasons[f"off{place}"].startswith("field 'off': the value")
        assert reasons[f"new{place}"].startswith("field '$meta': the value")
        assert reason in reasons[f"off{place}"] and reason in reasons[f"new{place}"]
    left = {name: {"exclude": ["off", "$meta"]}}
    [collection] = lite.run(mapping=left, migration_id="left", if_exists="replace")["collections"]
    assert collection["rows_counted"] == len(texts)


def test_each_nested_object_becomes_a_row(elasticsearch_8, either):
    """Documents with no, one and many chunks; the rows are those that the documents say."""
    chunk = {"vector": vector_field(elasticsearch_8, DIM), "text": {"type": "text"}}
    fields = {"title": {"type": "keyword"}, "chunks": {"type": "nested", "properties": chunk}}
    make_index(elasticsearch_8, "books", fields, settings={"number_of_shards": 2})
    numbers = vectors(600, DIM, seed=8)
    documents: dict[str, Any] = {}
    wanted: dict[str, tuple[str, str, list[float]]] = {}
    for at in range(200):
        chunks = [
            {"text": f"{at}.{n} ü", "vector": numbers[(at + n) % len(numbers)]}
            for n in range(at % 5)
        ]
        documents[f"b#{at}"] = {"title": f"book {at}"} | ({"chunks": chunks} if chunks else {})
        for n, one in enumerate(chunks):
            wanted[f"b#{at}#{n}"] = (f"book {at}", one["text"], floats(one["vector"]))
    fill(elasticsearch_8, "books", documents)
    on(either, elasticsearch_8, "books")
    [collection] = either.run(explode="chunks", verify="full")["collections"]
    assert collection["rows_counted"] == len(wanted) == 400
    assert any("40 documents" in note for note in collection["notes"])
    found = {
        key: (row["title"], row["chunks_text"], list(row["chunks_vector"]))
        for key, row in rows_of(either, "books").items()
    }
    assert found == wanted


def test_an_index_without_sequence_numbers_is_resumed(elasticsearch_9, lite, monkeypatch):
    """It stops while it is read, once its point in time is lost then, and while it is written."""
    server, name = elasticsearch_9, "numberless"
    before = open_contexts(server)
    settings = {"index.disable_sequence_numbers": True, "number_of_shards": 2}
    make_index(server, name, {"v": vector_field(server, DIM), **MANY_FIELDS}, settings=settings)
    documents = many(400, seed=3)
    write(server, name, documents)
    on(lite, server, name)
    monkeypatch.setattr("airlift.sources.elasticsearch.chunking.pieces", lambda size, most: 4)

    def stopped_while_it_reads(chunks: int) -> list[str]:
        """Reads some chunks, then fails; returns what was converted."""
        with lite.migration(verify="full") as migration:
            read, begun = migration.source.read, []

            def read_some(chunk: Any) -> Iterator[Any]:
                begun.append(chunk.id)
                if len(begun) > chunks:
                    raise AirliftError("the worker is lost")
                yield from read(chunk)

            migration.source.read = read_some  # type: ignore[method-assign]
            with pytest.raises(AirliftError, match="the worker is lost"):
                run(migration)
            return begun[:-1]

    first = stopped_while_it_reads(2)
    write(server, name, many(50, seed=77))  # not to be seen by what goes on
    second = stopped_while_it_reads(1)
    assert not set(first) & set(second)
    for path in (Path(lite.staging_url) / lite.migration_id / "scratch/points_in_time").iterdir():
        server.request("DELETE", "/_pit", json={"id": json.loads(path.read_bytes())["id"]})
    documents |= many(50, seed=77)
    write(server, name, {"doc-399": None})
    del documents["doc-399"]
    lost = stopped_while_it_reads(1)
    assert not {*first, *second} & set(lost)
    with monkeypatch.context() as patch:
        patch.setattr("airlift.run.build_indexes", lambda migration: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            lite.run(verify="full")
    write(server, name, many(20, seed=5))
    for _ in range(2):  # to go on with, and when all is done
        report = lite.run(verify="full")
        [collection] = report["collections"]
        assert collection["rows_counted"] == 399
        assert any("keeps no _seq_no" in note for note in collection["notes"])
        expected = {key: {**doc, "v": floats(doc["v"])} for key, doc in documents.items()}
        assert_holds(lite, name, expected)
    assert open_contexts(server) == before
