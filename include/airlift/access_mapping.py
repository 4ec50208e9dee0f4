"""Which users, roles and grants of a source a target gets, and under which names.

A role never reaches on the target what the migration did not bring there. So a grant on a
collection follows it to its new name; one on *all* collections of a database stays so where the
target's database holds nothing else, and becomes one on each collection that was moved where it
does. What is there already under a name is left alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from airlift.access import (
    ANY,
    BUILT_IN_ROLES,
    COLLECTION,
    GLOBAL,
    ROOT,
    USER,
    AccessControl,
    Grant,
    HeldCollection,
    RestoredAccess,
    User,
)

_OF_COLLECTIONS = frozenset({"CollectionReadOnly", "CollectionReadWrite", "CollectionAdmin"})
"""Milvus' own privilege groups for collections; it keeps them under the type `Global`."""

_OF_A_DATABASE = frozenset(
    {"CreateCollection", "DropCollection", "DescribeCollection", "ShowCollections"}
    | {"RenameCollection", "CreateAlias", "DropAlias", "DescribeAlias", "ListAliases"}
    | {"DatabaseReadOnly", "DatabaseReadWrite", "DatabaseAdmin"}
)
"""Of the privileges of the type `Global` those that end at a database; others reach the server."""


@dataclass(frozen=True)
class Moved:
    """What became of a collection.

    Attributes:
        database: of the target.
        names: that it has there.
        appended: whether rows were added to a collection of the target's own.
    """

    database: str
    names: tuple[str, ...]
    aliases: frozenset[str] = frozenset()
    appended: bool = False


@dataclass(frozen=True)
class OnTarget:
    """What a target holds that the migration did not make.

    Attributes:
        name: of the server, for messages.
        user: who asks; neither it nor root counts as somebody else's.
        collections: database -> collections; only of databases that hold some.
        groups: privilege groups with their privileges; None where the server knows none.
        takes_users: whether it takes users with the hashes of their passwords.
        unknown: privileges (`<object type>.<name>`) that it does not have.
    """

    name: str
    user: str = ROOT
    users: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    groups: Mapping[str, frozenset[str]] | None = None
    collections: Mapping[str, frozenset[str]] = field(default_factory=dict)
    takes_users: bool = False
    unknown: frozenset[str] = frozenset()


