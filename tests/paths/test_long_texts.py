"""Texts above what a field holds, into real targets: refused, set aside or cut, as asked."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from airlift.datatypes import DataType
from airlift.errors import AirliftError
from airlift.schema import CollectionSchema, Field
from tests.paths.arrow_source import ArrowSource, run_from

KEY = Field(name="key", type=DataType.INT64, primary_key=True)
VECTOR = Field(name="vector", type=DataType.FLOAT_VECTOR, dim=2, metric_type="L2")
TEXT = Field(name="text", type=DataType.VARCHAR)
SCHEMA = CollectionSchema(name="c", fields=(KEY, VECTOR, TEXT))
LONG = "漢" * 21_846  # 65,538 bytes
ROWS = [
    {"key": 0, "vector": [1.0, 0.0], "text": "short"},
    {"key": 1, "vector": [0.0, 1.0], "text": LONG},
    {"key": 2, "vector": [0.5, 1.0], "text": "x" * 65_535},
]
NOT_FINITE = {"key": 3, "vector": [float("nan"), 1.0], "text": "y"}


def source_of(*rows: dict[str, Any]) -> ArrowSource:
    return ArrowSource(SCHEMA, [[pa.RecordBatch.from_pylist(list(rows), schema=SCHEMA.arrow)]])


def texts(client: Any) -> dict[int, str]:
    rows = client.query("c", filter="key >= 0", output_fields=["text"])
    return {row["key"]: row["text"] for row in rows}


def test_cut_and_told(either):
    [collection] = run_from(either, source_of(*ROWS), on_long_text="truncate", verify="full")[
        "collections"
    ]
    assert texts(either.client) == {0: "short", 1: "漢" * 21_845, 2: "x" * 65_535}
    [note] = [note for note in collection["notes"] if "were cut" in note]
    assert "field 'text': 1 texts" in note
    assert collection["rows_set_aside"] == 0


@pytest.mark.parametrize(
    ("params", "arrived"),
    [
        ({"on_long_text": "set_aside"}, {0, 2}),
        ({"on_bad_row": "set_aside"}, {0, 2}),
        ({"on_long_text": "set_aside", "on_bad_row": "set_aside"}, {0, 2}),
        ({"on_long_text": "truncate", "on_bad_row": "set_aside"}, {0, 1, 2}),
    ],
)
def test_set_aside(lite, params, arrived):
    report = run_from(lite, source_of(*ROWS), **params, verify="full")
    assert set(texts(lite.client)) == arrived
    [collection] = report["collections"]
    assert collection["rows_set_aside"] == 3 - len(arrived)
    assert all("65,535" in reason for reason in collection["bad_rows"])


@pytest.mark.parametrize(
    ("rows", "params", "said"),
    [
        (ROWS, {}, "primary key 1: field 'text'"),
        (ROWS, {"on_long_text": "fail"}, "65,538 bytes, more than max_length (65,535)"),
        (ROWS, {"on_long_text": "fail", "on_bad_row": "set_aside"}, "on_long_text set_aside"),
        ([*ROWS, NOT_FINITE], {"on_long_text": "set_aside"}, "primary key 3: field 'vector'"),
        ([*ROWS, NOT_FINITE], {"on_long_text": "truncate"}, "primary key 3: field 'vector'"),
        (ROWS, {"on_long_text": "set_aside", "max_bad_rows": 0}, "at most 0 are allowed"),
    ],
)
def test_refused(lite, rows, params, said):
    with pytest.raises(AirliftError) as caught:
        run_from(lite, source_of(*rows), **params)
    assert said in str(caught.value)
    assert not lite.client.has_collection("c")


@pytest.mark.parametrize(("key", "shown"), [("k" * 200, "k" * 200), ("漢" * 70_000, "漢" * 200)])
def test_a_long_key_is_not_shown_whole(lite, key, shown):
    name = Field(name="name", type=DataType.VARCHAR, primary_key=True)
    schema = CollectionSchema(name="c", fields=(name, VECTOR))
    row = {"name": key, "vector": [float("nan")] * VECTOR.dim}
    source = ArrowSource(schema, [[pa.RecordBatch.from_pylist([row], schema=schema.arrow)]])
    with pytest.raises(
        AirliftError, match=f"primary key {shown}(:|… .70,000 characters.:)"
    ) as caught:
        run_from(lite, source)
    assert len(str(caught.value)) < 1000
