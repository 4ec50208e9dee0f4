"""Compares rows on the target with those that were read from the source."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from airlift.chunk import APPENDED_KEYS, Chunk
from airlift.datatypes import DataType
from airlift.fingerprint import combined, fingerprint, from_text, to_text
from airlift.migration import Migration
from airlift.milvus.rows import Hit, MilvusRows
from airlift.plan import CollectionPlan
from airlift.reading_ahead import map_ahead
from airlift.schema import Field
from airlift.vectors import numbers
from airlift.verification import SearchCheck

SEARCHES = 20
_EFFORTS = (10, 1000, 16_384)
"""Results asked for, which is also the least effort of the search; the last is Milvus' most."""
_KEYS_A_QUERY = 1024
_TOLD = 5
"""Differences that are told one by one; the rest is counted."""


def read_sample(migration: Migration, collection: CollectionPlan) -> pa.Table:
    """The rows that were kept aside while converting, without those whose key is not their own."""
    folder = migration.staging.folder

    def read(chunk: Chunk) -> pa.Table:
        with folder.open_input(f"{collection.name}/{chunk.id}/sample.parquet") as stream:
            return pq.read_table(stream, schema=collection.mapped.target.arrow)

    tables = map_ahead(read, collection.chunks, folder.small_files_ahead)
    sample = pa.concat_tables(list(tables)).combine_chunks()
    key = collection.mapped.target.primary_key
    if collection.repeated_keys and not key.auto_id:
        repeated = _repeated_keys(migration, collection)
        sample = sample.filter(pc.invert(pc.is_in(sample.column(key.name), pa.array(repeated))))
    return sample


def _repeated_keys(migration: Migration, collection: CollectionPlan) -> npt.NDArray[np.int64]:
    with migration.staging.scratch.open_input(collection.repeated_keys) as stream:
        keys: npt.NDArray[np.int64] = np.lib.format.read_array(stream, allow_pickle=False)
    return keys


def compare_sample(
    migration: Migration, collection: CollectionPlan, sample: pa.Table, problems: list[str]
) -> dict[str, Any]:
    """Reads the sampled rows back by primary key and compares every field, bit for bit.

    With `auto_id` rows have no key of ours; the searches compare them instead.
    """
    schema = collection.mapped.target
    key = schema.primary_key
    if key.auto_id:
        return {}
    sample = sample.sort_by(key.name)
    rows = MilvusRows(migration.target(collection.mapped))
    keys = sample.column(key.name).to_pylist()
    answers = [
        rows.by_key(schema.name, schema.written, key, keys[start : start + _KEYS_A_QUERY])
        for start in range(0, len(keys), _KEYS_A_QUERY)
    ]
    found = pa.Table.from_batches(answers, schema=schema.arrow).sort_by(key.name).combine_chunks()
    lost = sorted(set(keys) - set(found.column(key.name).to_pylist()))
    if lost:
        problems.append(f"{len(lost):,} of {len(keys):,} sampled rows are missing: {lost[:_TOLD]}")
    if found.num_rows != len(set(found.column(key.name).to_pylist())):
        problems.append("reading rows by primary key gave some of them twice")
    elif not lost and not found.equals(sample.combine_chunks()):
        for field in schema.written:
            _tell_differences(field, key, sample, found, problems)
    return {"sampled": len(keys)}


def _tell_differences(
    field: Field, key: Field, sample: pa.Table, found: pa.Table, problems: list[str]
) -> None:
    ours, theirs = sample.column(field.name).to_pylist(), found.column(field.name).to_pylist()
    keys = sample.column(key.name).to_pylist()
    wrong = [key for key, our, their in zip(keys, ours, theirs, strict=True) if our != their]
    if wrong:
        problems.append(
            f"the field {field.name!r} differs in {len(wrong):,} of {len(keys):,} sampled rows, "
            f"primary keys {wrong[:_TOLD]}"
        )


