"""What becomes of users, roles and grants: never more than there was, for what was moved."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from airlift.access import AccessControl, Grant, HeldCollection, PrivilegeGroup, User
from airlift.access_mapping import AccessMapper, Moved, OnTarget

SONGS = HeldCollection(source="songs", database="default", name="songs", aliases=("hits",))
BOOKS = HeldCollection(source="books", database="default", name="books")
OLD = HeldCollection(source="archive.old", database="archive", name="old")
TUNES = Moved("music", ("tunes",), frozenset({"hits"}))


def grant(
    privilege: str, name: str = "*", database: str = "default", kind: str = "Collection"
) -> Grant:
    return Grant(
        role="r", object_type=kind, object_name=name, database=database, privilege=privilege
    )


def restored(
    grants: list[Grant],
    moved: dict[str, Moved],
    collections: tuple[HeldCollection, ...] = (SONGS, BOOKS),
    target: OnTarget | None = None,
    **held: Any,
) -> Any:
    control = AccessControl(roles=("r",), grants=tuple(grants), collections=collections, **held)
    return AccessMapper(control, moved, target or OnTarget("Milvus")).worked_out()


def told(found: Any) -> set[tuple[str, str, str]]:
    return {(one.privilege, one.database, one.object_name) for one in found.grants}


def test_a_grant_follows_its_collection_to_its_new_names():
    moved = {"songs": Moved("music", ("songs__m1", "songs"), frozenset({"hits"}))}
    found = restored([grant("Query", "songs"), grant("Search", "hits")], moved)
    assert told(found) == {
        ("Query", "music", "songs__m1"),
        ("Query", "music", "songs"),
        ("Search", "music", "hits"),
    }
    assert found.left == ()


@pytest.mark.parametrize("name", ["books", "nowhere"])
def test_a_grant_on_what_was_not_moved_is_left_out(name):
    found = restored([grant("Query", name)], {"songs": TUNES})
    assert found.grants == ()
    assert found.left == (f"r: Query on '{name}' of the database 'default': it was not moved",)


def test_rows_that_the_target_had_are_out_of_reach():
    moved = {"songs": Moved("music", ("songs",), appended=True), "books": ALL["books"]}
    others = OnTarget("Milvus", collections={"music": frozenset({"songs"})})
    found = restored([grant("Query", "songs"), grant("Search")], moved, target=others)
    assert told(found) == {("Search", "music", "books")}
    assert "rows were added to one that the target had" in found.left[0]


def test_the_built_in_roles_are_left_alone():
    given = grant("Query", "songs").model_copy(update={"role": "public"})
    found = restored([given], {"songs": TUNES})
    assert found.grants == () and "the server's own" in found.left[0]


def test_an_alias_that_did_not_come_along_is_not_granted():
    found = restored([grant("Query", "hits")], {"songs": Moved("music", ("songs",))})
    assert found.grants == () and "was not moved" in found.left[0]


ALL = {"songs": Moved("music", ("tunes",)), "books": Moved("music", ("books",))}
SOME = {"songs": ALL["songs"]}
OTHERS = {"music": frozenset({"secret"})}
ELSEWHERE = {"other": frozenset({"secret"})}
EACH = {("music", "tunes"), ("music", "books")}
WIDE = [
    # The target's database holds nothing else: all of one is all of the other.
    ("Collection", "Query", "default", ALL, {}, {("music", "*")}),
    # Else each that was moved.
    ("Collection", "Query", "default", ALL, OTHERS, EACH),
    ("Collection", "Query", "default", SOME, {}, {("music", "tunes")}),
    # What was granted on all databases reaches others of the target, where there are some.
    ("Collection", "Query", "*", ALL, {}, {("*", "*")}),
    ("Collection", "Query", "*", ALL, ELSEWHERE, {("music", "*")}),
    ("Collection", "Query", "*", ALL, OTHERS, EACH),
    ("Global", "DropCollection", "default", ALL, ELSEWHERE, {("music", "*")}),
    ("Global", "DropCollection", "default", ALL, OTHERS, set()),
    # These reach the whole server, whatever database they name.
    ("Global", "ManageOwnership", "default", ALL, {}, {("music", "*")}),
    ("Global", "ManageOwnership", "default", ALL, ELSEWHERE, set()),
    ("Global", "All", "*", ALL, {}, {("*", "*")}),
    ("Global", "All", "*", ALL, ELSEWHERE, set()),
    ("User", "UpdateUser", "default", ALL, ELSEWHERE, set()),
    # Milvus 2.5 keeps privilege groups as Global.
    ("Global", "CollectionReadOnly", "default", ALL, OTHERS, EACH),
    ("Global", "DatabaseReadOnly", "default", ALL, ELSEWHERE, {("music", "*")}),
    ("Global", "ClusterAdmin", "*", ALL, ELSEWHERE, set()),
]


@pytest.mark.parametrize(("kind", "privilege", "database", "moved", "there", "expected"), WIDE)
def test_wide_grants_reach_nothing_that_was_there(
    kind, privilege, database, moved, there, expected
):
    target = OnTarget("Milvus", collections=there)
    found = restored([grant(privilege, "*", database, kind)], moved, target=target)
    assert {(one.database, one.object_name) for one in found.grants} == expected
    narrowed = ("*", "*") not in expected and expected != {("music", "*")}
    assert bool(found.left) == (narrowed or (database == "*" and ("*", "*") not in expected))


def test_a_grant_on_one_of_two_databases_that_become_one_does_not_reach_the_other():
    moved = {"songs": Moved("music", ("songs",)), "archive.old": Moved("music", ("old",))}
    found = restored([grant("Query", "*")], moved, (SONGS, OLD))
    assert told(found) == {("Query", "music", "songs")}


def test_somebody_else_on_the_server_is_out_of_reach_too():
    target = OnTarget("Milvus", users=frozenset({"root", "eve"}))
    assert restored([grant("UpdateUser", "*", "*", "User")], ALL, target=target).grants == ()


def test_a_role_that_is_there_is_left_alone_with_its_grants():
    target = OnTarget("Milvus", roles=frozenset({"admin", "public", "r"}))
    found = restored([grant("Query", "songs")], {"songs": TUNES}, target=target)
    assert found.roles == () and found.grants == ()
    assert "'r' is on the target already" in found.left[0] and "1 grants" in found.left[0]


def test_privileges_that_the_target_lacks_are_told():
    target = OnTarget("Milvus 2.3.5", unknown=frozenset({"Collection.Query"}))
    found = restored([grant("Query", "songs")], {"songs": TUNES}, target=target)
    assert found.grants == () and "Milvus 2.3.5 does not know the privilege" in found.left[0]


def users(*roles: str) -> tuple[User, ...]:
    return (User(name="ann", password=SecretStr("$2a$hash"), roles=roles),)


def test_users_get_the_roles_that_were_restored_and_no_others():
    target = OnTarget("Milvus", takes_users=True)
    found = restored([], {}, target=target, users=users("r", "admin", "public"))
    assert found.users == {"ann": ("r",)}
    assert found.left == (
        "the user 'ann' does not get the role 'admin', which this migration did not make",
    )
    there = OnTarget("Milvus", takes_users=True, users=frozenset({"ann"}))
    found = restored([], {}, target=there, users=users("r"))
    assert found.users == {} and "password and roles are left alone" in found.left[0]
    found = restored([], {}, users=users("r"))
    assert found.users == {} and "make the user with a new password" in found.left[0]
    assert "$2a$hash" not in str(found)


def test_a_privilege_group_of_other_privileges_is_not_granted():
    groups = (PrivilegeGroup(name="g", privileges=frozenset({"Query"})),)
    given = [grant("g", "songs", kind="Global")]
    moved = {"songs": TUNES}
    assert told(restored(given, moved, groups=groups, target=OnTarget("M", groups={}))) == {
        ("g", "music", "tunes")
    }
    same = OnTarget("M", groups={"g": frozenset({"Query"})})
    assert restored(given, moved, groups=groups, target=same).grants
    more = OnTarget("M", groups={"g": frozenset({"Query", "Insert"})})
    found = restored(given, moved, groups=groups, target=more)
    assert found.grants == () and found.groups == () and len(found.left) == 2
    found = restored(given, moved, groups=groups, target=OnTarget("Milvus 2.3.5"))
    assert found.grants == () and "knows no such groups" in found.left[0]
