"""Rows that Milvus must not be given are found, each of them, and no others."""

from __future__ import annotations

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airlift.bad_rows import find_bad_rows
from airlift.datatypes import DataType
from airlift.mapping import MappedCollection
from airlift.schema import CollectionSchema, Field
from airlift.transform import Transform
from tests.unit.arrow_rows import EVERY_TYPE, batch_of, texts

VECTOR = Field(name="v", type=DataType.FLOAT_VECTOR, dim=5)
TEXT = Field(name="t", type=DataType.VARCHAR, max_length=4, nullable=True)


def vectors(values: np.ndarray) -> pa.RecordBatch:
    flat = pa.array(values.reshape(-1).astype(np.float32))
    return pa.record_batch({"v": pa.FixedSizeListArray.from_arrays(flat, 5)})


@given(
    st.lists(
        st.tuples(
            st.integers(0, 29),
            st.integers(0, 4),
            st.sampled_from([np.nan, -np.nan, np.inf, -np.inf]),
        ),
        max_size=6,
    ),
    st.integers(0, 29),
)
def test_every_vector_with_nan_or_infinity_is_found(bad, start):
    values = np.random.default_rng(1).standard_normal((30, 5))
    for row, column, value in bad:
        values[row, column] = value
    found = find_bad_rows(vectors(values).slice(start), (VECTOR,))
    expected = sorted({row - start for row, _, _ in bad if row >= start})
    if not expected:
        assert found is None
    else:
        marks, reasons = found
        assert np.flatnonzero(marks).tolist() == expected and len(marks) == 30 - start
        assert reasons == ["field 'v': a vector holds NaN or an infinity"] * len(expected)


@pytest.mark.parametrize("value", [3.4028235e38, -3.4028235e38, 1e-45, -0.0, 0.0])
def test_large_and_tiny_numbers_are_good(value):
    assert find_bad_rows(vectors(np.full((9, 5), value)), (VECTOR,)) is None


@given(st.lists(st.one_of(st.none(), texts), max_size=20))
def test_length_is_counted_in_bytes(values):
    batch = pa.record_batch({"t": pa.array(values, pa.string())})
    long = [n for n, text in enumerate(values) if text and len(text.encode()) > 4]
    found = find_bad_rows(batch, (TEXT,))
    if not long:
        assert found is None
    else:
        assert np.flatnonzero(found[0]).tolist() == long
        sizes = [len(values[row].encode()) for row in long]
        assert found[1] == [
            f"field 't': the text has {size} bytes, more than max_length (4)" for size in sizes
        ]


def test_a_row_that_is_bad_twice_counts_once():
    values = np.zeros((3, 5))
    values[1] = np.nan
    batch = vectors(values).append_column("t", pa.array(["ok", "too long", "longer"]))
    marks, reasons = find_bad_rows(batch, (VECTOR, TEXT))
    assert marks.tolist() == [False, True, True]
    assert reasons == [
        "field 'v': a vector holds NaN or an infinity",
        "field 't': the text has 6 bytes, more than max_length (4)",
    ]


@pytest.mark.parametrize(
    ("field", "values", "bad", "reason"),
    [
        (Field(name="f", type=DataType.INT64), [1, None, 3], [1], "there is no value"),
        (Field(name="f", type=DataType.FLOAT), [1.0, np.nan, np.inf], [1, 2], "NaN or infinite"),
        (Field(name="f", type=DataType.DOUBLE, nullable=True), [None, -np.inf], [1], "NaN or inf"),
        (Field(name="f", type=DataType.JSON), ["{}", '"' + "x" * 65_535 + '"'], [1], "65,536"),
        (Field(name="f", type=DataType.VARCHAR), ["a" * 65_535, "漢" * 21_846], [1], "max_length"),
        (
            Field(name="f", type=DataType.FLOAT16_VECTOR, dim=2),
            [np.array([1, 2], "<f2").tobytes(), np.array([1, np.inf], "<f2").tobytes()],
            [1],
            "NaN or an infinity",
        ),
        (
            Field(name="f", type=DataType.BFLOAT16_VECTOR, dim=2),
            [b"\x00\x3f\x00\x3f", b"\x80\x7f\x00\x00", b"\x00\x00\xc1\xff"],
            [1, 2],
            "NaN or an infinity",
        ),
        (
            Field(name="f", type=DataType.FLOAT_VECTOR, dim=2, nullable=True),
            [None, [1, 2], [np.nan, 0], None],
            [2],
            "NaN or an infinity",
        ),
    ],
    ids=lambda value: value.type.value if isinstance(value, Field) else "",
)
def test_every_kind_of_bad_value_is_found_and_no_other(field, values, bad, reason):
    batch = pa.record_batch([pa.array(values, field.arrow.type)], names=["f"])
    marks, reasons = find_bad_rows(batch, (field,))
    assert np.flatnonzero(marks).tolist() == bad
    assert all(reason in said for said in reasons) and len(reasons) == len(bad)


