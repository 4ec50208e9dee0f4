"""Compares rows on the target with those that were read from the source."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from airlift.chunk import APPENDED_KEYS, SAMPLE, Chunk
from airlift.fingerprint import Fingerprint, Fingerprinter, FingerprintKey
from airlift.key_buckets import buckets_of
from airlift.migration import Migration
from airlift.milvus.database import MilvusDatabase
from airlift.milvus.rows import MilvusRows
from airlift.plan import CollectionPlan
from airlift.reading_ahead import map_ahead
from airlift.row_hash import BUCKETS
from airlift.schema import CollectionSchema
from airlift.steps.staged_chunk import reading_chunk

_KEYS_A_QUERY = 1024
_SHOWN = 5
"""Primary keys that are named; the others are counted."""


def read_sample(migration: Migration, collection: CollectionPlan) -> dict[str, pa.Table]:
    """The rows that were kept aside while converting, without those whose key is not their own.

    Returns:
        The rows by the target partition that they must be in; "" for the default one.
    """
    folder = migration.staging.folder

    def read(chunk: Chunk) -> pa.Table:
        with (
            reading_chunk(migration, collection.name, chunk.id, SAMPLE),
            folder.open_input(f"{collection.name}/{chunk.id}/{SAMPLE}") as stream,
        ):
            return pq.read_table(stream, schema=collection.mapped.target.arrow)

    samples: dict[str, list[pa.Table]] = {}
    tables = map_ahead(read, collection.chunks, folder.small_files_ahead)
    for chunk, table in zip(collection.chunks, tables, strict=True):
        samples.setdefault(collection.partition_of(chunk), []).append(table)
    repeated = _repeated_keys(migration, collection)
    return {
        partition: _without_keys(pa.concat_tables(parts).combine_chunks(), collection, repeated)
        for partition, parts in samples.items()
    }


def _repeated_keys(
    migration: Migration, collection: CollectionPlan
) -> npt.NDArray[np.int64] | None:
    if not collection.repeated_keys or collection.mapped.target.primary_key.auto_id:
        return None
    with migration.staging.scratch.open_input(collection.repeated_keys) as stream:
        keys: npt.NDArray[np.int64] = np.lib.format.read_array(stream, allow_pickle=False)
    return keys


def _without_keys(
    sample: pa.Table, collection: CollectionPlan, keys: npt.NDArray[np.int64] | None
) -> pa.Table:
    if keys is None:
        return sample
    own = sample.column(collection.mapped.target.primary_key.name)
    return sample.filter(pc.invert(pc.is_in(own, pa.array(keys))))


def compare_sample(
    migration: Migration,
    collection: CollectionPlan,
    samples: dict[str, pa.Table],
    problems: list[str],
) -> dict[str, Any]:
    """Reads the sampled rows back by primary key and compares every field, bit for bit.

    A row must be in its partition. With `auto_id` rows have no key of ours; the searches compare
    them instead.

    Args:
        samples: as `read_sample` gives them.
    """
    if collection.mapped.target.primary_key.auto_id:
        return {}
    target = migration.target(collection.mapped)
    rows, there = MilvusRows(target), existing_partitions(target, collection)
    for partition, sample in samples.items():
        if partition in there:
            _compare_partition(collection, rows, partition, sample, problems)
        elif sample.num_rows:
            problems.append(f"the partition {partition or '_default'} is not on the target")
    return {"sampled": sum(sample.num_rows for sample in samples.values())}


def existing_partitions(target: MilvusDatabase, collection: CollectionPlan) -> set[str]:
    """The partitions of the target's collection; "" for the default one.

    With a partition key they are the server's own, and rows are looked for in all of them.
    """
    if collection.mapped.has_partition_key:
        return {""}
    names = target.partitions(collection.target_name)
    return {"" if name == "_default" else name for name in names}


def _compare_partition(
    collection: CollectionPlan,
    rows: MilvusRows,
    partition: str,
    sample: pa.Table,
    problems: list[str],
) -> None:
    schema = collection.mapped.target
    key = schema.primary_key
    sample = sample.sort_by(key.name).combine_chunks()
    keys = sample.column(key.name).to_pylist()
    own = _partition_to_read(collection, partition)
    answers = [
        rows.by_key(schema.name, schema.written, key, part, partition=own)
        for part in (keys[at : at + _KEYS_A_QUERY] for at in range(0, len(keys), _KEYS_A_QUERY))
    ]
    found = pa.Table.from_batches(answers, schema=schema.arrow).sort_by(key.name).combine_chunks()
    found_keys = found.column(key.name).to_pylist()
    missing = sorted(set(keys) - set(found_keys))
    if missing:
        problems += _missing_rows(collection, rows, partition, missing, len(keys))
    if len(found_keys) != len(set(found_keys)):
        problems.append("reading rows by primary key gave some of them twice")
    elif not missing and not _same_bits(found, sample):
        problems += _differences(schema, sample, found)


def _partition_to_read(collection: CollectionPlan, partition: str) -> str | None:
    """As `MilvusRows` takes it: None for the whole collection, where the server spreads rows."""
    return None if collection.mapped.has_partition_key else partition


def _missing_rows(
    collection: CollectionPlan, rows: MilvusRows, partition: str, missing: list[Any], sampled: int
) -> Iterator[str]:
    """Tells rows that are in another partition from those that are nowhere."""
    schema = collection.mapped.target
    is_keyed = collection.mapped.has_partition_key
    where = "" if is_keyed else f" of the partition {partition or '_default'}"
    keys = pa.array(missing, schema.primary_key.arrow.type)
    elsewhere = rows.held(schema.name, schema.primary_key, keys)
    misplaced = keys.filter(pa.array(elsewhere)).to_pylist()
    lost = keys.filter(pa.array(~elsewhere)).to_pylist()
    if misplaced:
        yield (
            f"{len(misplaced):,} of {sampled:,} sampled rows{where} are in another partition: "
            f"primary keys {misplaced[:_SHOWN]}"
        )
    if lost:
        yield f"{len(lost):,} of {sampled:,} sampled rows{where} are missing: {lost[:_SHOWN]}"


def _same_bits(found: pa.Table, sample: pa.Table) -> bool:
    """Whether two tables hold the same rows, bit for bit; Arrow takes 0.0 and -0.0 for equal."""
    key, prints = FingerprintKey.draw(), []
    for table in (found, sample):
        fingerprinter = key.fingerprinter(None)
        for batch in table.to_batches():
            fingerprinter.add(batch)
        prints.append(fingerprinter.fingerprint)
    return prints[0] == prints[1]


def _differences(schema: CollectionSchema, sample: pa.Table, found: pa.Table) -> list[str]:
    """The fields that differ, in tables of the same primary keys in the same order."""
    keys = sample.column(schema.primary_key.name).to_pylist()
    differences = []
    for field in schema.written:
        expected, values = (_comparable(table.column(field.name)) for table in (sample, found))
        wrong = [key for key, our, its in zip(keys, expected, values, strict=True) if our != its]
        if wrong:
            differences.append(
                f"the field {field.name!r} differs in {len(wrong):,} of {len(keys):,} sampled "
                f"rows, primary keys {wrong[:_SHOWN]}"
            )
    return differences or ["sampled rows differ in bits that have the same values"]


def _comparable(column: pa.ChunkedArray) -> list[Any]:
    """Values that are equal if all their bits are; 0.0 and -0.0 have the same `==`."""
    return [None if value is None else repr(value) for value in column.to_pylist()]


def compare_all(
    migration: Migration, collection: CollectionPlan, before: int, problems: list[str]
) -> dict[str, Any]:
    """Reads every row back and compares the fingerprint and the number of distinct keys.

    Args:
        before: rows that its partitions held before this migration.
    """
    schema = collection.mapped.target
    if before and schema.primary_key.auto_id:
        problems.append(
            "verify full can't tell the rows of this migration from those that were there before: "
            "the target makes the primary keys (auto_id); use verify sample"
        )
        return {}
    expected, expected_rows = _converted(migration, collection, problems)
    key = None if schema.primary_key.auto_id else schema.primary_key.name
    read = collection.fingerprint_key.fingerprinter(key)
    written = [field.name for field in schema.written]
    target = migration.target(collection.mapped)
    rows, there = MilvusRows(target), existing_partitions(target, collection)
    if before:
        pages = _own_rows(migration, collection, rows, there)
    else:
        pages = _all_rows(collection, rows, there)
    for partition, page in pages:
        read.add(page.select(written), partition)
    differing = None
    if read.rows != expected_rows:
        problems.append(
            f"{read.rows:,} rows were read back (those that share a primary key count once), "
            f"{expected_rows:,} were converted"
        )
    if read.fingerprint != expected:
        differing, where = _differing_buckets(migration, collection, expected, read)
        problems.append(
            f"the rows read back have the fingerprint {read.fingerprint}, expected that of the "
            f"source, {expected}: some rows differ, or are in another partition{where}"
        )
    return {
        "compared": read.rows,
        "fingerprint_source": str(expected),
        "fingerprint_target": str(read.fingerprint),
        "buckets_differing": differing,
    }


def _converted(
    migration: Migration, collection: CollectionPlan, problems: list[str]
) -> tuple[Fingerprint, int]:
    """The fingerprint and the number of the rows that were converted."""
    found = migration.staging.manifests(collection.chunk_refs)
    manifests = [manifest for manifest in found if manifest]
    total, unusable = Fingerprint(), []
    for manifest in manifests:
        own = Fingerprint.parse(manifest.fingerprint)
        if own is None or manifest.fingerprint_key != collection.fingerprint_key.id:
            unusable.append(manifest.chunk)
        else:
            total = total.combined(own)
    if unusable:
        problems.append(
            f"the rows can't be compared: the fingerprints in the manifests of {len(unusable):,} "
            f"chunks (the first is {unusable[0]}) are damaged, or were computed with another key "
            "than the plan's; restore these files, or drop the collection and run again with a "
            "new migration_id"
        )
    return total, sum(manifest.rows for manifest in manifests)


def _differing_buckets(
    migration: Migration,
    collection: CollectionPlan,
    expected: Fingerprint,
    read: Fingerprinter,
) -> tuple[int | None, str]:
    """In how many buckets of the primary key's hash rows differ, if known; and as a text."""
    buckets = buckets_of(migration.staging, collection, expected)
    if buckets is None:
        return None, ""
    differing = int((buckets != read.buckets).any(axis=0).sum())
    return differing, f"; differences are in {differing:,} of {BUCKETS:,} buckets of rows"


