"""Migrations that are killed between two steps and run again: nothing is lost, nothing doubled.

The kill is an exception at the very place; what the next run finds is what a dead process leaves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import airlift.run
from airlift.errors import AirliftError
from airlift.milvus.database import MilvusDatabase
from airlift.sources.milvus1x.source import Milvus1xSource
from airlift.staging import Staging
from airlift.steps.create import create
from airlift.targets.grpc_bulk_insert import GrpcBulkInsert
from airlift.targets.insert import Insert
from localservers import Milvus
from samples.milvus1x_tables import TableSpec
from tests.paths.place import Place, local_place
from tests.paths.test_rollback import undo
from tests.paths.truth import assert_holds

# Three chunks of a megabyte.
SPEC = TableSpec("songs", 5_000, dim=128, segments=4, deleted_fraction=0.05, seed=8)
# One chunk: an import takes the server two seconds at least.
SMALL = replace(SPEC, rows=800)


class Killed(BaseException):
    """The process ends here: nothing in the engine may catch it."""


@pytest.fixture
def place(milvus: Milvus, tmp_path: Path) -> Iterator[Place]:
    with local_place(milvus, tmp_path / "milvus1x") as place:
        place.defaults |= {"chunk_mb": 1, "keep_staging": True}
        yield place


class Calls:
    """Counts the calls of a method, and kills the process at one of them, before or after it."""

    def __init__(
        self,
        patch: pytest.MonkeyPatch,
        owner: Any,
        name: str,
        kill_before: int | None = None,
        kill_after: int | None = None,
    ) -> None:
        self.arguments: list[tuple[Any, ...]] = []
        original = getattr(owner, name)

        def called(*arguments: Any, **named: Any) -> Any:
            self.arguments.append(arguments)
            if len(self.arguments) == kill_before:
                raise Killed
            result = original(*arguments, **named)
            if len(self.arguments) == kill_after:
                raise Killed
            return result

        patch.setattr(owner, name, called)

    def __len__(self) -> int:
        return len(self.arguments)


def imports(calls: Calls) -> int:
    """The calls of `submit` that were not the check's own: it tries whether files can be read."""
    return sum(arguments[1] == "songs" for arguments in calls.arguments)


BEHIND_PROBE = 2
"""Which call makes the collection: the first makes one like it, to see whether the target does."""


def run_until_killed(place: Place, owner: Any, name: str, **params: Any) -> None:
    """Runs a migration that a call of `name` kills; see `Calls`."""
    kill = {key: params.pop(key) for key in ("kill_before", "kill_after") if key in params}
    with pytest.MonkeyPatch.context() as patch:
        Calls(patch, owner, name, **kill)
        with pytest.raises(Killed):
            place.run(**params)


def collection(report: dict[str, Any]) -> dict[str, Any]:
    [one] = report["collections"]
    return one


def test_converted_chunks_are_not_read_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = place.write(SPEC)["songs"]
    run_until_killed(place, Milvus1xSource, "read", kill_before=3)
    assert not place.client.has_collection("songs")
    reads = Calls(monkeypatch, Milvus1xSource, "read")
    report = place.run(verify="full")
    assert len(reads) == 1
    assert collection(report)["chunks"] == 3
    assert_holds(place.client, "songs", truth)