def test_items_of_arrays_are_looked_at():
    of = {"name": "f", "type": DataType.ARRAY, "nullable": True}
    texts = Field(**of, element_type=DataType.VARCHAR, max_length=2, max_capacity=2)
    batch = pa.record_batch({"f": [["a"], ["abc"], None, [], ["a", "b", "c"], ["a", None]]})
    marks, reasons = find_bad_rows(batch, (texts,))
    assert np.flatnonzero(marks).tolist() == [1, 4, 5]
    assert "item of the array has 3 bytes, more than max_length (2)" in reasons[0]
    assert "the array has 3 items, more than max_capacity (2)" in reasons[1]
    numbers = Field(**of, element_type=DataType.DOUBLE)
    batch = pa.record_batch({"f": [[1.0], [], None, [0.0, np.nan], [np.inf]]})
    assert np.flatnonzero(find_bad_rows(batch, (numbers,))[0]).tolist() == [3, 4]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"sections": "x" * 70_000, "n": 1}, "'sections' (70,002)"),
        ({"a": [1] * 40_000, "b": "y" * 9}, "'a' (80,001), 'b' (11)"),
        (
            {"k1": "x" * 30_000, "k2": "x" * 40_000, "k3": {"d": "x" * 20_000}, "k4": 1},
            "'k2' (40,002), 'k1' (30,002), 'k3' (20,008); leave",
        ),
        ({"漢": "漢" * 30_000}, "'漢' (90,002)"),
        ({str(n): n for n in range(10_000)}, "longest keys: "),
    ],
)
def test_the_keys_that_make_json_too_long_are_named(value, told):
    text = orjson.dumps(value)
    batch = pa.record_batch({"$meta": [text.decode()]})
    _, [reason] = find_bad_rows(batch, (Field(name="$meta", type=DataType.JSON),))
    assert reason.startswith(f"field '$meta': the JSON has {len(text):,} bytes, more than 65,536;")
    assert told in reason and len(reason) < 400


@given(st.integers(0, 40), st.integers(0, 2**32))
@settings(max_examples=20)
def test_good_rows_of_every_type_pass(rows, seed):
    assert find_bad_rows(batch_of(EVERY_TYPE, rows, seed), EVERY_TYPE.fields) is None


# --- every kind of bad value, with what is good beside it ----------------------------------------


def pairs(*given: tuple[int, float]) -> bytes:
    """A sparse vector's bytes, in the order given."""
    return np.array(list(given), [("index", "<u4"), ("value", "<f4")]).tobytes()


def halves(*values: float) -> bytes:
    return np.array(values, "<f2").tobytes()


def bfloats(*bits: int) -> bytes:
    return np.array(bits, "<u2").tobytes()


SPARSE = Field(name="f", type=DataType.SPARSE_FLOAT_VECTOR, nullable=True)
FLOATS = Field(name="f", type=DataType.FLOAT_VECTOR, dim=3, nullable=True)
FLOAT16S = Field(name="f", type=DataType.FLOAT16_VECTOR, dim=3, nullable=True)
BFLOAT16S = Field(name="f", type=DataType.BFLOAT16_VECTOR, dim=3, nullable=True)
INT8S = Field(name="f", type=DataType.INT8_VECTOR, dim=3, nullable=True)
NAN, INF = float("nan"), float("inf")


def array_of(element: DataType, **changes) -> Field:
    return Field(name="f", type=DataType.ARRAY, element_type=element, nullable=True, **changes)


