"""One value of a document, by the rules of docs/elasticsearch.md.

A document holds what somebody once sent: a number as text, one value or a list of one, or something
else than the mapping says. What means the same is taken; anything else makes the row a bad one.
"""

from __future__ import annotations

import math
import re
import struct
from base64 import b64decode
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import orjson

from airlift.datatypes import DataType
from airlift.json_exact import InexactNumber
from airlift.json_text import lossless_text
from airlift.sources.elasticsearch import dates
from airlift.sources.elasticsearch.columns import Column
from airlift.sources.elasticsearch.documents import without
from airlift.sparse_vectors import to_bytes

MAX_FLOAT = 3.4028234663852886e38
_WHOLE = re.compile(r"([+-]?\d{1,40})(?:\.0*)?")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_HEXADECIMAL = re.compile(r"[0-9a-fA-F]*")
_SHOWN = 60

Read = Callable[[Any], Any]


class BadValue(Exception):
    """A value breaks its rule; the message says how."""


def shown(value: Any) -> str:
    """A value for a message, not too long."""
    text = lossless_text(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def reader(column: Column) -> Read:
    """What turns a column's value in a document into that of the Arrow column (None stays None).

    It raises BadValue for what can't be turned without changing its meaning. JSON is not judged:
    a value that JSON can't hold becomes a text that tells so.
    """
    if column.type is DataType.JSON:
        return lambda value: None if value is None else _json_text(value, column)
    if column.type is DataType.SPARSE_FLOAT_VECTOR:
        return sparse
    one = _scalar(column)
    if column.type is DataType.ARRAY:
        return lambda value: _many(value, one)
    return lambda value: _single(value, one)


def _scalar(column: Column) -> Read:
    if column.formats:
        return _date(column.formats)
    return _SCALARS[column.scalar]


def _single(value: Any, one: Read) -> Any:
    """Elasticsearch knows no difference between a value and a list of it."""
    if isinstance(value, list):
        if len(value) > 1:
            raise BadValue(
                f"holds {len(value)} values, {shown(value)}, where one is expected; let mapping "
                "have the field as ARRAY or JSON"
            )
        value = value[0] if value else None
    return None if value is None else one(value)


def _many(value: Any, one: Read) -> Any:
    if value is None:
        return None
    values = value if isinstance(value, list) else [value]
    if not values:
        return []
    if any(item is None for item in values):
        raise BadValue(f"holds a null in a list, {shown(value)}; let mapping have it as JSON")
    return [one(item) for item in values]


def text(value: Any) -> str:
    """Text; a number or a boolean becomes its JSON text, as in a keyword field."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise BadValue("holds text that is no valid Unicode (half of a pair)") from error
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, InexactNumber):
        return value.text
    if isinstance(value, float):
        return orjson.dumps(value).decode()
    raise BadValue(f"expected text, found {shown(value)}")


def _whole(value: Any) -> int | None:
    """The whole number that a value is, however it is written; None where it is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, InexactNumber) and math.isfinite(value):
        number = Decimal(value.text)  # the float is only the nearest
        return int(number) if number == number.to_integral_value() else None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and (match := _WHOLE.fullmatch(value.strip())):
        return int(match.group(1))
    return None


def _integer(bits: int) -> Read:
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1

    def read(value: Any) -> int:
        found = _whole(value)
        if found is None:
            raise BadValue(f"expected a whole number, found {shown(value)}")
        if not low <= found <= high:
            raise BadValue(f"{found} is out of the range of INT{bits}")
        return found

    return read


def _number(value: Any) -> float:
    """A finite number, rounded to the nearest double."""
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise BadValue(f"expected a number, found {shown(value)}")
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    if not math.isfinite(found):
        raise BadValue(f"expected a finite number, found {shown(value)}")
    return found


def double(value: Any) -> float:
    """A number as a double; whole numbers must fit exactly."""
    found, whole = _number(value), _whole(value)
    if whole is not None and int(found) != whole:
        raise BadValue(f"{whole} can't be held exactly by DOUBLE")
    return found


def single_float(value: Any) -> float:
    """A number as Elasticsearch's own `float` holds it: rounded to the nearest of 32 bits."""
    found = _number(value)
    if abs(found) > MAX_FLOAT:
        raise BadValue(f"{shown(value)} is out of the range of FLOAT")
    return found


def boolean(value: Any) -> bool:
    """True or false; as in Elasticsearch also as text, and the empty text is false."""
    if isinstance(value, bool):
        return value
    if value in ("true", "false", ""):
        return bool(value == "true")
    raise BadValue(f"expected true or false, found {shown(value)}")


