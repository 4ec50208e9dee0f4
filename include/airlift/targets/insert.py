"""Rows sent in requests: insert and upsert, for targets without an import or when asked for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import pyarrow as pa
from pymilvus.client.call_context import _api_level_md
from pymilvus.client.utils import check_status
from pymilvus.grpc_gen import milvus_pb2

from airlift.errors import AirliftError
from airlift.milvus.columns import to_fields_data
from airlift.milvus.database import MilvusDatabase
from airlift.milvus.rows import MilvusRows
from airlift.schema import CollectionSchema


class Insert:
    """Writes each row once.

    An insert can't be repeated safely. So when an earlier attempt may have written some rows of the
    chunk, the target is asked which primary keys it holds, and only the others are sent.
    """

    name: ClassVar[str] = "insert"
    repeat_needs_loading: ClassVar[bool] = True
    _call: ClassVar[str] = "Insert"
    _request: ClassVar[Any] = milvus_pb2.InsertRequest

    def __init__(self, collections: MilvusDatabase) -> None:
        self._collections = collections

    def write_chunk(
        self,
        schema: CollectionSchema,
        partition: str,
        batches: Iterable[pa.RecordBatch],
        again: bool,
    ) -> int:
        """Writes a chunk's rows; returns how many the chunk has."""
        if again and self.repeat_needs_loading:
            self._refuse_repeat(schema)
        rows = 0
        for batch in batches:
            rows += batch.num_rows
            missing = self._missing(schema, batch) if again else batch
            if missing.num_rows:
                self._write(schema, partition, missing)
        return rows

    def _refuse_repeat(self, schema: CollectionSchema) -> None:
        if schema.primary_key.auto_id:
            raise AirliftError(
                f"a chunk of {schema.name!r} was written in part, and with auto_id its rows can't "
                f"be told from others: drop the collection {schema.name!r}, then clear the tasks "
                "from create on"
            )

    def _missing(self, schema: CollectionSchema, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows whose primary keys the target does not hold."""
        key = schema.primary_key
        keys = batch.column(key.name)
        # What the earlier attempt wrote may be a moment old.
        held = MilvusRows(self._collections).held(schema.name, key, keys, strong=True)
        return batch.filter(pa.array(~held))

    def _write(self, schema: CollectionSchema, partition: str, batch: pa.RecordBatch) -> None:
        client = self._collections.client
        request = self._request(
            collection_name=schema.name,
            partition_name=partition,
            num_rows=batch.num_rows,
            fields_data=to_fields_data(batch, schema.written),
        )
        with self._collections.explaining(f"{self.name} into {schema.name!r}"):
            answer = getattr(client._get_connection()._stub, self._call)(
                request,
                timeout=self._collections.connection.timeout,
                metadata=_api_level_md(client._generate_call_context()),
            )
            check_status(answer.status)


class Upsert(Insert):
    """Writes rows over those with the same primary key, so repeating is safe."""

    name: ClassVar[str] = "upsert"
    repeat_needs_loading: ClassVar[bool] = False
    _call: ClassVar[str] = "Upsert"
    _request: ClassVar[Any] = milvus_pb2.UpsertRequest

    def _missing(self, schema: CollectionSchema, batch: pa.RecordBatch) -> pa.RecordBatch:
        """All rows: writing them again changes nothing."""
        return batch