LAST = (1 << 32) - 1
KINDS = {
    "sparse value that is no number": (
        SPARSE,
        "NaN or an infinity",
        [
            pairs((1, NAN)),
            pairs((1, -NAN)),
            pairs((1, INF)),
            pairs((1, 0.5), (2, -INF)),
            pairs((1, NAN), (2, 0.5), (3, 0.5)),
        ],
        [pairs((0, 0.5)), pairs((1, 3.4028235e38)), pairs((5, 1e-45)), None, b""],
    ),
    "negative sparse value": (
        SPARSE,
        "a negative value",
        [
            pairs((1, -0.5)),
            pairs((1, -1e-45)),
            pairs((1, -3.4028235e38)),
            pairs((1, 0.5), (2, -0.5)),
            pairs((0, -1), (2, 0.5), (3, 0.5)),
        ],
        [pairs((0, 0.0)), pairs((1, -0.0)), pairs((1, 0.5), (2, 0.0)), None, b""],
    ),
    "sparse index that is too large": (
        SPARSE,
        "index is above 4,294,967,294",
        [
            pairs((LAST, 0.5)),
            pairs((LAST, 0.0)),
            pairs((0, 0.5), (LAST, 0.5)),
            pairs((LAST - 1, 0.5), (LAST, 0.5)),
            pairs((1, 0.5), (2, 0.5), (LAST, 1e-45)),
        ],
        [pairs((LAST - 1, 0.5)), pairs((0, 0.5), (LAST - 1, 0.5)), pairs((1 << 31, 1)), None],
    ),
    "sparse indices that do not rise": (
        SPARSE,
        "expected to rise",
        [
            pairs((9, 1.5), (3, 2.5)),
            pairs((3, 1.5), (3, 1.5)),
            pairs((0, 1.5), (0, 2.5)),
            pairs((1, 1.5), (5, 1.5), (4, 1.5)),
            pairs((1, 1.5), (2, 1.5), (2, 1.5), (3, 1.5)),
        ],
        # Each begins below where the one before ends.
        [pairs((7, 1), (8, 1)), pairs((1, 1), (8, 1)), b"", pairs((0, 1)), None, pairs((0, 1))],
    ),
    "sparse bytes that are no pairs": (
        SPARSE,
        "8 bytes each",
        [b"\0", b"\0" * 4, b"\0" * 7, b"\0" * 9, b"\0" * 20],
        [b"", b"\0" * 8, pairs((1, 1), (2, 1)), None],
    ),
    "float vector": (
        FLOATS,
        "NaN or an infinity",
        [[NAN, 1, 1], [1, -NAN, 1], [1, 1, INF], [-INF, 1, 1], [NAN, INF, -INF]],
        [[0, 0, 0], [-0.0, 3.4028235e38, 1e-45], None],
    ),
    "float16 vector": (
        FLOAT16S,
        "NaN or an infinity",
        [
            halves(NAN, 1, 1),
            halves(1, -NAN, 1),
            halves(1, 1, INF),
            halves(-INF, 1, 1),
            bfloats(0x7C01, 0, 0),  # a signalling NaN
        ],
        [halves(0, -0.0, 65504), halves(6e-8, -65504, 1), None],
    ),
    "bfloat16 vector": (
        BFLOAT16S,
        "NaN or an infinity",
        [
            bfloats(0x7FC0, 0, 0),
            bfloats(0, 0xFFC0, 0),
            bfloats(0, 0, 0x7F80),
            bfloats(0xFF80, 0, 0),
            bfloats(0x7F81, 0, 0),
        ],
        [bfloats(0x7F7F, 0xFF7F, 0x8000), bfloats(1, 0x7C00, 0xFC00), None],
    ),
    "null inside a float vector": (
        FLOATS,
        "a vector holds a null",
        [[None, 1, 1], [1, None, 1], [1, 1, None], [None, None, 1], [None, None, None]],
        [[0, 0, 0], None, [1, 2, 3]],
    ),
    "null inside an int8 vector": (
        INT8S,
        "a vector holds a null",
        [[None, 1, 1], [1, None, 1], [1, 1, None], [None, None, 1], [None, None, None]],
        [[0, -128, 127], None, [1, 2, 3]],
    ),
    "null inside an array": (
        array_of(DataType.INT64),
        "an item of the array is null",
        [[None], [1, None], [None, 1], [1, None, 3], [None, None]],
        [[], [1], None, [0, -(2**63)]],
    ),
    "null inside an array of texts": (
        array_of(DataType.VARCHAR),
        "an item of the array is null",
        [[None], ["a", None], [None, ""], ["", None, ""], [None, None]],
        [[], [""], None, ["null", "None"]],
    ),
    "null inside an array of booleans": (
        array_of(DataType.BOOL),
        "an item of the array is null",
        [[None], [True, None], [None, False], [False, None, False], [None, None]],
        [[], [False], None, [True, False]],
    ),
    "array of numbers that are none": (
        array_of(DataType.FLOAT),
        "NaN or infinite",
        [[NAN], [1, -NAN], [INF], [0, 0, -INF], [NAN, INF]],
        [[], [0, -0.0, 3.4028235e38], None],
    ),
    "array of doubles that are none": (
        array_of(DataType.DOUBLE),
        "NaN or infinite",
        [[NAN], [1, -NAN], [INF], [0, 0, -INF], [NAN, INF]],
        [[], [0, -0.0, 1.7976931348623157e308], None],
    ),
    "array over its capacity": (
        array_of(DataType.INT8, max_capacity=2),
        "more than max_capacity (2); as JSON",
        [[1, 2, 3], [0] * 4, [0] * 128, [0] * 4096, [1, 1, 1]],
        [[], [1], [1, 2], None],
    ),
    "array over every capacity": (
        array_of(DataType.BOOL),
        "more than max_capacity (4,096); as JSON",
        [[True] * size for size in (4097, 4098, 5000, 8192, 65_536)],
        [[True] * 4096, [], None],
    ),
    "text of an array that is too long": (
        array_of(DataType.VARCHAR, max_length=4),
        "bytes, more than max_length (4)",
        [["aaaaa"], ["", "aaaaa"], ["漢漢"], ["aaaé"], ["😀a", "a"]],
        [["aaaa", "漢a", "😀", "éé"], [], [""], None],
    ),
    "text of an array that is longer than any": (
        array_of(DataType.VARCHAR),
        "bytes, more than max_length (65,535)",
        [["a" * 65_536], ["", "a" * 70_000], ["漢" * 21_846], ["é" * 32_768], ["😀" * 16_384]],
        [["a" * 65_535, "漢" * 21_845], [], None],
    ),
    "text that is too long": (
        TEXT.model_copy(update={"name": "f"}),
        "bytes, more than max_length (4)",
        ["aaaaa", "漢漢", "aaaé", "😀a", "\0" * 5],
        ["aaaa", "漢a", "😀", "éé", "", None],
    ),
    "JSON that is too long": (
        Field(name="f", type=DataType.JSON, nullable=True),
        "bytes, more than 65,536",
        [f'"{text}"' for text in ("a" * 65_535, "漢" * 21_845, "é" * 32_768, "a" * 70_000)]
        + ["[" + "1," * 32_768 + "1]"],
        ['"' + "a" * 65_534 + '"', "null", "{}", None],
    ),
    "number that is none": (
        Field(name="f", type=DataType.FLOAT, nullable=True),
        "NaN or infinite (or too large for FLOAT)",
        [NAN, -NAN, INF, -INF, 1e39],
        [0.0, -0.0, 3.4028235e38, 1e-45, None],
    ),
    "double that is none": (
        Field(name="f", type=DataType.DOUBLE, nullable=True),
        "NaN or infinite",
        [NAN, -NAN, INF, -INF, 2e308],
        [0.0, -0.0, 1.7976931348623157e308, 5e-324, None],
    ),
    "null for which the server puts a default": (
        Field(name="f", type=DataType.INT64, nullable=True, default=9),
        "would put the field's default in its place",
        [None] * 5,
        [0, 9, -1],
    ),
    "null in a field that has none": (
        Field(name="f", type=DataType.VARCHAR, default="x"),
        "there is no value",
        [None] * 5,
        ["", "x"],
    ),
}


