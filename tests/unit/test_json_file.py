"""JSON chunk files: what Milvus' readers make of them, by a reader that is written as theirs are.

Its rules are those of milvus `internal/util/importutilv2/json/row_parser.go` (2.4 to 2.6) and
`internal/util/importutil` (2.3), which agree.
"""

from __future__ import annotations

import json
import tempfile
import tracemalloc
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airlift.datatypes import DataType
from airlift.errors import AirliftError
from airlift.formats import FORMATS
from airlift.formats.base import MAX_FILE_BYTES
from airlift.schema import DYNAMIC_FIELD, CollectionSchema, Field
from airlift.sparse_vectors import to_bytes
from airlift.storage import open_storage
from tests.unit.arrow_rows import (
    EVERY_NULLABLE_TYPE,
    EVERY_TYPE,
    batch_of,
    fingerprint_of,
    schema_of,
)

JSON = FORMATS["json"]
KEY = Field(name="id", type=DataType.INT64, primary_key=True)
META = Field(name=DYNAMIC_FIELD, type=DataType.JSON)
LARGEST_FLOAT = float(np.finfo(np.float32).max)


class Number(str):
    """A number as it stands in the file (Go's `json.Number`)."""


def written(schema: CollectionSchema, *batches: pa.RecordBatch) -> tuple[bytes, list[Any]]:
    """The file of a chunk, and the batches that are read back."""
    with tempfile.TemporaryDirectory() as at:
        folder = open_storage(at)
        writer = JSON.writer(folder, schema, sum(batch.num_rows for batch in batches))
        for batch in batches:
            writer.write(batch)
        [file] = writer.close()
        data = (Path(at) / file.name).read_bytes()
        assert len(data) == file.size
        return data, list(JSON.read(folder, schema, 7))


def rows_of(data: bytes) -> list[dict[str, Any]]:
    """The rows of a file, with every number as its text."""
    found = json.loads(data, parse_int=Number, parse_float=Number, parse_constant=pytest.fail)
    assert list(found) == ["rows"]
    rows: list[dict[str, Any]] = found["rows"]
    return rows


# --- as Milvus parses values ---------------------------------------------------------------------


def parse_float32(value: Any) -> bytes:
    """Go's `ParseFloat(text, 32)`: the float32 that is nearest to the decimal number."""
    assert isinstance(value, Number)
    exact = Fraction(value)
    with np.errstate(over="ignore"):
        near = np.float32(float(value))
        if float(near) == float(value) or 0.01 < _ulps(float(value), near) < 0.49:
            return near.tobytes()  # no other is as near, whatever the last digits are
        around = [np.nextafter(near, np.float32(side)) for side in (-np.inf, np.inf)]
    finite = [one for one in (near, *around) if np.isfinite(one)]
    best = min(finite, key=lambda one: (abs(Fraction(float(one)) - exact), _is_odd(one)))
    if value.startswith("-") and best == 0:
        best = np.float32(-0.0)
    return best.tobytes()


def _ulps(value: float, near: np.float32) -> float:
    return abs(value - float(near)) / float(np.spacing(np.abs(near)))


def _is_odd(value: np.float32) -> int:
    return int(value.view(np.uint32)) & 1


def parse_whole(value: Any) -> int:
    assert isinstance(value, Number)
    return int(value)  # which refuses a fraction or an exponent


def parse_double(value: Any) -> bytes:
    assert isinstance(value, Number)
    return np.float64(value).tobytes()


def parse_half(value: Any) -> bytes:
    single = np.frombuffer(parse_float32(value), np.float32)
    half = single.astype(np.float16)
    assert half.astype(np.float32) == single, "it would be rounded"
    return half.tobytes()


def parse_bfloat(value: Any) -> bytes:
    raw = parse_float32(value)
    assert raw[:2] == b"\0\0", "it would be rounded"
    return raw[2:]


