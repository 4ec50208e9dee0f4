"""Reads rows of a collection: counts, by primary key, page by page, by search.

Answers are read as columns (see `columns`): rows as dicts would cost ten times the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pymilvus.client.call_context import _api_level_md
from pymilvus.client.utils import check_status
from pymilvus.grpc_gen import common_pb2, milvus_pb2

from airlift.datatypes import DataType
from airlift.milvus.capabilities import Capabilities, capabilities_of
from airlift.milvus.columns import to_batch
from airlift.milvus.database import MilvusDatabase
from airlift.milvus.errors import TooLarge
from airlift.milvus.expressions import EVERY_KEY, KeyRange, every_key, is_one_of
from airlift.schema import Field
from airlift.vectors import query_vector

_PAGE_BYTES = 8 << 20
_KEYS_A_QUERY = 4096
_MAX_PAGE_ROWS = 16_384  # Milvus' quotaAndLimits.limits.maxQueryResultWindow
# Milvus 2.3.5 reads past the end of unindexed binary vectors; large pages make it crash.
_MAX_BINARY_PAGE_ROWS = 512
# Milvus' Eventually: no wait for the clock. `count` waits first (Strong), and what is read after it
# can only look older by being less, which a comparison tells.
_EVENTUALLY = 3
_STRONG = 0


@dataclass(frozen=True)
class Hit:
    """A row that a search found, and its distance or score."""

    key: int | str
    distance: float


class MilvusRows:
    """Reads rows; `count` is at Strong consistency and comes first.

    Args:
        database: where the collection is.
    """

    def __init__(self, database: MilvusDatabase) -> None:
        self._database = database

    def count(self, name: str, partition: str | None = None, condition: str = "") -> int:
        """`count(*)` of a loaded collection, or of one of its partitions ("" the default one).

        Args:
            condition: counts only rows that fulfil this expression.
        """
        if self._can is not None and not self._can.counts:
            return self._count_keys(name, partition, condition)
        partitions = None if partition is None else [partition or "_default"]
        expression = condition or self._every_row(name)
        with self._database.explaining(f"count the rows of {name!r}"):
            answer = self._database.client.query(
                name,
                filter=expression,
                output_fields=["count(*)"],
                partition_names=partitions,
                consistency_level="Strong",
            )
        return int(answer[0]["count(*)"])

    @cached_property
    def _can(self) -> Capabilities | None:
        return capabilities_of(self._database.version())

    def _every_row(self, name: str) -> str:
        """The expression to count all rows with: empty but where a server demands one."""
        if self._can is None or self._can.counts_without_expression:
            return ""
        key = self._key(name)
        return every_key(key.name, key.type)

    def _count_keys(self, name: str, partition: str | None, condition: str) -> int:
        """Counts by reading the keys: rows that share one count once."""
        key, keys = self._key(name), KeyRange(condition=condition)
        pages = self.scan(name, (key,), key, partition, keys, strong=True)
        return sum(page.num_rows for page in pages)

    def _key(self, name: str) -> Field:
        fields = self._database.describe(name)["fields"]
        key = next(field for field in fields if field.get("is_primary"))
        return Field(name=key["name"], type=DataType(key["type"].name), primary_key=True)

    def by_key(
        self,
        name: str,
        fields: tuple[Field, ...],
        key: Field,
        keys: Sequence[Any],
        strong: bool = False,
        partition: str | None = None,
    ) -> pa.RecordBatch:
        """The rows with those primary keys, in no special order.

        Args:
            strong: also see what was written a moment ago, without a `count` before.
        """
        consistency = _STRONG if strong else _EVENTUALLY
        expression = is_one_of(key, keys)
        try:
            return self._query(name, fields, expression, len(keys), partition, consistency)
        except TooLarge:
            if len(keys) < 2:
                raise
        half = len(keys) // 2
        parts = [
            self.by_key(name, fields, key, some, strong, partition)
            for some in (keys[:half], keys[half:])
        ]
        return pa.concat_batches(parts)

    def held(
        self,
        name: str,
        key: Field,
        keys: pa.Array,
        partition: str | None = None,
        strong: bool = False,
    ) -> npt.NDArray[np.bool_]:
        """For each of those primary keys, whether the collection (or the partition) has it.

        Args:
            strong: as of `by_key`.
        """
        marks = np.zeros(len(keys), dtype=np.bool_)
        for start in range(0, len(keys), _KEYS_A_QUERY):
            part = keys.slice(start, _KEYS_A_QUERY)
            found = self.by_key(name, (key,), key, part.to_pylist(), strong, partition)
            known = pc.is_in(part, found.column(key.name))
            marks[start : start + len(part)] = known.to_numpy(zero_copy_only=False)
        return marks

    def scan(
        self,
        name: str,
        fields: tuple[Field, ...],
        key: Field,
        partition: str | None = None,
        keys: KeyRange = EVERY_KEY,
        strong: bool = False,
        canonical: bool = True,
    ) -> Iterator[pa.RecordBatch]:
        """Rows in the order of the primary key, page by page (`key > last`, never an offset).

        Rows that share a primary key appear once.

        Args:
            strong: as of `by_key`.
            canonical: as of `columns.to_batch`.
        """
        consistency = _STRONG if strong else _EVENTUALLY
        wanted = fields if key in fields else (key, *fields)
        ordered = self._can is None or self._can.ordered_pages
        limit = _page_rows(wanted)
        if not ordered:
            # Any rows may be on a page, so only all of them on one is safe (Milvus Lite).
            rows = self.count(name, partition) if keys.rows is None else keys.rows
            limit = rows + 1
        last: int | str | None = None
        while True:
            expression = keys.expression(key, last)
            try:
                page = self._query(
                    name, wanted, expression, limit, partition, consistency, canonical
                )
            except TooLarge:
                if limit == 1 or not ordered:
                    raise
                limit = max(limit // 4, 1)  # texts may be a thousand times as long as reckoned
                continue
            if page.num_rows == 0:
                return
            yield page
            # The page's largest key, wherever the server put it.
            last = max(page.column(key.name).to_pylist())

    def search(
        self, name: str, field: Field, vectors: list[Any], limit: int, output: Field
    ) -> list[list[Hit]]:
        """The nearest rows of each vector, nearest first.

        Args:
            vectors: as Arrow's `to_pylist` gives them.
        """
        with self._database.explaining(f"search {name!r}"):
            answers = self._database.client.search(
                name,
                data=[query_vector(field, vector) for vector in vectors],
                anns_field=field.name,
                limit=limit,
                output_fields=[output.name],
                consistency_level="Eventually",
                search_params={"metric_type": field.metric_type, "params": {}},
            )
        return [[Hit(hit[output.name], float(hit["distance"])) for hit in hits] for hits in answers]

    def _query(
        self,
        name: str,
        fields: tuple[Field, ...],
        expression: str,
        limit: int,
        partition: str | None = None,
        consistency: int = _EVENTUALLY,
        canonical: bool = True,
    ) -> pa.RecordBatch:
        client = self._database.client
        request = milvus_pb2.QueryRequest(
            collection_name=name,
            expr=expression,
            output_fields=[field.name for field in fields],
            partition_names=[] if partition is None else [partition or "_default"],
            consistency_level=consistency,
            query_params=[common_pb2.KeyValuePair(key="limit", value=str(limit))],
        )

        def ask() -> Any:
            answer = client._get_connection()._stub.Query(
                request,
                timeout=self._database.connection.timeout,
                metadata=_api_level_md(client._generate_call_context()),
            )
            check_status(answer.status)
            return answer

        answer = self._database.repeating(f"read rows of {name!r}", ask)
        return to_batch(answer.fields_data, fields, canonical)


def _page_rows(fields: tuple[Field, ...]) -> int:
    """How many rows to ask for at once."""
    row_bytes = sum(64 if field.width is None else field.width for field in fields)
    most = _MAX_PAGE_ROWS
    if any(field.type is DataType.BINARY_VECTOR for field in fields):
        most = _MAX_BINARY_PAGE_ROWS
    return max(1, min(most, _PAGE_BYTES // row_bytes))
