"""Fields are made large enough for the rows, with room for more."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlift.datatypes import DataType
from airlift.longest_values import LongestValues, measured
from airlift.schema import CollectionSchema, Field
from tests.unit.arrow_rows import texts

TEXT = Field(name="t", type=DataType.VARCHAR, nullable=True)
TEXTS = Field(name="a", type=DataType.ARRAY, element_type=DataType.VARCHAR, nullable=True)
SCHEMA = CollectionSchema(name="c", fields=(TEXT, TEXTS))
rows = st.lists(st.tuples(st.none() | texts, st.none() | st.lists(texts, max_size=5)), max_size=12)


@given(st.lists(rows, max_size=3))
def test_the_longest_of_all_batches_counts_in_bytes(batches):
    longest = LongestValues(SCHEMA.fields)
    for batch in batches:
        columns = [
            pa.array([row[n] for row in batch], f.arrow.type) for n, f in enumerate((TEXT, TEXTS))
        ]
        longest.add(pa.RecordBatch.from_arrays(columns, schema=SCHEMA.arrow))
    flat = [row for batch in batches for row in batch]
    items = [text for _, many in flat for text in many or ()]
    assert longest.bytes.get("t", 0) == max((len((t or "").encode()) for t, _ in flat), default=0)
    assert longest.bytes.get("a", 0) == max((len(text.encode()) for text in items), default=0)
    assert longest.items.get("a", 0) == max((len(many or ()) for _, many in flat), default=0)


@pytest.mark.parametrize(
    ("most", "made"),
    [(0, 256), (1, 256), (128, 256), (129, 512), (512, 1024), (20_000, 65_535), (65_535, 65_535)],
)
def test_texts_get_twice_their_length_and_a_power_of_two(most, made):
    field = measured(SCHEMA, [({"t": most}, {}), ({"t": 0}, {})]).fields[0]
    assert field.max_length == made >= most


@pytest.mark.parametrize(("most", "made"), [(0, 16), (9, 32), (2_049, 4096), (4_096, 4096)])
def test_arrays_too(most, made):
    field = measured(SCHEMA, [({}, {"a": most})]).fields[1]
    assert (field.max_capacity, field.max_length) == (made, 256)


def test_what_is_given_stays():
    fields = (
        TEXT.model_copy(update={"max_length": 7}),
        TEXTS.model_copy(update={"max_capacity": 5}),
    )
    given = SCHEMA.model_copy(update={"fields": fields})
    made = measured(given, [({"t": 5, "a": 1}, {"a": 3})])
    assert (made.fields[0].max_length, made.fields[1].max_capacity) == (7, 5)


def test_a_collection_without_rows_has_fields_of_some_length():
    assert [field.max_length for field in measured(SCHEMA, []).fields] == [256, 256]
