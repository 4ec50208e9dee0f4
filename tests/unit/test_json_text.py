"""JSON texts: a canonical one says exactly what was read, and what can't be held stays as it is."""

from __future__ import annotations

import json
import random
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airlift.json_text import (
    canonical,
    canonical_column,
    lossless_text,
    may_be_rounded,
    stored_texts,
)

PLACES = ["{}", '{{"a":{}}}', "[1, {}]", '{{"b":[{{"a": {}}}],"c":"x"}}', "[[[{}]],null]", " {}\n"]
"""Where a value may stand in a text."""

DEEPEST = 254

UNFIT = {
    "needs more than 64 bits": [
        "18446744073709551616",
        "-9223372036854775809",
        "123456789012345678901234567890",
        "-123456789012345678901234567890",
        "1" + 40 * "0",
        "1180591620717411303424",  # 2^70, which is a double too
        "9" * 5000,
    ],
    "which no double is": [
        "0.1234567890123456789",
        "-0.1234567890123456789",
        "3.14159265358979323846",
        "9007199254740993.0",
        "1234567890123456789.5",
        "0.12345678901234567",
        "1.0000000000000000001e5",
        "12345678901234567e-3",
        "1e-400",
        "-2e-324",
        "1.6e-323",
        "0." + 330 * "0" + "1",
    ],
    "beyond the range of a double": ["1e400", "-1e400", "1E+309", "1.8e308", "123456789e301"],
    "JSON has no number for": ["NaN", "Infinity", "-Infinity"],
    "more than once in an object": [
        '{"a":1,"a":2}',
        '{"a":1,"a":1}',
        '{"a":1,"b":2,"\\u0061":3}',
        '{"a":{"x":1,"x":1.0}}',
        '{"":0,"":1}',
        '{"k:":1,"k:":2,"u":"\\u003a"}',
        '{"a\\u003a":1,"a:":2}',
    ],
    "half of a surrogate pair": [
        '"\\ud83d"',
        '"\\ude00"',
        '"a\\ud800b"',
        '"\\ud83dx\\ude00"',
        '{"\\udfff":1}',
        '"\\uDE00\\uD83D"',
    ],
    "is no JSON": ["{", "nul", "{'a':1}", "[1,]", "01", "+1", '"\t"', "1 2", "\ufeff1", ".5", "1."],
    "nested deeper": ["[" * n + "]" * n for n in (DEEPEST + 2, 300, 900, 1024, 3000)]
    + ['{"a":' * n + "1" + "}" * n for n in (DEEPEST + 2, 600)],
}
"""By a part of the reason, texts of values that JSON in Milvus can't hold exactly."""

HELD = {
    "18446744073709551615": "18446744073709551615",
    "-9223372036854775808": "-9223372036854775808",
    "9007199254740993": "9007199254740993",
    "1": "1",
    "1.0": "1.0",
    "-0.0": "-0.0",
    "0.1": "0.1",
    "0.10000000000000000": "0.1",
    "0.1000000000000000055511151231257827": "0.1",
    "0.30000000000000004": "0.30000000000000004",
    "-1.7976931348623157e308": "-1.7976931348623157e308",
    "5e-324": "5e-324",
    "4.9E-324": "5e-324",
    "4.940656458412465441765687928682e-324": "5e-324",
    "1e23": "1e23",
    "1E5": "100000.0",
    "1e-07": "1e-7",
    "0e999": "0.0",
    "-0e-999": "-0.0",
    "12345678901234567000.0": "1.2345678901234567e19",
    "8.41e21": "8.41e21",
    '"18446744073709551616"': '"18446744073709551616"',
    '"x: 0.1234567890123456789"': '"x: 0.1234567890123456789"',
    '"[1e400,"': '"[1e400,"',
    '"\\ud83d\\ude00"': '"😀"',
    '"\\u003a"': '":"',
    '{"b":1,"a":{"d":[],"c":null}}': '{"a":{"c":null,"d":[]},"b":1}',
    '{"a:":1,"\\u0062":2}': '{"a:":1,"b":2}',
    '{"A":1,"a":2,"a ":3}': '{"A":1,"a":2,"a ":3}',
    "true": "true",
    "null": "null",
}
"""Texts, and their canonical form."""


def one(text: str | bytes) -> tuple[str, str | None]:
    """A text's canonical form, or itself; and the reason why it has none."""
    column, reasons = canonical_column(pa.array([text], pa.binary()))
    return column[0].as_py(), reasons.get(0)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("reason", UNFIT)
def test_what_json_in_milvus_cannot_hold_stays_as_it_is_and_is_told(reason, place):
    """Alone and among others: neither may be seen as the other."""
    texts = [place.format(value) for value in UNFIT[reason]]
    mixed = [text for pair in zip(texts, ["1.5"] * len(texts), strict=True) for text in pair]
    column, reasons = canonical_column(pa.array(mixed))
    assert column.to_pylist() == mixed
    assert sorted(reasons) == list(range(0, len(mixed), 2))
    for text, told in zip(texts, reasons.values(), strict=True):
        assert reason in told
        assert one(text) == (text, told)


