"""Compares what a target really holds with what the sample generator wrote.

It reads with pymilvus' own MilvusClient.query and shares no code with the product's verification.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samples.milvus1x_tables import CollectionTruth, PartitionTruth

# Milvus 2.3.5 may crash on large pages of binary vectors.
_PAGE_ROWS = {"FLOAT_VECTOR": 8192, "BINARY_VECTOR": 512}


def count(client: Any, name: str, partition: str | None = None, key: str = "id") -> int:
    """`count(*)` of a loaded collection or of one partition of it."""
    answer = client.query(
        name,
        # Milvus Lite counts a partition only where there is an expression.
        filter=f"{key} < 0 or {key} >= 0" if partition else "",
        output_fields=["count(*)"],
        partition_names=[partition] if partition else None,
        consistency_level="Strong",
    )
    return int(answer[0]["count(*)"])


def read_back(
    client: Any, name: str, partition: str, vector: str = "vector", key: str = "id"
) -> tuple[NDArray[np.int64], bytes]:
    """Ids in order, and the vectors' bytes, of a partition; rows with one id come once."""
    ids: list[int] = []
    vectors: list[bytes] = []
    for row in _rows(client, name, partition, key, vector):
        ids.append(row[key])
        vectors.append(_bytes(row[vector]))
    return np.array(ids, np.int64), b"".join(vectors)


def _rows(
    client: Any, name: str, partition: str, key: str, vector: str
) -> Iterator[dict[str, Any]]:
    fields = client.describe_collection(name)["fields"]
    [kind] = [field["type"].name for field in fields if field["name"] == vector]
    limit = _PAGE_ROWS[kind]
    after = f"{key} < 0 or {key} >= 0"
    while True:
        page = client.query(
            name,
            filter=after,
            output_fields=[key, vector],
            partition_names=[partition],
            limit=limit,
            consistency_level="Strong",
        )
        yield from sorted(page, key=lambda row: row[key])
        if len(page) < limit:
            return
        after = f"{key} > {max(row[key] for row in page)}"


def _bytes(vector: Any) -> bytes:
    """A vector's bits, as the server gave them."""
    if isinstance(vector, list) and len(vector) == 1 and isinstance(vector[0], bytes):
        return vector[0]
    if isinstance(vector, bytes):
        return vector
    return np.asarray(vector, np.float32).tobytes()


def in_order(part: PartitionTruth) -> tuple[NDArray[np.int64], bytes]:
    """The truth in the order of `read_back`."""
    order = np.argsort(part.ids, kind="stable")
    return part.ids[order], part.vectors[order].tobytes()


def assert_holds(
    client: Any,
    name: str,
    truth: CollectionTruth,
    partitions: Mapping[str, str] | None = None,
    vector: str = "vector",
    key: str = "id",
) -> None:
    """The collection holds the truth's rows, in their partitions, bit for bit, and no others.

    Args:
        partitions: source tag -> target partition, of those that were moved, where names differ or
            not all were chosen.
    """
    if partitions is None:
        partitions = {tag: tag or "_default" for tag in truth.partitions}
    assert set(client.list_partitions(name)) == {"_default", *partitions.values()}
    for tag, partition in partitions.items():
        expected_ids, expected_vectors = in_order(truth.partitions[tag])
        assert count(client, name, partition, key) == len(expected_ids), (name, tag)
        ids, vectors = read_back(client, name, partition, vector, key)
        assert np.array_equal(ids, expected_ids), (name, tag)
        assert vectors == expected_vectors, (name, tag)
    assert count(client, name) == sum(len(truth.partitions[tag].ids) for tag in partitions)


def assert_holds_vectors(client: Any, name: str, truth: CollectionTruth, key: str = "id") -> None:
    """The same where the target makes the ids: only the vectors can be compared, as a multiset."""
    for tag, part in truth.partitions.items():
        partition = tag or "_default"
        assert count(client, name, partition, key) == len(part.ids), (name, tag)
        ids, vectors = read_back(client, name, partition, key=key)
        assert len(np.unique(ids)) == len(part.ids)
        width = part.vectors.itemsize * part.vectors.shape[1]
        assert rows_sorted(vectors, width) == rows_sorted(part.vectors.tobytes(), width)


def rows_sorted(data: bytes, width: int) -> list[bytes]:
    """The rows of `width` bytes each, sorted."""
    return sorted(data[at : at + width] for at in range(0, len(data), width))


def together(*truths: CollectionTruth) -> CollectionTruth:
    """What a collection holds after one migration and then another into it."""
    tags = list(dict.fromkeys(tag for truth in truths for tag in truth.partitions))
    parts = {
        tag: [truth.partitions[tag] for truth in truths if tag in truth.partitions] for tag in tags
    }
    return CollectionTruth(
        rows=sum(truth.rows for truth in truths),
        deleted=sum(truth.deleted for truth in truths),
        partitions={
            tag: PartitionTruth(
                np.concatenate([part.ids for part in found]),
                np.concatenate([part.vectors for part in found]),
            )
            for tag, found in parts.items()
        },
    )
