"""Turns a source's record batches into the target's: choose, rename, cast."""

from __future__ import annotations

import pyarrow as pa

from airlift.errors import AirliftError
from airlift.mapping import MappedCollection


class Transform:
    """Applies a collection's mapping to record batches.

    Args:
        mapped: which source field becomes which target field.
    """

    def __init__(self, mapped: MappedCollection) -> None:
        self._mapped = mapped
        self._source_of = {target: source for source, target in mapped.fields.items()}
        self.schema = mapped.target.arrow

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch with the target's columns, in the target's order and types.

        Raises:
            AirliftError: a value does not fit the target's type.
        """
        columns = []
        for field in self.schema:
            column = batch.column(self._source_of[field.name])
            if column.type != field.type:
                column = self._cast(column, field)
            columns.append(column)
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def _cast(self, column: pa.Array, field: pa.Field) -> pa.Array:
        try:
            return column.cast(field.type)
        except pa.ArrowInvalid as error:
            raise AirliftError(
                f"collection {self._mapped.source!r}: a value of the field "
                f"{self._source_of[field.name]!r} does not fit {field.type}: {error}"
            ) from error