def compare_search(
    migration: Migration, collection: CollectionPlan, sample: pa.Table, problems: list[str]
) -> dict[str, Any]:
    """Searches for sampled vectors: each must find itself first, or a row just as near.

    An index may overlook a vector at a small search effort, on data without structure even most of
    them; that is its recall and no loss. So what was overlooked is searched for again with more
    effort, which more results make. `found_at_once` tells how the first searches came out.
    """
    schema = collection.mapped.target
    checks: list[SearchCheck] = []
    for field in schema.vectors:
        if field.is_function_output:
            continue  # the target's own making
        # A row without a vector, or with one of zeros only, can't be found by it.
        chosen = left = _spread(sample.filter(_searchable(field, sample.column(field.name))))
        tried: list[SearchCheck] = []
        for effort in _EFFORTS:
            tried = _find_themselves(migration, collection, field, left, effort)
            checks += [one for one in tried if one.found]
            left = left.filter(pa.array([not one.found for one in tried], type=pa.bool_()))
        if left.num_rows:
            checks += [one for one in tried if not one.found]
            keys = [] if schema.primary_key.auto_id else left.column(schema.primary_key.name)
            problems.append(
                f"{left.num_rows} of {chosen.num_rows} sampled vectors of the field "
                f"{field.name!r} don't find themselves first, with any effort: primary keys "
                f"{[key.as_py() for key in keys[:_TOLD]]}; the index may be wrong"
            )
    first = [one for one in checks if one.found]
    return {
        "searched": len(checks),
        "found_at_once": sum(one.effort == _EFFORTS[0] for one in first),
        "found_first": len(first),
        "searches": tuple(checks),
    }


def _searchable(field: Field, column: pa.ChunkedArray) -> pa.Array:
    if field.metric_type != "COSINE" and field.type is not DataType.SPARSE_FLOAT_VECTOR:
        return pc.is_valid(column)
    vectors = column.to_pylist()
    has_direction = (one is not None and bool(numbers(field, one).any()) for one in vectors)
    return pa.array(list(has_direction), pa.bool_())


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


def compare_all(
    migration: Migration, collection: CollectionPlan, before: int, problems: list[str]
) -> dict[str, Any]:
    """Reads every row back and compares the fingerprint and the number of distinct keys."""
    schema = collection.mapped.target
    if before and schema.primary_key.auto_id:
        problems.append(
            "verify full can't tell the rows of this migration from those that were there before: "
            "the target makes the primary keys (auto_id); use verify sample"
        )
        return {}
    manifests = list(migration.staging.manifests(collection.chunk_refs))
    ours = combined(*(from_text(one.fingerprint) for one in manifests if one))
    expected = sum(one.rows for one in manifests if one)
    theirs = read = 0
    written = [field.name for field in schema.written]
    rows = MilvusRows(migration.target(collection.mapped))
    pages = rows.scan(schema.name, schema.written, schema.primary_key)
    if before:
        pages = _own_rows(migration, collection, rows)
    for page in pages:
        read += page.num_rows
        theirs = combined(theirs, fingerprint(page.select(written)))
    if read != expected:
        problems.append(
            f"{read:,} distinct primary keys were read back, {expected:,} rows were converted"
        )
    elif theirs != ours:
        problems.append(
            f"the rows read back have the fingerprint {to_text(theirs)}, those of the source "
            f"{to_text(ours)}: some differ"
        )
    return {
        "compared": read,
        "fingerprint_source": to_text(ours),
        "fingerprint_target": to_text(theirs),
    }


def _own_rows(
    migration: Migration, collection: CollectionPlan, rows: MilvusRows
) -> Iterator[pa.RecordBatch]:
    """The rows that this migration wrote, of a collection that has others too."""
    schema = collection.mapped.target
    for chunk in collection.chunks:
        folder = migration.staging.chunk_folder(collection.name, chunk.id)
        with folder.open_input(APPENDED_KEYS) as stream:
            for batch in pq.ParquetFile(stream).iter_batches(_KEYS_A_QUERY):
                keys = batch.column(0).to_pylist()
                yield rows.by_key(schema.name, schema.written, schema.primary_key, keys)
