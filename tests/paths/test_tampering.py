"""What each level of verification catches of what may be done to target and staging.

`TAMPERINGS` is also the table in docs/guarantees.md, printed by
`PYTHONPATH=.:include .venv/bin/python -m tests.paths.test_tampering`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airlift.datatypes import DataType
from airlift.errors import AirliftError, Mismatch
from airlift.migration import Migration
from airlift.schema import CollectionSchema, Field
from airlift.steps.check import check
from airlift.steps.convert import convert_batch
from airlift.steps.create import create
from airlift.steps.export_meta import export_meta
from airlift.steps.index import build_indexes, load_collections
from airlift.steps.plan import make_plan
from airlift.steps.publish import publish
from airlift.steps.verify import verify
from airlift.steps.write_chunks import write_batch
from tests.paths.arrow_source import ArrowSource, migration_of
from tests.paths.place import Place, lite_place, local_place

ROWS = 600  # in each of two partitions, of which 500 are sampled
LEVELS = ("counts", "sample", "full")
SAMPLED, UNSAMPLED = 0, 5
"""Keys of a row that is in the sample and of one that is not."""

SCHEMA = CollectionSchema(
    name="songs",
    partitions=("rock", "jazz"),
    fields=(
        Field(name="id", type=DataType.INT64, primary_key=True),
        Field(name="vector", type=DataType.FLOAT_VECTOR, dim=8, metric_type="L2"),
        Field(name="title", type=DataType.VARCHAR, max_length=64),
        Field(name="loudness", type=DataType.DOUBLE),
        Field(name="year", type=DataType.INT64, nullable=True),
        Field(name="tags", type=DataType.JSON),
    ),
)


def song(key: int) -> dict[str, Any]:
    vector = np.random.default_rng(key).standard_normal(8).astype(np.float32).tolist()
    return {
        "id": key,
        "vector": vector,
        "title": f"song {key}",
        "loudness": 0.0 if key % 3 else key / 7,
        "year": None if key % 2 else 1900 + key % 100,
        "tags": orjson.dumps({"genre": key % 5, "mood": ["a", key]}).decode(),
    }


def sent(key: int, **changes: Any) -> dict[str, Any]:
    """A row as pymilvus takes it."""
    row = song(key) | changes
    return row | {"tags": orjson.loads(row["tags"])}


@dataclass
class Scene:
    """A migration whose rows are on the target, and a client to tamper with them."""

    place: Place
    migration: Migration

    @property
    def folder(self) -> Path:
        return Path(self.place.staging_url) / self.migration.id

    def upsert(self, *rows: dict[str, Any], partition: str = "rock") -> None:
        self.place.client.upsert("songs", list(rows), partition_name=partition)

    def insert(self, *rows: dict[str, Any], partition: str = "rock") -> None:
        self.place.client.insert("songs", list(rows), partition_name=partition)

    def delete(self, *keys: int) -> None:
        self.place.client.delete("songs", ids=list(keys))

    def drop_partition(self, name: str) -> None:
        self.place.client.release_collection("songs")
        self.place.client.drop_partition("songs", name)

    def edit(self, name: str, change: Callable[[Any], None]) -> None:
        """Changes a JSON file of staging."""
        path = self.folder / name
        value = orjson.loads(path.read_bytes())
        change(value)
        path.write_bytes(orjson.dumps(value))

    def chunk_file(self, chunk: int, name: str) -> Path:
        return next(self.folder.glob(f"songs/{chunk:06d}-*/{name}"))

    def edit_chunk(self, chunk: int, name: str, change: Callable[[Any], None]) -> None:
        self.edit(str(self.chunk_file(chunk, name).relative_to(self.folder)), change)

    def edit_parquet(self, chunk: int, name: str, row: int, **values: Any) -> None:
        path = self.chunk_file(chunk, name)
        table = pq.read_table(path)
        rows = table.to_pylist()
        rows[row] |= values
        pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)

    def edit_data(self, chunk: int, row: int, **values: Any) -> None:
        """With the size that the manifest tells: another one is refused before a row is sent."""
        self.edit_parquet(chunk, "data.parquet", row, **values)
        size = self.chunk_file(chunk, "data.parquet").stat().st_size
        self.edit_chunk(chunk, "manifest.json", lambda read: read["files"][0].update(size=size))


def swap_titles(scene: Scene) -> None:
    one, two = UNSAMPLED, UNSAMPLED + 6
    scene.upsert(sent(one, title=song(two)["title"]), sent(two, title=song(one)["title"]))


def exchange_partitions(scene: Scene) -> None:
    rock, jazz = SAMPLED, ROWS + SAMPLED
    scene.delete(rock, jazz)
    scene.insert(sent(rock), partition="jazz")
    scene.insert(sent(jazz), partition="rock")


def move_to_other_partition(scene: Scene) -> None:
    scene.delete(SAMPLED)
    scene.insert(sent(SAMPLED), partition="jazz")


def insert_into_foreign_partition(scene: Scene) -> None:
    scene.place.client.create_partition("songs", "others")
    scene.insert(sent(99_999), partition="others")


def replace_by_other_key(scene: Scene, key: int) -> None:
    scene.delete(key)
    scene.insert(sent(99_999))


def negate_all(scene: Scene) -> None:
    for start, partition in ((0, "rock"), (ROWS, "jazz")):
        rows = [
            sent(key, vector=[-x for x in song(key)["vector"]])
            for key in range(start, start + ROWS)
        ]
        scene.upsert(*rows, partition=partition)


def negated(key: int) -> dict[str, Any]:
    return sent(key, vector=[-x for x in song(key)["vector"]])


def without_chunk(plan: Any) -> None:
    (collection,) = plan["collections"]
    gone = collection["chunks"].pop()
    plan["batches"] = [
        [ref for ref in batch if ref["chunk"] != gone["id"]] for batch in plan["batches"]
    ]


def one_row_less(manifest: Any) -> None:
    manifest["rows"] -= 1


def other_fingerprint(manifest: Any) -> None:
    manifest["fingerprint"] = f"{1234567:032x}"


def damaged_fingerprint(manifest: Any) -> None:
    manifest["fingerprint"] = manifest["fingerprint"][:16]


def other_key(manifest: Any) -> None:
    manifest["fingerprint_key"] = "0" * 16


def other_collection(created: Any) -> None:
    created["collections"][0]["collection_id"] = "4711"


def never_imported(scene: Scene) -> None:
    """The target's rows go, and staging says that they are in."""
    scene.delete(*range(ROWS, 2 * ROWS))