def _date(formats: str) -> Read:
    read = dates.reader(formats)
    assert read is not None  # noqa: S101 - columns only has formats that are known

    def millis(value: Any) -> int:
        whole = _whole(value) if isinstance(value, float) and abs(value) < 1e17 else None
        value = value if whole is None else whole
        found = None if isinstance(value, bool) else read(text(value).strip())
        if found is None:
            raise BadValue(f"expected a date as {formats!r}, found {shown(value)}")
        return found

    return millis


def _json_text(value: Any, column: Column) -> str:
    if not column.without:
        return lossless_text(value)
    try:
        return lossless_text(without(value, column.without))
    except RecursionError as error:
        raise BadValue("is nested too deep") from error


def sparse(value: Any) -> bytes | None:
    """Weights by number, as `{"17": 0.5}`."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if value is None or value == []:
        return None
    if not isinstance(value, dict):
        raise BadValue(f"expected weights by number, found {shown(value)}")
    weights: dict[int, float] = {}
    for key, weight in value.items():
        if not (key.isascii() and key.isdigit() and str(int(key)) == key and int(key) < 2**32 - 1):
            raise BadValue(
                f"{shown(key)} is no number of a dimension (0 to 2^32-2); let mapping have the "
                "field as JSON"
            )
        weights[int(key)] = single_float(weight)
    return to_bytes(weights)


def vector_of(column: Column, value: Any) -> bytes | None:
    """The bytes of one vector; for those that are not taken a page at a time."""
    if value is None or value == []:
        return None
    if column.type is DataType.FLOAT_VECTOR:
        if isinstance(value, str):
            return _floats_of_base64(value, column.dim)
        if not isinstance(value, list):
            raise BadValue(f"expected a list of numbers, found {shown(value)}")
        _length(len(value), column.dim)
        return struct.pack(f"<{column.dim}f", *map(single_float, value))
    length = column.dim // 8 if column.type is DataType.BINARY_VECTOR else column.dim
    if isinstance(value, str):
        return _bytes_of_text(value, length)
    if not isinstance(value, list):
        raise BadValue(f"expected a list of bytes, found {shown(value)}")
    _length(len(value), length)
    # A byte of bits may be written as 255 or as -1.
    high = 255 if column.type is DataType.BINARY_VECTOR else 127
    numbers = [_integer(64)(number) for number in value]
    if any(not -128 <= number <= high for number in numbers):
        raise BadValue(f"expected bytes (-128 to {high}), found {shown(value)}")
    return bytes(number & 0xFF for number in numbers)


def _bytes_of_text(text: str, length: int) -> bytes:
    """Bytes that are written as hexadecimal digits or, from Elasticsearch 9.3 on, as base64.

    No text is both: of so many bytes, one has more characters than the other, or ends with `=`.
    """
    if len(text) == 2 * length and _HEXADECIMAL.fullmatch(text):
        return bytes.fromhex(text)
    raw = _base64(text)
    if raw is None:
        raise BadValue(f"expected hexadecimal digits or base64, found {shown(text)}")
    _length(len(raw), length)
    return raw


def _floats_of_base64(text: str, dim: int) -> bytes:
    """The bytes of a vector of floats, which Elasticsearch takes as base64 from 9.3 on.

    What it holds is big-endian: 4 bytes a number, or the 2 of a bfloat16.
    """
    raw = _base64(text)
    if raw is None:
        raise BadValue(f"expected a list of numbers or base64, found {shown(text)}")
    if len(raw) == 2 * dim:
        high = np.frombuffer(raw, ">u2").astype(np.uint32) << np.uint32(16)
        floats = high.view(np.float32)
    elif len(raw) != 4 * dim:
        raise BadValue(f"expected base64 of {4 * dim} bytes, found {len(raw)}")
    else:
        floats = np.frombuffer(raw, ">f4").astype("<f4")
    if not np.isfinite(floats).all():
        raise BadValue("expected finite numbers, found NaN or infinity in the base64")
    return floats.tobytes()


def _base64(text: str) -> bytes | None:
    try:
        return b64decode(text, validate=True)
    except ValueError:
        return None


def _length(found: int, expected: int) -> None:
    if found != expected:
        raise BadValue(f"expected {expected} numbers, found {found}")


_SCALARS: dict[DataType, Read] = {
    DataType.VARCHAR: text,
    DataType.INT8: _integer(8),
    DataType.INT16: _integer(16),
    DataType.INT32: _integer(32),
    DataType.INT64: _integer(64),
    DataType.DOUBLE: double,
    DataType.FLOAT: single_float,
    DataType.BOOL: boolean,
}
"""How one value of each type is read."""
