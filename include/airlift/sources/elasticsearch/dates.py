"""Dates as Elasticsearch writes them, in milliseconds since 1970."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from functools import cache

DEFAULT_FORMATS = "strict_date_optional_time||epoch_millis"

_EPOCH = date(1970, 1, 1).toordinal()
_DAY = 86_400_000

_OPTIONAL_TIME = re.compile(
    r"(?P<y>\d{4})(?:-(?P<M>\d\d?)(?:-(?P<d>\d\d?)(?:T(?:(?P<H>\d\d?)(?::(?P<m>\d\d?)"
    r"(?::(?P<s>\d\d?)(?:[.,](?P<S>\d{1,9}))?)?)?(?P<X>Z|[+-]\d\d(?::?\d\d)?)?)?)?)?)?"
)
_NAMED = {
    "basic_date": "yyyyMMdd",
    "basic_date_time": "yyyyMMdd'T'HHmmss.SSSXX",
    "basic_date_time_no_millis": "yyyyMMdd'T'HHmmssXX",
    "date": "yyyy-MM-dd",
    "year_month_day": "yyyy-MM-dd",
    "year_month": "yyyy-MM",
    "year": "yyyy",
    "date_hour_minute_second": "yyyy-MM-dd'T'HH:mm:ss",
    "date_hour_minute_second_millis": "yyyy-MM-dd'T'HH:mm:ss.SSS",
    "date_time": "yyyy-MM-dd'T'HH:mm:ss.SSSXX",
    "date_time_no_millis": "yyyy-MM-dd'T'HH:mm:ssXX",
}
# Java's pattern letters; a repeated single digit such as `d` also takes two.
_LETTERS = {
    "yyyy": r"(?P<y>\d{4})",
    "uuuu": r"(?P<y>\d{4})",
    "MM": r"(?P<M>\d\d)",
    "M": r"(?P<M>\d\d?)",
    "dd": r"(?P<d>\d\d)",
    "d": r"(?P<d>\d\d?)",
    "HH": r"(?P<H>\d\d)",
    "H": r"(?P<H>\d\d?)",
    "mm": r"(?P<m>\d\d)",
    "ss": r"(?P<s>\d\d)",
} | dict.fromkeys(["X", "XX", "XXX", "Z", "ZZ", "ZZZ", "x"], r"(?P<X>Z|[+-]\d\d(?::?\d\d)?)")
_TOKEN = re.compile(r"'((?:[^']|'')*)'|([A-Za-z])\2*|.", re.S)

Reader = Callable[[str], int | None]


def reader(formats: str) -> Reader | None:
    """What reads a date of one of the formats (`a||b`) as milliseconds since 1970.

    Returns:
        A function that gives None for what is no such date; or None, when one of the formats is
        not known here.
    """
    return _reader(formats or DEFAULT_FORMATS)


@cache
def _reader(formats: str) -> Reader | None:
    readers = [_one(name.removeprefix("8").strip()) for name in formats.split("||")]
    known = [one for one in readers if one is not None]
    if len(known) < len(readers):
        return None

    def read(text: str) -> int | None:
        for one in known:
            found = one(text)
            if found is not None:
                return found
        return None

    return read


def _one(name: str) -> Reader | None:
    if name == "epoch_millis":
        return lambda text: _number(text, 1)
    if name == "epoch_second":
        return lambda text: _number(text, 1000)
    if name.removeprefix("strict_") in ("date_optional_time", "date_optional_time_nanos"):
        return lambda text: _matched(_OPTIONAL_TIME, text)
    pattern = _pattern(_NAMED.get(name.removeprefix("strict_"), name))
    if pattern is None:
        return None
    return lambda text: _matched(pattern, text)


def _number(text: str, scale: int) -> int | None:
    """Elasticsearch drops what is less than a millisecond."""
    found = re.fullmatch(r"(-?\d{1,18})(?:\.(\d{1,9}))?", text)
    if not found:
        return None
    whole, fraction = found.groups()
    part = int((fraction or "0").ljust(9, "0")) * scale
    sign = -1 if whole.startswith("-") else 1
    nanos = abs(int(whole)) * scale * 10**9 + part
    return (sign * nanos) // 10**9


def _pattern(text: str) -> re.Pattern[str] | None:
    """A Java date pattern as a regular expression; None when a letter is not known."""
    made = []
    for token in _TOKEN.finditer(text):
        found = token.group(0)
        if token.group(1) is not None:
            made.append(re.escape(token.group(1).replace("''", "'") or "'"))
        elif not found[0].isalpha():
            made.append(re.escape(found))
        elif found in _LETTERS:
            made.append(_LETTERS[found])
        elif set(found) == {"S"} and len(found) <= 9:
            made.append(rf"(?P<S>\d{{{len(found)}}})")
        else:
            return None
    try:
        pattern = re.compile("".join(made))
    except re.error:  # a letter that stands twice
        return None
    return pattern if "y" in pattern.groupindex else None


def _matched(pattern: re.Pattern[str], text: str) -> int | None:
    found = pattern.fullmatch(text)
    if found is None:
        return None
    part = found.groupdict()
    hour, minute, second = (int(part.get(one) or 0) for one in "Hms")
    if hour > 23 or minute > 59 or second > 59:
        return None
    try:
        day = date(int(part["y"]), int(part.get("M") or 1), int(part.get("d") or 1)).toordinal()
    except ValueError:
        return None
    millis = int((part.get("S") or "0").ljust(9, "0")[:3])
    seconds = (hour * 60 + minute) * 60 + second - _offset(part.get("X") or "Z")
    return (day - _EPOCH) * _DAY + seconds * 1000 + millis


def _offset(zone: str) -> int:
    """Seconds east of Greenwich."""
    if zone == "Z":
        return 0
    digits = zone[1:].replace(":", "").ljust(4, "0")
    seconds = int(digits[:2]) * 3600 + int(digits[2:]) * 60
    return -seconds if zone[0] == "-" else seconds
