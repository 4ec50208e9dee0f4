"""Undoing a migration: what it made goes, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from airlift.errors import AirliftError, Refused
from airlift.rollback import Rollback, WhatIsUndone
from airlift.rollback_params import RollbackParams
from airlift.steps.import_chunks import BatchImport
from airlift.targets.base import JobState
from samples.milvus1x_tables import TableSpec
from tests.paths.place import Place, up_to_import
from tests.paths.truth import assert_holds

SMALL = TableSpec("songs", 400, dim=8, segments=2, deleted_fraction=0.1, seed=7)


@contextmanager
def rollback(place: Place, migration_id: str) -> Iterator[Rollback]:
    params = RollbackParams(
        migration_id=migration_id,
        staging_url=place.staging_url,
        staging_conn_id=place.defaults.get("staging_conn_id", ""),
    )
    one = Rollback(params, place.connections)
    yield one
    one.close()


def listed(place: Place, migration_id: str) -> WhatIsUndone:
    with rollback(place, migration_id) as one:
        return one.listed()


def undo(place: Place, migration_id: str) -> WhatIsUndone:
    with rollback(place, migration_id) as one:
        return one.undo()


def test_what_a_migration_made_goes_and_its_alias_points_back(lite: Place) -> None:
    truth = lite.write(SMALL, replace(SMALL, name="others"))["songs"]
    given: dict[str, Any] = {"collections": ["songs"], "cutover_alias": True}
    lite.run(**given, migration_id="first")
    lite.run(**given, migration_id="second")
    lite.run(collections=["others"], migration_id="third")
    found = listed(lite, "second")
    assert found.collections == ("songs__second",)
    assert found.aliases == {"songs": "songs__first"}
    assert found.staging_files == len(lite.staged("second")) > 5
    assert lite.client.has_collection("songs__second")  # it was listed only
    assert undo(lite, "second") == found
    assert set(lite.client.list_collections()) >= {"songs__first", "others"}
    assert not lite.client.has_collection("songs__second")
    assert_holds(lite.client, "songs", truth)  # by the alias
    assert lite.staged("second") == set() and lite.staged("first") and lite.staged("third")
    assert undo(lite, "first").aliases == {"songs": ""}
    assert not lite.client.has_collection("songs")
    with pytest.raises(AirliftError, match=r"/second does not exist: check migration_id"):
        undo(lite, "second")
    undo(lite, "third")


@pytest.mark.parametrize("anew", [False, True], ids=["rollback", "replace"])
def test_a_collection_is_not_dropped_under_an_import(place: Place, anew: bool) -> None:
    """Milvus 2.3 would hold on to the job for 15 minutes, and begin no other."""
    truth = place.write(SMALL)["songs"]
    with up_to_import(place, migration_id="stopped") as migration:
        batch = BatchImport(migration, 0)
        batch.submit()
        [(_, job)] = list(batch.poll())
        assert job.state is JobState.RUNNING
        if not anew:
            undo(place, "stopped")
            assert not place.client.has_collection("songs")
    place.run(migration_id="next", if_exists="replace", verify="full")
    assert_holds(place.client, "songs", truth)
    undo(place, "next")


def test_a_database_goes_when_nothing_else_is_in_it(lite: Place) -> None:
    lite.write(SMALL)
    lite.run(target_database="music", migration_id="made_it")
    lite.run(target_database="music", migration_id="uses_it", mapping={"songs": {"target": "too"}})
    found = listed(lite, "made_it")
    assert found.collections == ("music.songs",) and found.databases == ()
    assert found.left == ("the database music stays: it holds ['music.too']",)
    undo(lite, "uses_it")
    assert undo(lite, "made_it").databases == ("music",)
    assert "music" not in lite.client.list_databases()


def test_what_others_have_changed_is_not_touched(lite: Place) -> None:
    lite.write(SMALL, replace(SMALL, name="more"))
    lite.run(migration_id="both")
    [row] = lite.client.query("songs", "id > 0", limit=1, output_fields=["id", "vector"])
    lite.client.insert("songs", [{**row, "id": 7_000_000}])
    with pytest.raises(Refused, match=r"songs has 361 rows, and had 360 when it was verified"):
        undo(lite, "both")
    lite.client.delete("songs", ids=[7_000_000])
    lite.client.create_alias("more", "mine")
    with pytest.raises(Refused, match=r"more: the aliases \['mine'\], which others made"):
        undo(lite, "both")
    assert {"songs", "more"} <= set(lite.client.list_collections()) and lite.staged("both")
    lite.client.drop_alias("mine")
    # One that others have made anew is theirs; where collections have no ids it can't be told.
    assert undo(lite, "both").collections == ("songs", "more")


def test_rows_that_were_added_to_what_was_there_stay(place: Place) -> None:
    """Milvus 2.3.5 also tells a collection from another one of the same name."""
    place.write(SMALL)
    given = {"write_mode": "insert", "wait_for_index": False}
    place.run(**given, migration_id="made")
    place.run(**given, migration_id="added", if_exists="append")
    assert undo(place, "added").left == ("songs was there before: the rows added to it stay",)
    place.client.drop_collection("songs")
    place.run(**given, migration_id="again")
    found = undo(place, "made")
    assert found.collections == () and "another collection by now" in found.left[0]
    assert place.client.has_collection("songs")
    assert undo(place, "again").collections == ("songs",)


def test_a_migration_that_did_not_come_to_its_end(lite: Place) -> None:
    lite.write(SMALL)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("airlift.run.verify", _killed)
        lite.run(migration_id="halfway")
    assert undo(lite, "halfway").collections == ("songs",)
    assert not lite.client.has_collection("songs")


def _killed(*_: Any) -> None:
    raise KeyboardInterrupt