@dataclass(frozen=True)
class Tampering:
    """Something that is done to a migration before it is verified.

    Attributes:
        caught: the levels at which `verify` fails.
        before_import: whether it is done to the converted chunks.
    """

    what: str
    act: Callable[[Scene], None]
    caught: tuple[str, ...]
    before_import: bool = False


ALL = LEVELS
VALUES = ("sample", "full")
EVERY_ROW = ("full",)

TAMPERINGS = (
    Tampering("nothing", lambda scene: None, ()),
    # on the target
    Tampering("a row is deleted", lambda scene: scene.delete(UNSAMPLED), ALL),
    Tampering("a row is added", lambda scene: scene.insert(sent(99_999)), ALL),
    Tampering("all rows of a chunk are deleted", never_imported, ALL),
    Tampering("a row is added in a partition of others", insert_into_foreign_partition, ALL),
    Tampering("a row is moved to another partition", move_to_other_partition, ALL),
    Tampering("two sampled rows are in each other's partition", exchange_partitions, VALUES),
    Tampering(
        "a sampled row gets another key",
        lambda scene: replace_by_other_key(scene, SAMPLED),
        VALUES,
    ),
    Tampering(
        "a row that is not sampled gets another key",
        lambda scene: replace_by_other_key(scene, UNSAMPLED),
        EVERY_ROW,
    ),
    Tampering("every vector is negated", negate_all, VALUES),
    Tampering(
        "the vector of a sampled row is negated",
        lambda scene: scene.upsert(negated(SAMPLED)),
        VALUES,
    ),
    Tampering(
        "the vector of a row that is not sampled is negated",
        lambda scene: scene.upsert(negated(UNSAMPLED)),
        EVERY_ROW,
    ),
    Tampering("two rows that are not sampled swap a text", swap_titles, EVERY_ROW),
    Tampering(
        "a text loses its last letter",
        lambda scene: scene.upsert(sent(UNSAMPLED, title=song(UNSAMPLED)["title"][:-1])),
        EVERY_ROW,
    ),
    Tampering(
        "0.0 becomes -0.0 in a sampled row",
        lambda scene: scene.upsert(sent(2, loudness=-0.0)),
        VALUES,
    ),
    Tampering(
        "a null becomes 0",
        lambda scene: scene.upsert(sent(UNSAMPLED, year=0)),
        EVERY_ROW,
    ),
    Tampering(
        "a key of a JSON value goes",
        lambda scene: scene.upsert(sent(UNSAMPLED, tags='{"genre":1}')),
        EVERY_ROW,
    ),
    Tampering(
        "a partition of ours is dropped",
        lambda scene: scene.drop_partition("jazz"),
        ALL,
    ),
    # in staging
    Tampering(
        "a value in a converted chunk's file changes before it is sent",
        lambda scene: scene.edit_data(0, UNSAMPLED, loudness=9.5),
        EVERY_ROW,
        before_import=True,
    ),
    Tampering(
        "a chunk is missing from plan.json",
        lambda scene: scene.edit("plan.json", without_chunk),
        ALL,
    ),
    Tampering(
        "a manifest counts one row less",
        lambda scene: scene.edit_chunk(0, "manifest.json", one_row_less),
        ALL,
    ),
    Tampering(
        "a manifest is missing",
        lambda scene: scene.chunk_file(0, "manifest.json").unlink(),
        ALL,
    ),
    Tampering(
        "a manifest has another fingerprint",
        lambda scene: scene.edit_chunk(0, "manifest.json", other_fingerprint),
        EVERY_ROW,
    ),
    Tampering(
        "a manifest's fingerprint is damaged",
        lambda scene: scene.edit_chunk(0, "manifest.json", damaged_fingerprint),
        EVERY_ROW,
    ),
    Tampering(
        "a manifest's fingerprint is of another key",
        lambda scene: scene.edit_chunk(0, "manifest.json", other_key),
        EVERY_ROW,
    ),
    Tampering(
        "import.json is missing",
        lambda scene: scene.chunk_file(1, "import.json").unlink(),
        ALL,
    ),
    Tampering(
        "created.json names another collection",
        lambda scene: scene.edit("created.json", other_collection),
        ALL,
    ),
    Tampering(
        "a row of a sample changes",
        lambda scene: scene.edit_parquet(0, "sample.parquet", 3, title="x"),
        VALUES,
    ),
    Tampering(
        "the fingerprints by buckets are gone",
        lambda scene: next(scene.folder.glob("buckets/*/*")).unlink(),
        (),
    ),
)


