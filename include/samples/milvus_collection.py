"""A sample collection in a running Milvus: songs, with texts, lists and a dynamic field."""

from __future__ import annotations

from typing import Any

import numpy as np

DIM = 64
_BATCH = 2_000


def songs(rows: int, seed: int = 0) -> list[dict[str, Any]]:
    """Rows as a client inserts them."""
    vectors = np.random.default_rng(seed).standard_normal((rows, DIM)).astype(np.float32)
    genres = ("rock", "jazz", "blues 蓝调", 'with "quotes"')
    return [
        {
            "id": row * 3,
            "vector": [float(value) for value in vectors[row]],
            "title": f"song no. {row}, {genres[row % 4]}",
            "year": 1950 + row % 70,
            "tags": [genres[row % 4], genres[row // 4 % 4]][: row % 3],
            **({"remastered": row % 2 == 0} if row % 5 else {}),
        }
        for row in range(rows)
    ]


def write_songs(client: Any, name: str, rows: int) -> None:
    """Makes a collection, fills it, indexes it and loads it.

    Args:
        client: a pymilvus MilvusClient.
    """
    from pymilvus import DataType

    schema = client.create_schema(enable_dynamic_field=True)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
    schema.add_field("title", DataType.VARCHAR, max_length=200)
    schema.add_field("year", DataType.INT32)
    schema.add_field(
        "tags", DataType.ARRAY, element_type=DataType.VARCHAR, max_length=50, max_capacity=8
    )
    client.create_collection(name, schema=schema)
    made = songs(rows)
    for start in range(0, rows, _BATCH):
        client.insert(name, made[start : start + _BATCH])
    index = client.prepare_index_params()
    index.add_index("vector", index_type="HNSW", metric_type="COSINE", params={"M": 16})
    client.create_index(name, index)
    client.load_collection(name)