def test_a_job_that_was_accepted_is_adopted(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed right after the server took the job, before anything of it was written down."""
    truth = place.write(SPEC)["songs"]
    run_until_killed(place, Staging, "write_import_record", kill_before=2)
    submits = Calls(monkeypatch, GrpcBulkInsert, "submit")
    report = place.run(verify="full")
    assert imports(submits) == 1  # of three: one was recorded, one was not
    assert collection(report)["jobs_adopted"] == 1
    assert_holds(place.client, "songs", truth)


def test_jobs_that_ended_meanwhile_are_known(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed while it waited, and run again once all jobs have ended."""
    truth = place.write(SPEC)["songs"]
    run_until_killed(place, airlift.run, "wait_for", kill_after=1)
    reads = Calls(monkeypatch, Milvus1xSource, "read")
    submits = Calls(monkeypatch, GrpcBulkInsert, "submit")
    place.run(verify="full")
    assert (len(reads), imports(submits)) == (0, 0)
    assert_holds(place.client, "songs", truth)


def test_killed_between_every_two_steps(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = place.write(SMALL)["songs"]
    reads = Calls(monkeypatch, Milvus1xSource, "read")
    submits = Calls(monkeypatch, GrpcBulkInsert, "submit")
    steps = ("make_plan", "convert_batch", "create", "move_in", "build_indexes")
    for step in (*steps, "load_collections", "verify", "publish", "clean_staging"):
        run_until_killed(place, airlift.run, step, kill_before=1)
    report = place.run()
    assert (len(reads), imports(submits)) == (1, 1)
    assert_holds(place.client, "songs", truth)
    assert report["state"] == "done"


@pytest.mark.parametrize("if_exists", ["fail", "append"])
def test_killed_right_after_the_collection_was_made(place: Place, if_exists: str) -> None:
    """The collection bears a mark that was written down before it was made, so it is known."""
    truth = place.write(SMALL)["songs"]
    given = {"write_mode": "insert", "if_exists": if_exists}
    run_until_killed(place, MilvusDatabase, "create", kill_after=BEHIND_PROBE, **given)
    made = place.client.describe_collection("songs")["collection_id"]
    report = place.run(**given)
    assert place.client.describe_collection("songs")["collection_id"] == made
    assert collection(report)["rows_counted"] == sum(len(p.ids) for p in truth.partitions.values())
    assert_holds(place.client, "songs", truth)
    with place.migration() as migration:
        [known] = migration.staging.created().collections
        assert known.made and known.collection_id == str(made)


@pytest.mark.parametrize("resumed", [True, False])
@pytest.mark.parametrize("probe", [1, 2])
def test_a_check_that_was_killed_leaves_nothing(place: Place, resumed: bool, probe: int) -> None:
    """The collections by which the target is asked whether it can read staging, and whether it
    takes the schema, go in the end."""
    place.write(SMALL)
    run_until_killed(place, MilvusDatabase, "create", kill_after=probe)
    assert any(name.startswith("airlift_probe_") for name in place.client.list_collections())
    if resumed:
        place.run()
    else:
        undo(place, place.migration_id)
    assert not any(name.startswith("airlift_probe_") for name in place.client.list_collections())
    assert not any("probe" in path for path in place.staged())


def test_a_collection_that_was_not_written_down_is_rolled_back(place: Place) -> None:
    place.write(SMALL)
    run_until_killed(place, MilvusDatabase, "create", kill_after=BEHIND_PROBE, write_mode="insert")
    assert undo(place, place.migration_id).collections == ("songs",)
    assert not place.client.has_collection("songs")


def test_killed_before_the_collection_was_made_and_a_stranger_makes_it(place: Place) -> None:
    """One of the same name without the mark is not taken for our own, nor touched."""
    place.write(SMALL)
    run_until_killed(place, MilvusDatabase, "create", kill_before=BEHIND_PROBE, write_mode="insert")
    place.client.create_collection("songs", dimension=SMALL.dim)
    with pytest.raises(AirliftError, match="the collection 'songs' exists on the target already"):
        place.run(write_mode="insert")
    found = place.client.query("songs", output_fields=["count(*)"], consistency_level="Strong")
    assert found[0]["count(*)"] == 0


@pytest.mark.parametrize("if_exists", ["fail", "append"])
def test_a_collection_that_came_into_being_after_the_plan_is_not_touched(
    place: Place, if_exists: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.write(SMALL)
    given = {"write_mode": "insert", "if_exists": if_exists}
    run_until_killed(place, airlift.run, "create", kill_before=1, **given)
    rows = [{"id": 7, "vector": [0.5] * SMALL.dim}]
    with place.migration(**given) as migration:
        place.client.create_collection("songs", dimension=SMALL.dim)
        place.client.insert("songs", rows)
        with pytest.raises(AirliftError, match="has come into being on the target since"):
            create(migration)
    found = place.client.query("songs", "id > 0", ["id"], consistency_level="Strong")
    assert [row["id"] for row in found] == [7]


def test_a_second_whole_run_reads_and_sends_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = place.write(SMALL)["songs"]
    # The data files are cleaned away after success; the manifests must do.
    first = place.run(keep_staging=False)
    reads = Calls(monkeypatch, Milvus1xSource, "read")
    submits = Calls(monkeypatch, GrpcBulkInsert, "submit")
    second = place.run(verify="full", keep_staging=False)
    assert (len(reads), imports(submits)) == (0, 0)
    assert_holds(place.client, "songs", truth)
    for numbers in ("rows_planned", "rows_converted", "rows_imported", "rows_counted", "bytes"):
        assert collection(first)[numbers] == collection(second)[numbers]


@pytest.mark.parametrize("keep_staging", [True, False])
def test_a_collection_that_was_dropped_is_imported_again(
    place: Place, monkeypatch: pytest.MonkeyPatch, keep_staging: bool
) -> None:
    truth = place.write(SMALL)["songs"]
    place.run(keep_staging=keep_staging)
    place.client.drop_collection("songs")
    reads = Calls(monkeypatch, Milvus1xSource, "read")
    submits = Calls(monkeypatch, GrpcBulkInsert, "submit")
    place.run(verify="full")
    # Read again only where the chunk's files are cleaned away.
    assert (len(reads), imports(submits)) == (0 if keep_staging else 1, 1)
    assert_holds(place.client, "songs", truth)


def test_chunk_files_that_were_damaged_are_written_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = place.write(SPEC)["songs"]
    run_until_killed(place, airlift.run, "create", kill_before=1)
    chunks = sorted((Path(place.staging_url) / place.migration_id / "songs").iterdir())
    vectors = chunks[0] / "vector.npy"
    vectors.write_bytes(vectors.read_bytes()[:-1])
    (chunks[1] / "id.npy").unlink()
    (chunks[2] / "manifest.json").unlink()
    reads = Calls(monkeypatch, Milvus1xSource, "read")
    place.run(verify="full")
    assert len(reads) == 3
    assert_holds(place.client, "songs", truth)


def test_a_source_that_changes_after_the_plan_is_refused(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.write(SPEC)
    [first, *_] = sorted((place.folder / "tables" / "songs").iterdir())
    plan = airlift.run.make_plan

    def plan_and_delete(*arguments: Any) -> Any:
        made = plan(*arguments)
        # Milvus 1.x still runs, and somebody deletes another row.
        docs = first / "deleted_docs"
        docs.write_bytes(docs.read_bytes().replace(docs.read_bytes()[8:12], b"\0\0\0\0"))
        return made

    monkeypatch.setattr(airlift.run, "make_plan", plan_and_delete)
    with pytest.raises(AirliftError, match="was changed since the migration was planned"):
        place.run()
    assert not place.client.has_collection("songs")


def test_a_source_that_changed_after_the_import_is_refused(place: Place) -> None:
    truth = place.write(SMALL)["songs"]
    place.run()
    (place.folder / "tables").rename(place.folder / "tables-before")
    place.write(replace(SMALL, seed=99, deleted_fraction=0.2))
    with pytest.raises(AirliftError, match="has imported 1 chunks of .*use a new migration_id"):
        place.run()
    assert_holds(place.client, "songs", truth)


@pytest.mark.parametrize("kill", [{"kill_before": 3}, {"kill_after": 3}])
def test_an_insert_that_was_cut_off_doubles_nothing(
    place: Place, kill: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed amid a chunk's requests; the next run sends only what the target does not hold."""
    monkeypatch.setattr("airlift.steps.write_chunks._INSERT_BYTES", 1 << 18)
    truth = place.write(SPEC)["songs"]
    run_until_killed(place, Insert, "_write", write_mode="insert", **kill)
    place.run(write_mode="insert", verify="full")
    assert_holds(place.client, "songs", truth)


def test_an_upsert_that_was_cut_off(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airlift.steps.write_chunks._INSERT_BYTES", 1 << 18)
    truth = place.write(SPEC)["songs"]
    run_until_killed(place, Insert, "_write", write_mode="upsert", kill_after=3)
    place.run(write_mode="upsert", verify="full")
    assert_holds(place.client, "songs", truth)


def test_rows_that_were_doubled_are_found_out(place: Place) -> None:
    """What no step of ours does: somebody imports a chunk's files a second time."""
    place.write(SMALL)
    run_until_killed(place, airlift.run, "build_indexes", kill_before=1)
    with place.migration() as migration:
        [collection] = migration.staging.plan().collections
        way = GrpcBulkInsert(migration.target(collection.mapped), migration.staging.folder)
        chunk = collection.chunks[0]
        names = [way.file_name(f"songs/{chunk.id}/{name}.npy") for name in ("id", "vector")]
        job = way.submit("songs", "", names, "again")
        airlift.run.wait_for(lambda: way.job(job), lambda job: bool(job and job.rows), 60)
    with pytest.raises(AirliftError, match="760 imported, 0 there before, .* 1,520 counted"):
        place.run()
    state = place.client.get_load_state("songs")["state"].name
    assert state == "NotLoad"
