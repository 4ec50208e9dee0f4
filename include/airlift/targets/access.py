"""Ways for users, roles and grants to get into Milvus."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, ClassVar, Protocol

from pymilvus.client.call_context import _api_level_md
from pymilvus.client.utils import check_status
from pymilvus.grpc_gen import milvus_pb2

from airlift.access import AccessControl, Grant, RestoredAccess
from airlift.errors import AirliftError
from airlift.milvus.access import MilvusAccess
from airlift.milvus.database import MilvusDatabase

_NO_SUCH_PRIVILEGE = re.compile(r"not found the privilege|privilege .*not (exist|found|defined)")


class AccessWay(Protocol):
    """A way in for users, roles and grants.

    Attributes:
        takes_users: whether users come with the hashes of their passwords.
    """

    name: ClassVar[str]
    takes_users: ClassVar[bool]

    def __init__(self, server: MilvusDatabase) -> None:
        """Makes the way."""

    def unknown(self, grants: Iterable[Grant]) -> frozenset[str]:
        """Finds out which privileges (`<object type>.<name>`) the server does not have.

        Raises:
            AirliftError: the connection's user may not make roles.
        """
        ...

    def restore(self, wanted: RestoredAccess, held: AccessControl) -> None:
        """Makes what is wanted and not there yet; to repeat it is safe.

        Args:
            held: has the passwords' hashes, and the privileges of the groups.
        """
        ...


class AccessByCalls:
    """A call for each role and grant, as Milvus 2.3 has them."""

    name: ClassVar[str] = "calls"
    takes_users: ClassVar[bool] = False

    def __init__(self, server: MilvusDatabase) -> None:
        self._access = MilvusAccess(server)

    def unknown(self, grants: Iterable[Grant]) -> frozenset[str]:
        """Grants each to a role that nobody has, and that goes again."""
        probe = f"airlift_probe_{uuid.uuid4().hex[:12]}"
        kinds = {(one.object_type, one.privilege): one for one in grants}
        made: list[Grant] = []
        unknown = set()
        self._access.make_role(probe)
        try:
            for (object_type, privilege), one in kinds.items():
                tried = one.model_copy(update={"role": probe})
                try:
                    self._access.grant(tried)
                    made.append(tried)
                except AirliftError as error:
                    if not _NO_SUCH_PRIVILEGE.search(str(error)):
                        raise
                    unknown.add(f"{object_type}.{privilege}")
        finally:
            for tried in made:
                with suppress(AirliftError):
                    self._access.revoke(tried)
            self._access.drop_role(probe)
        return frozenset(unknown)

    def restore(self, wanted: RestoredAccess, held: AccessControl) -> None:
        """Roles first, then what they are granted."""
        there = self._access.roles()
        for role in wanted.roles:
            if role not in there:
                self._access.make_role(role)
        for grant in wanted.grants:
            self._access.grant(grant)


class AccessByRestore:
    """One call for all, as Milvus 2.4.10 and later have it for milvus-backup (`RestoreRBAC`).

    It refuses what is there already, so what is there is asked for first (`BackupRBAC`).
    """

    name: ClassVar[str] = "restore"
    takes_users: ClassVar[bool] = True

    def __init__(self, server: MilvusDatabase) -> None:
        self._server = server

    def unknown(self, grants: Iterable[Grant]) -> frozenset[str]:
        """None: the server looks at all before it makes anything."""
        access = MilvusAccess(self._server)
        probe = f"airlift_probe_{uuid.uuid4().hex[:12]}"
        access.make_role(probe)
        access.drop_role(probe)
        return frozenset()

    def restore(self, wanted: RestoredAccess, held: AccessControl) -> None:
        """Sends what is not there."""
        request = milvus_pb2.BackupRBACMetaRequest()
        there = self._ask("BackupRBAC", request, "read users, roles and grants").RBAC_meta
        meta = milvus_pb2.RBACMeta()
        roles = {one.name for one in there.roles}
        for role in wanted.roles:
            if role not in roles:
                meta.roles.add(name=role)
        self._add_groups(meta, wanted, held, {one.group_name for one in there.privilege_groups})
        grantor = MilvusAccess(self._server).user
        held_grants = {_grant_of(one) for one in there.grants}
        for grant in wanted.grants:
            if grant not in held_grants:
                _add_grant(meta, grant, grantor)
        users = {one.user for one in there.users}
        for user in held.users:
            if user.name in wanted.users and user.name not in users:
                added = meta.users.add(user=user.name, password=user.password.get_secret_value())
                for role in wanted.users[user.name]:
                    added.roles.add(name=role)
        if meta.ByteSize():
            request = milvus_pb2.RestoreRBACMetaRequest(RBAC_meta=meta)
            self._ask(
                "RestoreRBAC",
                request,
                "restore users, roles and grants, so none is (the rows are in: run again with the "
                "same migration_id and with_rbac off)",
            )

    @staticmethod
    def _add_groups(
        meta: Any, wanted: RestoredAccess, held: AccessControl, there: set[str]
    ) -> None:
        for group in held.groups:
            if group.name in wanted.groups and group.name not in there:
                added = meta.privilege_groups.add(group_name=group.name)
                for privilege in sorted(group.privileges):
                    added.privileges.add(name=privilege)

    def _ask(self, call: str, request: Any, action: str) -> Any:
        client = self._server.client

        def send() -> Any:
            answer = getattr(client._get_connection()._stub, call)(
                request,
                timeout=self._server.connection.timeout,
                metadata=_api_level_md(client._generate_call_context()),
            )
            check_status(getattr(answer, "status", answer))
            return answer

        return self._server.call(action, send)


def _grant_of(one: Any) -> Grant:
    return Grant(
        role=one.role.name,
        object_type=one.object.name,
        object_name=one.object_name,
        database=one.db_name,
        privilege=one.grantor.privilege.name,
    )


def _add_grant(meta: Any, grant: Grant, grantor: str) -> None:
    added = meta.grants.add(object_name=grant.object_name, db_name=grant.database)
    added.role.name = grant.role
    added.object.name = grant.object_type
    added.grantor.user.name = grantor
    added.grantor.privilege.name = grant.privilege


ACCESS_WAYS: dict[str, type[AccessWay]] = {
    way.name: way for way in (AccessByCalls, AccessByRestore)
}
"""By name; see `airlift.milvus.capabilities` for who has which."""
