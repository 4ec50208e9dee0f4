"""Files of staging that are lost or damaged while a migration goes on, each before the step that
reads it: the error names the file and what to do, and doing that brings the run to its end."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from airlift.datatypes import DataType
from airlift.errors import AirliftError
from airlift.run import move_in
from airlift.schema import CollectionSchema, Field
from airlift.steps.check import check
from airlift.steps.convert import convert_batch
from airlift.steps.create import create
from airlift.steps.export_meta import export_meta
from airlift.steps.index import build_indexes, load_collections
from airlift.steps.plan import make_plan
from airlift.steps.publish import publish
from airlift.steps.verify import verify
from tests.paths.arrow_source import ArrowSource, migration_of
from tests.paths.place import Place

KEY = Field(name="id", type=DataType.INT64, primary_key=True)
VECTOR = Field(name="vector", type=DataType.FLOAT_VECTOR, dim=4, metric_type="L2")
TEXT = Field(name="text", type=DataType.VARCHAR)
SCHEMA = CollectionSchema(name="songs", fields=(KEY, VECTOR, TEXT))
ROWS = [{"id": n, "vector": [float(n)] * 4, "text": f"t{n}"} for n in range(50)]

STEPS: dict[str, Callable[[Any], Any]] = {
    "check": check,
    "export_meta": export_meta,
    "plan": lambda migration: make_plan(migration, 1),
    "convert": lambda migration: convert_batch(migration, 0),
    "create": create,
    "bulk_insert": lambda migration: move_in(migration, 0),
    "index": build_indexes,
    "load": load_collections,
    "verify": verify,
    "publish": publish,
}


def cut_short(data: bytes) -> bytes:
    return data[: len(data) // 2]


DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "gone": lambda data: None,
    "empty": lambda data: b"",
    "cut": cut_short,
    "random": lambda data: bytes((n * 7919) % 251 for n in range(len(data))),
    "other": lambda data: b'{"some": ["thing", "else"]}',
}
# Which file, and the step that comes next and reads it.
FILES = [
    ("meta.json", "plan"),
    ("plan.json", "convert"),
    ("plan.json", "create"),
    ("plan.json", "bulk_insert"),
    ("plan.json", "verify"),
    ("plan.json", "publish"),
    ("songs/*/manifest.json", "create"),
    ("songs/*/manifest.json", "bulk_insert"),
    ("songs/*/manifest.json", "verify"),
    ("songs/*/data.parquet", "bulk_insert"),
    ("songs/*/sample.parquet", "verify"),
    ("created.json", "bulk_insert"),
    ("created.json", "verify"),
    ("created.json", "publish"),
    ("songs/*/import.json", "verify"),
    ("verification.json", "publish"),
]


def source() -> ArrowSource:
    return ArrowSource(SCHEMA, [[pa.RecordBatch.from_pylist(ROWS, schema=SCHEMA.arrow)]])


def run_steps(place: Place, names: list[str], **params: Any) -> None:
    with migration_of(place, source(), **params) as migration:
        for name in names:
            STEPS[name](migration)


@pytest.mark.parametrize(
    ("file", "step", "damage"),
    [
        (file, step, damage)
        for file, step in FILES
        for damage in DAMAGES
        # To a reader of JSON, these are the same as one that is cut.
        if file.endswith(".parquet") or damage not in ("empty", "random")
    ],
)
def test_what_is_lost_is_named_and_can_be_made_again(lite, file, step, damage):
    """Whatever is wrong with a file, no run ends well with other rows than the source's."""
    names = list(STEPS)
    at = names.index(step)
    params = {"file_format": "parquet", "verify": "sample"}
    run_steps(lite, names[:at], **params)
    folder = Path(lite.staging_url) / lite.migration_id
    [path] = folder.glob(file)
    changed = DAMAGES[damage](path.read_bytes())
    path.unlink() if changed is None else path.write_bytes(changed)
    todo = names[at:]
    for _ in range(3):  # the way on may have two steps
        try:
            run_steps(lite, todo, **params)
            break
        except AirliftError as error:
            said = str(error)
        if todo != names:
            assert path.name in said or f"clear the task {WRITTEN_BY[path.name]}" in said, said
        assert "pydantic" not in said
        do_as_told(lite, said, path)
        todo = names
    else:
        pytest.fail(f"no way on: {said}")
    assert lite.client.query("songs", output_fields=["count(*)"], filter="id >= 0") == [
        {"count(*)": len(ROWS)}
    ]
    rows = lite.client.query("songs", filter="id >= 0", output_fields=["*"], limit=1000)
    assert {row["id"]: row["text"] for row in rows} == {row["id"]: row["text"] for row in ROWS}


WRITTEN_BY = {
    "meta.json": "export_meta",
    "plan.json": "plan",
    "manifest.json": "convert",
    "data.parquet": "convert",
    "verification.json": "verify",
    "import.json": "bulk_insert",
}


def do_as_told(place: Place, said: str, path: Path) -> None:
    """Does what the message says; everything runs again afterwards, as after clearing the tasks."""
    if "drop these on the target" in said or "drop the collection on the target" in said:
        place.client.drop_collection("songs")
    if "remove the file" in said:
        path.unlink(missing_ok=True)
    for manifest in re.findall(r"remove (\S+manifest.json)", said):
        Path(manifest).unlink(missing_ok=True)
