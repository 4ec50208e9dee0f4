"""Rows of CSV files, whose first line names the columns.

A file is read twice: the type of a column is one that holds every value of it exactly, and text
where there is none. A field that is empty and not in quotation marks has no value.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from airlift.errors import AirliftError
from airlift.json_text import canonical_column
from airlift.memory_limit import within_limit
from airlift.sources.faiss.blocks import Block, Rows
from airlift.sources.faiss.text_files import TextFile

_READ_BYTES = 4 << 20
# Others would come back as other texts: +7, 007, 1_000.
_WHOLE = r"^(0|-?[1-9][0-9]{0,18})$"
_NUMBER = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$"
_LONG_WHOLE = r"^-?[0-9]{16,}$"
_BOOLEAN = r"^(true|false)$"
_DELIMITERS = {",": "commas", "\t": "tabs"}
_KINDS = (pa.int64(), pa.float64(), pa.bool_(), pa.string())

_NOT_UTF8 = " is not UTF-8; convert it, such as by iconv -f LATIN1 -t UTF-8"
_MISTAKES = {
    "straddl": f": a row is longer than {_READ_BYTES >> 20} MB, or a quotation mark is not closed; "
    "correct it",
    "UTF8": _NOT_UTF8,
    "columns, got": ": {error}; a row has more or fewer values than the first line has names; "
    "correct it, and put a value with a delimiter in it between quotation marks",
}
"""What a part of Arrow's message means for the user."""


def csv_rows(files: list[TextFile]) -> Rows:
    """The rows of CSV files with the same columns, one after the other."""
    names = _names(files[0])
    for file in files[1:]:
        if (found := _names(file)) != names:
            raise AirliftError(
                f"{file.address} has the columns {found}, {files[0].address} {names}; expected the "
                "same in each file"
            )
    kinds = dict.fromkeys(names, 0)
    seen: set[str] = set()
    for file in files:
        for batch in _batches(file, names):
            for name, column in zip(names, batch.columns, strict=True):
                if column.null_count < len(column):
                    seen.add(name)
                while not _fits(column, _KINDS[kinds[name]]):
                    kinds[name] += 1
    types = [_KINDS[kinds[name]] if name in seen else pa.string() for name in names]
    schema = pa.schema(list(zip(names, types, strict=True)))

    def blocks() -> Iterator[Block]:
        for file in files:
            for batch in _batches(file, names):
                columns = [
                    column.cast(kind) for column, kind in zip(batch.columns, types, strict=True)
                ]
                yield Block(pa.RecordBatch.from_arrays(columns, schema=schema), {})

    return schema, blocks


def _names(file: TextFile) -> list[str]:
    _check_first_line(file)
    with _reader(file, _options(file)) as reader:
        names: list[str] = reader.schema.names
    if len(set(names)) < len(names):
        raise AirliftError(
            f"{file.address}: its first line is expected to name the columns, each once; found "
            f"{names}"
        )
    return names


def _check_first_line(file: TextFile) -> None:
    """Raises AirliftError where it is no text, or has another delimiter than the file's name says.

    Arrow would first find that the rows are not alike.
    """
    with file.open() as stream:
        line = stream.readline(_READ_BYTES)
    try:
        text = line.decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise AirliftError(f"{file.address}{_NOT_UTF8}") from error
    delimiter = _delimiter(file)
    other = next((sign for sign in (*_DELIMITERS, ";", "|") if sign in text), "")
    if other and delimiter not in text and '"' not in text:
        raise AirliftError(
            f"{file.address}: its first line is {text!r:.80}; expected {_DELIMITERS[delimiter]} "
            f"between the columns' names; found only {other!r}; write the file with these (.csv: "
            "commas, .tsv: tabs)"
        )


def _delimiter(file: TextFile) -> str:
    return "\t" if file.name.endswith(".tsv") else ","


def _batches(file: TextFile, names: list[str]) -> Iterator[pa.RecordBatch]:
    """The rows as texts."""
    options = _options(file)
    options["convert_options"] = csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()),
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    with _reader(file, options) as reader:
        yield from within_limit(file.address, reader)


@contextmanager
def _reader(file: TextFile, options: dict[str, Any]) -> Iterator[csv.CSVStreamingReader]:
    """Opens a file; its rows are read in the block."""
    try:
        with file.open() as stream, csv.open_csv(stream, **options) as reader:
            yield reader
    except pa.ArrowInvalid as error:
        for sign, said in _MISTAKES.items():
            if sign in str(error):
                raise AirliftError(f"{file.address}{said.format(error=error)}") from error
        raise


def _options(file: TextFile) -> dict[str, Any]:
    return {
        "read_options": csv.ReadOptions(block_size=_READ_BYTES, use_threads=False),
        "parse_options": csv.ParseOptions(delimiter=_delimiter(file), newlines_in_values=True),
    }


def _fits(column: pa.Array, kind: pa.DataType) -> bool:
    """Whether a type holds every value of a column of texts exactly."""
    if pa.types.is_string(kind):
        return True
    if pa.types.is_boolean(kind):
        return _all_match(column, _BOOLEAN)
    if pa.types.is_int64(kind):
        return _all_match(column, _WHOLE) and _can_cast(column, kind)
    if not _all_match(column, _NUMBER):
        return False
    _, inexact = canonical_column(column.drop_null().cast(pa.binary()))
    long = column.filter(pc.match_substring_regex(column, _LONG_WHOLE)).to_pylist()
    return not inexact and all(int(text) == int(float(text)) for text in long)


def _all_match(column: pa.Array, pattern: str) -> bool:
    return bool(np.all(pc.match_substring_regex(column, pattern).fill_null(True)))


def _can_cast(column: pa.Array, kind: pa.DataType) -> bool:
    try:
        column.cast(kind)
    except pa.ArrowInvalid:
        return False
    return True
