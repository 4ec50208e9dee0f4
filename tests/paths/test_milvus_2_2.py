"""From and into Milvus 2.2.16."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from airlift.connections import MilvusConnection
from localservers import Milvus
from tests.paths.place import local_place
from tests.paths.test_milvus_to_milvus import MILVUS, make_songs, rows_of

FIELDS = ("id", "vector", "title", "year", "more", "colour")


def test_out_of_milvus_2_2_and_back(milvus_2_2: Milvus, milvus: Milvus, tmp_path: Path):
    """With partitions, deletes, a dynamic field and an index of its own."""
    with (
        closing(milvus_2_2.client()) as old,
        local_place(milvus, tmp_path, MILVUS) as place,
        local_place(milvus_2_2, tmp_path, MILVUS) as back,
    ):
        make_songs(old, "songs", 500, arrays=False, metric="L2")
        ours = {
            name: rows_of(old, "songs", partition=name, fields=FIELDS)
            for name in ("_default", "rock")
        }
        assert sum(map(len, ours.values())) == 490
        place.connections.servers["milvus_source"] = MilvusConnection(uri=milvus_2_2.uri)
        report = place.run(index="source", verify="full")
        assert (
            report["source"].startswith("http") and report["collections"][0]["rows_counted"] == 490
        )
        for name, rows in ours.items():
            assert rows_of(place.client, "songs", partition=name) == rows
        assert place.client.describe_index("songs", "vector")["index_type"] == "HNSW"
        back.connections.servers["milvus_source"] = MilvusConnection(uri=milvus.uri)
        mapping = {"songs": {"target": "back", "aliases": []}}
        given = {"collections": ["songs"], "mapping": mapping, "write_mode": "auto"}
        back.run(**given, verify="full", migration_id="back")
        assert rows_of(back.client, "back", fields=FIELDS) == ours["_default"] | ours["rock"]
