"""Two migrations at once: the second one touches nothing and is told who is at work."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import airlift.run
from airlift.claims import Claims, Holder, Taken
from airlift.steps.claim import claimed_migration
from samples.milvus1x_tables import TableSpec
from tests.paths.place import Place
from tests.paths.truth import assert_holds

SMALL = TableSpec("songs", 400, dim=8, segments=2, deleted_fraction=0.1, seed=7)


def claims_left(place: Place) -> list[str]:
    return [path.name for path in (Path(place.staging_url) / "claims").iterdir()]


def second_run_while_it_converts(
    place: Place, monkeypatch: pytest.MonkeyPatch, error: str, **params: object
) -> None:
    """Runs a migration, and another one in the midst of it, which is refused."""
    convert = airlift.run.convert_batch

    def convert_and_disturb(*arguments: object) -> object:
        with monkeypatch.context() as patch:
            patch.setattr(airlift.run, "convert_batch", convert)
            # What runs in the same process would be the same holder.
            patch.setattr(Holder, "this_process", lambda name: other(name))
            with pytest.raises(Taken, match=error):
                place.run(**params)
        return convert(*arguments)

    def other(name: str) -> Holder:
        return Holder(migration_id=name, host="another", pid=1, born=1.0)

    monkeypatch.setattr(airlift.run, "convert_batch", convert_and_disturb)
    place.run(migration_id="first", verify="full")


def test_another_migration_into_the_same_collection(lite: Place, monkeypatch) -> None:
    truth = lite.write(SMALL)["songs"]
    told = "the name default.songs of .* is claimed by process .*migration 'first'"
    second_run_while_it_converts(lite, monkeypatch, told, migration_id="second")
    assert_holds(lite.client, "songs", truth)
    assert claims_left(lite) == []
    monkeypatch.undo()
    lite.run(migration_id="third", mapping={"songs": {"target": "other_songs"}})


def test_another_migration_that_moves_the_same_alias(lite: Place, monkeypatch) -> None:
    lite.write(SMALL)
    lite.defaults["cutover_alias"] = True
    told = "the name default.songs of"
    second_run_while_it_converts(lite, monkeypatch, told, migration_id="second")
    assert lite.client.describe_alias("songs")["collection_name"] == "songs__first"


def test_the_same_migration_twice(lite: Place, monkeypatch) -> None:
    truth = lite.write(SMALL)["songs"]
    told = "the migration 'first' is claimed by process"
    second_run_while_it_converts(lite, monkeypatch, told, migration_id="first")
    assert_holds(lite.client, "songs", truth)


def test_others_go_on(lite: Place, monkeypatch) -> None:
    """Other collections, and dry runs into the same one, are nobody's business."""
    lite.write(SMALL, replace(SMALL, name="others"))
    convert = airlift.run.convert_batch

    def convert_and_run(*arguments: object) -> object:
        with monkeypatch.context() as patch:
            patch.setattr(airlift.run, "convert_batch", convert)
            lite.run(migration_id="dry", collections=["songs"], dry_run=True)
            lite.run(migration_id="second", collections=["others"])
        return convert(*arguments)

    monkeypatch.setattr(airlift.run, "convert_batch", convert_and_run)
    lite.run(migration_id="first", collections=["songs"])
    assert {"songs", "others"} <= set(lite.client.list_collections())


def test_a_claim_is_given_back_after_a_failure(lite: Place, monkeypatch) -> None:
    lite.write(SMALL)

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(airlift.run, "verify", fail)
        lite.run(migration_id="first")
    assert claims_left(lite) == []


def test_the_claims_of_a_process_that_died_do_not_count(lite: Place) -> None:
    lite.write(SMALL)
    with lite.migration(migration_id="first") as migration:
        dead = Holder.this_process("first").model_copy(update={"born": 1.0})
        Claims(migration.staging_root, dead).take(claimed_migration("first"))
    assert len(claims_left(lite)) == 1
    lite.run(migration_id="first")
    assert claims_left(lite) == []
