"""Values of documents: what is taken, and what makes a row a bad one."""

from __future__ import annotations

import base64
import json
import math
import struct
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlift.datatypes import DataType
from airlift.json_text import canonical_column
from airlift.sources.base import BadRows
from airlift.sources.elasticsearch import dates
from airlift.sources.elasticsearch.arrays import array_of
from airlift.sources.elasticsearch.columns import Column
from airlift.sources.elasticsearch.lists import arrow_list
from airlift.sources.elasticsearch.pages import Page, page_of
from airlift.sources.elasticsearch.params import OnMissingVector
from airlift.sources.elasticsearch.rows import Layout, RowMaker
from airlift.sources.elasticsearch.vectors import VectorCutter, can_cut

SCALARS = {
    DataType.VARCHAR: st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
    DataType.INT8: st.integers(-128, 127),
    DataType.INT16: st.integers(-(2**15), 2**15 - 1),
    DataType.INT32: st.integers(-(2**31), 2**31 - 1),
    DataType.INT64: st.integers(-(2**63), 2**63 - 1),
    DataType.FLOAT: st.floats(width=32, allow_nan=False, allow_infinity=False),
    DataType.DOUBLE: st.floats(allow_nan=False, allow_infinity=False),
    DataType.BOOL: st.booleans(),
}
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4)
    | st.sampled_from(["1", "-2.0", "1e400", "NaN", "true", "2024-01-01", "\ud800", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


def column(data_type: DataType, **options: Any) -> Column:
    return Column(name="f", path=("f",), type=data_type, **options)


def page_with(hits: list[dict[str, Any]]) -> Page:
    """A page that was not parsed from its answer, which keeps what the parser would refuse."""
    sorted_hits = [hit | {"sort": [0]} for hit in hits]
    return Page(hits, -1, json.dumps({"hits": {"hits": sorted_hits}}).encode())


@pytest.mark.parametrize("kind", SCALARS, ids=str)
@given(data=st.data())
def test_clean_values_come_as_they_are(kind: DataType, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.none() | SCALARS[kind], max_size=20))
    found, bad = array_of(column(kind), values)
    found.validate(full=True)
    assert found.to_pylist() == values
    assert not bad
    _, missing = array_of(column(kind, nullable=False), values)
    assert missing == {n: "is missing" for n, one in enumerate(values) if one is None}


@pytest.mark.parametrize("kind", SCALARS, ids=str)
@given(data=st.data())
def test_one_value_in_a_list_is_that_value_and_arrays_hold_them(
    kind: DataType, data: st.DataObject
) -> None:
    values = data.draw(st.lists(SCALARS[kind], min_size=1, max_size=9))
    found, bad = array_of(column(kind), [[one] for one in values])
    assert (found.to_pylist(), bad) == (values, {})
    array = column(DataType.ARRAY, element_type=kind)
    found, bad = array_of(array, [values, None, [], values[0]])
    found.validate(full=True)
    assert (found.to_pylist(), bad) == ([values, None, [], [values[0]]], {})


@pytest.mark.parametrize(
    "kind", [*SCALARS, DataType.JSON, DataType.SPARSE_FLOAT_VECTOR, DataType.ARRAY], ids=str
)
@given(values=st.lists(ANYTHING, max_size=8))
def test_whatever_a_document_holds_is_taken_or_told(kind: DataType, values: list[Any]) -> None:
    one = column(kind, element_type=DataType.INT64 if kind is DataType.ARRAY else None)
    layout = Layout(
        columns=(Column(name="_id", type=DataType.VARCHAR, is_key=True, nullable=False), one),
        known=("f",),
        dynamic=False,
        on_missing_vector=OnMissingVector.NULL,
    )
    hits = [
        {"_index": "i", "_id": str(n), "_source": {"f": value}} for n, value in enumerate(values)
    ]
    batch, bad = RowMaker(layout).rows(page_with(hits))
    batch.validate(full=True)
    told = list(bad.keys) if isinstance(bad, BadRows) else []
    assert sorted([*batch.column(0).to_pylist(), *told], key=int) == [h["_id"] for h in hits]
    for reason in bad.reasons if bad else ():
        assert reason.startswith("field 'f': ")
    if kind is DataType.JSON:
        for key, text in zip(*(c.to_pylist() for c in batch.columns), strict=True):
            wanted = values[int(key)]
            # Not orjson: what JSON can not hold comes as a text too, with nothing lost.
            assert wanted is None if text is None else json.loads(text) == wanted


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=4, max_size=4))
def test_float_vectors_are_exact(numbers: list[float]) -> None:
    vector = column(DataType.FLOAT_VECTOR, dim=4, kind="dense_vector")
    rows = [orjson.loads(orjson.dumps(numbers))] * 2
    clean, _ = array_of(vector, rows)
    beside_bad, bad = array_of(vector, [*rows, None, [1, 2], "x", [1, 2, 3, 1e39]])
    wanted = struct.pack("<4f", *numbers)
    for found in (clean, beside_bad):
        for row in found.to_pylist()[:2]:
            assert struct.pack("<4f", *row) == wanted
    assert set(bad) == {3, 4, 5}
    assert beside_bad.null_count == 4
    assert "1e+39 is out of the range of FLOAT" in bad[5]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ([True, 1.0], "expected a number, found true"),
        (["1.5", 2], None),
        (["NaN", 2], 'expected a number, found "NaN"'),
        ([None, 2], "expected a number, found null"),
        ([[1], 2], r"expected a number, found [1]"),
        ({"a": 1}, "expected a list of numbers"),
        ([1], "expected 2 numbers, found 1"),
    ],
)
def test_vectors_from_plain_lists(value: Any, told: str | None) -> None:
    _, bad = array_of(column(DataType.FLOAT_VECTOR, dim=2, kind="float"), [[1, 2], value])
    assert (told in bad[1]) if told else not bad


