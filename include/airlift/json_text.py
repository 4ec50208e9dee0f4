"""JSON texts in one canonical form, so that equal values are equal texts.

Servers keep a JSON value, not its text: spaces and the order of keys come back as they please. A
text whose value JSON in Milvus can't hold exactly (see `json_exact`) has no canonical form: it
stays as it is, which makes it unlike every canonical text, and the reason is given.

Texts go through orjson once. What orjson would change silently is searched for in whole columns:
numbers that are long enough to be rounded, by a regular expression; repeated keys, by counting
colons, of which the canonical text then has fewer. Only suspicious rows are examined one by one.
"""

from __future__ import annotations

import math
import re
from itertools import repeat
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from airlift.json_exact import is_exact, readable, reason_against, written

Reasons = dict[int, str]
"""By row, why JSON in Milvus can't hold its value: a phrase such as "is no JSON"."""

_CANONICAL = orjson.OPT_SORT_KEYS
# The types of json_exact are refused then; by itself orjson takes them for plain ones.
_STRICT = orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_SUBCLASS

# What orjson may round: whole numbers of more than 18 digits (with a minus) or 19 (without), those
# of more than 15 digits with a fraction or an exponent, and any with an exponent of three digits.
_SPLIT_DIGITS = "|".join(rf"[0-9]{{{n}}}\.[0-9]{{{16 - n}}}" for n in range(1, 16))
_LONG_NUMBER = (
    rf"-[0-9]{{19}}|-?(?:[0-9]{{20}}|{_SPLIT_DIGITS}|[0-9]{{16,}}[.eE]"
    r"|[0-9.]+[eE][-+]?[0-9]{3})"
)
# An escaped colon is one more in the canonical text, and would make up for one that is lost.
_SUSPICIOUS = rf"(?:^|[:,\[\s])(?:{_LONG_NUMBER})|\\u003[aA]"
_LARGE_EXPONENT = r"(?:^|[:,\[\s])-?[0-9.]+[eE][-+]?[0-9]{3}"
_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_LONGEST_EXACT = 15
"""So many digits a double keeps, whatever they are."""
# To split a text at what may stand beside a number: blanks for that, and quotes for what is of no
# number. It takes a quarter of the time of a regular expression.
_QUOTE = ord('"')
_WORDS = bytes(
    32 if sign in b",:[]{} \t\r\n" else sign if sign in b"0123456789.eE+-" else _QUOTE
    for sign in range(256)
)
_NUMBER_BEGINS = np.frombuffer(b"-0123456789", np.uint8)
_COLON = ord(":")
_UNREADABLE = "is no JSON that can be read"


def canonical(value: Any) -> str:
    """The canonical text of a Python value: keys sorted, no spaces.

    Args:
        value: as `json_exact.written` takes it.

    Raises:
        ValueError: JSON in Milvus can't hold it exactly.
    """
    text = _plain(value)
    if text is not None:
        return text
    try:
        text = written(value)
    except TypeError as error:
        raise ValueError(str(error)) from error
    if reason := reason_against(text):
        raise ValueError(f"{text[:80]} {reason}")
    return orjson.dumps(orjson.loads(text), option=_CANONICAL).decode()


def lossless_text(value: Any) -> str:
    """The JSON text of a Python value with nothing lost, though perhaps not canonical.

    Args:
        value: as `json_exact.written` takes it.

    Raises:
        TypeError: a value has no counterpart in JSON, such as bytes.
    """
    text = _plain(value)
    return written(value) if text is None else text


def canonical_column(column: pa.Array) -> tuple[pa.Array, Reasons]:
    """A column of JSON texts in canonical form.

    Args:
        column: texts or bytes.

    Returns:
        The texts, where null stays null, and a value that JSON in Milvus can't hold stays as it is;
        and the reasons for the latter.
    """
    raws = column.cast(pa.binary())
    values: list[bytes | None] = raws.to_pylist()
    suspicious = _suspicious_rows(raws)
    texts: list[str | None] = []
    rejected: list[int] = []
    loads, dumps = orjson.loads, orjson.dumps
    for row, (raw, is_suspect) in enumerate(zip(values, suspicious or repeat(False), strict=False)):
        if raw is None:
            texts.append(None)
            continue
        try:
            value = loads(raw)
            encoded = dumps(value, None, _CANONICAL)
        except (orjson.JSONDecodeError, TypeError):  # TypeError: it is nested too deep
            rejected.append(row)
            texts.append(readable(raw))
            continue
        if is_suspect and encoded != raw and not _is_lossless(raw, value):
            rejected.append(row)
        texts.append(encoded.decode())
    canonical_texts = pa.array(texts, pa.string())
    rejected += _rows_that_lost_keys(raws, canonical_texts, suspicious)
    if not rejected:
        return canonical_texts, {}
    for row in rejected:
        texts[row] = readable(values[row] or b"")
    reasons = {row: reason_against(texts[row] or "") or _UNREADABLE for row in sorted(rejected)}
    return pa.array(texts, pa.string()), reasons


def stored_texts(column: pa.Array) -> pa.Array:
    """A column of stored JSON as texts, without any check of them; null stays null.

    Args:
        column: texts or bytes; those that are not UTF-8 become texts that are no JSON.
    """
    raws = column.cast(pa.binary())
    try:
        return raws.cast(pa.string())
    except pa.ArrowInvalid:
        texts = [None if raw is None else readable(raw) for raw in raws.to_pylist()]
        return pa.array(texts, pa.string())


