"""Cuts a collection into ranges of primary keys, by one pass over the keys alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict

from airlift.milvus.expressions import KeyRange
from airlift.milvus.rows import MilvusRows
from airlift.schema import CollectionSchema

Key = int | str


class Span(BaseModel):
    """Rows of one partition whose keys lie behind `after` and up to `until`.

    Attributes:
        partition: "" for the default one; None for all of the collection.
    """

    model_config = ConfigDict(frozen=True)

    partition: str | None
    after: Key | None
    until: Key
    rows: int

    def keys(self, condition: str) -> KeyRange:
        """The range to read."""
        return KeyRange(self.after, self.until, condition, self.rows)


def spans(
    rows: MilvusRows,
    schema: CollectionSchema,
    partition: str | None,
    condition: str,
    size: int,
) -> Iterator[Span]:
    """Ranges of `size` rows, the last one of fewer; together all rows that can be read by key."""
    key = schema.primary_key
    after: Key | None = None
    held: list[Any] = []
    wanted = KeyRange(condition=condition)
    for page in rows.scan(schema.plain_name, (key,), key, partition, wanted):
        # A page has the smallest keys that are left, in any order; and each once.
        held += sorted(set(page.column(key.name).to_pylist()))
        start = 0
        while len(held) - start > size:
            until = held[start + size - 1]
            yield Span(partition=partition, after=after, until=until, rows=size)
            after, start = until, start + size
        held = held[start:]
    if held:
        yield Span(partition=partition, after=after, until=held[-1], rows=len(held))
