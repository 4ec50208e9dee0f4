"""Reads the rows of a scalars file: Parquet, JSON Lines, or a folder of `.npy`."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from airlift.errors import AirliftError
from airlift.json_text import canonical
from airlift.sources.faiss.npy import NpyFile
from airlift.storage import Storage

BLOCK_ROWS = 65_536

Rows = tuple[pa.Schema, Callable[[], Iterator[pa.RecordBatch]]]
"""The columns, and what yields them in blocks of at most BLOCK_ROWS."""


@contextmanager
def open_rows(folder: Storage, paths: list[str]) -> Iterator[Rows]:
    """Opens a Parquet or JSON Lines file, or several `.npy` files with a column each.

    Raises:
        AirliftError: it is neither, or is damaged.
    """
    address = folder.address(paths[0])
    try:
        if paths[0].endswith(".npy"):
            yield _npy(folder, paths)
        elif _magic(folder, paths[0]) == b"PAR1":
            with folder.open_input(paths[0]) as stream:
                yield _parquet(pq.ParquetFile(stream))
        elif paths[0].endswith((".jsonl", ".ndjson", ".json")):
            yield _json_lines(folder, paths[0])
        else:
            raise AirliftError(
                f"{address} is neither Parquet nor JSON Lines (`.jsonl`); scalars_url names one of "
                "them, or a folder with an .npy file for each field"
            )
    except (pa.ArrowException, OSError) as error:
        raise AirliftError(f"{address} is damaged or no Parquet file: {error}") from error


def _magic(folder: Storage, path: str) -> bytes:
    with folder.open_input(path) as stream, folder.explained("read", path):
        magic: bytes = stream.read_at(min(4, stream.size()), 0)
    return magic


def _parquet(file: pq.ParquetFile) -> Rows:
    return file.schema_arrow, lambda: file.iter_batches(BLOCK_ROWS)


# --- .npy ---------------------------------------------------------------------------------------


def _npy(folder: Storage, paths: list[str]) -> Rows:
    files = {path.split("/")[-1].removesuffix(".npy"): NpyFile(folder, path) for path in paths}
    rows = {name: file.rows for name, file in files.items()}
    if len(set(rows.values())) > 1:
        raise AirliftError(
            f"the .npy files in {folder.address(paths[0].rpartition('/')[0])} differ in their "
            f"rows: {rows}"
        )
    schema = pa.schema([(name, _arrow_type(file)) for name, file in files.items()])

    def blocks() -> Iterator[pa.RecordBatch]:
        count = next(iter(rows.values()))
        for start in range(0, count, BLOCK_ROWS):
            stop = min(start + BLOCK_ROWS, count)
            columns = [_npy_values(file, start, stop) for file in files.values()]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)

    return schema, blocks


def _arrow_type(file: NpyFile) -> pa.DataType:
    if file.dtype.kind in "US":
        return pa.string()
    try:
        if file.dtype.kind in "biuf":
            return pa.from_numpy_dtype(file.dtype.newbyteorder("="))
    except pa.ArrowNotImplementedError:
        pass
    raise AirliftError(
        f"{file.address} holds {file.dtype}; expected booleans, numbers or text of a fixed width"
    )


def _npy_values(file: NpyFile, start: int, stop: int) -> pa.Array:
    values = file.read(start, stop)
    if file.dtype.kind == "S":
        return pa.array([one.decode() for one in values.tolist()], pa.string())
    return pa.array(values.tolist(), _arrow_type(file))


# --- JSON Lines ---------------------------------------------------------------------------------


def _json_lines(folder: Storage, path: str) -> Rows:
    kinds: dict[str, pa.DataType | None] = {}
    for number, row in _parsed(folder, path):
        for name, value in row.items():
            kinds[name] = _joined(kinds.get(name), value, f"{folder.address(path)}:{number}")
    # An empty struct counts as false.
    schema = pa.schema(
        [(name, pa.string() if kind is None else kind) for name, kind in kinds.items()]
    )

    def blocks() -> Iterator[pa.RecordBatch]:
        held: list[dict[str, Any]] = []
        for _, row in _parsed(folder, path):
            held.append(row)
            if len(held) == BLOCK_ROWS:
                yield _json_batch(held, schema)
                held = []
        if held:
            yield _json_batch(held, schema)

    return schema, blocks


_NESTED = pa.struct([])
"""Stands for a column whose values become JSON."""


def _joined(kind: pa.DataType | None, value: Any, where: str) -> pa.DataType | None:
    """The type that holds what was seen so far and this value too."""
    if value is None:
        return kind
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
        raise AirliftError(f"{where}: the number {value} does not fit INT64")
    found = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}.get(
        type(value), _NESTED
    )
    if kind is None or kind == found:
        return found
    return pa.float64() if {kind, found} == {pa.int64(), pa.float64()} else _NESTED


def _json_batch(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    columns = []
    for column in schema:
        values = [row.get(column.name) for row in rows]
        if column.type == _NESTED:
            # Already as text: structs of any shape would need one Arrow type.
            texts = [None if value is None else canonical(value) for value in values]
            columns.append(pa.array(texts, pa.string()))
        else:
            columns.append(pa.array(values, column.type))
    return pa.RecordBatch.from_arrays(columns, names=schema.names)


def _parsed(folder: Storage, path: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each line's number and object; empty lines are passed over."""
    address = folder.address(path)
    with folder.open_input(path) as stream:
        for number, line in enumerate(io.BufferedReader(stream, 1 << 20), 1):
            if not line.strip():
                continue
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise AirliftError(f"{address}:{number} is no JSON: {error}") from error
            if not isinstance(row, dict):
                raise AirliftError(f"{address}:{number}: expected an object, found {row!r:.80}")
            yield number, row
