"""Reads the rows of a scalars file: Parquet, JSON Lines, or a folder of `.npy`."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from airlift.errors import AirliftError
from airlift.json_exact import InexactNumber, RepeatedKeys, exact_value, is_unicode
from airlift.json_text import canonical_column, lossless_text
from airlift.memory_limit import memory_limit, within_limit
from airlift.sources.faiss.npy import NpyFile
from airlift.storage import Storage

BLOCK_ROWS = 65_536
_PARQUET_ROWS = 4096
"""Long texts that repeat are short in the file, and as long as ever once they are decoded."""
_LINES_AT_ONCE = 1024
_MAX_LINE = 16 << 20
_SHOWN = 80


class Block(NamedTuple):
    """Some rows of a file.

    Attributes:
        rows: the columns.
        bad: by row, why the file has no value for a field that its column holds exactly.
    """

    rows: pa.RecordBatch
    bad: dict[int, str]


Rows = tuple[pa.Schema, Callable[[], Iterator[Block]]]
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
                with memory_limit(address):
                    file = pq.ParquetFile(stream)
                yield _parquet(file, address)
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


def _parquet(file: pq.ParquetFile, address: str) -> Rows:
    def blocks() -> Iterator[Block]:
        for rows in within_limit(address, file.iter_batches(min(BLOCK_ROWS, _PARQUET_ROWS))):
            yield Block(rows, {})

    return file.schema_arrow, blocks


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


# --- JSON Lines ---------------------------------------------------------------------------------

_NESTED = pa.struct([])
"""Stands for a column whose values become JSON."""

_KINDS: dict[type, pa.DataType] = {
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
    str: pa.string(),
}
_NAMES = {pa.int64(): "INT64", pa.float64(): "DOUBLE", pa.string(): "VARCHAR", pa.bool_(): "BOOL"}


class _Line(NamedTuple):
    """A line's number, its object, and whether that holds what JSON in Milvus can't."""

    number: int
    values: dict[str, Any]
    odd: bool


def _json_lines(folder: Storage, path: str) -> Rows:
    kinds: dict[str, pa.DataType | None] = {}
    for line in _parsed(folder, path):
        for name, value in line.values.items():
            if name not in kinds and not is_unicode(name):
                raise AirliftError(
                    f"{folder.address(path)}:{line.number}: the key {name!r} is no valid Unicode"
                )
            kinds[name] = _joined(kinds.get(name), value)
    # An empty struct counts as false.
    schema = pa.schema(
        [(name, pa.string() if kind is None else kind) for name, kind in kinds.items()]
    )

    def blocks() -> Iterator[Block]:
        held: list[_Line] = []
        for line in _parsed(folder, path):
            held.append(line)
            if len(held) == BLOCK_ROWS:
                yield _json_block(held, schema)
                held = []
        if held:
            yield _json_block(held, schema)

    return schema, blocks


def _joined(kind: pa.DataType | None, value: Any) -> pa.DataType | None:
    """The type that holds what was seen so far and this value too, if any does."""
    if value is None or isinstance(value, InexactNumber) or _is_beyond_int64(value):
        return kind
    found = _KINDS.get(type(value), _NESTED)
    if kind is None or kind == found:
        return found
    return pa.float64() if {kind, found} == {pa.int64(), pa.float64()} else _NESTED


def _is_beyond_int64(value: Any) -> bool:
    return isinstance(value, int) and not -(1 << 63) <= value < 1 << 63


def _json_block(lines: list[_Line], schema: pa.Schema) -> Block:
    reasons: dict[int, str] = {}
    odd = any(line.odd for line in lines)
    for row, line in enumerate(lines):
        if line.odd and isinstance(line.values, RepeatedKeys):
            reasons[row] = f"field {line.values.first!r}: the line has it more than once"
    columns = []
    for column in schema:
        values = [line.values.get(column.name) for line in lines]
        if column.type == _NESTED:
            # Already as text: structs of any shape would need one Arrow type.
            texts = [None if value is None else lossless_text(value) for value in values]
            columns.append(pa.array(texts, pa.string()))
        else:
            columns.append(_typed(column, values, odd, reasons))
    return Block(pa.RecordBatch.from_arrays(columns, names=schema.names), reasons)


def _typed(column: pa.Field, values: list[Any], odd: bool, reasons: dict[int, str]) -> pa.Array:
    """A column of scalars; null, and a reason, for a value that its type does not hold exactly."""
    if not odd:
        try:
            return pa.array(values, column.type)
        except (pa.ArrowException, OverflowError):
            pass  # numbers too large for the type, which are looked for now
    for row, value in enumerate(values):
        if value is not None and not _fits(value, column.type):
            name = _NAMES[column.type]
            reasons.setdefault(
                row, f"field {column.name!r}: the value {_shown(value)} does not fit {name} exactly"
            )
            values[row] = None
    if column.type == pa.float64():
        # Arrow refuses whole numbers above 2**53, also those that a double holds.
        values = [None if value is None else float(value) for value in values]
    return pa.array(values, column.type)


def _fits(value: Any, kind: pa.DataType) -> bool:
    if isinstance(value, str):
        return is_unicode(value)
    if isinstance(value, InexactNumber) or _is_beyond_int64(value):
        return False
    return kind != pa.float64() or isinstance(value, float) or int(float(value)) == value


def _shown(value: Any) -> str:
    text = lossless_text(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _parsed(folder: Storage, path: str) -> Iterator[_Line]:
    """Each line's object; empty lines are passed over."""
    with folder.open_input(path) as stream:
        lines = enumerate(_lines(stream, folder.address(path)), 1)
        filled = ((number, line) for number, line in lines if line.strip())
        while some := list(itertools.islice(filled, _LINES_AT_ONCE)):
            texts, reasons = canonical_column(pa.array([line for _, line in some], pa.binary()))
            for at, ((number, line), text) in enumerate(zip(some, texts.to_pylist(), strict=True)):
                where = f"{folder.address(path)}:{number}"
                values = _read_line(line, where) if at in reasons else orjson.loads(text)
                if not isinstance(values, dict):
                    raise AirliftError(f"{where}: expected an object, found {values!r:.80}")
                yield _Line(number, values, at in reasons)


def _lines(stream: pa.NativeFile, address: str) -> Iterator[bytes]:
    reader, number = io.BufferedReader(stream, 1 << 20), 0
    while line := reader.readline(_MAX_LINE + 1):
        number += 1
        if len(line) > _MAX_LINE:
            raise AirliftError(
                f"{address}:{number}: the line is longer than {_MAX_LINE >> 20} MB; expected one "
                "object a line (JSON Lines)"
            )
        yield line


def _read_line(line: bytes, where: str) -> Any:
    """The value of a line that is no plain JSON, with nothing lost."""
    try:
        # What is not UTF-8 becomes halves of surrogate pairs: no text either, but of one value.
        return exact_value(line.decode(errors="surrogateescape"))
    except ValueError as error:
        raise AirliftError(f"{where} is no JSON: {error}") from error