@pytest.mark.parametrize(
    ("place", "above"), list(zip(PLACES[:5], [0, 1, 1, 3, 3], strict=True)), ids=PLACES[:5]
)
def test_the_deepest_that_is_held(place, above):
    held, deeper = ("[" * n + "]" * n for n in (DEEPEST - above, DEEPEST - above + 1))
    assert one(place.format(held))[1] is None
    assert "nested deeper" in (one(place.format(deeper))[1] or "")


@pytest.mark.parametrize("text", HELD)
def test_what_is_held_has_one_form(text):
    made, reason = one(text)
    # orjson writes 1e23 or 1e+23, by its version.
    assert (made.replace("e+", "e"), reason) == (HELD[text], None)
    assert one(made) == one(HELD[text]) == (made, None)
    column, reasons = canonical_column(pa.array([f'{{"z":{text},"a": 1}}', None, f"[{text}]"]))
    assert column.to_pylist() == [f'{{"a":1,"z":{made}}}', None, f"[{made}]"] and not reasons


def test_an_empty_text_is_no_json():
    assert one("") == ("", "is no JSON (Expecting value: line 1 column 1 (char 0))")


@pytest.mark.parametrize(
    "raw", [b"\xff", b'"\xff"', b'{"a":"\\\xff"}', b'"\xed\xa0\x80"', b'{"\xc3":1}', b'"\xc0\xaf"']
)
def test_what_is_not_utf8_is_like_no_json(raw):
    text, reason = one(raw)
    assert reason == "is not UTF-8"
    with pytest.raises(ValueError):
        json.loads(text)
    [stored] = stored_texts(pa.array([raw])).to_pylist()
    assert stored == text and one(stored) == (stored, "is not UTF-8")


# --- against an own reading of the RFC ----------------------------------------------------------


def read(text: str) -> Any:
    """The value with numbers as they were written, and objects as lists of pairs."""

    def refuse(token: str) -> None:
        raise ValueError(token)

    return json.loads(
        text,
        parse_int=lambda token: ("int", token),
        parse_float=lambda token: ("float", token),
        parse_constant=refuse,
        object_pairs_hook=lambda pairs: ("object", pairs),
    )


def is_held(value: Any) -> bool:
    """Whether 64 bits or a double say what the number's text says, and keys differ."""
    if isinstance(value, list):
        return all(map(is_held, value))
    if not isinstance(value, tuple):
        return True
    kind, inner = value
    if kind == "object":
        keys = {key for key, _ in inner}
        return len(keys) == len(inner) and all(is_held(item) for _, item in inner)
    if kind == "int":
        return -(2**63) <= int(inner) < 2**64
    double = float(inner)
    if double in (float("inf"), float("-inf")):
        return False
    exact, said = Fraction(double), Fraction(Decimal(inner))
    shortest = Fraction(Decimal(repr(double)))
    digits = Decimal(inner).as_tuple()
    written = "".join(map(str, digits.digits))
    place = Fraction(10) ** (digits.exponent + len(written) - len(written.rstrip("0")))
    return said == shortest or (bool(exact) == bool(said) and abs(exact - said) * 2 <= place)


def meaning(value: Any) -> Any:
    """What a value says: for comparison of values that are held."""
    if isinstance(value, list):
        return [meaning(item) for item in value]
    if not isinstance(value, tuple):
        return value
    kind, inner = value
    if kind == "object":
        return ("object", sorted(((key, meaning(item)) for key, item in inner), key=repr))
    return (kind, int(inner) if kind == "int" else float(inner).hex())


def digits(low: int, high: int) -> st.SearchStrategy[str]:
    return st.text("0123456789", min_size=low, max_size=high)


INTEGERS = st.integers(-(10**22), 10**22) | st.sampled_from(
    [edge + off for edge in (2**63, -(2**63), 2**64, 2**53, 10**19) for off in (-1, 0, 1)]
)
DECIMALS = st.builds(
    lambda sign, whole, rest, power: f"{sign}{int(whole or 0)}.{rest}{power}",
    st.sampled_from(["", "-"]),
    digits(0, 19),
    digits(1, 19),
    st.just("") | st.builds("{}{}".format, st.sampled_from(["e", "E", "e-", "e+"]), digits(1, 3)),
)
NUMBERS = (
    INTEGERS.map(str)
    | st.floats(allow_nan=False, allow_infinity=False).map(repr)
    | st.floats(allow_nan=False, allow_infinity=False).map("{:.16e}".format)
    | DECIMALS
)
STRINGS = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(
    [":", "a:b", ",1e400", " 12345678901234567890", "\\u003a", "e-07", '"']
)
KEYS = st.sampled_from(["a", "b", "a:", "b", "", "ä"])