def parse_sparse(value: Any) -> bytes:
    """Values go through a float64, and must not be above the largest float32."""
    if value == {}:
        return b""
    assert set(value) == {"indices", "values"}
    numbers = [float(one) for one in value["values"]]
    assert all(0 <= one <= LARGEST_FLOAT for one in numbers)
    indices = [parse_whole(one) for one in value["indices"]]
    assert all(0 <= one < (1 << 32) - 1 for one in indices)
    return to_bytes(dict(zip(indices, numbers, strict=True)))


def parse_text(value: Any) -> str:
    assert isinstance(value, str) and not isinstance(value, Number)
    return value


def parse_bool(value: Any) -> bool:
    assert isinstance(value, bool)
    return value


def joined(element: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    return lambda values: b"".join(element(value) for value in values)


PARSERS: dict[DataType, Callable[[Any], Any]] = {
    DataType.BOOL: parse_bool,
    **dict.fromkeys((DataType.INT8, DataType.INT16, DataType.INT32, DataType.INT64), parse_whole),
    DataType.FLOAT: parse_float32,
    DataType.DOUBLE: parse_double,
    DataType.VARCHAR: parse_text,
    DataType.JSON: parse_text,
    DataType.FLOAT_VECTOR: joined(parse_float32),
    DataType.FLOAT16_VECTOR: joined(parse_half),
    DataType.BFLOAT16_VECTOR: joined(parse_bfloat),
    DataType.INT8_VECTOR: joined(lambda one: np.int8(parse_whole(one)).tobytes()),
    DataType.BINARY_VECTOR: joined(lambda one: np.uint8(parse_whole(one)).tobytes()),
    DataType.SPARSE_FLOAT_VECTOR: parse_sparse,
}


def parsed(field: Field, value: Any) -> Any:
    if value is None:
        assert field.nullable
        return None
    if field.element_type:
        return [PARSERS[field.element_type](item) for item in value]
    return PARSERS[field.type](value)


def plain(kind: DataType, value: Any) -> Any:
    """An Arrow value (`as_py`) as the parsers above give it."""
    if kind is DataType.FLOAT:
        return np.float32(value).tobytes()
    if kind is DataType.DOUBLE:
        return np.float64(value).tobytes()
    if kind is DataType.FLOAT_VECTOR:
        return np.array(value, np.float32).tobytes()
    return np.array(value, np.int8).tobytes() if kind is DataType.INT8_VECTOR else value


def given_value(field: Field, value: Any) -> Any:
    if value is None:
        return None
    if field.element_type:
        return [plain(field.element_type, item) for item in value]
    return plain(field.type, value)


def assert_arrives(schema: CollectionSchema, *batches: pa.RecordBatch) -> None:
    """What Milvus reads of the file is, bit for bit, what was written; and so is what we read."""
    data, read = written(schema, *batches)
    rows = rows_of(data)
    assert len(rows) == sum(batch.num_rows for batch in batches)
    given = [row for batch in batches for row in batch.to_pylist()]
    for row, expected in zip(rows, given, strict=True):
        assert list(row) == [field.name for field in schema.written]
        for field in schema.written:
            if not field.is_dynamic:
                told = parsed(field, row[field.name])
                assert told == given_value(field, expected[field.name]), field.name
    # Bit for bit, which `equals` is not for -0.0.
    assert fingerprint_of(*read) == fingerprint_of(*batches)
    assert pa.Table.from_batches(read, schema.arrow).equals(
        pa.Table.from_batches(batches, schema.arrow)
    )


# --- every type ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "schema", [EVERY_TYPE, EVERY_NULLABLE_TYPE], ids=["with values", "with nulls"]
)
@settings(max_examples=15, deadline=None)
@given(rows=st.integers(0, 30), seed=st.integers(0, 2**32))
def test_milvus_reads_every_type_as_it_was_written(schema, rows, seed):
    assert_arrives(schema, batch_of(schema, rows, seed), batch_of(schema, 3, seed + 1))


