"""The scalar fields beside the vectors: found by row or by id.

What the user gives is unpacked once a task into an Arrow file on the local disk, which is mapped
into memory: so any row is at hand, in whatever order an index has its vectors, and memory stays
small.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from airlift.datatypes import DataType
from airlift.errors import AirliftError
from airlift.fixed_width import fixed_bytes, int64_array
from airlift.schema import Field
from airlift.sources.faiss.scalar_files import open_rows
from airlift.sources.faiss.scalar_types import converted, field_of
from airlift.storage import Storage
from airlift.temporary_folder import TemporaryFolder

_EXAMPLES = 5


class Scalars:
    """The rows of a scalars file.

    Args:
        folder, paths: the file, or the `.npy` files of a folder.
        id_column: the column with the vectors' ids; "" when rows are found by their place.
        takes: whether a field is moved. The values of the others are not looked at; they are null.

    Raises:
        AirliftError: it can't be read, or holds what Milvus has no field for.
    """

    def __init__(
        self,
        folder: Storage,
        paths: list[str],
        id_column: str,
        takes: Callable[[str], bool],
    ) -> None:
        self._takes = takes
        self.address = folder.address(paths[0])
        self._temporary = TemporaryFolder("scalars")
        self._ids: NDArray[np.int64] | None = None
        self._order: NDArray[np.int64] | None = None
        path = self._temporary.path / "rows.arrow"
        try:
            self.fields = self._unpack(folder, paths, id_column, path)
        except AirliftError as error:
            self._temporary.close()
            if self.address in str(error):
                raise
            raise AirliftError(f"{self.address}: {error}") from error
        self._reader = pa.ipc.open_file(pa.memory_map(str(path)))
        sizes = [self._reader.get_batch(n).num_rows for n in range(self._reader.num_record_batches)]
        self._ends = np.cumsum(np.array(sizes, np.int64))
        self.rows = int(self._ends[-1]) if sizes else 0

    def close(self) -> None:
        """Removes the Arrow file."""
        self._temporary.close()

    def _unpack(
        self, folder: Storage, paths: list[str], id_column: str, target: Path
    ) -> tuple[Field, ...]:
        nulls: dict[str, int] = {}
        ids: list[NDArray[np.int64]] = []
        with open_rows(folder, paths) as (schema, blocks):
            if id_column and id_column not in schema.names:
                raise AirliftError(
                    f"it has no column {id_column!r}; it has {', '.join(schema.names)}; check "
                    "scalars_id_column"
                )
            fields = [
                field_of(column)
                if self._takes(column.name)
                else Field(name=column.name, type=DataType.VARCHAR)
                for column in schema
                if column.name != id_column
            ]
            arrow = pa.schema([field.arrow.with_nullable(True) for field in fields])
            # The last column tells of a bad row why it is one.
            arrow = arrow.append(pa.field("reason", pa.string()))
            with pa.OSFile(str(target), "wb") as file, pa.ipc.new_file(file, arrow) as writer:
                for block, bad in blocks():
                    reasons = pa.nulls(block.num_rows, pa.string())
                    if bad:  # `pa.array` imports pandas
                        reasons = pa.array(map(bad.get, range(block.num_rows)), pa.string())
                    columns = [
                        _column(block, field)
                        if self._takes(field.name)
                        else pa.nulls(block.num_rows, pa.string())
                        for field in fields
                    ]
                    for field, column in zip(fields, columns, strict=True):
                        good = column.filter(reasons.is_null()) if bad else column
                        nulls[field.name] = nulls.get(field.name, 0) + good.null_count
                    rows = pa.RecordBatch.from_arrays([*columns, reasons], schema=arrow)
                    writer.write_batch(rows)
                    if id_column:
                        ids.append(_id_values(block.column(id_column), id_column))
        if id_column:
            self._sort(np.concatenate(ids) if ids else np.zeros(0, np.int64), id_column)
        return tuple(
            field.model_copy(update={"nullable": bool(nulls.get(field.name))}) for field in fields
        )

    def _sort(self, ids: NDArray[np.int64], id_column: str) -> None:
        self._order = np.argsort(ids, kind="stable")
        self._ids = ids[self._order]
        again = np.unique(self._ids[1:][self._ids[1:] == self._ids[:-1]])
        if len(again):
            examples = ", ".join(map(str, again[:_EXAMPLES].tolist()))
            raise AirliftError(
                f"{len(again):,} ids stand in several rows of the column {id_column!r}, such as "
                f"{examples}; expected one row for an id"
            )

    def places(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows of ids; -1 for those that are not there."""
        assert self._ids is not None and self._order is not None  # noqa: S101 joined by id
        if not len(self._ids):
            return np.full(len(ids), -1, np.int64)
        at = np.searchsorted(self._ids, ids)
        at = np.minimum(at, len(self._ids) - 1)
        places: NDArray[np.int64] = np.where(self._ids[at] == ids, self._order[at], -1)
        return places

    def take(self, places: NDArray[np.int64]) -> list[pa.Array]:
        """The columns at any places, in that order, and the reasons of bad rows.

        All are null where a place is -1.
        """
        order = np.argsort(places, kind="stable")
        ordered = places[order]
        parts: list[pa.RecordBatch] = []
        missing = int(np.searchsorted(ordered, 0))
        if missing:
            nulls = [pa.nulls(missing, column.type) for column in self._reader.schema]
            parts.append(pa.RecordBatch.from_arrays(nulls, schema=self._reader.schema))
        at = missing
        while at < len(ordered):
            block = int(np.searchsorted(self._ends, ordered[at], side="right"))
            stop = int(np.searchsorted(ordered, self._ends[block]))
            rows = self._reader.get_batch(block)
            inside = ordered[at:stop] - (self._ends[block] - rows.num_rows)
            parts.append(rows.take(int64_array(inside)))
            at = stop
        back = np.empty(len(order), np.int64)
        back[order] = np.arange(len(order))
        table = pa.Table.from_batches(parts, schema=self._reader.schema)
        return [
            column.combine_chunks().take(int64_array(back))
            if column.num_chunks
            else pa.nulls(0, column.type)
            for column in table.columns
        ]


def _column(block: pa.RecordBatch, field: Field) -> pa.Array:
    values = block.column(field.name)
    # JSON Lines give their nested values as texts already.
    if field.type is DataType.JSON and pa.types.is_string(values.type):
        return values
    return converted(values, field)


def _id_values(column: pa.Array, name: str) -> NDArray[np.int64]:
    if not pa.types.is_integer(column.type) or column.null_count:
        found = f"{column.null_count:,} nulls" if column.null_count else f"{column.type}"
        raise AirliftError(
            f"the column {name!r} holds {found}; expected the vectors' whole numbers"
        )
    raw = fixed_bytes(converted(column, Field(name=name, type=DataType.INT64)))
    assert raw is not None  # noqa: S101 of fixed width
    values: NDArray[np.int64] = raw.reshape(-1).view(np.int64)
    return values
