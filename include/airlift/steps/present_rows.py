"""Finds the rows that the target holds already, where rows are appended."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from airlift.chunk import Chunk
from airlift.migration import Migration
from airlift.milvus.rows import MilvusRows
from airlift.plan import CollectionPlan
from airlift.steps.index import begin_load


class PresentRows:
    """Asks a collection of the target which primary keys it holds.

    Args:
        partition: the one that an upsert writes over rows in; None for the whole collection.
    """

    def __init__(self, rows: MilvusRows, collection: CollectionPlan, partition: str | None) -> None:
        self._rows = rows
        self._name = collection.target_name
        self._key = collection.mapped.target.primary_key
        self._partition = partition

    @classmethod
    def of(
        cls, migration: Migration, collection: CollectionPlan, chunk: Chunk
    ) -> PresentRows | None:
        """For a chunk; None where no row can be there already. Loads the collection."""
        if not collection.appends or collection.mapped.target.primary_key.auto_id:
            return None
        target, name = migration.target(collection.mapped), collection.target_name
        if not target.is_loaded(name):
            begin_load(migration, collection)
            target.wait_loaded(name)
        rows = MilvusRows(target)
        rows.count(name)  # so that what follows sees all that was there before
        if collection.leaves_present_rows_out or collection.mapped.has_partition_key:
            return cls(rows, collection, None)
        partition = collection.mapped.partitions[chunk.partition]
        if (partition or "_default") not in target.partitions(name):
            return None
        return cls(rows, collection, partition)

    def marks(self, batch: pa.RecordBatch) -> npt.NDArray[np.bool_]:
        """Whether the target holds the primary key, for each of the rows to write."""
        keys = batch.column(self._key.name)
        return self._rows.held(self._name, self._key, keys, self._partition)