floats32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
floats64 = st.floats(allow_nan=False, allow_infinity=False)
BITS = {
    # Finite numbers by their bits: the exponent is not all ones.
    "float16": st.integers(0, 0xFFFF).filter(lambda bits: bits & 0x7C00 != 0x7C00),
    "bfloat16": st.integers(0, 0xFFFF).filter(lambda bits: bits & 0x7F80 != 0x7F80),
}


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(floats32, floats32, floats32, floats64), min_size=1, max_size=5))
def test_any_float_arrives_bit_for_bit(numbers):
    fields = (
        KEY,
        Field(name="single", type=DataType.FLOAT),
        Field(name="vector", type=DataType.FLOAT_VECTOR, dim=2),
        Field(name="items", type=DataType.ARRAY, element_type=DataType.FLOAT),
        Field(name="double", type=DataType.DOUBLE),
        Field(name="sparse", type=DataType.SPARSE_FLOAT_VECTOR),
    )
    schema = CollectionSchema(name="c", fields=fields)
    rows = [
        {
            "id": n,
            "single": a,
            "vector": [b, c],
            "items": [a, c],
            "double": d,
            "sparse": to_bytes({7: abs(a), 9: abs(b)}),
        }
        for n, (a, b, c, d) in enumerate(numbers)
    ]
    assert_arrives(schema, pa.RecordBatch.from_pylist(rows, schema.arrow))


@pytest.mark.parametrize("kind", [DataType.FLOAT16_VECTOR, DataType.BFLOAT16_VECTOR])
def test_every_number_of_half_precision_arrives_bit_for_bit(kind):
    infinite = 0x7C00 if kind is DataType.FLOAT16_VECTOR else 0x7F80
    bits = np.arange(1 << 16, dtype=np.uint16)
    bits = bits[bits & infinite != infinite]
    dim = 512
    bits = bits[: len(bits) // dim * dim]
    field = Field(name="v", type=kind, dim=dim)
    schema = CollectionSchema(name="c", fields=(KEY, field))
    vectors = [row.tobytes() for row in bits.reshape(-1, dim)]
    keys = pa.array(range(len(vectors)), pa.int64())
    column = pa.array(vectors, field.arrow.type)
    assert_arrives(schema, pa.RecordBatch.from_arrays([keys, column], schema=schema.arrow))


SPECIAL = [0.0, -0.0, 1e-45, -1e-45, 1.1754944e-38, 3.4028235e38, -3.4028235e38, 16777216.0, 1e21]


@pytest.mark.parametrize("value", SPECIAL)
def test_limits_of_floats_arrive(value):
    single = float(np.float32(value))
    schema = CollectionSchema(
        name="c",
        fields=(
            KEY,
            Field(name="f", type=DataType.FLOAT),
            Field(name="v", type=DataType.FLOAT_VECTOR, dim=1),
            Field(name="s", type=DataType.SPARSE_FLOAT_VECTOR),
        ),
    )
    row = {"id": 1, "f": single, "v": [single], "s": to_bytes({0: abs(single), (1 << 32) - 2: 1})}
    assert_arrives(schema, pa.RecordBatch.from_pylist([row], schema.arrow))


TEXTS = [
    "",
    '"',
    "\\",
    '\\"',
    "\\u0000",
    "\0",
    "a\nb\rc\td\b\f\v",
    "漢字 ß 😀 é",
    "\u2028\u2029\ufeff\x7f\x85",
    "</script>&amp;",
    f',"{DYNAMIC_FIELD}":',
    f'","{DYNAMIC_FIELD}":{{"a":1}}}},',
    "},\n{",
    "]}\n",
    "\U0010ffff\ud7ff\ue000",
]


@pytest.mark.parametrize("text", TEXTS)
def test_any_text_arrives(text):
    schema = CollectionSchema(
        name="c",
        fields=(
            KEY,
            Field(name="t", type=DataType.VARCHAR),
            Field(name="a", type=DataType.ARRAY, element_type=DataType.VARCHAR),
            META,
        ),
        dynamic_field=True,
    )
    row = {"id": 1, "t": text, "a": [text, "", text], DYNAMIC_FIELD: json.dumps({"k": text})}
    assert_arrives(schema, pa.RecordBatch.from_pylist([row, row], schema.arrow))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(max_size=20), min_size=1, max_size=8))
