"""Ranges of keys: every key in just one, and none larger than asked for."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlift.datatypes import DataType
from airlift.milvus.expressions import KeyRange
from airlift.schema import CollectionSchema, Field
from airlift.sources.milvus.cutting import spans

NUMBER = Field(name="id", type=DataType.INT64, primary_key=True)
TEXT = Field(name="id", type=DataType.VARCHAR, primary_key=True)
keys = st.one_of(
    st.sets(st.integers(-(2**63), 2**63 - 1), max_size=60).map(lambda found: (NUMBER, found)),
    st.sets(st.text(max_size=4), max_size=60).map(lambda found: (TEXT, found)),
)


class Pages:
    """What `MilvusRows.scan` does: the smallest keys first, in any order within a page."""

    def __init__(self, held: set[Any], page_rows: int, random: Any) -> None:
        self._held, self._page_rows, self._random = sorted(held), page_rows, random

    def scan(self, name: str, fields: Any, key: Field, partition: Any, wanted: KeyRange) -> Any:
        for start in range(0, len(self._held), self._page_rows):
            page = self._held[start : start + self._page_rows]
            self._random.shuffle(page)
            yield pa.record_batch([pa.array(page, key.arrow.type)], names=[key.name])


@given(keys, st.integers(1, 20), st.integers(1, 25), st.randoms(use_true_random=False))
def test_every_key_is_in_one_range(key_and_keys, page_rows, size, random):
    key, held = key_and_keys
    schema = CollectionSchema(name="c", fields=(key,))
    found = list(spans(Pages(held, page_rows, random), schema, None, "", size))  # type: ignore[arg-type]
    inside = [
        [one for one in held if (span.after is None or one > span.after) and one <= span.until]
        for span in found
    ]
    assert [len(one) for one in inside] == [span.rows for span in found]
    assert sorted(one for some in inside for one in some) == sorted(held)
    assert all(span.rows == size for span in found[:-1])
    assert all(0 < span.rows <= size for span in found)


@pytest.mark.parametrize(
    ("range_", "last", "expression"),
    [
        (KeyRange(), None, "(id >= 0 or id < 0)"),
        (KeyRange(), 7, "id > 7"),
        (KeyRange(-5, 9), None, "id > -5 and id <= 9"),
        (KeyRange(-5, 9), 3, "id > 3 and id <= 9"),
        (KeyRange(condition="a == 1 or b == 2"), 3, "id > 3 and (a == 1 or b == 2)"),
        # Milvus can't read this number.
        (KeyRange(-(2**63), None), None, f"id >= {-(2**63) + 1}"),
        (KeyRange(None, -(2**63)), None, f"(id >= 0 or id < 0) and id < {-(2**63) + 1}"),
    ],
)
def test_ranges_as_milvus_reads_them(range_, last, expression):
    assert range_.expression(NUMBER, last) == expression


def test_texts_are_quoted():
    expression = KeyRange('a"\\', "b\n").expression(TEXT, None)
    assert expression == 'id > "a\\"\\\\" and id <= "b\\n"'
    assert KeyRange().expression(TEXT, None) == 'id >= ""'
