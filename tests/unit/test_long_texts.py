"""Texts that are longer than their field holds: found, or cut to whole characters."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlift.datatypes import DataType
from airlift.long_texts import rows_with_long_texts, shortened
from airlift.schema import CollectionSchema, Field

KEY = Field(name="key", type=DataType.VARCHAR, primary_key=True, max_length=4)
TEXT = Field(name="text", type=DataType.VARCHAR, max_length=10, nullable=True)
TAGS = Field(
    name="tags",
    type=DataType.ARRAY,
    element_type=DataType.VARCHAR,
    max_length=5,
    max_capacity=9,
    nullable=True,
)
SCHEMA = CollectionSchema(name="c", fields=(KEY, TEXT, TAGS))


def batch(*rows: tuple[str, str | None, list[str] | None]) -> pa.RecordBatch:
    given = [dict(zip(("key", "text", "tags"), row, strict=True)) for row in rows]
    return pa.RecordBatch.from_pylist(given, schema=SCHEMA.arrow)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("0123456789", "0123456789"),
        ("0123456789a", "0123456789"),
        ("漢字漢字", "漢字漢"),  # three bytes each
        ("a漢字漢字", "a漢字漢"),
        ("😀😀😀", "😀😀"),  # four bytes each
        ("ü" * 6, "ü" * 5),
        ("", ""),
        (None, None),
    ],
)
def test_a_text_is_cut_to_whole_characters(text, left):
    rows, counts = shortened(batch(("k", text, None)), SCHEMA.fields)
    assert rows.column("text").to_pylist() == [left]
    assert counts == ({"text": 1} if left != text else {})


def test_the_texts_in_arrays_are_cut_and_nothing_else():
    given = batch(
        ("a", "x" * 99, ["ok", "123456", "漢字"]),
        ("b", None, None),
        ("c", "fits", []),
        ("much too long", "fits", ["1234567", "12345"]),
    )
    for part, wanted in ((given, [0, 1, 2, 3]), (given.slice(2), [2, 3])):
        rows, counts = shortened(part, SCHEMA.fields)
        assert rows.schema == SCHEMA.arrow
        rows.validate(full=True)
        assert rows.to_pylist() == [
            [
                {"key": "a", "text": "x" * 10, "tags": ["ok", "12345", "漢"]},
                {"key": "b", "text": None, "tags": None},
                {"key": "c", "text": "fits", "tags": []},
                {"key": "much too long", "text": "fits", "tags": ["12345", "12345"]},
            ][at]
            for at in wanted
        ]
    assert counts == {"tags": 1}


@given(st.lists(st.one_of(st.none(), st.text()), max_size=20), st.integers(1, 20))
def test_what_is_left_is_the_longest_beginning_that_fits(texts, limit):
    field = TEXT.model_copy(update={"max_length": limit})
    column = pa.record_batch({"text": pa.array(texts, pa.string())})
    rows, counts = shortened(column, [field])
    cut = 0
    for before, after in zip(texts, rows.column("text").to_pylist(), strict=True):
        if before is None or len(before.encode()) <= limit:
            assert after == before
            continue
        cut += 1
        assert before.startswith(after) and len(after.encode()) <= limit
        assert len(before[: len(after) + 1].encode()) > limit
    assert counts == ({"text": cut} if cut else {})


def test_the_rows_are_named_with_length_limit_and_way_out():
    found = rows_with_long_texts(
        batch(
            ("a", "x" * 1_234, None),
            ("b", "fits", ["1", "123456"]),
            ("c", None, ["ok"]),
            ("too long", "", []),
        ),
        SCHEMA.fields,
    )
    assert sorted(found) == [0, 1, 3]
    assert "field 'text': the text has 1,234 bytes, more than max_length (10)" in found[0]
    assert "field 'tags': an item of the array has 6 bytes, more than max_length (5)" in found[1]
    assert "field 'key': the text has 8 bytes" in found[3]
    assert all("on_long_text truncate" in reason for reason in found.values())
