"""A collection that was published is in use: a later run of its migration never takes it away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import airlift.run
from airlift.errors import Mismatch
from airlift.migration import Migration
from airlift.steps.verify import verify
from samples.milvus1x_tables import TableSpec
from tests.paths.place import Place
from tests.paths.truth import count

SPEC = TableSpec("songs", 60, dim=4, seed=5)
NEW = {"id": 10**9, "vector": [0.0, 1.0, 2.0, 3.0]}


def first_key(client: Any, name: str) -> int:
    rows = client.query(name, "id >= 0", output_fields=["id"], limit=1000)
    return int(min(row["id"] for row in rows))


def add(client: Any, name: str) -> None:
    vector = next(
        field["name"]
        for field in client.describe_collection(name)["fields"]
        if not field.get("is_primary")
    )
    client.insert(name, {"id": NEW["id"], vector: NEW["vector"]})


def delete(client: Any, name: str) -> None:
    client.delete(name, ids=[first_key(client, name)])


def exchange(client: Any, name: str) -> None:
    delete(client, name)
    add(client, name)


def rows_of(client: Any, name: str) -> set[int]:
    found = client.query(name, "id >= 0", output_fields=["id"], limit=1000)
    assert len(found) == count(client, name)
    return {row["id"] for row in found}


@pytest.mark.parametrize("on_mismatch", ["fail", "drop"])
@pytest.mark.parametrize(
    ("change", "level"),
    [(add, "counts"), (delete, "counts"), (exchange, "full")],
    ids=["added", "deleted", "exchanged"],
)
@pytest.mark.parametrize("aliased", [False, True], ids=["plain", "alias"])
def test_what_users_have_changed_since_stays(
    lite: Place, on_mismatch: str, change: Callable[..., None], level: str, aliased: bool
) -> None:
    """Rows that users wrote are not dropped, nor is what they search unloaded; however often."""
    lite.write(SPEC)
    params = {"cutover_alias": aliased, "on_mismatch": on_mismatch, "verify": level}
    lite.run(**params)
    name = f"songs__{lite.migration_id}" if aliased else "songs"
    change(lite.client, "songs")
    held = rows_of(lite.client, "songs")
    for _ in range(2):
        with pytest.raises(Mismatch, match="has published") as error:
            lite.run(**params)
        assert f"['{name}']: they stay as they are" in str(error.value)
        assert str(lite.client.get_load_state(name)["state"].name) == "Loaded"
        assert rows_of(lite.client, "songs") == held


def test_what_was_made_anew_since_is_dropped_as_ever(
    lite: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has another id than the published one, and nobody has used it."""
    lite.write(SPEC)
    lite.run(on_mismatch="drop")
    lite.client.drop_collection("songs")

    def tampered(migration: Migration) -> dict[str, Any]:
        delete(lite.client, "songs")
        return verify(migration)

    with monkeypatch.context() as patch, pytest.raises(Mismatch) as error:
        patch.setattr(airlift.run, "verify", tampered)
        lite.run(on_mismatch="drop")
    assert "has published" not in str(error.value)
    assert not lite.client.has_collection("songs")
    assert lite.run(on_mismatch="drop")["state"] == "done"