def table() -> str:
    """The table of docs/guarantees.md."""
    lines = ["| what is done | `counts` | `sample` | `full` |", "| --- | --- | --- | --- |"]
    for one in TAMPERINGS[1:]:
        marks = ("fails" if level in one.caught else "passes" for level in LEVELS)
        lines.append(f"| {one.what} | {' | '.join(marks)} |")
    return "\n".join(lines)


@pytest.fixture
def place(milvus_lite: Any, tmp_path: Path) -> Iterator[Place]:
    with lite_place(milvus_lite, tmp_path / "source") as place:
        yield place


def source() -> ArrowSource:
    chunks = [
        [pa.RecordBatch.from_pylist([song(n) for n in range(at, at + ROWS)], schema=SCHEMA.arrow)]
        for at in (0, ROWS)
    ]
    return ArrowSource(SCHEMA, chunks, partitions=("rock", "jazz"))


def open_migration(place: Place, level: str) -> Migration:
    return migration_of(place, source(), verify=level)


def run_to_load(migration: Migration, before_import: Callable[[], None] | None = None) -> None:
    check(migration)
    export_meta(migration)
    make_plan(migration, 1)
    convert_batch(migration, 0)
    if before_import:
        before_import()
    create(migration)
    write_batch(migration, 0)
    build_indexes(migration)
    load_collections(migration)