NUMBERS = [
    "123456789012345678901234567890",
    "-9223372036854775809",
    "0.1234567890123456789",
    "-3.14159265358979323846",
    "1e400",
    "1e-400",
    "9007199254740993.0",
    "1" * 5000,
]
"""Numbers that orjson rounds, or refuses."""


def rows_of_page(documents: list[str], *columns: Column) -> tuple[pa.RecordBatch, BadRows | None]:
    """The rows that the documents of a page become, which come as texts."""
    layout = Layout(
        columns=(Column(name="_id", type=DataType.VARCHAR, is_key=True, nullable=False), *columns),
        known=tuple(one.name for one in columns),
        dynamic=True,
    )
    hits = [
        f'{{"_index":"i","_id":"{row}","_source":{text},"sort":[{row}]}}'
        for row, text in enumerate(documents)
    ]
    answer = f'{{"hits":{{"hits":[{",".join(hits)}]}}}}'
    return RowMaker(layout).rows(page_of(answer.encode(), "test"))


@pytest.mark.parametrize("number", NUMBERS)
def test_no_number_is_rounded_on_its_way_out_of_a_page(number: str) -> None:
    """As text it is what it was written as, and as JSON too."""
    documents = [f'{{"t":{number},"j":{{"a":[1.5,{number}]}},"x":{number}}}', '{"t":0.1}']
    kinds = ((DataType.VARCHAR, "t"), (DataType.JSON, "j"))
    columns = [Column(name=name, path=(name,), type=kind) for kind, name in kinds]
    batch, bad = rows_of_page(documents, *columns)
    assert bad is None
    assert batch.to_pylist() == [
        {"_id": "0", "t": number, "j": f'{{"a":[1.5,{number}]}}', "$meta": f'{{"x":{number}}}'},
        {"_id": "1", "t": "0.1", "j": None, "$meta": "{}"},
    ]


@pytest.mark.parametrize(
    ("kind", "written", "value"),
    [
        (DataType.INT64, "9007199254740993.0", 2**53 + 1),
        (DataType.INT64, "-9.007199254740993e15", -(2**53) - 1),
        (DataType.INT64, "9223372036854775807.00", 2**63 - 1),
        (DataType.INT64, "9223372036854775808.0", None),
        (DataType.INT64, "123.00000000000000000001", None),
        (DataType.INT32, "7.00000000000000000000000", 7),
        (DataType.DOUBLE, "9007199254740993.0", None),
        (DataType.DOUBLE, '"9007199254740993"', None),
        (DataType.DOUBLE, '"9007199254740992"', 2.0**53),
        (DataType.DOUBLE, "12345678901234567890123", None),
        (DataType.DOUBLE, "0.1234567890123456789", 0.12345678901234568),
        (DataType.FLOAT, "9007199254740993.0", 2.0**53),
        (DataType.FLOAT, '"16777217"', 2.0**24),
    ],
)
def test_whole_numbers_are_kept_exactly_or_told(kind: DataType, written: str, value: Any) -> None:
    """However they are written; fractions are rounded as Elasticsearch does."""
    batch, bad = rows_of_page([f'{{"n":{written}}}'], Column(name="n", path=("n",), type=kind))
    assert batch.column("n").to_pylist() == ([] if value is None else [value])
    assert (bad is None) == (value is not None)


