"""Puts imported columns into Milvus Lite, and counts the copies that Lite forgets.

Milvus Lite keeps one row per primary key: importing (or inserting) a key twice overwrites it,
where a Milvus server keeps both rows, counts both in ``count(*)`` and returns one of them in a
query. The `Ledger` remembers the copies, so that the counts of this server double as the real ones
do.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
from milvus_lite.db import MilvusLite
from milvus_lite.engine.collection import Collection
from milvus_lite.engine.operation import InsertOp
from milvus_lite.search.bitmap import build_valid_mask

from .definitions import Definitions
from .schema import Field, Schema, of_lite

BATCH = 65_536


class Ledger:
    """The partition of each living primary key of a collection, and those of its older copies."""

    def __init__(self) -> None:
        self.where: dict[Any, str] = {}
        self.copies: dict[Any, list[str]] = {}

    def add(self, keys: Iterable[Any], partition: str) -> None:
        where, copies = self.where, self.copies
        for key in keys:
            old = where.get(key)
            if old is not None:
                copies.setdefault(key, []).append(old)
            where[key] = partition

    def replace(self, keys: Iterable[Any], partition: str) -> None:
        for key in keys:
            self.where[key] = partition
            self.copies.pop(key, None)

    def remove(self, keys: Iterable[Any], partition: str | None = None) -> None:
        for key in keys:
            if partition is not None and self.where.get(key) != partition:
                continue
            self.where.pop(key, None)
            self.copies.pop(key, None)

    def drop_partition(self, partition: str) -> None:
        self.remove([k for k, p in self.where.items() if p == partition])
        for key in list(self.copies):
            left = [p for p in self.copies[key] if p != partition]
            self.copies[key] = left
            if not left:
                del self.copies[key]

    def total(self, partitions: list[str] | None) -> int:
        """All rows that a server would count."""
        living = (
            len(self.where)
            if partitions is None
            else sum(1 for p in self.where.values() if p in partitions)
        )
        return living + self.extra(None, partitions)

    def extra(self, keys: Iterable[Any] | None, partitions: list[str] | None) -> int:
        """How many rows a server would count beyond Lite's, among `keys` (None: all)."""
        if not self.copies:
            return 0
        chosen = (
            self.copies.values()
            if keys is None
            else [self.copies[k] for k in keys if k in self.copies]
        )
        return sum(1 for ps in chosen for p in ps if partitions is None or p in partitions)


class Engine:
    """The Lite database with its write lock, its ledgers and an identity for every collection."""

    def __init__(self, db: MilvusLite) -> None:
        self.db = db
        self.lock = threading.RLock()
        self._ids: dict[tuple[str, str], int] = {}
        self._next_id = 450_000_000_000_000_001
        self._ledgers: dict[int, Ledger] = {}
        self._declared: dict[int, dict[str, Field]] = {}
        self.dropped: dict[tuple[str, str], int] = {}
        """The identity of the collection that last had a name, while no other has it."""
        self.definitions = Definitions()

    def inherit(self, old: Engine) -> None:
        """After a restart: the same collections, with the same identities and copies."""
        self._ids, self._next_id, self._ledgers = old._ids, old._next_id, old._ledgers
        self.definitions = old.definitions
        self._declared, self.dropped = old._declared, old.dropped

    def declare(self, database: str, name: str, fields: Iterable[Field]) -> None:
        """Remembers the fields that a new collection was asked for: Lite forgets some of it."""
        with self.lock:
            self.dropped.pop((database, name), None)
            uid = self.identity(database, name)
            self._declared[uid] = {field.name: field for field in fields}

    def schema(self, database: str, name: str) -> Schema:
        """The fields of a collection; raises Lite's CollectionNotFoundError."""
        lite = self.collection(database, name).schema
        return of_lite(lite, self._declared.get(self.identity(database, name), {}))

    def collection(self, database: str, name: str) -> Collection:
        """Opens a collection by name or alias; raises Lite's CollectionNotFoundError."""
        return self.db.get_collection(name, database_name=database)

    def identity(self, database: str, name: str) -> int:
        """A number that a collection keeps while it lives; its successor by name has another."""
        name = self.db.resolve_collection_name(name, database_name=database)
        with self.lock:
            if (database, name) not in self._ids:
                self._ids[database, name] = self._next_id
                self._next_id += 1
            return self._ids[database, name]

    def name_of(self, database: str, identity: int) -> str | None:
        """The name that a collection has now; None when it is dropped."""
        with self.lock:
            names = (
                name
                for (other, name), uid in self._ids.items()
                if other == database and uid == identity
            )
            return next(names, None)

    def forget(self, database: str, name: str) -> None:
        with self.lock:
            uid = self._ids.pop((database, name), 0)
            self._ledgers.pop(uid, None)
            self._declared.pop(uid, None)
            self.definitions.forget(uid)
            if uid:
                self.dropped[database, name] = uid

    def renamed(self, database: str, old: str, new: str) -> None:
        with self.lock:
            if (database, old) in self._ids:
                self._ids[database, new] = self._ids.pop((database, old))

    def ledger(self, database: str, name: str) -> Ledger:
        """The ledger of a collection; a new one learns the rows that Lite already has."""
        with self.lock:
            uid = self.identity(database, name)
            if uid not in self._ledgers:
                ledger = self._ledgers[uid] = Ledger()
                col = self.collection(database, name)
                for partition in col.list_partitions():
                    ledger.add(_living_keys(col, partition), partition)
            return self._ledgers[uid]

    def count(
        self, database: str, name: str, expr: str | None, partitions: list[str] | None
    ) -> int:
        """``count(*)`` as a server answers it: with copies, without deleted rows."""
        with self.lock:
            col = self.collection(database, name)
            col._require_loaded()
            ledger = self.ledger(database, name)
            if expr:
                rows = col.query(expr, output_fields=[col._pk_name], partition_names=partitions)
                return len(rows) + ledger.extra([r[col._pk_name] for r in rows], partitions)
            return ledger.total(partitions)

    def load(self, database: str, name: str, partition: str, tables: list[pa.Table]) -> int:
        """Inserts whole tables; the writers of gRPC wait. Returns the rows inserted."""
        with self.lock:
            col = self.collection(database, name)
            ledger = self.ledger(database, name)
            total = 0
            for table in tables:
                if col._ingestion_chain:
                    total += _load_rows(col, ledger, partition, table)
                    continue
                for at in range(0, table.num_rows, BATCH):
                    total += _load_columns(
                        col, ledger, partition, table.slice(at, BATCH).combine_chunks()
                    )
            return total


