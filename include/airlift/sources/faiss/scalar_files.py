"""Reads the rows of scalars files: Parquet, JSON, CSV, or a folder of `.npy`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pyarrow as pa
import pyarrow.parquet as pq

from airlift.errors import AirliftError
from airlift.memory_limit import memory_limit, within_limit
from airlift.sources.faiss.blocks import BLOCK_ROWS, Block, Rows
from airlift.sources.faiss.csv_rows import csv_rows
from airlift.sources.faiss.json_rows import json_rows
from airlift.sources.faiss.npy import NpyFile
from airlift.sources.faiss.other_files import what_begins_with
from airlift.sources.faiss.text_files import TextFile
from airlift.storage import Storage

_PARQUET_ROWS = 4096
"""Long texts that repeat are short in the file, and as long as ever once they are decoded."""

UNNAMED = "unnamed"
"""The name of a column without one, such as pandas' index in a CSV file."""

_TEXTS: dict[str, Callable[[list[TextFile]], Rows]] = {
    ".jsonl": json_rows,
    ".ndjson": json_rows,
    ".json": json_rows,
    ".csv": csv_rows,
    ".tsv": csv_rows,
}


@contextmanager
def open_rows(folder: Storage, paths: list[str]) -> Iterator[Rows]:
    """Opens files of one form, whose rows follow one another; of `.npy` each is a column.

    Raises:
        AirliftError: one is of no form that is known, or is damaged.
    """
    address = folder.address(paths[0])
    try:
        with ExitStack() as held:
            if paths[0].endswith(".npy"):
                rows = _npy(folder, paths)
            elif _begin(folder, paths[0]).startswith(b"PAR1"):
                rows = _parquet(folder, paths, held)
            else:
                rows = _text(folder, paths)
            yield _named(address, rows)
    except (pa.ArrowException, OSError) as error:
        raise AirliftError(f"{address} is damaged: {error}; copy it again") from error


def _named(address: str, rows: Rows) -> Rows:
    """The rows with a name for each column.

    Raises:
        AirliftError: columns share a name.
    """
    schema, blocks = rows
    names = [name or UNNAMED for name in schema.names]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise AirliftError(
            f"{address}: the columns {twice} stand there more than once (one without a name is "
            f"called {UNNAMED!r}); expected each name once; rename them"
        )

    def named() -> Iterator[Block]:
        for block, bad in blocks():
            yield Block(block.rename_columns(names), bad)

    return pa.schema(list(zip(names, schema.types, strict=True))), named


def _begin(folder: Storage, path: str) -> bytes:
    with folder.open_input(path) as stream, folder.explained("read", path):
        begin: bytes = stream.read_at(min(8, stream.size()), 0)
    return begin


def _text(folder: Storage, paths: list[str]) -> Rows:
    files = [TextFile(folder, path) for path in paths]
    readers = {suffix(file.name) for file in files}
    for file in files:
        if suffix(file.name) not in _TEXTS:
            begin = _begin(folder, paths[files.index(file)])
            raise AirliftError(
                f"{file.address} is {what_begins_with(begin) or 'of no form that is known'}; "
                "expected Parquet, JSON (.jsonl, .ndjson, .json) or CSV (.csv, .tsv), also with "
                ".gz, or a folder with an .npy file for each field"
            )
    rows = {_TEXTS[name] for name in readers}
    if len(rows) > 1:
        raise AirliftError(
            f"{files[0].address} and the others are of several forms; expected one form"
        )
    return rows.pop()(files)


def suffix(name: str) -> str:
    """The end of a file's name from its last dot on; "" without one."""
    return name[name.rindex(".") :] if "." in name else ""


def _parquet(folder: Storage, paths: list[str], held: ExitStack) -> Rows:
    files = []
    for path in paths:
        address = folder.address(path)
        stream = held.enter_context(folder.open_input(path))
        with memory_limit(address):
            files.append((address, pq.ParquetFile(stream)))
    first, schema = files[0][0], files[0][1].schema_arrow
    kinds = dict(zip(schema.names, schema.types, strict=True))
    for address, file in files[1:]:
        found = dict(zip(file.schema_arrow.names, file.schema_arrow.types, strict=True))
        if found != kinds:
            raise AirliftError(
                f"{address} has the columns {found}, {first} {kinds}; expected the same in each"
            )

    def blocks() -> Iterator[Block]:
        for address, file in files:
            rows = file.iter_batches(min(BLOCK_ROWS, _PARQUET_ROWS), columns=schema.names)
            for batch in within_limit(address, rows):
                yield Block(batch.select(schema.names), {})

    return schema, blocks


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

    def blocks() -> Iterator[Block]:
        count = next(iter(rows.values()))
        for start in range(0, count, BLOCK_ROWS):
            stop = min(start + BLOCK_ROWS, count)
            columns = [_npy_values(file, start, stop) for file in files.values()]
            yield Block(pa.RecordBatch.from_arrays(columns, schema=schema), {})

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