@pytest.mark.parametrize(
    ("written", "millis"),
    [
        ("9007199254740993.0", 2**53 + 1),
        ("9.007199254740993e15", 2**53 + 1),
        ("-9007199254740993.0", -(2**53) - 1),
        ("1.5e12", 15 * 10**11),
    ],
)
def test_dates_as_decimal_numbers_are_not_rounded(written: str, millis: int) -> None:
    date = Column(name="d", path=("d",), type=DataType.INT64, kind="date", formats="epoch_millis")
    batch, bad = rows_of_page([f'{{"d":{written}}}'], date)
    assert bad is None and batch.column("d").to_pylist() == [millis]


@pytest.mark.parametrize("levels", [300, 900, 1000])
@pytest.mark.parametrize("beside", ["1", NUMBERS[0]])
def test_deep_documents_do_not_stop_a_page(levels: int, beside: str) -> None:
    deep = "[" * levels + "]" * levels
    documents = [f'{{"j":{{"a":{deep}}},"x":{beside}}}', f'{{"x":{{"y":{deep}}}}}', '{"j":{}}']
    batch, bad = rows_of_page(documents, Column(name="j", path=("j",), type=DataType.JSON))
    assert bad is None and batch.num_rows == 3
    texts, reasons = canonical_column(batch.column("j"))
    assert list(reasons) == [0] and "nested deeper" in reasons[0]
    assert texts.to_pylist()[1:] == [None, "{}"]
    assert list(canonical_column(batch.column("$meta"))[1].items())[-1] == (1, reasons[0])


def test_half_of_a_pair_is_a_bad_text_and_json_that_is_none() -> None:
    documents = ['{"t":"\\ud83d"}', '{"j":["\\ude00"]}', '{"x":"\\ud83d\\ude00"}']
    kinds = ((DataType.VARCHAR, "t"), (DataType.JSON, "j"))
    columns = [Column(name=name, path=(name,), type=kind) for kind, name in kinds]
    batch, bad = rows_of_page(documents, *columns)
    assert bad is not None and bad.keys == ["0"] and "half of a pair" in bad.reasons[0]
    assert bad.rows.column("_source").to_pylist() == ['{"t":"\\ud83d"}']
    assert batch.column("j").to_pylist() == ['["\\ude00"]', None]
    assert batch.column("$meta").to_pylist() == ["{}", '{"x":"😀"}']


@given(st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)), st.integers(-1439, 1439))
def test_dates_as_python_writes_them(moment: datetime, minutes: int) -> None:
    read = dates.reader(dates.DEFAULT_FORMATS)
    assert read
    micros = (moment - datetime(1970, 1, 1)) // timedelta(microseconds=1)
    assert read(moment.isoformat()) == micros // 1000
    assert read(moment.replace(tzinfo=UTC).isoformat()) == micros // 1000
    sign, rest = "-" if minutes < 0 else "+", abs(minutes)
    zone = f"{sign}{rest // 60:02}:{rest % 60:02}"
    assert read(f"{moment.isoformat()}{zone}") == micros // 1000 - minutes * 60_000


@given(st.integers(-(10**17), 10**17))
def test_dates_as_numbers(number: int) -> None:
    read = dates.reader("epoch_millis")
    seconds = dates.reader("epoch_second")
    assert read and seconds
    assert read(str(number)) == number
    assert seconds(str(number)) == number * 1000
    assert seconds(f"{number}.25") == number * 1000 + (250 if number >= 0 else -250)


