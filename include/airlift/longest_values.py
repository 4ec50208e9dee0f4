"""Measures the longest texts and arrays of rows, and makes fields large enough for them.

A source may not know how long its texts are. Every row is converted before the collection is made,
so the rows themselves tell.
"""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from airlift.bad_rows import MAX_CAPACITY, MAX_TEXT_BYTES
from airlift.datatypes import DataType
from airlift.schema import CollectionSchema, Field

_LEAST_BYTES = 256
_LEAST_ITEMS = 16
_ROOM = 2
"""Later rows may be longer than those of today, and a field can't be made larger."""


class LongestValues:
    """Looks at the rows of a chunk.

    Args:
        fields: of the batches; only texts and arrays are looked at.

    Attributes:
        bytes: of the longest text (or item that is one) so far, by field.
        items: of the longest array so far, by field.
    """

    def __init__(self, fields: tuple[Field, ...]) -> None:
        self._fields = [one for one in fields if one.holds_text or one.type is DataType.ARRAY]
        self.bytes: dict[str, int] = {}
        self.items: dict[str, int] = {}

    def add(self, batch: pa.RecordBatch) -> None:
        """Looks at more rows."""
        for field in self._fields:
            column = batch.column(field.name)
            if field.type is DataType.ARRAY:
                _raise(self.items, field.name, pc.list_value_length(column))
                column = column.flatten()
            if field.holds_text:
                _raise(self.bytes, field.name, pc.binary_length(column))


def _raise(longest: dict[str, int], name: str, lengths: pa.Array) -> None:
    longest[name] = max(longest.get(name, 0), pc.max(lengths).as_py() or 0)


def measured(
    schema: CollectionSchema, longest: Iterable[tuple[dict[str, int], dict[str, int]]]
) -> CollectionSchema:
    """The schema with fields of unknown length made large enough, with room for later rows.

    Args:
        longest: `bytes` and `items` of each chunk.
    """
    chunks = list(longest)
    fields = []
    for field in schema.fields:
        update = {}
        if field.holds_text and not field.max_length:
            own = len(field.default.encode()) if isinstance(field.default, str) else 0
            most = max(own, *(size.get(field.name, 0) for size, _ in chunks), 0)
            update["max_length"] = _roomy(most, _LEAST_BYTES, MAX_TEXT_BYTES)
        if field.type is DataType.ARRAY and not field.max_capacity:
            most = max((items.get(field.name, 0) for _, items in chunks), default=0)
            update["max_capacity"] = _roomy(most, _LEAST_ITEMS, MAX_CAPACITY)
        fields.append(field.model_copy(update=update))
    return schema.model_copy(update={"fields": tuple(fields)})


def _roomy(most: int, least: int, limit: int) -> int:
    """The power of two that holds twice as much, within the limits."""
    return min(max(1 << (most * _ROOM - 1).bit_length() if most else 0, least), limit)