def _all_rows(
    collection: CollectionPlan, rows: MilvusRows, partitions: set[str]
) -> Iterator[tuple[str, pa.RecordBatch]]:
    """All rows of the partitions that this migration writes to, page by page.

    Args:
        partitions: those that are there.
    """
    schema = collection.mapped.target
    for partition in sorted(collection.own_partitions & partitions):
        own = _partition_to_read(collection, partition)
        for page in rows.scan(schema.name, schema.written, schema.primary_key, own):
            yield partition, page


def _own_rows(
    migration: Migration, collection: CollectionPlan, rows: MilvusRows, partitions: set[str]
) -> Iterator[tuple[str, pa.RecordBatch]]:
    """The rows that this migration wrote, of partitions that have others too.

    Args:
        partitions: those that are there.
    """
    schema = collection.mapped.target
    for chunk in collection.chunks:
        partition = collection.partition_of(chunk)
        if partition not in partitions:
            continue
        own = _partition_to_read(collection, partition)
        folder = migration.staging.chunk_folder(collection.name, chunk.id)
        with folder.open_input(APPENDED_KEYS) as stream:
            for batch in pq.ParquetFile(stream).iter_batches(_KEYS_A_QUERY):
                keys = batch.column(0).to_pylist()
                key, fields = schema.primary_key, schema.written
                yield partition, rows.by_key(schema.name, fields, key, keys, partition=own)
