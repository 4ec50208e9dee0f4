"""Every row that a collection holds, by the tests' own reading, compared with the truth."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import orjson

Rows = dict[str, dict[Any, dict[str, Any]]]
"""Partition -> primary key -> field -> value; a value that is missing is not there."""

# One page holds all: those of Milvus Lite are in no order.
_PAGE = 16_000
_SINGLE = ("FLOAT_VECTOR", "FLOAT")


def differences(client: Any, name: str, truth: Rows) -> list[str]:
    """How a loaded collection differs from what it must hold; in a few words each.

    Args:
        name: of the collection, or an alias.
    """
    told = client.describe_collection(name)
    kinds = {field["name"]: field["type"].name for field in told["fields"]}
    [key] = [field["name"] for field in told["fields"] if field.get("is_primary")]
    every = f'{key} >= ""' if kinds[key] == "VARCHAR" else f"{key} >= 0 or {key} < 0"
    problems = []
    partitions = set(client.list_partitions(name))
    if not set(truth) <= partitions <= {"_default", *truth}:
        problems.append(f"partitions {sorted(partitions)}, expected {sorted(truth)}")
    for partition in sorted(set(truth) & partitions):
        where = {"partition_names": [partition], "consistency_level": "Strong"}
        found = client.query(name, every, ["*"], limit=_PAGE, **where)
        counted = client.query(name, every, ["count(*)"], **where)[0]["count(*)"]
        expected = truth[partition]
        if not counted == len(found) == len(expected):
            problems.append(
                f"{partition}: {len(expected)} rows expected, {counted} counted, {len(found)} read"
            )
        problems += _compare(partition, kinds, key, expected, found)
    total = client.query(name, every, ["count(*)"], consistency_level="Strong")[0]["count(*)"]
    if total != sum(map(len, truth.values())):
        problems.append(f"{total} rows in all, expected {sum(map(len, truth.values()))}")
    return problems


def _compare(
    partition: str,
    kinds: dict[str, str],
    key: str,
    expected: dict[Any, dict[str, Any]],
    found: Iterable[dict[str, Any]],
) -> list[str]:
    held: dict[Any, dict[str, Any]] = {}
    doubled = []
    for row in found:
        if row[key] in held:
            doubled.append(row[key])
        held[row[key]] = plain(row, kinds)
    lost = sorted(set(expected) - set(held))
    more = sorted(set(held) - set(expected))
    altered = sorted(
        one for one in set(held) & set(expected) if held[one] != plain(expected[one], kinds)
    )
    return [
        f"{partition}: {len(keys)} rows {what}, such as {keys[:3]}"
        for what, keys in (
            ("lost", lost),
            ("doubled", doubled),
            ("altered", altered),
            ("too many", more),
        )
        if keys
    ]


def plain(row: dict[str, Any], kinds: dict[str, str]) -> dict[str, Any]:
    """A row in one form, whichever client gave it; single precision as bytes."""
    values = {name: _plain(value, kinds.get(name, "")) for name, value in row.items()}
    return {name: value for name, value in values.items() if value is not None}


def _plain(value: Any, kind: str) -> Any:
    if value is None or isinstance(value, bytes):
        return value
    if kind in _SINGLE:
        return np.asarray(value, np.float32).tobytes()
    if kind == "BINARY_VECTOR":
        return bytes(value[0])
    if kind == "JSON" and isinstance(value, str):
        return orjson.loads(value)
    if isinstance(value, str | dict) or not hasattr(value, "__iter__"):
        return value
    return [_plain(one, "") for one in value]
