"""The users, roles and grants of a server."""

from __future__ import annotations

from collections.abc import Iterable

from airlift.access import ANY, ROOT, Grant
from airlift.milvus.database import MilvusDatabase


class MilvusAccess:
    """What a server holds of who may do what.

    Args:
        server: connected with a user that may look at it, and change it.
    """

    def __init__(self, server: MilvusDatabase) -> None:
        self._server = server

    @property
    def user(self) -> str:
        """Who asks."""
        return self._server.connection.user or ROOT

    def users(self) -> frozenset[str]:
        """Names of all users."""
        return frozenset(self._server.call("list the users", self._server.client.list_users))

    def roles(self) -> frozenset[str]:
        """Names of all roles, the built-in ones among them."""
        return frozenset(self._server.call("list the roles", self._server.client.list_roles))

    def groups(self) -> dict[str, frozenset[str]]:
        """The privilege groups with their privileges; for servers that know such."""
        told = self._server.call(
            "list the privilege groups", self._server.client.list_privilege_groups
        )
        return {one["privilege_group"]: frozenset(one["privileges"]) for one in told}

    def roles_of(self, user: str) -> frozenset[str]:
        """The roles that a user has."""
        action = f"look at the user {user!r}"
        told = self._server.call(action, self._server.client.describe_user, user)
        return frozenset(told.get("roles") or ())

    def holders(self, role: str) -> frozenset[str]:
        """The users that have a role."""
        return frozenset(user for user in self.users() if role in self.roles_of(user))

    def grants(self, role: str, databases: Iterable[str]) -> frozenset[Grant]:
        """What a role is granted on all databases at once, and on each of these.

        2.3 tells the grants of one database at a time, also of one that does not exist any more.
        """
        found = set()
        for database in {ANY, *databases}:
            action = f"look at the role {role!r}"
            told = self._server.call(
                action, self._server.client.describe_role, role, db_name=database
            )
            found |= {
                Grant(
                    role=role,
                    object_type=one["object_type"],
                    object_name=one["object_name"],
                    database=one["db_name"],
                    privilege=one["privilege"],
                )
                for one in told["privileges"]
            }
        return frozenset(found)

    def make_role(self, role: str) -> None:
        """Makes a role."""
        self._server.call(f"make the role {role!r}", self._server.client.create_role, role)

    def drop_role(self, role: str) -> None:
        """Drops a role that is granted nothing; users lose it."""
        self._server.call(f"drop the role {role!r}", self._server.client.drop_role, role)

    def drop_user(self, user: str) -> None:
        """Drops a user."""
        self._server.call(f"drop the user {user!r}", self._server.client.drop_user, user)

    def drop_group(self, group: str) -> None:
        """Drops a privilege group that no role is granted."""
        action = f"drop the privilege group {group!r}"
        self._server.call(action, self._server.client.drop_privilege_group, group)

    def grant(self, one: Grant) -> None:
        """Grants; to repeat it changes nothing."""
        self._server.call(
            f"grant {one.told}",
            self._server.client.grant_privilege,
            one.role,
            one.object_type,
            one.privilege,
            one.object_name,
            db_name=one.database,
        )

    def revoke(self, one: Grant) -> None:
        """Takes a privilege away; nothing where the role has it not."""
        self._server.call(
            f"revoke {one.told}",
            self._server.client.revoke_privilege,
            one.role,
            one.object_type,
            one.privilege,
            one.object_name,
            db_name=one.database,
        )
