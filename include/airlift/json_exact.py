"""JSON (RFC 8259) parsed and written without loss, and what JSON in Milvus can't hold.

Fast parsers round whole numbers of more than 64 bits and decimals that no double is, keep the last
of two equal keys, and write NaN as null. What is here is slow and does none of that; `json_text`
decides when it is needed.

JSON in Milvus (simdjson reads it) holds numbers of 64 bits or doubles, texts of whole Unicode
characters, and objects in which a key stands once.
"""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import date, time
from decimal import Decimal, localcontext
from typing import Any, NoReturn
from uuid import UUID

MAX_DEPTH = 254
"""Lists and objects within each other: as deep as orjson writes them."""

_LOWEST, _HIGHEST = -(1 << 63), (1 << 64) - 1
_MAX_DIGITS = 4000  # Python refuses to make an int of more than 4,300
_SHOWN = 40
_TOO_DEEP = "nested too deep to be shown"
_DEEPER = f"is nested deeper than {MAX_DEPTH} levels"
_MOST_LEVELS = 3000  # orjson reads 1,024, and there Python would stop at some 900
_NOT_UTF8 = "not UTF-8, "


class InexactNumber(float):
    """A number of a JSON text that is no double; as a float it is the nearest.

    Attributes:
        text: the number as it was written.
    """

    def __new__(cls, text: str) -> InexactNumber:
        """Reads the nearest float of a number's text."""
        number = super().__new__(cls, text)
        number.text = text
        return number

    text: str


class RepeatedKeys(dict[str, Any]):
    """An object in which a key stands more than once; as a dict it has the last value.

    Attributes:
        pairs: all keys and values, in order.
    """

    def __init__(self, pairs: Iterable[tuple[str, Any]]) -> None:
        self.pairs = list(pairs)
        super().__init__(self.pairs)

    @property
    def first(self) -> str:
        """The first of the keys that stand more than once."""
        times = Counter(key for key, _ in self.pairs)
        return next(key for key, count in times.items() if count > 1)


def exact_value(text: str) -> Any:
    """The value of a JSON text, with nothing lost.

    Also takes what is not quite JSON: NaN, Infinity and -Infinity (as InexactNumber), and halves of
    surrogate pairs.

    Returns:
        Python values. Whole numbers may have any size; what a float or a dict can't hold is an
        InexactNumber or RepeatedKeys.

    Raises:
        ValueError: it is no JSON, or is nested deeper than some thousand levels.
    """
    try:
        return _KEEPING.decode(text)
    except RecursionError:
        pass
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, _MOST_LEVELS))
    try:
        return _decoded(_KEEPING, text)
    finally:
        sys.setrecursionlimit(before)


def reason_against(text: str) -> str | None:
    """Why JSON in Milvus can't hold the value of a text exactly; None when it can.

    The reason is a phrase about the text, such as "is no JSON".
    """
    if text.startswith(_NOT_UTF8):
        return "is not UTF-8"
    if text == _TOO_DEEP:
        return _DEEPER
    try:
        value = _decoded(_REFUSING, text)
    except _CannotHold as found:
        return str(found)
    except ValueError as error:
        return f"is no JSON ({error})"
    if _depth_exceeds(value, MAX_DEPTH):
        return _DEEPER
    return "has half of a surrogate pair, which is no text" if _has_half_pair(value) else None


def is_json(text: str) -> bool:
    """Whether a text is JSON by the RFC, whatever its numbers and keys."""
    try:
        return not _has_half_pair(_decoded(_READING, text))
    except ValueError:
        return False


def is_unicode(text: str) -> bool:
    """Whether a text has no half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def readable(raw: bytes) -> str:
    """Bytes as text; those that are not UTF-8 become a text that shows them, and is no JSON."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return _NOT_UTF8 + raw.decode(errors="backslashreplace")


def written(value: Any) -> str:
    """The text of a value, with nothing lost: exactly what `exact_value` reads.

    Args:
        value: also dates and times (as ISO 8601 text), Decimal (as a number), and dicts whose keys
            are whole numbers (as text).

    Returns:
        JSON, but for NaN and infinities, which are written so; and for what is nested too deep, a
        text that is no JSON.

    Raises:
        TypeError: a value has no counterpart in JSON, such as bytes.
    """
    try:
        return _written(value)
    except RecursionError:
        return _TOO_DEEP