def may_be_rounded(text: bytes) -> bool:
    """Whether orjson would round a number of a JSON text; now and then also when it would not."""
    return _matches(text, _SUSPICIOUS) and _has_rounded(text)


def _matches(text: Any, pattern: str) -> bool:
    """Whether an expression finds something in a text (bytes, or what is like them)."""
    # `pa.array` would do, but it imports pandas.
    ends = pa.py_buffer(np.array([0, len(text)], np.int32))
    whole = pa.Array.from_buffers(pa.binary(), 1, [None, ends, pa.py_buffer(text)])
    return bool(pc.match_substring_regex(whole, pattern)[0].as_py())


def _has_rounded(text: bytes) -> bool:
    """As `may_be_rounded`, for a text that has long numbers or exponents."""
    if _matches(text, _LARGE_EXPONENT):
        return True
    words = text.translate(_WORDS).split()
    numbers = [
        word
        for word in words
        if len(word) > _LONGEST_EXACT and word[0] != _QUOTE and word[-1] != _QUOTE
    ]
    try:
        encoded = _encoded_again(numbers)
    except orjson.JSONDecodeError:
        numbers = list(filter(_NUMBER.fullmatch, numbers))  # others stood inside texts
        try:
            encoded = _encoded_again(numbers)
        except orjson.JSONDecodeError:
            return True  # one is beyond the range of a double
    if numbers == encoded:
        return False
    pairs = zip(numbers, encoded, strict=True)
    return not all(number == again or _is_kept(number) for number, again in pairs)


def _encoded_again(numbers: list[bytes]) -> list[bytes]:
    """Numbers as orjson writes what it reads of them."""
    if not numbers:
        return []
    return orjson.dumps(orjson.loads(b"[" + b",".join(numbers) + b"]"))[1:-1].split(b",")


def _is_kept(number: bytes) -> bool:
    text = number.decode()
    if text.lstrip("-").isdigit():
        return len(text) <= 20 and -(1 << 63) <= int(text) < 1 << 64
    return is_exact(text, float(text))


def _plain(value: Any) -> str | None:
    """The canonical text of a value; None where it takes more than orjson to make one."""
    try:
        text = orjson.dumps(value, option=_STRICT).decode()
    except TypeError:
        return None
    return None if "null" in text and _has_non_finite(value) else text


def _has_non_finite(value: Any) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, dict):
        return any(map(_has_non_finite, value.values()))
    return isinstance(value, (list, tuple)) and any(map(_has_non_finite, value))


def _data(column: pa.Array) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    """The bytes of all values of a binary or string column, and where each begins (and all end)."""
    _, offsets, data = column.buffers()
    if data is None or not len(column):
        return np.empty(0, np.uint8), np.zeros(1, np.int32)
    bounds = np.frombuffer(offsets, np.int32, len(column) + 1, column.offset * 4)
    return np.frombuffer(data, np.uint8)[bounds[0] : bounds[-1]], bounds - bounds[0]


def _suspicious_rows(raws: pa.Array) -> list[bool] | None:
    """Which rows hold what orjson may change silently; None when none does."""
    data, bounds = _data(raws)
    begins = data[bounds[:-1][np.diff(bounds) > 0]]
    # All values at once is faster, but does not see where one begins.
    if not np.isin(begins, _NUMBER_BEGINS).any() and not _matches(data, _SUSPICIOUS):
        return None
    rows: list[bool] = pc.match_substring_regex(raws, _SUSPICIOUS).to_pylist()
    return rows if True in rows else None


def _is_lossless(raw: bytes, value: Any) -> bool:
    """Whether what orjson read of a suspicious text is all that the text says."""
    if _is_same_but_for_form(raw, orjson.dumps(value)):
        return True
    # Texts may be escaped in other ways. An escaped colon would make up for one that is lost.
    if b"\\u003" not in raw and not _has_rounded(raw):
        return raw.count(b":") == orjson.dumps(value).count(b":")
    return reason_against(raw.decode()) is None


def _is_same_but_for_form(before: bytes, after: bytes) -> bool:
    """Whether two JSON texts are the same but for spaces and the way to write exponents.

    Then the same numbers and keys stand at the same places.
    """
    before, after = before.translate(None, b" "), after.translate(None, b" ")
    if before == after:
        return True
    # Python writes 1e-07 and 1e+20.
    before, after = before.replace(b"e-0", b"e-"), after.replace(b"e-0", b"e-")
    return before.replace(b"e+", b"e") == after.replace(b"e+", b"e")


def _rows_that_lost_keys(
    raws: pa.Array, encoded: pa.Array, suspicious: list[bool] | None
) -> list[int]:
    """The rows, beside the suspicious ones, whose canonical text has fewer keys."""
    rows = list(range(len(raws)))
    if suspicious:
        rows = [row for row in rows if not suspicious[row]]
        plain = pa.array([not is_suspicious for is_suspicious in suspicious], pa.bool_())
        raws, encoded = raws.filter(plain), encoded.filter(plain)
    colons = [np.count_nonzero(_data(column)[0] == _COLON) for column in (raws, encoded)]
    if colons[0] == colons[1]:
        return []
    pairs = zip(rows, raws.to_pylist(), encoded.to_pylist(), strict=True)
    return [row for row, raw, text in pairs if raw and raw.count(b":") != text.count(":")]