class AccessMapper:
    """Works out what is restored.

    Args:
        held: the source's.
        moved: source collection -> what became of it.
        target: what is on the target.
    """

    def __init__(self, held: AccessControl, moved: Mapping[str, Moved], target: OnTarget) -> None:
        self._held = held
        self._moved = {source: one for source, one in moved.items() if not one.appended}
        self._appended = moved.keys() - self._moved.keys()
        self._target = target
        self._left: list[str] = []

    def worked_out(self) -> RestoredAccess:
        """What is restored, and what is left out and why."""
        self._left = []
        roles = tuple(self._roles())
        groups = tuple(self._groups())
        grants = dict.fromkeys(
            grant for one in self._held.grants for grant in self._granted(one, roles, groups)
        )
        return RestoredAccess(
            roles=roles,
            groups=groups,
            grants=tuple(grants),
            users=dict(self._users(roles)),
            left=tuple(dict.fromkeys(self._left)),
            unknown=self._target.unknown,
        )

    def _roles(self) -> Iterator[str]:
        for role in self._held.roles:
            if role in BUILT_IN_ROLES:
                continue
            if role in self._target.roles:
                grants = sum(one.role == role for one in self._held.grants)
                self._left.append(
                    f"the role {role!r} is on the target already: it is left alone, and does not "
                    f"get the {grants} grants of the source"
                )
            else:
                yield role

    def _groups(self) -> Iterator[str]:
        there = self._target.groups
        for group in self._held.groups:
            if there is None:
                self._left.append(
                    f"the privilege group {group.name!r}: {self._target.name} knows no such groups"
                )
            elif group.name not in there:
                yield group.name
            elif there[group.name] == group.privileges:
                self._left.append(
                    f"the privilege group {group.name!r} is on the target already, and is the same"
                )
            else:
                self._left.append(
                    f"the privilege group {group.name!r} is on the target already with other "
                    "privileges: it is left alone"
                )

    def _users(self, roles: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
        for user in self._held.users:
            what = f"the user {user.name!r}"
            given = tuple(role for role in user.roles if role in roles)
            if user.name in self._target.users or user.name == ROOT:
                self._left.append(
                    f"{what} is on the target already: password and roles are left alone"
                    f"{self._to_give(user)}"
                )
            elif not self._target.takes_users:
                self._left.append(
                    f"{what}: {self._target.name} takes no user without the password itself, and "
                    f"the source holds its hash only: make the user with a new password"
                    f"{self._to_give(user)}"
                )
            elif not user.password.get_secret_value():
                self._left.append(f"{what}: the source holds no password of it")
            else:
                self._left += [
                    f"{what} does not get the role {role!r}, which this migration did not make"
                    for role in user.roles
                    if role not in roles and role != "public"
                ]
                yield user.name, given

    @staticmethod
    def _to_give(user: User) -> str:
        roles = sorted(set(user.roles) - {"public"})
        return f"; at the source it had the roles {roles}" if roles else ""

    def _granted(
        self, grant: Grant, roles: tuple[str, ...], groups: tuple[str, ...]
    ) -> Iterator[Grant]:
        """What becomes of a grant; nothing where it is left out."""
        if grant.role not in roles:
            if grant.role in BUILT_IN_ROLES:
                self._left.append(f"{grant.told}: the role is the server's own and left alone")
            elif grant.role not in self._held.roles:
                self._left.append(f"{grant.told}: the source has no such role")
            return
        if f"{grant.object_type}.{grant.privilege}" in self._target.unknown:
            self._left.append(f"{grant.told}: {self._target.name} does not know the privilege")
            return
        own = {one.name: one.privileges for one in self._held.groups}
        there = self._target.groups or {}
        known = grant.privilege in groups or there.get(grant.privilege) == own.get(grant.privilege)
        if grant.privilege in own and not known:
            self._left.append(f"{grant.told}: the target lacks that privilege group")
            return
        if grant.object_type != USER and grant.object_name != ANY:
            yield from self._on_one(grant)
        else:
            yield from self._on_many(grant)

    def _on_one(self, grant: Grant) -> Iterator[Grant]:
        """A grant on one collection, or alias."""
        found = False
        for one in self._held.collections:
            moved = self._moved.get(one.source)
            if moved is None or grant.database not in (ANY, one.database):
                continue
            names: tuple[str, ...] = ()
            if grant.object_name == one.name:
                names = moved.names
            elif grant.object_name in one.aliases and grant.object_name in moved.aliases:
                names = (grant.object_name,)
            for name in names:
                found = True
                yield grant.model_copy(update={"database": moved.database, "object_name": name})
        if not found:
            added = any(
                one.source in self._appended
                and grant.object_name == one.name
                and grant.database in (ANY, one.database)
                for one in self._held.collections
            )
            why = "rows were added to one that the target had" if added else "it was not moved"
            self._left.append(f"{grant.told}: {why}")

    def _on_many(self, grant: Grant) -> Iterator[Grant]:
        """A grant on all of a database, of the server, or on users."""
        if self._server_is_ours and grant.database == ANY:
            yield grant
            return
        databases = {one.database for one in self._held.collections}
        reached = sorted(databases if grant.database == ANY else {grant.database} & databases)
        narrowed = grant.database == ANY
        given: list[Grant] = []
        for database in reached:
            whole = self._whole(database)
            if _is_on_collections(grant) and whole is None:
                narrowed = True
                given += self._each(grant, database)
            elif whole is not None and self._ends_at_a_database(grant):
                given.append(grant.model_copy(update={"database": whole}))
        yield from given
        if not given:
            why = "the target holds what this migration did not bring, and it would reach that"
            moved = any(self._moved.get(one.source) for one in self._of(reached))
            self._left.append(f"{grant.told}: {why if moved else 'nothing of it was moved'}")
        elif narrowed:
            told = ", ".join(sorted({f"{one.database}.{one.object_name}" for one in given}))
            self._left.append(
                f"{grant.told}: on {told} only, since the target may hold what this migration did "
                "not bring"
            )

    def _of(self, databases: list[str]) -> list[HeldCollection]:
        return [one for one in self._held.collections if one.database in databases]

    def _each(self, grant: Grant, database: str) -> Iterator[Grant]:
        """The grant on each collection that was moved, by all its names."""
        for one in self._of([database]):
            moved = self._moved.get(one.source)
            if moved is not None:
                for name in (*moved.names, *sorted(moved.aliases)):
                    yield grant.model_copy(update={"database": moved.database, "object_name": name})

    def _ends_at_a_database(self, grant: Grant) -> bool:
        if _is_on_collections(grant) or self._server_is_ours:
            return True
        return grant.object_type == GLOBAL and grant.privilege in _OF_A_DATABASE

    def _whole(self, database: str) -> str | None:
        """The target's database that holds all of a source's database and nothing else, if any."""
        became = [self._moved.get(one.source) for one in self._of([database])]
        databases = {one.database for one in became if one is not None}
        if None in became or len(databases) != 1:
            return None
        [found] = databases
        shared = any(
            one.database == found
            for held in self._held.collections
            if held.database != database and (one := self._moved.get(held.source))
        )
        return None if shared or self._target.collections.get(found) else found

    @cached_property
    def _server_is_ours(self) -> bool:
        """Whether the target holds nothing and nobody that the migration did not bring."""
        target = self._target
        return (
            not any(target.collections.values())
            and target.users <= {ROOT, target.user}
            and target.roles <= BUILT_IN_ROLES
            and all(self._whole(one.database) for one in self._held.collections)
        )


def _is_on_collections(grant: Grant) -> bool:
    return grant.object_type == COLLECTION or grant.privilege in _OF_COLLECTIONS
