"""A user's function may change values, and nothing else."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, EntryPoints
from types import SimpleNamespace

import pyarrow as pa
import pytest

from airlift.errors import AirliftError
from airlift.user_transforms import UserTransform, loaded

BATCH = pa.record_batch({"id": [1, 2, 3], "x": ["a", None, "c"]})


def fails(batch: pa.RecordBatch) -> pa.RecordBatch:
    raise KeyError("colour")


def doubled(batch: pa.RecordBatch) -> pa.RecordBatch:
    return pa.record_batch({"id": batch["id"], "x": ["b", "b", None]})


FUNCTIONS: dict[str, object] = {
    "same": lambda batch: batch,
    "doubled": doubled,
    "fails": fails,
    "fewer": lambda batch: batch.slice(1),
    "more": lambda batch: pa.concat_batches([batch, batch]),
    "renamed": lambda batch: batch.rename_columns(["id", "y"]),
    "retyped": lambda batch: pa.record_batch({"id": batch["id"], "x": [1, 2, 3]}),
    "turned": lambda batch: batch.take(pa.array([2, 1, 0])),
    "table": lambda batch: pa.table(batch),
    "number": 7,
}


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "users_own", SimpleNamespace(**FUNCTIONS))
    names = [*FUNCTIONS, "gone"]
    entries = EntryPoints(
        EntryPoint(one, f"users_own:{one}", "airlift.transforms") for one in names
    )
    monkeypatch.setattr("airlift.user_transforms.entry_points", lambda group: entries)


def test_values_may_change():
    assert UserTransform("c", "same", "id").apply(BATCH).equals(BATCH)
    assert UserTransform("c", "doubled", "id").apply(BATCH).column("x").to_pylist() == [
        "b",
        "b",
        None,
    ]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("fails", "'fails' failed: KeyError: 'colour'"),
        ("fewer", "'fewer' must keep the rows: 3 became 2"),
        ("more", "'more' must keep the rows: 3 became 6"),
        ("renamed", "must keep the columns: {id: int64, x: string} became {id: int64, y: string}"),
        ("retyped", "must keep the columns: {id: int64, x: string} became {id: int64, x: int64}"),
        ("turned", "must keep the rows in order and the primary key 'id' as it is"),
        ("table", "must give a pyarrow.RecordBatch, it gave a Table"),
    ],
)
def test_rows_columns_and_keys_may_not(name, said):
    with pytest.raises(AirliftError) as error:
        UserTransform("c", name, "id").apply(BATCH)
    assert said in str(error.value) and "collection 'c': the transform" in str(error.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nope", "no transform named 'nope' is installed; there are ['doubled', 'fails', 'fewer',"),
        ("gone", "'gone' (users_own:gone) can't be loaded"),
        ("number", "'number' (users_own:number) is no function"),
    ],
)
def test_what_can_not_be_used_is_told(name, said):
    with pytest.raises(AirliftError) as error:
        loaded(name)
    assert said in str(error.value)


def test_functions_are_what_they_say() -> None:
    function: Callable[[pa.RecordBatch], pa.RecordBatch] = loaded("same")
    assert function(BATCH) is BATCH