def _living_keys(col: Collection, partition: str) -> list[Any]:
    segments, deltas = col._read_snapshot()
    keys: list[Any] = []
    seqs = []
    for seg in segments:
        if seg.partition == partition and seg.num_rows:
            keys.extend(seg.pks)
            seqs.append(seg.seqs)
    mem_keys, mem_seqs, _, _ = col._memtable.to_search_arrays(
        vector_field=None, partition_names=[partition]
    )
    if mem_keys:
        keys.extend(mem_keys)
        seqs.append(mem_seqs)
    if not keys:
        return []
    mask = build_valid_mask(keys, np.concatenate(seqs), deltas, memtable=col._memtable)
    return [keys[i] for i in np.flatnonzero(mask)]


def _load_columns(col: Collection, ledger: Ledger, partition: str, table: pa.Table) -> int:
    rows = table.num_rows
    columns = {n: table.column(n).combine_chunks() for n in table.column_names}
    pk = next(f for f in col.schema.fields if f.is_primary)
    if pk.auto_id:
        start = col._next_auto_id
        col._next_auto_id += rows
        ids = pa.array(np.arange(start, start + rows, dtype=np.int64))
        columns[pk.name] = ids if pk.dtype.name == "INT64" else ids.cast(pa.string())
    target = col._wal_data_schema
    for bucket, take in _buckets(col, columns, partition, rows):
        size = rows if take is None else len(take)
        seqs = pa.array(np.arange(col._next_seq, col._next_seq + size, dtype=np.uint64))
        col._next_seq += size
        arrays = []
        for field in target:
            if field.name == "_seq":
                arrays.append(seqs)
            elif field.name == "_partition":
                arrays.append(pa.array(np.full(size, bucket, dtype=object), pa.string()))
            else:
                array = columns[field.name]
                arrays.append(array if take is None else array.take(take))
        batch = pa.RecordBatch.from_arrays(arrays, schema=target)
        col._apply(InsertOp(partition=bucket, batch=batch))
        ledger.add(batch.column(pk.name).to_pylist(), bucket)
    if col._should_flush():
        col._trigger_flush()
    return rows


def _buckets(col: Collection, columns: dict[str, pa.Array], partition: str, rows: int):
    """(partition, row numbers or None for all), as Lite routes them by partition key."""
    key = col._partition_key_field
    if rows == 0:
        return
    if key is None:
        yield partition, None
        return
    hashes: dict[Any, int] = {}
    numbers = np.empty(rows, np.int64)
    for i, value in enumerate(columns[key].to_pylist()):
        if value not in hashes:
            digest = hashlib.md5(str(value).encode()).hexdigest()
            hashes[value] = int(digest, 16) % col._num_partition_buckets
        numbers[i] = hashes[value]
    for number in np.unique(numbers):
        yield f"_pk_{number}", pa.array(np.flatnonzero(numbers == number))


def _load_rows(col: Collection, ledger: Ledger, partition: str, table: pa.Table) -> int:
    """The slow way, for collections with functions (BM25): Lite computes their outputs by row."""
    import json

    total = 0
    for at in range(0, table.num_rows, 10_000):
        records = table.slice(at, 10_000).to_pylist()
        for record in records:
            meta = record.pop("$meta", None)
            if meta:
                record.update(json.loads(meta))
        ledger.add(col.insert(records, partition_name=partition), partition)
        total += len(records)
    return total