def test_texts_of_any_characters_arrive(values):
    schema = CollectionSchema(name="c", fields=(KEY, Field(name="t", type=DataType.VARCHAR)))
    rows = [{"id": n, "t": text} for n, text in enumerate(values)]
    assert_arrives(schema, pa.RecordBatch.from_pylist(rows, schema.arrow))


JSON_TEXTS = [
    "{}",
    "null",
    "5",
    "-0.0",
    '"text"',
    "[1,[2,null],{}]",
    '{"n":123456789012345678901234567890}',
    '{"n":9007199254740993,"m":-9223372036854775808}',
    '{"a":1,"a":2}',
    '{"x":1e400,"y":1E-400,"z":0.1000000000000000055511151231257827}',
    '{"\\ud83d\\ude00":"\\u0000"}',
]


@pytest.mark.parametrize("text", JSON_TEXTS)
def test_json_keeps_the_text_and_null_is_not_the_json_null(text):
    """As a string: the server keeps its bytes, and takes any value."""
    field = Field(name="j", type=DataType.JSON, nullable=True)
    schema = CollectionSchema(name="c", fields=(KEY, field))
    rows = [{"id": 1, "j": text}, {"id": 2, "j": None}]
    data, [read] = written(schema, pa.RecordBatch.from_pylist(rows, schema.arrow))
    assert [row["j"] for row in rows_of(data)] == [text, None]
    assert read.column("j").to_pylist() == [text, None]


META_TEXTS = [
    "{}",
    '{"n":123456789012345678901234567890}',
    '{"a":9007199254740993,"b":1.0,"c":-0.0,"d":1e400}',
    f'{{"a":{{"{DYNAMIC_FIELD}":1}},"b":",\\"{DYNAMIC_FIELD}\\":"}}',
    '{"漢":"😀\\n","e":[null,true,{"f":[]}]}',
    '{"a":1,"a":2}',
]


@pytest.mark.parametrize("text", META_TEXTS)
def test_the_dynamic_field_is_an_object_with_its_numbers_untouched(text):
    """As a string, its numbers would become float64 on the way into the server."""
    schema = CollectionSchema(
        name="c",
        # It is the last one in the file wherever the schema has it.
        fields=(META, KEY, Field(name="t", type=DataType.VARCHAR)),
        dynamic_field=True,
    )
    rows = [{DYNAMIC_FIELD: one, "id": 1, "t": "x"} for one in (text, "{}", text)]
    data, [read] = written(schema, pa.RecordBatch.from_pylist(rows, schema.arrow))
    assert f',"{DYNAMIC_FIELD}":{text}}}'.encode() in data
    expected = json.loads(text, parse_int=Number, parse_float=Number)
    assert [row[DYNAMIC_FIELD] for row in rows_of(data)] == [expected, {}, expected]
    assert read.column(DYNAMIC_FIELD).to_pylist() == [text, "{}", text]


def test_a_line_break_between_tokens_does_not_end_a_row():
    schema = CollectionSchema(name="c", fields=(KEY, META), dynamic_field=True)
    rows = [{"id": n, DYNAMIC_FIELD: '{\n "a":\n[1,\n2]\n}'} for n in range(3)]
    data, [read] = written(schema, pa.RecordBatch.from_pylist(rows, schema.arrow))
    assert [row[DYNAMIC_FIELD] for row in rows_of(data)] == [{"a": ["1", "2"]}] * 3
    assert read.num_rows == 3


@pytest.mark.parametrize("element", [DataType.INT64, DataType.VARCHAR, DataType.BOOL])
def test_an_empty_list_is_not_null(element):
    field = Field(name="a", type=DataType.ARRAY, element_type=element, nullable=True)
    schema = CollectionSchema(name="c", fields=(KEY, field))
    rows = [{"id": n, "a": value} for n, value in enumerate(([], None, []))]
    data, [read] = written(schema, pa.RecordBatch.from_pylist(rows, schema.arrow))
    assert [row["a"] for row in rows_of(data)] == [[], None, []]
    assert read.column("a").to_pylist() == [[], None, []]


