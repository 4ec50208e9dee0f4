"""Searching for sampled vectors fails no collection whose values are right."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from airlift.datatypes import DataType
from airlift.schema import CollectionSchema, Field
from tests.paths.arrow_source import ArrowSource, run_from
from tests.paths.place import Place, lite_place, local_place

DIM = 8


def vectors(special: list[float]) -> np.ndarray:
    """Forty vectors without structure, and one that a search can't find."""
    rows = np.random.default_rng(5).standard_normal((41, DIM)).astype(np.float32)
    rows[20] = special
    return rows


def source(rows: np.ndarray, metric: str, auto_id: bool = False) -> ArrowSource:
    key = Field(name="id", type=DataType.INT64, primary_key=True, auto_id=auto_id)
    vector = Field(name="vector", type=DataType.FLOAT_VECTOR, dim=DIM, metric_type=metric)
    schema = CollectionSchema(name="songs", fields=(key, vector))
    column = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), DIM)
    columns = {"id": pa.array(np.arange(len(rows))), "vector": column}
    batch = pa.record_batch([columns[field.name] for field in schema.fields], schema=pa.schema(
        [field.arrow for field in schema.fields]
    ))  # fmt: skip
    return ArrowSource(schema, [[batch]])


SPECIAL = {
    "nearly zero": ([1e-25] * DIM, "COSINE"),
    "one nearly zero component": ([1e-25] + [0.0] * (DIM - 1), "COSINE"),
    "denormal": ([1e-42] * DIM, "COSINE"),
    "zero": ([0.0] * DIM, "COSINE"),
    "squares beyond float32": ([1e30] * DIM, "COSINE"),
    "product beyond float32": ([3e38] * DIM, "IP"),
    "distance beyond float32": ([-3e38] * DIM, "L2"),
}


@pytest.fixture
def place(request: Any, tmp_path: Path) -> Iterator[Place]:
    server = request.getfixturevalue(request.param)
    make = lite_place if request.param == "milvus_lite" else local_place
    with make(server, tmp_path / "source") as place:
        place.defaults["index"] = "autoindex"
        yield place


def stored(place: Place) -> dict[int, bytes]:
    found = place.client.query("songs", filter="id >= 0", output_fields=["vector"], limit=100)
    return {row["id"]: np.array(row["vector"], np.float32).tobytes() for row in found}


@pytest.mark.parametrize(
    ("place", "name"),
    [*(("milvus_lite", name) for name in SPECIAL), ("milvus", "nearly zero")],
    indirect=["place"],
)
@pytest.mark.parametrize("verify", ["sample", "full"])
def test_a_vector_that_no_search_finds(place, name, verify):
    special, metric = SPECIAL[name]
    rows = vectors(special)
    report = run_from(place, source(rows, metric), verify=verify, on_mismatch="drop")
    assert report["state"] == "done"
    assert stored(place) == {n: row.tobytes() for n, row in enumerate(rows)}
    verification = report["collections"][0]["verification"]
    assert verification["problems"] == [] and verification["sampled"] == 41
    assert verification["searched"] > 0


@pytest.mark.parametrize("place", ["milvus_lite"], indirect=True)
def test_with_keys_of_the_targets_own_searches_compare(place):
    report = run_from(place, source(vectors([1e-25] * DIM), "COSINE"), mapping={
        "songs": {"auto_id": True}
    }, allow_lossy=True)  # fmt: skip
    verification = report["collections"][0]["verification"]
    assert verification["problems"] == [] and verification["sampled"] == 0
    assert verification["found_first"] == verification["searched"] > 0
