"""Searching for sampled vectors fails no collection whose values are right."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from airlift.datatypes import DataType
from airlift.errors import Mismatch
from airlift.schema import CollectionSchema, Field
from airlift.targets.insert import Insert
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


COARSE = {
    "IVF_SQ8": {"index_type": "IVF_SQ8", "params": {"nlist": 4}},
    "IVF_PQ": {"index_type": "IVF_PQ", "params": {"nlist": 4, "m": 4, "nbits": 8}},
}


def many() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((1500, DIM)).astype(np.float32)


@pytest.mark.parametrize("place", ["milvus"], indirect=True)
@pytest.mark.parametrize("index", COARSE)
@pytest.mark.parametrize("metric", ["L2", "COSINE", "IP"])
def test_an_index_of_few_bits_fails_no_rows_with_keys_of_the_targets_own(place, index, metric):
    """Its distances are not those of the vectors, which are kept whole beside it."""
    report = run_from(
        place,
        source(many(), metric),
        index=COARSE[index],
        verify="sample",
        on_mismatch="drop",
        mapping={"songs": {"auto_id": True}},
    )
    assert report["state"] == "done"
    [collection] = report["collections"]
    verification = collection["verification"]
    assert verification["problems"] == []
    assert verification["found_first"] < verification["searched"]


@pytest.mark.parametrize("place", ["milvus"], indirect=True)
@pytest.mark.parametrize("change", [np.negative, lambda rows: rows + np.float32(0.5)])
def test_nor_does_it_hide_other_vectors(place, change, monkeypatch):
    """What was sent is not what was read; an exact index would not find it either."""
    write = Insert._write

    def changed(self: Any, schema: Any, partition: str, batch: pa.RecordBatch) -> None:
        rows = np.asarray(batch.column("vector").flatten()).reshape(-1, DIM)
        column = pa.FixedSizeListArray.from_arrays(pa.array(change(rows).reshape(-1)), DIM)
        place_of = batch.schema.get_field_index("vector")
        batch = batch.set_column(place_of, batch.schema.field("vector"), column)
        write(self, schema, partition, batch)

    monkeypatch.setattr(Insert, "_write", changed)
    with pytest.raises(Mismatch, match="20 of 20 sampled vectors of the field 'vector' are not"):
        run_from(
            place,
            source(many(), "L2"),
            index=COARSE["IVF_SQ8"],
            verify="sample",
            write_mode="insert",
            mapping={"songs": {"auto_id": True}},
        )