def column_of(field: Field, values: list) -> pa.Array:
    kind = field.arrow.type
    if field.type is DataType.FLOAT:  # Arrow refuses 1e39, a cast does not
        return pa.array(values, pa.float64()).cast(kind)
    return pa.array(values, kind)


@pytest.mark.parametrize(("field", "reason", "bad", "good"), KINDS.values(), ids=KINDS)
def test_every_kind_of_bad_row_is_found_wherever_it_stands(field, reason, bad, good):
    assert len(bad) >= 5
    for order in (bad + good, good + bad, [*good, *bad, *good]):
        column = column_of(field, [*good, *order])  # with an offset, as batches may have
        batch = pa.record_batch({"f": column}).slice(len(good))
        marks, reasons = find_bad_rows(batch, (field,))
        first = 0 if order[: len(bad)] == bad else len(good)
        assert np.flatnonzero(marks).tolist() == list(range(first, first + len(bad)))
        assert all(reason in said and said.startswith("field 'f': ") for said in reasons)
    for value in bad:
        assert find_bad_rows(pa.record_batch({"f": column_of(field, [value])}), (field,))
    assert find_bad_rows(pa.record_batch({"f": column_of(field, good)}), (field,)) is None


sparse_vectors = st.lists(
    st.tuples(st.integers(0, 3) | st.just(LAST), st.sampled_from([0.0, 0.5, -0.5, NAN, INF])),
    max_size=4,
)