# --- the file as a whole -------------------------------------------------------------------------


@pytest.mark.parametrize("batches", [[], [0], [0, 0], [1], [3, 0, 2], [5_000]])
def test_any_number_of_rows(batches):
    schema = schema_of(DataType.VARCHAR)
    made = [batch_of(schema, rows, n) for n, rows in enumerate(batches)]
    data, read = written(schema, *made)
    assert len(rows_of(data)) == sum(batches) == sum(batch.num_rows for batch in read)
    assert data.startswith(b'{"rows":[\n') and data.endswith(b"]}\n")


def test_converting_twice_gives_the_same_file():
    whole = batch_of(EVERY_NULLABLE_TYPE, 500, 3)
    one, _ = written(EVERY_NULLABLE_TYPE, whole)
    other, _ = written(EVERY_NULLABLE_TYPE, whole.slice(0, 99), whole.slice(99))
    assert one == other


@pytest.mark.parametrize("cut", [0, 3, 9, 10, 200, -1, -2, -3, -4])
def test_a_file_that_is_not_whole_is_told(tmp_path, cut):
    schema = schema_of(DataType.VARCHAR)
    folder = open_storage(str(tmp_path))
    writer = JSON.writer(folder, schema, 50)
    writer.write(batch_of(schema, 50))
    writer.close()
    data = (tmp_path / "data.json").read_bytes()
    (tmp_path / "data.json").write_bytes(data[:cut])
    with pytest.raises(AirliftError, match=r"data\.json (does not begin|ends too early).*convert"):
        list(JSON.read(folder, schema, 100))


def test_memory_stays_bounded(tmp_path):
    """A batch of 20 MB, whose text is 53 MB; read back in small batches."""
    field = Field(name="v", type=DataType.FLOAT_VECTOR, dim=256)
    schema = CollectionSchema(name="c", fields=(KEY, field))
    batch = batch_of(schema, 20_000)
    folder = open_storage(str(tmp_path))
    tracemalloc.start()
    writer = JSON.writer(folder, schema, batch.num_rows)
    writer.write(batch)
    [file] = writer.close()
    rows = sum(one.num_rows for one in JSON.read(folder, schema, 100))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert file.size > 50 << 20 and rows == 20_000
    assert peak < 25 << 20


LONG_TEXT = {
    DataType.FLOAT_VECTOR: np.float32(-1.17549435e-38),
    DataType.FLOAT16_VECTOR: np.float16(-0.00012201),
    DataType.INT8_VECTOR: np.int8(-128),
    DataType.BINARY_VECTOR: np.uint8(255),
}


@pytest.mark.parametrize("dim", [8, 128, 1024])
@pytest.mark.parametrize("kind", LONG_TEXT)
def test_chunks_are_so_small_that_the_file_is_not_too_large(kind, dim):
    fields = [Field(name=f"a_name_of_some_length_{n}", type=DataType.INT8) for n in range(5)]
    vector = Field(name="vector", type=kind, dim=dim)
    schema = CollectionSchema(name="c", fields=(KEY, *fields, vector))
    count = dim // 8 if kind is DataType.BINARY_VECTOR else dim
    raw = np.full(count, LONG_TEXT[kind])
    value = raw.tolist() if pa.types.is_fixed_size_list(vector.arrow.type) else raw.tobytes()
    row = {field.name: -128 for field in fields} | {"id": -(2**63), "vector": value}
    data, _ = written(schema, pa.RecordBatch.from_pylist([row] * 20, schema.arrow))
    rows = JSON.max_chunk_bytes(schema) // schema.row_bytes
    assert 0.1 * MAX_FILE_BYTES < rows * len(data) / 20 <= MAX_FILE_BYTES
