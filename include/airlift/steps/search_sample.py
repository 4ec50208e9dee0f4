"""Searches for sampled vectors on the target, as its users will."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from airlift.datatypes import DataType
from airlift.migration import Migration, log
from airlift.milvus.rows import Hit, MilvusRows
from airlift.params import Verify
from airlift.plan import CollectionPlan
from airlift.schema import Field
from airlift.vectors import numbers
from airlift.verification import SearchCheck

SEARCHES = 20
_EFFORTS = (10, 1000, 16_384)
"""Results asked for, which is also the least effort of the search; the last is Milvus' most."""
_SHOWN = 5
"""Primary keys that are named; the others are counted."""
_KEYS_A_QUERY = 256


def search_sample(
    migration: Migration, collection: CollectionPlan, sample: pa.Table
) -> tuple[dict[str, Any], list[str]]:
    """Searches for sampled vectors: each should find itself first, or a row just as near.

    An index may overlook a vector at a small search effort, on data without structure even most of
    them; that is its recall and no loss. So what was overlooked is searched for again with more
    effort, which more results make. `found_at_once` says how the first searches came out.

    Returns:
        What was found, for the verification; and what is wrong, as texts: only where the target
        makes the keys and not every row is compared, so that nothing else has compared values. A
        row that no search finds, first or later, may be missing then.
    """
    schema = collection.mapped.target
    checks: list[SearchCheck] = []
    problems: list[str] = []
    is_full = migration.params.verify is Verify.FULL
    nothing_compares_values = schema.primary_key.auto_id and not is_full
    for field in schema.vectors:
        if field.is_function_output:
            continue  # the target's own making
        chosen = left = _spread(sample.filter(_searchable(field, sample.column(field.name))))
        tried: list[SearchCheck] = []
        for effort in _EFFORTS:
            tried = _find_themselves(migration, collection, field, left, effort)
            checks += [check for check in tried if check.found]
            left = left.filter(pa.array([not check.found for check in tried], type=pa.bool_()))
        if left.num_rows:
            checks += [check for check in tried if not check.found]
            keys = [] if schema.primary_key.auto_id else left.column(schema.primary_key.name)
            log.warning(
                "%s: %d of %d sampled vectors of the field %r are not the first hit of a search "
                "for them, at any effort: primary keys %s",
                collection.name,
                left.num_rows,
                chosen.num_rows,
                field.name,
                [key.as_py() for key in keys[:_SHOWN]],
            )
            if nothing_compares_values and (lost := _not_found(migration, collection, field, left)):
                problems.append(
                    f"{lost} of {chosen.num_rows} sampled vectors of the field {field.name!r} are "
                    "not among the hits of a search for them, at any effort"
                )
    first = [check for check in checks if check.found]
    found = {
        "searched": len(checks),
        "found_at_once": sum(check.effort == _EFFORTS[0] for check in first),
        "found_first": len(first),
        "searches": tuple(checks),
    }
    return found, problems


def _not_found(
    migration: Migration, collection: CollectionPlan, field: Field, sample: pa.Table
) -> int:
    """How many vectors are not held by any of the rows that a search for them finds.

    An index that keeps vectors in few bits may give each another distance than its own, and so
    another rank. The rows' own values are whole, and tell.
    """
    target, schema = MilvusRows(migration.target(collection.mapped)), collection.mapped.target
    key, vectors = schema.primary_key, sample.column(field.name).to_pylist()
    hits = target.search(schema.name, field, vectors, _EFFORTS[-1], key)

    def is_held(vector: Any, keys: list[int | str]) -> bool:
        parts = (keys[at : at + _KEYS_A_QUERY] for at in range(0, len(keys), _KEYS_A_QUERY))
        answers = (target.by_key(schema.name, (field,), key, part) for part in parts)
        # 0.0 and -0.0 are equal, but not written alike.
        return any(
            repr(vector) in map(repr, answer.column(field.name).to_pylist()) for answer in answers
        )

    held = [
        is_held(vector, [hit.key for hit in own]) for vector, own in zip(vectors, hits, strict=True)
    ]
    return held.count(False)


def _searchable(field: Field, column: pa.ChunkedArray) -> pa.Array:
    """Which vectors have a distance from themselves that the server can compute.

    Servers compute in float32. A vector of zeros, or one so short that its squares are zeros, has
    no direction; one so long that its squares are infinite has no distance.
    """
    if field.type is DataType.BINARY_VECTOR:
        return pc.is_valid(column)
    needs_direction = field.metric_type == "COSINE" or field.type is DataType.SPARSE_FLOAT_VECTOR
    least = float(np.finfo(np.float32).tiny) if needs_direction else 0.0
    marks = []
    for vector in column.to_pylist():
        with np.errstate(over="ignore", under="ignore"):
            values = np.zeros(1) if vector is None else numbers(field, vector)
            square = float(np.dot(values, values))
        marks.append(vector is not None and least <= square <= float(np.finfo(np.float32).max))
    return pa.array(marks, pa.bool_())


def _spread(rows: pa.Table) -> pa.Table:
    """At most SEARCHES rows, from the first to the last."""
    at = np.unique(np.linspace(0, max(rows.num_rows - 1, 0), SEARCHES).astype(np.int64))
    return rows.take(pa.array(at[: rows.num_rows]))


def _find_themselves(
    migration: Migration, collection: CollectionPlan, field: Field, rows: pa.Table, effort: int
) -> list[SearchCheck]:
    """For each row, whether a search for its vector finds it first, and as what it does."""
    if rows.num_rows == 0:
        return []
    schema = collection.mapped.target
    key = schema.primary_key
    vectors = rows.column(field.name).to_pylist()
    keys = [None] * len(vectors) if key.auto_id else rows.column(key.name).to_pylist()
    target = MilvusRows(migration.target(collection.mapped))
    hits = target.search(schema.name, field, vectors, effort, key)
    return [
        SearchCheck(
            field=field.name,
            key="" if key is None else str(key),
            rank=next((n for n, hit in enumerate(own, 1) if hit.key == key), None),
            distance=own[0].distance if own and math.isfinite(own[0].distance) else None,
            effort=effort,
            found=_is_first(field, vector, key, own),
        )
        for vector, key, own in zip(vectors, keys, hits, strict=True)
    ]


def _is_first(field: Field, vector: Any, key: Any, hits: list[Hit]) -> bool:
    """Whether a search for a vector found the vector itself first, or something as near."""
    if not hits:
        return False
    if key is not None and hits[0].key == key:
        return True
    best = hits[0].distance
    values = numbers(field, vector)
    if field.metric_type == "IP":
        # A longer vector in the same direction beats the vector itself, and rightly so.
        own = float(np.dot(values, values))
        return best >= own - 1e-4 * max(1.0, abs(own))
    if field.metric_type == "COSINE":
        return best >= 1 - 1e-4
    # L2, HAMMING, JACCARD: nothing is nearer than itself, at 0; float sums leave a little.
    norm = float(np.dot(values, values))
    return best <= 1e-5 * max(1.0, norm)