@given(st.lists(st.none() | sparse_vectors, max_size=12), st.integers(0, 12))
def test_sparse_vectors_are_judged_as_milvus_does(rows, start):
    """By the rules of milvus `ValidateSparseFloatRows`, row by row."""

    def is_bad(row: list[tuple[int, float]] | None) -> bool:
        indices = [index for index, _ in row or []]
        return indices != sorted(set(indices)) or any(
            index == LAST or not np.isfinite(value) or value < 0 for index, value in row or []
        )

    column = pa.array([None if row is None else pairs(*row) for row in rows], pa.binary())
    found = find_bad_rows(pa.record_batch({"f": column}).slice(start), (SPARSE,))
    marks = [False] * max(len(rows) - start, 0) if found is None else found[0].tolist()
    assert marks == [is_bad(row) for row in rows[start:]]


TOO_LARGE = [1e39, -1e39, 3.4028236e38, -3.5e38, 1.7976931348623157e308]


@pytest.mark.parametrize("value", TOO_LARGE)
@pytest.mark.parametrize("form", ["column", "retyped", "array", "vector"])
def test_a_number_that_becomes_infinite_in_the_target_s_type_is_a_bad_row(form, value):
    key = Field(name="id", type=DataType.INT64, primary_key=True)
    field, before, given = {
        "column": (Field(name="f", type=DataType.FLOAT), DataType.FLOAT, pa.float64()),
        "retyped": (Field(name="f", type=DataType.FLOAT), DataType.DOUBLE, pa.float64()),
        "array": (array_of(DataType.FLOAT), DataType.ARRAY, pa.list_(pa.float64())),
        "vector": (FLOATS, DataType.FLOAT_VECTOR, pa.list_(pa.float64(), 3)),
    }[form]
    mapped = MappedCollection(
        source="c",
        target=CollectionSchema(name="c", fields=(key, field)),
        fields={"id": "id", "f": "f"},
        types={"id": DataType.INT64, "f": before},
        partitions={"": ""},
    )
    wrap = {"array": lambda one: [one], "vector": lambda one: [0, one, 0]}.get(form, float)
    numbers = [1.0, value, 3.4028235e38, 3.40282350e38]
    batch = pa.record_batch(
        {"id": pa.array(range(4)), "f": pa.array([wrap(one) for one in numbers], given)}
    )
    converted, unfit = Transform(mapped).apply(batch)
    assert not unfit
    marks, [reason] = find_bad_rows(converted, mapped.target.fields)
    assert marks.tolist() == [False, True, False, False] and "infinit" in reason


def test_batches_of_many_sizes_cost_no_memory_each():
    """Deleted rows make every batch differ in length."""
    import tracemalloc

    batches = [vectors(np.zeros((n, 5))) for n in range(20_000, 20_100)]
    find_bad_rows(batches[0], (VECTOR,))
    tracemalloc.start()
    for batch in batches:
        find_bad_rows(batch, (VECTOR,))
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 2_000_000
