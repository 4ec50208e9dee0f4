"""From Milvus into Milvus: half a million rows, and rows of 200 KB."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymilvus import DataType, MilvusClient

from airlift.connections import MilvusConnection
from airlift.errors import Refused
from airlift.waiting import wait_for
from localservers import Milvus, MilvusLite, MilvusOnS3
from tests.paths.place import FLAT, Place, bucket_place, lite_place
from tests.paths.test_milvus_to_milvus import MILVUS

ROWS, DIM, IN_ROCK, TWICE = 500_000, 128, 200_000, 1_000
COMPLETED = 6


@pytest.fixture
def half_a_million(milvus: Milvus) -> Iterator[dict[str, Any]]:
    """A collection `large` with partitions, deleted rows and repeated keys; what it holds."""
    random = np.random.default_rng(5)
    ids = random.permutation(ROWS).astype(np.int64) * 3 - 70_000
    truth = {"id": ids, "vector": random.standard_normal((ROWS, DIM), dtype=np.float32)}
    truth["year"] = (np.abs(ids) % 100).astype(np.int16)
    with closing(milvus.client()) as client:
        schema = client.create_schema()
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
        schema.add_field("year", DataType.INT16)
        client.create_collection("large", schema=schema)
        client.create_partition("large", "rock")
        for name, part in (("_default", slice(IN_ROCK, None)), ("rock", slice(0, IN_ROCK))):
            _import(milvus, client, name, {field: rows[part] for field, rows in truth.items()})
        params = client.prepare_index_params()
        params.add_index("vector", **FLAT, metric_type="L2")
        client.create_index("large", params)
        dead = ids[::25]
        for start in range(0, len(dead), 5_000):
            client.delete("large", ids=dead[start : start + 5_000].tolist())
        # Again in their own partition: Milvus takes them, and counts them twice.
        alive = np.setdiff1d(ids[:IN_ROCK], dead)[:TWICE]
        at = {key: n for n, key in enumerate(ids.tolist())}
        again = [{name: rows[at[key]] for name, rows in truth.items()} for key in alive.tolist()]
        client.insert("large", again, partition_name="rock")
        client.flush("large")
        keep = ~np.isin(ids, dead)
        yield {name: rows[keep] for name, rows in truth.items()}
        client.drop_collection("large")


def _import(milvus: Milvus, client: MilvusClient, partition: str, columns: dict[str, Any]) -> None:
    folder = milvus.data_dir / "made" / partition
    folder.mkdir(parents=True)
    files = [str(folder / f"{name}.npy") for name in columns]
    for file, rows in zip(files, columns.values(), strict=True):
        np.save(file, rows)
    handler = client._get_connection()
    context = client._generate_call_context()
    job = handler.do_bulk_insert("large", partition, files, context=context)
    ended = wait_for(
        lambda: handler.get_bulk_insert_state(job, context=context).state,
        lambda state: state == COMPLETED,
        120,
    )
    assert ended == COMPLETED


def test_half_a_million_rows(milvus, milvus_on_s3: MilvusOnS3, half_a_million, tmp_path):
    truth = half_a_million
    with bucket_place(milvus_on_s3, tmp_path, MILVUS) as place:
        place.connections.servers["milvus_source"] = MilvusConnection(uri=milvus.uri)
        given = {"collections": ["large"], "write_mode": "auto", "chunk_mb": 64}
        with pytest.raises(Refused, match=r"1,000 of 481,000 rows share their primary key"):
            place.run(**given)
        report = place.run(**given, on_duplicate_id="keep_one", verify="full")
        [collection] = report["collections"]
        assert collection["way"] == "grpc_bulk_insert" and collection["chunks"] >= 4
        assert collection["rows_source"] == 481_000 and collection["rows_left_out"] == TWICE
        assert collection["rows_counted"] == len(truth["id"]) == 480_000
        _assert_holds(place, truth)


def _assert_holds(place: Place, truth: dict[str, Any]) -> None:
    """Every key and year, and the vectors of some hundred rows."""
    years: dict[int, int] = {}
    last = -(1 << 62)
    while page := place.client.query(
        "large", filter=f"id > {last}", output_fields=["id", "year"], limit=16_000
    ):
        years |= {row["id"]: row["year"] for row in page}
        last = page[-1]["id"]
    assert years == dict(zip(truth["id"].tolist(), truth["year"].tolist(), strict=True))
    some = np.linspace(0, len(truth["id"]) - 1, 500).astype(int)
    keys = truth["id"][some].tolist()
    found = {
        row["id"]: row["vector"]
        for row in place.client.query("large", ids=keys, output_fields=["id", "vector"])
    }
    for key, vector in zip(keys, truth["vector"][some], strict=True):
        assert np.array_equal(np.asarray(found[key], np.float32), vector)


def test_rows_of_200_kilobytes(milvus: Milvus, milvus_lite: MilvusLite, tmp_path: Path):
    """Texts and JSON near the limits: pages shrink until the server can send them."""
    with (
        closing(milvus.client()) as client,
        lite_place(milvus_lite, tmp_path / "none", MILVUS) as place,
    ):
        place.connections.servers["milvus_source"] = MilvusConnection(uri=milvus.uri)
        schema = client.create_schema()
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
        for name in ("one", "two", "three"):
            schema.add_field(name, DataType.VARCHAR, max_length=65_535)
        schema.add_field("more", DataType.JSON)
        params = client.prepare_index_params()
        params.add_index("vector", **FLAT, metric_type="L2")
        client.create_collection("wide", schema=schema, index_params=params)
        rows = [
            {
                "id": n,
                "vector": [float(n)] * DIM,
                **{name: f"{name}{n}é".ljust(50_000, "x") for name in ("one", "two", "three")},
                "more": {"text": f"{n}".ljust(50_000, "y")},
            }
            for n in range(800)
        ]
        for start in range(0, len(rows), 100):
            client.insert("wide", rows[start : start + 100])
        report = place.run(collections=["wide"], verify="full")
        client.drop_collection("wide")
        assert report["collections"][0]["rows_counted"] == 800
        for row in rows[::37]:
            [found] = place.client.query("wide", filter=f"id == {row['id']}")
            assert {name: found[name] for name in row} == row
