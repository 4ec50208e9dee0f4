"""From Milvus into Milvus: what belongs to a collection beside its rows, on real servers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from pymilvus import DataType, Function, FunctionType, MilvusClient

from airlift.connections import MilvusConnection
from localservers import Milvus, MilvusLite
from tests.emulators.rest_import import RestImportServer
from tests.paths.place import FLAT, Place, lite_place, local_place
from tests.paths.test_milvus_to_milvus import DIM, MILVUS, make_songs, rows_of, vectors
from tests.paths.test_rest_import import place_on


@pytest.fixture
def lite_to_lite(milvus_lite: MilvusLite, tmp_path: Path) -> Iterator[Place]:
    """From one Milvus Lite into another."""
    with (
        MilvusLite(tmp_path / "lite") as target,
        lite_place(target, tmp_path / "none", MILVUS) as place,
    ):
        place.connections.servers["milvus_source"] = MilvusConnection(uri=milvus_lite.uri)
        yield place


def make_texts(client: MilvusClient, name: str) -> list[dict]:
    """A collection with full text search, a default value and a nullable field."""
    schema = client.create_schema()
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=20)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
    schema.add_field("text", DataType.VARCHAR, max_length=99, enable_analyzer=True)
    schema.add_field("words", DataType.SPARSE_FLOAT_VECTOR)
    schema.add_field("stars", DataType.INT16, default_value=3)
    schema.add_field("mood", DataType.VARCHAR, max_length=9, nullable=True)
    schema.add_function(
        Function(
            "bm25", FunctionType.BM25, input_field_names=["text"], output_field_names=["words"]
        )
    )
    params = client.prepare_index_params()
    params.add_index("vector", **FLAT, metric_type="COSINE")
    params.add_index("words", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25")
    client.create_collection(name, schema=schema, index_params=params)
    made = vectors(60)
    rows = [
        {
            "id": f"k{n}",
            "vector": made[n],
            "text": f"the song number{n} is {['slow', 'loud'][n % 2]}",
            "mood": ["calm", None][n % 2],
            **({"stars": n} if n % 3 else {}),
        }
        for n in range(60)
    ]
    client.insert(name, rows)
    client.load_collection(name)
    return [{"stars": 3, **row} for row in rows]


def test_full_text_search_defaults_and_nulls_arrive(lite_to_lite, milvus_lite):
    with closing(milvus_lite.client()) as source:
        rows = make_texts(source, "texts")
        source.create_alias("texts", "words_of_songs")
        lite_to_lite.run(collections=["texts"], verify="full", index="source")
        source.drop_alias("words_of_songs")
        source.drop_collection("texts")
    client = lite_to_lite.client
    assert client.list_aliases("texts")["aliases"] == ["words_of_songs"]
    found = rows_of(client, "texts")
    for row in found.values():
        del row["words"]  # which the function makes
    assert found == {row["id"]: row for row in rows}
    described = client.describe_collection("texts")
    assert [one["name"] for one in described["functions"]] == ["bm25"]
    stars = next(field for field in described["fields"] if field["name"] == "stars")
    assert stars["default_value"].int_data == 3
    [hits] = client.search(
        "texts", ["number7"], anns_field="words", limit=3, search_params={"metric_type": "BM25"}
    )
    assert [hit["id"] for hit in hits] == ["k7"]
    # A row that comes later gets the default value, and its words are found.
    client.insert("texts", [{"id": "new", "vector": vectors(1)[0], "text": "brandnew words"}])
    [new] = client.query("texts", filter='id == "new"', output_fields=["stars", "mood"])
    assert (new["stars"], new["mood"]) == (3, None)
    [hits] = client.search("texts", ["brandnew"], anns_field="words", limit=3)
    assert [hit["id"] for hit in hits] == ["new"]


def test_a_newer_milvus_imports_it_by_rest(milvus_lite: MilvusLite, tmp_path: Path):
    """Into the emulator of Milvus 2.6's import jobs, which keeps the rows in Milvus Lite."""
    bucket = tmp_path / "server" / "bucket" / "staging"
    with (
        closing(milvus_lite.client()) as source,
        RestImportServer(tmp_path / "server", version="2.6.24") as server,
        place_on(server, tmp_path / "none", str(bucket)) as place,
    ):
        place.kind = MILVUS
        place.connections.servers["milvus_source"] = MilvusConnection(uri=milvus_lite.uri)
        rows = make_texts(source, "texts")
        [one] = place.run(collections=["texts"], verify="full", index="source")["collections"]
        source.drop_collection("texts")
        assert one["way"] == "rest_import" and one["file_format"] == "parquet"
        found = rows_of(place.client, "texts")
        for row in found.values():
            del row["words"]
        assert found == {row["id"]: row for row in rows}


def test_indexes_of_scalar_fields_and_settings_come_along(milvus: Milvus, tmp_path: Path):
    with local_place(milvus, tmp_path, MILVUS) as place:
        place.connections.servers["milvus_source"] = MilvusConnection(uri=milvus.uri)
        make_songs(place.client, "sorted", 200)
        params = place.client.prepare_index_params()
        params.add_index("year", index_type="STL_SORT")
        params.add_index("title", index_type="Trie")
        place.client.create_index("sorted", params)
        run = {"collections": ["sorted"], "write_mode": "insert", "target_database": "copies"}
        report = place.run(**run, index="source", verify="full")
        notes = " ".join(report["collections"][0]["notes"])
        with place.database("copies") as copies:
            kinds = {
                name: copies.describe_index("sorted", name)["index_type"]
                for name in copies.list_indexes("sorted")
            }
            assert kinds == {"vector": "HNSW", "year": "STL_SORT", "title": "Trie"}
            assert rows_of(copies, "sorted") == rows_of(place.client, "sorted")
            copies.drop_alias("sorted_alias")
            copies.drop_collection("sorted")
            assert "scalar fields" not in notes
            report = place.run(**run, mapping={"sorted": {"aliases": []}}, migration_id="other")
            assert copies.list_indexes("sorted") == ["vector"]
            notes = " ".join(report["collections"][0]["notes"])
            assert "indexes of the scalar fields ['title', 'year'] come along with" in notes
