"""Removes the users, roles and grants that a migration restored.

What others have built on them stays, and is told: a role that they gave to users of theirs, or
granted more, keeps that and loses what the migration granted it.
"""

from __future__ import annotations

from airlift.access import RestoredAccess
from airlift.migration import log
from airlift.milvus.access import MilvusAccess
from airlift.milvus.database import MilvusDatabase


class AccessRollback:
    """Undoes what `restored_rbac.json` tells; to repeat it after a failure is safe.

    Args:
        server: the target.
        left: what stays and why is added to it.

    Attributes:
        users, roles, groups: those to be dropped.
        stripped: roles that lose what they were granted, those to be dropped among them.
    """

    def __init__(self, server: MilvusDatabase, restored: RestoredAccess, left: list[str]) -> None:
        self._access = MilvusAccess(server)
        self._restored = restored
        self._left = left
        self._databases = set(server.databases()) if restored.grants else set()
        self._databases |= {one.database for one in restored.grants}
        self.users = self._own_users()
        self.stripped = self._own_roles()
        self.roles = tuple(role for role in self.stripped if not self._used(role))
        self.groups: tuple[str, ...] = ()
        if restored.groups:
            there = self._access.groups()
            self.groups = tuple(group for group in restored.groups if group in there)

    def undo(self) -> None:
        """Removes them."""
        for user in self.users:
            log.info("dropping the user %s", user)
            self._access.drop_user(user)
        for grant in self._restored.grants:
            if grant.role in self.stripped:
                self._access.revoke(grant)
        for role in self.roles:
            log.info("dropping the role %s", role)
            self._access.drop_role(role)
        for group in self.groups:
            log.info("dropping the privilege group %s", group)
            self._access.drop_group(group)

    def _own_users(self) -> tuple[str, ...]:
        there = self._access.users() if self._restored.users else frozenset()
        own = []
        for user, given in self._restored.users.items():
            if user not in there:
                continue
            if others := sorted(self._access.roles_of(user) - {*given, "public"}):
                self._left.append(f"the user {user} stays: others gave it the roles {others}")
            else:
                own.append(user)
        return tuple(own)

    def _own_roles(self) -> tuple[str, ...]:
        there = self._access.roles() if self._restored.roles else frozenset()
        return tuple(role for role in self._restored.roles if role in there)

    def _used(self, role: str) -> bool:
        """Whether others use a role; what it was granted by the migration does not count."""
        users = sorted(self._access.holders(role) - set(self.users))
        granted = self._access.grants(role, self._databases) - set(self._restored.grants)
        why = [f"the users {users} have it"] if users else []
        if granted:
            told = "; ".join(sorted(one.told for one in granted))
            why.append(f"others granted it {told}")
        if why:
            self._left.append(
                f"the role {role} stays without what the migration granted it: {' and '.join(why)}"
            )
        return bool(why)