@pytest.mark.parametrize("tampering", TAMPERINGS, ids=lambda one: one.what)
def test_what_is_caught(place, tampering):
    with open_migration(place, "full") as migration:
        scene = Scene(place, migration)
        act = partial(tampering.act, scene)
        run_to_load(migration, act if tampering.before_import else None)
        if not tampering.before_import:
            act()
    for level in LEVELS:
        with open_migration(place, level) as migration:
            if level in tampering.caught:
                with pytest.raises(AirliftError):  # a Mismatch, or that something is lost
                    verify(migration)
                with pytest.raises(AirliftError, match="not verified"):
                    publish(migration)
            else:
                verify(migration)
                publish(migration)
                report = orjson.loads((scene.folder / "report.json").read_bytes())
                html = (scene.folder / "report.html").read_text()
                assert report["state"] == "done" and "Every row arrived" in html


def double(client: Any) -> None:
    client.insert("songs", [sent(UNSAMPLED)], partition_name="rock")


def double_and_delete(client: Any) -> None:
    double(client)
    client.delete("songs", ids=[UNSAMPLED + 6])


def drop_partition(client: Any) -> None:
    client.release_collection("songs")
    client.drop_partition("songs", "jazz")


@pytest.mark.parametrize(
    ("act", "caught"),
    [(double, ALL), (double_and_delete, EVERY_ROW), (drop_partition, ALL)],
    ids=["a row is doubled", "one is doubled and one is missing", "a partition is dropped"],
)
def test_what_is_caught_by_a_milvus_that_keeps_doubled_keys(milvus, tmp_path, act, caught):
    with local_place(milvus, tmp_path / "source") as place:
        place.defaults["write_mode"] = "insert"
        with open_migration(place, "full") as migration:
            run_to_load(migration)
            act(place.client)
        for level in LEVELS:
            with open_migration(place, level) as migration:
                if level in caught:
                    with pytest.raises(Mismatch):
                        verify(migration)
                else:
                    verify(migration)


LATER: dict[str, Callable[[Scene], None]] = {
    "a manifest has another fingerprint": lambda scene: scene.edit_chunk(
        0, "manifest.json", other_fingerprint
    ),
    "a manifest counts one row less": lambda scene: scene.edit_chunk(
        0, "manifest.json", one_row_less
    ),
    "a manifest is missing": lambda scene: scene.chunk_file(1, "manifest.json").unlink(),
    "import.json is missing": lambda scene: scene.chunk_file(0, "import.json").unlink(),
    "a chunk is missing from plan.json": lambda scene: scene.edit("plan.json", without_chunk),
    "a collection is missing": lambda scene: scene.edit(
        "verification.json", lambda verified: verified["collections"].clear()
    ),
}


@pytest.mark.parametrize("act", LATER.values(), ids=LATER)
def test_what_changes_in_staging_after_it_was_verified_is_not_published(place, act):
    with open_migration(place, "full") as migration:
        run_to_load(migration)
        verify(migration)
        act(Scene(place, migration))
        with pytest.raises(AirliftError, match="has changed since it was verified|not verified"):
            publish(migration)
        assert not migration.staging.folder.exists("published.json")


def test_the_documented_table_is_this_one():
    page = Path(__file__).resolve().parents[2] / "docs" / "guarantees.md"
    assert table() in page.read_text()


if __name__ == "__main__":
    print(table())