@pytest.mark.parametrize(
    ("formats", "text", "millis"),
    [
        ("yyyy-MM-dd HH:mm:ss", "1970-01-01 00:00:01", 1000),
        ("yyyy-MM-dd HH:mm:ss", "1970-01-01T00:00:01", None),
        ("dd.MM.yyyy||yyyy", "02.01.1970", 86_400_000),
        ("dd.MM.yyyy||yyyy", "1971", 31_536_000_000),
        ("basic_date", "19700102", 86_400_000),
        ("strict_date_optional_time", "1970-02-30", None),
        ("strict_date_optional_time", "1970-01-01T25:00", None),
        ("yyyy-MM-dd'T'HH:mm:ss.SSSXXX", "1970-01-01T01:00:00.007+01:00", 7),
    ],
)
def test_dates_in_formats_of_their_own(formats: str, text: str, millis: int | None) -> None:
    read = dates.reader(formats)
    assert read
    assert read(text) == millis


@pytest.mark.parametrize("formats", ["EEE", "hh:mm a", "w/yyyy-MM-dd", "yyyy yyyy", "rfc822"])
def test_formats_that_are_not_known_are_not_guessed(formats: str) -> None:
    assert dates.reader(formats) is None


@given(
    st.lists(
        st.none() | st.lists(st.binary(max_size=3), max_size=3) | st.lists(st.none(), max_size=2)
    )
)
def test_nested_lists_as_arrow(values: list[Any]) -> None:
    kind = pa.list_(pa.binary())
    assert arrow_list(values, kind).to_pylist() == values


def test_floats_are_rounded_as_elasticsearch_does() -> None:
    found, bad = array_of(column(DataType.FLOAT), [0.1, 16777217.0, 5e-324, -math.pi])
    assert not bad
    assert found.to_pylist() == np.array([0.1, 16777217.0, 5e-324, -math.pi], "f4").tolist()


VECTORS = st.one_of(
    *[
        st.lists(
            st.floats(width=32, allow_nan=False, allow_infinity=False) | st.integers(-9, 9),
            min_size=3,
            max_size=3,
        )
    ]
    * 6,
    st.none(),
    st.just([]),
    ANYTHING,
    st.sampled_from([[[1, 2, 3]], [[1], 2, 3], [1, "]", 2], [1, None, 2], [1, True, 0], "[1,2,3]"]),
)
DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "v": VECTORS,
        "o": st.just({"v": [1, 2, 3]}) | ANYTHING,
        "t": st.sampled_from(['"v":[1,2,3]', "v", '"v"', "]", "[", '\\"v\\":[']),
    },
)


@given(
    st.lists(DOCUMENTS, max_size=5),
    st.sampled_from([(",", ":"), (", ", ": "), (" ,", " :\n ")]),
    st.randoms(),
)
def test_vectors_cut_out_are_the_same_as_parsed_ones(
    documents: list[dict[str, Any]], separators: tuple[str, str], random: Any
) -> None:
    hits = []
    for n, document in enumerate(documents):
        shuffled = list(document.items())
        random.shuffle(shuffled)
        hits.append({"_index": "i", "_id": str(n), "_source": dict(shuffled), "sort": [n]})
    answer = json.dumps({"hits": {"hits": hits}}, separators=separators).encode()
    vector = Column(name="v", path=("v",), type=DataType.FLOAT_VECTOR, dim=3, kind="float")
    layout = Layout(
        columns=(
            Column(name="_id", type=DataType.VARCHAR, is_key=True, nullable=False),
            vector,
            Column(name="o", path=("o",), type=DataType.JSON),
            Column(name="t", path=("t",), type=DataType.VARCHAR),
        ),
        known=("v", "o", "t"),
        dynamic=False,
        on_missing_vector=OnMissingVector.NULL,
    )
    maker = RowMaker(layout)
    assert len(maker.cutters) == 1
    cut, cut_bad = maker.rows(page_of(answer, "cut", cutters=maker.cutters))
    whole, whole_bad = maker.rows(page_of(answer, "whole"))
    assert cut.equals(whole)
    assert (cut_bad is None) == (whole_bad is None)
    if cut_bad and whole_bad:
        assert cut_bad.rows.equals(whole_bad.rows)
        assert list(cut_bad.reasons) == list(whole_bad.reasons)