def is_exact(text: str, value: float) -> bool:
    """Whether a number's text says no more than the double that it is read as.

    It does not when it is the double's shortest text, or when the double, rounded to as many
    significant digits as the text has (zeros at the end don't count), is what the text says.
    """
    if not math.isfinite(value):
        return False
    if repr(value) == text:
        return True
    with localcontext() as context:
        context.prec = len(text) + 800  # a double has at most 767 digits
        if value == 0:
            return not any(digit in "123456789" for digit in text.lower().partition("e")[0])
        number = Decimal(text).normalize()
        if number == Decimal(repr(value)):
            return True
        half = Decimal((0, (5,), number.as_tuple().exponent - 1))  # type: ignore[operator]
        return abs(Decimal(value) - number) <= half


class _CannotHold(ValueError):
    """The text holds what JSON in Milvus can't; the message says what."""


def _decoded(decoder: json.JSONDecoder, text: str) -> Any:
    try:
        return decoder.decode(text)
    except RecursionError:
        raise _CannotHold(_DEEPER) from None


def _whole(text: str) -> int | InexactNumber:
    return int(text) if len(text) <= _MAX_DIGITS else InexactNumber(text)


def _decimal(text: str) -> float:
    value = float(text)
    return value if is_exact(text, value) else InexactNumber(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else RepeatedKeys(pairs)


def _checked_whole(text: str) -> int:
    if len(text) > _MAX_DIGITS or not _LOWEST <= int(text) <= _HIGHEST:
        raise _CannotHold(f"has the whole number {_shown(text)}, which needs more than 64 bits")
    return int(text)


def _checked_decimal(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise _CannotHold(f"has the number {_shown(text)}, which is beyond the range of a double")
    if not is_exact(text, value):
        raise _CannotHold(
            f"has the number {_shown(text)}, which no double is: the nearest is {value!r}"
        )
    return value


def _refused_constant(text: str) -> NoReturn:
    raise _CannotHold(f"is no JSON: it has {text}, which JSON has no number for")


def _checked_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        key = repr(RepeatedKeys(pairs).first)
        raise _CannotHold(f"has the key {_shown(key)} more than once in an object")
    return found


_KEEPING = json.JSONDecoder(
    parse_int=_whole,
    parse_float=_decimal,
    parse_constant=InexactNumber,
    object_pairs_hook=_object,
)
_REFUSING = json.JSONDecoder(
    parse_int=_checked_whole,
    parse_float=_checked_decimal,
    parse_constant=_refused_constant,
    object_pairs_hook=_checked_object,
)
_READING = json.JSONDecoder(
    parse_int=InexactNumber, parse_constant=_refused_constant, object_pairs_hook=RepeatedKeys
)


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text):,} characters)"


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        pairs = value.pairs if isinstance(value, RepeatedKeys) else value.items()
        return (part for pair in pairs for part in pair)
    return value if isinstance(value, list) else ()


def _depth_exceeds(value: Any, most: int) -> bool:
    level = [value]
    for _ in range(most + 1):
        nested = [item for item in level if isinstance(item, (dict, list))]
        if not nested:
            return False
        level = [child for item in nested for child in _children(item)]
    return True


def _has_half_pair(value: Any) -> bool:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            if not is_unicode(item):
                return True
        else:
            waiting += _children(item)
    return False


def _written(value: Any) -> str:
    kind = type(value)
    if kind in _WRITERS:
        return _WRITERS[kind](value)
    for base, write in _WRITERS.items():
        if isinstance(value, base):
            return write(value)
    raise TypeError(f"a value of type {kind.__name__} has no counterpart in JSON")


def _key(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return f'"{value}"'
    raise TypeError(f"a key of type {type(value).__name__} has no counterpart in JSON")


def _pairs(pairs: Iterable[tuple[Any, Any]]) -> str:
    return "{" + ",".join([f"{_key(key)}:{_written(value)}" for key, value in pairs]) + "}"


def _items(items: Iterable[Any]) -> str:
    return "[" + ",".join([_written(item) for item in items]) + "]"


def _iso(value: date | time) -> str:
    return json.dumps(value.isoformat())


_WRITERS: dict[type, Callable[[Any], str]] = {
    InexactNumber: lambda value: value.text,
    RepeatedKeys: lambda value: _pairs(value.pairs),
    type(None): json.dumps,
    bool: json.dumps,
    int: json.dumps,
    float: json.dumps,
    str: json.dumps,
    dict: lambda value: _pairs(value.items()),
    list: _items,
    tuple: _items,
    Decimal: str,
    date: _iso,  # datetime is one
    time: _iso,
    UUID: lambda value: json.dumps(str(value)),
}
"""What writes a value, by its type; a type stands before those that it is derived from."""