def escaped(text: str, ways: random.Random) -> str:
    """A JSON string, with some characters escaped that need not be."""
    plain = [json.dumps(sign, ensure_ascii=ways.random() < 0.5)[1:-1] for sign in text]
    return '"{}"'.format(
        "".join(f"\\u{ord(s):04x}" if s in ":ab" and ways.random() < 0.3 else s for s in plain)
    )


@st.composite
def texts(draw: st.DrawFn, depth: int = 2) -> str:
    """A JSON text, with spaces here and there, and keys that may repeat."""
    ways = draw(st.randoms(use_true_random=False))
    space = draw(st.sampled_from(["", " ", "\n "]))
    kind = draw(st.sampled_from(["number"] * 3 + ["string", "word"] + ["list", "object"] * depth))
    if kind == "number":
        return draw(NUMBERS)
    if kind == "string":
        return escaped(draw(STRINGS), ways)
    if kind == "word":
        return draw(st.sampled_from(["null", "true", "false"]))
    inner = draw(st.lists(texts(depth=depth - 1), max_size=3))
    if kind == "list":
        return "[" + f",{space}".join(inner) + f"{space}]"
    pairs = [f"{escaped(draw(KEYS), ways)}{space}:{space}{item}" for item in inner]
    return "{" + f",{space}".join(pairs) + "}"


@given(st.lists(texts() | st.none(), max_size=12), st.integers(0, 3))
@settings(max_examples=400, deadline=None)
def test_each_text_is_exactly_what_it_was_or_told(given_texts, start):
    values = given_texts[start:]
    column, reasons = canonical_column(pa.array(given_texts, pa.string()).slice(start))
    assert len(column) == len(values)
    for row, (text, made) in enumerate(zip(values, column.to_pylist(), strict=True)):
        if text is None:
            assert made is None and row not in reasons
        elif is_held(read(text)):
            assert row not in reasons, (text, reasons[row])
            assert meaning(read(made)) == meaning(read(text)), (text, made)
            assert one(made) == (made, None)
        else:
            assert reasons[row] and made == text, (text, made)


@given(texts(), texts())
@settings(max_examples=200, deadline=None)
def test_texts_are_equal_when_their_values_are(left, right):
    same = is_held(read(left)) and meaning(read(left)) == meaning(read(right))
    assert (one(left)[0] == one(right)[0]) == (same or left == right)


@given(texts())
@settings(max_examples=200, deadline=None)
def test_no_rounded_number_is_overlooked_in_a_page(text):
    page = f'{{"hits": [{text}]}}'
    numbers_only = read(text)
    if not is_held(strip_keys(numbers_only)):
        assert may_be_rounded(page.encode())


def strip_keys(value: Any) -> Any:
    """Objects as lists of their values."""
    if isinstance(value, tuple) and value[0] == "object":
        return [strip_keys(item) for _, item in value[1]]
    return [strip_keys(item) for item in value] if isinstance(value, list) else value


ORDINARY = {
    "full precision": [0.1 + n / 7 for n in range(50)],
    "small and large": [1.2345678901234567e-05, 1.5e-99, 1.2345678901234567e22, -2.5e-17],
    "digits as text": "1" * 30,
    "hexadecimal": ["a12345678e90123456b", "420179821e842306", "12e4567890123456", "0e123"],
    "dates": "2024-01-01T00:00:00.000000000000Z",
    "whole": [2**63 - 1, -(2**63), 2**64 - 1, 1700000000000000000],
}


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_pages_are_not_read_twice(name):
    """Whatever is long in them: the exact reading takes several times as long."""
    for separators in ((",", ":"), (", ", ": ")):
        page = json.dumps({"hits": [{"x": ORDINARY[name], "n": 0.1 / 3}]}, separators=separators)
        assert not may_be_rounded(page.encode())


# --- Python values ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": [None, True, "x"]}, '{"a":[null,true,"x"],"b":1}'),
        ({"a": Decimal("12.50")}, '{"a":12.5}'),
        ({2: "b", 1: "a"}, '{"1":"a","2":"b"}'),
        ([-0.0, 1.0, 1, 2**64 - 1], "[-0.0,1.0,1,18446744073709551615]"),
    ],
)
def test_python_values(value, text):
    assert canonical(value) == text
    assert one(lossless_text(value)) == (text, None)


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        {"a": [float("inf")]},
        [None, -float("inf")],
        2**64,
        {"a": -(2**63) - 1},
        "\ud800",
        {"\udfff": 1},
        Decimal("0.1234567890123456789"),
        {1: "a", "1": "b"},
        b"bytes",
        {0.5: 1},
    ],
    ids=repr,
)
def test_python_values_that_json_cannot_hold(value):
    with pytest.raises(ValueError):
        canonical(value)
    try:
        text = lossless_text(value)
    except TypeError:
        return
    assert one(text)[0] == text and one(text)[1]