def test_plain_pages_are_cut_and_others_are_not() -> None:
    vector = Column(name="v", path=("v",), type=DataType.FLOAT_VECTOR, dim=2)
    assert can_cut(vector)
    assert not can_cut(vector.model_copy(update={"path": ("a", "v")}))
    cutter = VectorCutter(vector)
    rest, texts = cutter.cut(b'[{"v":[1,2.5]},{"v" : [3,-4e1]},{"t":"v"},{"v":null}]')
    assert texts == [b"1,2.5", b"3,-4e1"]
    mark = cutter.mark
    assert orjson.loads(rest) == [{"v": mark}, {"v": mark}, {"t": "v"}, {"v": None}]
    found = cutter.floats([mark, mark, None, None], texts)
    assert found is not None
    assert found.tolist() == [[1.0, 2.5], [3.0, -40.0]]
    for raw, given_texts in (
        ([mark, None], texts),  # one of them stood elsewhere
        ([mark, mark, "x"], texts),
        ([mark], [b"1,2,3"]),
        ([mark], [b'1,"2"']),
        ([mark], [b"1,1e39"]),
        ([mark], [b"1,[2"]),
        ([mark], [b""]),
    ):
        assert cutter.floats(raw, given_texts) is None


# --- vectors as text ------------------------------------------------------------------------------


def text_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def vector_column(kind: DataType, dim: int) -> Column:
    return Column(name="v", path=("v",), kind="dense_vector", type=kind, dim=dim)


@given(st.lists(SCALARS[DataType.FLOAT], min_size=1, max_size=9))
def test_floats_as_base64_are_bit_for_bit(numbers):
    column = vector_column(DataType.FLOAT_VECTOR, len(numbers))
    big, little = (struct.pack(f"{order}{len(numbers)}f", *numbers) for order in "><")
    values, reasons = array_of(column, [text_of(big), numbers])
    assert not reasons
    assert [struct.pack(f"<{len(numbers)}f", *row) for row in values.to_pylist()] == [little] * 2


@given(st.lists(st.integers(0, 2**16 - 1), min_size=1, max_size=9))
def test_bfloat16_as_base64_is_exact(halves):
    column = vector_column(DataType.FLOAT_VECTOR, len(halves))
    floats = [struct.unpack(">f", struct.pack(">HH", half, 0))[0] for half in halves]
    values, reasons = array_of(column, [text_of(struct.pack(f">{len(halves)}H", *halves))])
    if all(map(math.isfinite, floats)):
        assert values.to_pylist() == [floats] and not reasons
    else:
        assert "NaN or infinity" in reasons[0]


@pytest.mark.parametrize("kind", [DataType.INT8_VECTOR, DataType.BINARY_VECTOR])
@given(data=st.binary(min_size=1, max_size=9))
def test_bytes_as_hexadecimal_or_base64(kind, data):
    dim = len(data) * (8 if kind is DataType.BINARY_VECTOR else 1)
    column = vector_column(kind, dim)
    values, reasons = array_of(column, [text_of(data), data.hex(), data.hex().upper(), list(data)])
    good = 4 if kind is DataType.BINARY_VECTOR or max(data) < 128 else 3
    assert len(reasons) == 4 - good
    held = [bytes(row) if isinstance(row, bytes) else row for row in values.to_pylist()[:3]]
    signed = list(struct.unpack(f"{len(data)}b", data))
    assert held == [data] * 3 or held == [signed] * 3


@pytest.mark.parametrize(
    ("kind", "text", "told"),
    [
        (DataType.FLOAT_VECTOR, "", "base64 of 8 bytes, found 0"),
        (DataType.FLOAT_VECTOR, "AAAA", "base64 of 8 bytes, found 3"),
        (DataType.FLOAT_VECTOR, text_of(bytes(12)), "base64 of 8 bytes, found 12"),
        (DataType.FLOAT_VECTOR, "0.5, 1.5", "a list of numbers or base64"),
        (DataType.FLOAT_VECTOR, text_of(bytes(8))[:-1], "a list of numbers or base64"),
        (DataType.FLOAT_VECTOR, text_of(struct.pack(">2f", 1, math.inf)), "NaN or infinity"),
        (DataType.FLOAT_VECTOR, text_of(struct.pack(">2f", math.nan, 1)), "NaN or infinity"),
        (DataType.INT8_VECTOR, "xyz", "hexadecimal digits or base64"),
        (DataType.INT8_VECTOR, text_of(b"\1\2\3"), "expected 2 numbers, found 3"),
        (DataType.INT8_VECTOR, "00ff0", "hexadecimal digits or base64"),
    ],
)
def test_texts_that_are_no_vector(kind, text, told):
    _, reasons = array_of(vector_column(kind, 2), [text])
    assert told in reasons[0]
