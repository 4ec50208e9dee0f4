"""Users, roles and grants of a backup on real servers: what they let a user do, and what not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from pydantic import SecretStr
from pymilvus import MilvusClient

from airlift.errors import Refused
from airlift.milvus.access import MilvusAccess
from tests.paths.backups_with_roles import HASH, backup, grant, rbac, small, user
from tests.paths.place import Place
from tests.paths.rights import is_denied, once_allowed
from tests.paths.test_backup_to_milvus import in_bucket, lite
from tests.paths.test_rollback import listed, undo

__all__ = ["in_bucket", "lite"]  # fixtures

PASSWORD = "Correct-Horse-9"
FAST = {"verify": "counts", "write_mode": "insert", "wait_for_index": False}


@pytest.fixture
def place(in_bucket: Place) -> Iterator[Place]:
    """Milvus 2.3.5 that demands a login; roles and users of the test go at its end."""
    yield in_bucket
    client = in_bucket.client
    for name in set(client.list_users()) - {"root"}:
        client.drop_user(name)
    for role in set(client.list_roles()) - {"admin", "public"}:
        for one in grants_of(client, role, "default", "music", "archive", "elsewhere"):
            client.revoke_privilege(role, one[0], one[1], one[3], db_name=one[2])
        client.drop_role(role)


def grants_of(client: Any, role: str, *databases: str) -> set[tuple[str, str, str, str]]:
    """Object type, privilege, database and object of every grant, as the server tells them."""
    return {
        (one["object_type"], one["privilege"], one["db_name"], one["object_name"])
        for database in databases
        for one in client.describe_role(role, db_name=database)["privileges"]
    }


@contextmanager
def logged_in(place: Place, name: str, role: str, database: str) -> Iterator[Any]:
    """A client of a new user with that role."""
    place.client.create_user(name, PASSWORD)
    place.client.grant_role(name, role)
    uri = place.connections.milvus("milvus_default").uri
    client = MilvusClient(uri=uri, user=name, password=PASSWORD, db_name=database)
    try:
        yield client
    finally:
        client.close()


HELD = rbac(
    [
        grant("reader", "Query", "songs", "default"),
        grant("reader", "Search", "hits", "default"),
        grant("reader", "Load", "books", "default"),  # not moved
        grant("reader", "CollectionReadOnly", "songs", "default"),  # of a newer Milvus
        grant("reader", "Query", "*", "default"),  # of which one collection is moved
        grant("keeper", "Insert", "*", "archive"),
        grant("keeper", "CreateCollection", "*", "archive", "Global"),
        grant("keeper", "ManageOwnership", "*", "archive", "Global"),
        grant("there", "Query", "songs", "default"),
    ],
    users=(user("ann", "reader"), user("bob", "keeper"), user("eve", "admin")),
)
PARAMS = {
    **FAST,
    "with_rbac": True,
    "collections": ["default.songs", "archive.old"],
    "mapping": {
        "default.songs": {"database": "music", "target": "tunes"},
        "archive.old": {"database": "archive"},
    },
}


def write(place: Place, held: dict[str, Any] | None = HELD) -> str:
    songs = small("songs", aliases=["hits"])
    return backup(place.folder, held, songs, small("books"), small("old", "archive"))


def test_roles_let_users_do_what_they_did_and_no_more(place):
    client = place.client
    client.create_role("there")
    client.create_user("bob", PASSWORD)
    with place.database("music") as music, place.database("archive") as archive:
        report = place.run(backup_url=write(place), **PARAMS)["access"]
        assert set(report["roles"]) == {"reader", "keeper"} and report["done"]
        assert set(client.list_roles()) == {"admin", "public", "reader", "keeper", "there"}
        databases = ("default", "music", "archive", "*")
        assert grants_of(client, "reader", *databases) == {
            ("Collection", "Query", "music", "tunes"),
            ("Collection", "Search", "music", "hits"),
            # `*` reached all of default, of which one collection came along, and its alias.
            ("Collection", "Query", "music", "hits"),
        }
        assert grants_of(client, "keeper", *databases) == {
            ("Collection", "Insert", "archive", "*"),
            ("Global", "CreateCollection", "archive", "*"),
        }
        assert grants_of(client, "there", *databases) == set()
        # No user was made, none was changed.
        assert set(client.list_users()) == {"root", "bob"}
        assert client.describe_user("bob")["roles"] == ()
        left = "\n".join(report["left"])
        for said in (
            "Load on 'books' of the database 'default': it was not moved",
            "CollectionReadOnly on 'songs' of the database 'default': Milvus 2.3.5 does not know",
            "Query on everything of the database 'default': on music.hits, music.tunes only",
            "ManageOwnership (Global) on everything of the database 'archive'",
            "the role 'there' is on the target already",
            "the user 'ann': Milvus 2.3.5 takes no user without the password itself",
            "the user 'bob' is on the target already",
            "had the roles ['admin']",
        ):
            assert said in left
        with logged_in(place, "ann", "reader", "music") as ann:
            assert len(once_allowed(ann.query, "tunes", "id > 0")) == 3
            assert len(once_allowed(ann.query, "hits", "id > 0")) == 3
            assert is_denied(ann.insert, "tunes", [{"id": 9, "v": [0.0] * 4}])
            assert is_denied(ann.create_collection, "more", 4)
        with logged_in(place, "cid", "keeper", "archive") as cid:
            assert once_allowed(cid.insert, "old", [{"id": 9, "v": [0.0] * 4}])["insert_count"] == 1
            assert is_denied(cid.query, "old", "id > 0")
        music.drop_alias("hits")
        for database, name in ((music, "tunes"), (archive, "old")):
            assert database.list_collections() == [name]


def test_nothing_secret_is_kept_and_a_done_run_grants_nothing_again(place):
    with place.database("music") as music, place.database("archive"):
        params = {"backup_url": write(place), **PARAMS}
        place.run(**params)
        with place.migration(**params) as migration:
            folder = migration.staging.folder
            held = {path: folder.read_bytes(path) for path in place.staged()}
        assert any(b"reader" in data for data in held.values())
        assert not [path for path, data in held.items() if HASH.encode() in data]
        assert b"Users and roles" in held["report.html"]
        # What an admin takes away afterwards stays taken away.
        place.client.revoke_privilege("reader", "Collection", "Query", "tunes", db_name="music")
        assert "reader" in place.run(**params)["access"]["roles"]
        assert ("Collection", "Query", "music", "tunes") not in grants_of(
            place.client, "reader", "music"
        )
        music.drop_alias("hits")


def test_a_run_that_was_killed_goes_on_with_its_own_roles(place, monkeypatch):
    params = {"backup_url": write(place), **PARAMS}
    with place.database("music") as music, place.database("archive"):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            given = iter(range(100))
            grant_one = MilvusAccess.grant

            def killed(self: MilvusAccess, one: Any) -> None:
                if one.role in ("reader", "keeper") and next(given) == 2:
                    raise KeyboardInterrupt
                grant_one(self, one)

            patch.setattr(MilvusAccess, "grant", killed)
            place.run(**params)
        assert "reader" in place.client.list_roles()
        report = place.run(**params)["access"]
        assert set(report["roles"]) == {"reader", "keeper", "there"}
        assert not any("already" in told for told in report["left"])
        assert len(grants_of(place.client, "keeper", "archive")) == 2
        music.drop_alias("hits")


def test_a_rollback_takes_the_roles_back_but_for_those_that_others_use(place):
    client = place.client
    place.run(backup_url=write(place), **PARAMS, migration_id="m_roles")
    client.create_user("dan", PASSWORD)
    client.grant_role("dan", "reader")
    client.grant_privilege("keeper", "Collection", "Query", "mine", db_name="elsewhere")
    client.grant_privilege("keeper", "Collection", "Query", "mine", db_name="default")
    found = listed(place, "m_roles")
    assert found.roles == ("there",) and found.users == ()
    assert "reader stays without what the migration granted it: the users ['dan'] have it" in (
        "\n".join(found.left)
    )
    assert undo(place, "m_roles").roles == ("there",)
    assert set(client.list_roles()) == {"admin", "public", "reader", "keeper"}
    assert grants_of(client, "reader", "music", "default", "*") == set()
    assert grants_of(client, "keeper", "archive", "default") == {
        ("Collection", "Query", "default", "mine")
    }
    assert client.list_databases() == ["default"]


def test_what_can_not_be_restored_is_refused_with_all_reasons_at_once(place, lite):
    address, mapping = write(lite), {"default.songs": {"filter": "id > 3"}}
    with pytest.raises(Refused) as refused:
        lite.run(backup_url=address, **PARAMS | {"mapping": mapping})
    reasons = "\n".join(refused.value.reasons)
    assert "with_rbac: users, roles and grants can't be restored on Milvus Lite 3" in reasons
    assert "mapping has a filter, which this source can't heed" in reasons
    before = set(place.client.list_roles())
    with pytest.raises(Refused, match=r"holds no users, roles and grants: it was made without"):
        place.run(backup_url=write(place, None), **PARAMS)
    report = place.run(backup_url=address, **PARAMS, dry_run=True, migration_id="dry")
    assert set(report["access"]["roles"]) == {"reader", "keeper", "there"}
    assert not report["access"]["done"] and set(place.client.list_roles()) == before


def test_a_user_who_may_make_no_roles_is_refused_before_anything_is_moved(place):
    client = place.client
    client.create_role("mover")
    for one in ("CreateCollection", "DescribeCollection", "ShowCollections", "ListDatabases"):
        client.grant_privilege("mover", "Global", one, "*", db_name="*")
    client.create_user("moe", PASSWORD)
    client.grant_role("moe", "mover")
    known = place.connections.servers
    known["as_moe"] = known["milvus_default"].model_copy(
        update={"user": "moe", "password": SecretStr(PASSWORD)}
    )
    with closing(MilvusClient(known["as_moe"].uri, user="moe", password=PASSWORD)) as moe:
        once_allowed(moe.list_databases)
    with pytest.raises(Refused) as refused:
        place.run(backup_url=write(place), **PARAMS, target_conn_id="as_moe")
    [reason] = [one for one in refused.value.reasons if one.startswith("with_rbac")]
    assert "cannot make the role 'airlift_probe_" in reason and "the user may not do that" in reason
    assert client.list_collections() == [] and "music" not in client.list_databases()
