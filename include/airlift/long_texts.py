"""Texts that are longer than their field holds: found, or shortened to whole characters.

Milvus limits a text in bytes of UTF-8. A primary key is never shortened: two keys could become one.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from airlift.bad_rows import text_limit
from airlift.datatypes import DataType
from airlift.schema import Field


def shortened(
    batch: pa.RecordBatch, fields: Iterable[Field]
) -> tuple[pa.RecordBatch, dict[str, int]]:
    """Cuts texts, and the texts in arrays, to as many whole characters as their field holds.

    Args:
        batch: rows with the columns that `fields` describe.
        fields: the target's fields.

    Returns:
        The rows, and how many texts of each field were cut.
    """
    counts: dict[str, int] = {}
    for field in fields:
        if not field.holds_text or field.primary_key:
            continue
        at = batch.schema.get_field_index(field.name)
        column = batch.column(at)
        texts = column.flatten() if field.type is DataType.ARRAY else column
        texts, count = _cut(texts, text_limit(field))
        if not count:
            continue
        counts[field.name] = count
        if field.type is DataType.ARRAY:
            offsets = pc.subtract(column.offsets, column.offsets[0])
            nulls = column.is_null() if column.null_count else None
            texts = pa.ListArray.from_arrays(offsets, texts, type=column.type, mask=nulls)
        batch = batch.set_column(at, batch.schema.field(at), texts)
    return batch, counts


def rows_with_long_texts(batch: pa.RecordBatch, fields: Iterable[Field]) -> dict[int, str]:
    """The rows that hold a text which is longer than its field, and why they can't be taken."""
    reasons: dict[int, str] = {}
    for field in fields:
        if not field.holds_text:
            continue
        column = batch.column(field.name)
        texts = column.flatten() if field.type is DataType.ARRAY else column
        limit = text_limit(field)
        sizes = pc.binary_length(texts)
        long = np.flatnonzero(pc.greater(sizes, limit).fill_null(False).to_numpy(False))
        if not len(long):
            continue
        is_array = field.type is DataType.ARRAY
        rows = pc.list_parent_indices(column).to_numpy() if is_array else np.arange(len(column))
        what = "an item of the array" if is_array else "the text"
        for place in long:
            reasons.setdefault(
                int(rows[place]),
                f"field {field.name!r}: {what} has {sizes[int(place)].as_py():,} bytes, more than "
                f"max_length ({limit:,}); on_long_text truncate cuts it",
            )
    return reasons


def _cut(texts: pa.Array, limit: int) -> tuple[pa.Array, int]:
    """The texts with those cut that are longer, and how many these are."""
    is_long = pc.greater(pc.binary_length(texts), limit).fill_null(False)
    places = np.flatnonzero(is_long.to_numpy(zero_copy_only=False))
    if not len(places):
        return texts, 0
    cut = [
        # What is left of the last character, if it is cut through, goes too.
        texts[int(place)].as_py().encode()[:limit].decode(errors="ignore")
        for place in places
    ]
    return pc.replace_with_mask(texts, is_long, pa.array(cut, texts.type)), len(places)
