"""Files of staging that are lost or damaged while a migration goes on, each before the step that
reads it: the error names the file and what to do, and doing that brings the run to its end."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from airlift.datatypes import DataType
from airlift.errors import AirliftError, Refused
from airlift.rollback import Rollback
from airlift.rollback_params import RollbackParams
from airlift.run import move_in
from airlift.schema import CollectionSchema, Field
from airlift.steps.check import check
from airlift.steps.convert import convert_batch
from airlift.steps.create import create
from airlift.steps.export_meta import export_meta
from airlift.steps.index import build_indexes, load_collections
from airlift.steps.plan import make_plan
from airlift.steps.publish import publish, write_report
from airlift.steps.verify import verify
from tests.paths.arrow_source import ArrowSource, migration_of
from tests.paths.place import Place
from tests.paths.truth import count

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


@pytest.mark.parametrize("if_exists", ["fail", "append", "replace"])
@pytest.mark.parametrize("text", [None, "{}"])
def test_a_collection_of_ones_own_is_not_taken_for_a_strangers(either, if_exists, text):
    """Without `created.json` nothing is dropped, nothing is added, and rows stay as they are."""
    names = list(STEPS)
    params = {"file_format": "parquet", "if_exists": if_exists, "write_mode": "insert"}
    run_steps(either, names[: names.index("verify")], **params)
    created = Path(either.staging_url) / either.migration_id / "created.json"
    created.unlink() if text is None else created.write_text(text)
    with pytest.raises(Refused, match="does not name the collection 'songs'.*nothing is dropped"):
        run_steps(either, names, **params)
    assert count(either.client, "songs") == len(ROWS)
    either.client.drop_collection("songs")
    run_steps(either, names, **params)
    assert count(either.client, "songs") == len(ROWS)


def test_a_rollback_does_not_forget_a_collection(lite):
    names = list(STEPS)
    run_steps(lite, names[: names.index("verify")], file_format="parquet")
    folder = Path(lite.staging_url) / lite.migration_id
    (folder / "created.json").unlink()
    params = RollbackParams(migration_id=lite.migration_id, staging_url=lite.staging_url)
    with closing(Rollback(params, lite.connections)) as rollback:
        with pytest.raises(AirliftError, match=r"does not name the collections \['songs'\]"):
            rollback.undo()
        assert (folder / "plan.json").exists() and lite.client.has_collection("songs")
    lite.client.drop_collection("songs")
    with closing(Rollback(params, lite.connections)) as rollback:
        rollback.undo()
    assert not folder.exists()


@pytest.mark.parametrize("keep_progress", [True, False])
def test_rows_are_not_inserted_twice_when_their_record_is_lost(place, keep_progress):
    """Where the progress shows that an earlier attempt was at the chunk, the target is asked; in
    the worst case the counts differ, and no run ends well."""
    names = list(STEPS)
    params = {"file_format": "parquet", "write_mode": "insert"}
    at = names.index("index")
    run_steps(place, names[:at], **params)
    folder = Path(place.staging_url) / place.migration_id
    [record] = folder.glob("songs/*/import.json")
    record.unlink()
    if keep_progress:
        run_steps(place, names[at - 1 :], **params)
        assert count(place.client, "songs") == len(ROWS)
        return
    for path in (folder / "progress").glob("bulk_insert*"):
        path.unlink()
    with pytest.raises(AirliftError, match="source and target differ"):
        run_steps(place, names[at - 1 :], **params)


@pytest.mark.parametrize("folder", ["steps", "failures"])
def test_what_is_only_shown_does_no_harm(lite, folder):
    place = Path(lite.staging_url) / lite.migration_id / folder
    names = list(STEPS)
    run_steps(lite, names[:3], file_format="parquet")
    place.mkdir(parents=True, exist_ok=True)
    (place / "plan.json").write_text("{")
    (place / "check.json").write_text('{"other": 1}')
    run_steps(lite, names, file_format="parquet")
    with migration_of(lite, source()) as migration:
        assert write_report(migration, "done")
