"""Rows of text files: JSON Lines, a JSON array, JSON objects over several lines.

A file is read twice: the types of its columns are those that hold every value. It may be packed by
gzip, and begin with a byte order mark.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson
import pyarrow as pa

from airlift.errors import AirliftError
from airlift.json_exact import InexactNumber, RepeatedKeys, exact_value, is_unicode
from airlift.json_text import canonical_column, lossless_text
from airlift.sources.faiss.blocks import BLOCK_ROWS, Block, Rows
from airlift.sources.faiss.text_files import TextFile

_LINES_AT_ONCE = 1024
_SHOWN = 80
_MAX_WHOLE = 128 << 20
"""Bytes of a file that is not one object a line: it is held in memory."""

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
    """An object, where it stands, and whether it holds what JSON in Milvus can't."""

    where: str
    values: dict[str, Any]
    odd: bool


def json_rows(files: list[TextFile]) -> Rows:
    """The objects of JSON files, one after the other; each file may have its own form."""
    kinds: dict[str, pa.DataType | None] = {}
    for line in _parsed(files):
        for name, value in line.values.items():
            if name not in kinds and not is_unicode(name):
                raise AirliftError(f"{line.where}: the key {name!r} is no valid Unicode")
            kinds[name] = _joined(kinds.get(name), value)
    # An empty struct counts as false.
    schema = pa.schema(
        [(name, pa.string() if kind is None else kind) for name, kind in kinds.items()]
    )

    def blocks() -> Iterator[Block]:
        held: list[_Line] = []
        for line in _parsed(files):
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


def _parsed(files: list[TextFile]) -> Iterator[_Line]:
    """Each object of the files, in order; empty lines are passed over."""
    for file in files:
        texts = _texts(file)
        while some := list(itertools.islice(texts, _LINES_AT_ONCE)):
            made, reasons = canonical_column(pa.array([text for _, text in some], pa.binary()))
            for at, ((where, raw), text) in enumerate(zip(some, made.to_pylist(), strict=True)):
                values = _read_text(raw, where) if at in reasons else orjson.loads(text)
                if not isinstance(values, dict):
                    raise AirliftError(
                        f"{where}: expected an object, the values of a row; found {values!r:.80}"
                    )
                yield _Line(where, values, at in reasons)


def _texts(file: TextFile) -> Iterator[tuple[str, bytes]]:
    """The text of each object, and where it stands."""
    first = next((line for line in file.lines() if line.strip()), b"")
    if _is_one_a_line(first):
        for number, line in enumerate(file.lines(), 1):
            if line.strip():
                yield f"{file.address}:{number}", line
        return
    yield from _spread(file, file.whole(_MAX_WHOLE, "write one object a line (jq -c '.[]')"))


def _is_one_a_line(line: bytes) -> bool:
    """Whether a file's first line is a whole value that is no list, or no JSON at all."""
    text = line.strip()
    if text.startswith(b"["):
        return False
    if not text.startswith(b"{"):
        return True
    try:
        exact_value(text.decode(errors="surrogateescape"))
    except ValueError:
        return text.endswith(b"}")
    return True


def _spread(file: TextFile, whole: bytes) -> Iterator[tuple[str, bytes]]:
    """The objects of a list, or of objects one after the other, over any number of lines."""
    text = whole.decode(errors="surrogateescape")
    decoder, at, line, counted = json.JSONDecoder(), _behind_space(text, 0), 1, 0
    in_list = text[at : at + 1] == "["
    at = _behind_space(text, at + 1) if in_list else at
    while at < len(text) and not (in_list and text[at] == "]"):
        line, counted = line + text.count("\n", counted, at), at
        where = f"{file.address}:{line}"
        try:
            _, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            raise AirliftError(
                f"{where} is no JSON: {error}; expected one object a line, a list of objects, or "
                "objects one after the other"
            ) from error
        yield where, text[at:end].encode(errors="surrogateescape")
        at = _behind_space(text, end)
        if in_list and text[at : at + 1] == ",":
            at = _behind_space(text, at + 1)
        elif in_list and text[at : at + 1] != "]":
            raise AirliftError(f"{where}: the list of objects does not end; copy the file again")
    if in_list and (at >= len(text) or text[at + 1 :].strip()):
        raise AirliftError(
            f"{file.address}: expected one list of objects and nothing behind it; copy the file "
            "again"
        )


def _behind_space(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def _read_text(text: bytes, where: str) -> Any:
    """The value of a text that is no plain JSON, with nothing lost."""
    try:
        # What is not UTF-8 becomes halves of surrogate pairs: no text either, but of one value.
        return exact_value(text.decode(errors="surrogateescape"))
    except ValueError as error:
        raise AirliftError(f"{where} is no JSON: {error}") from error
