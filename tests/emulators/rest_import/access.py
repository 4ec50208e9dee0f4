"""Users, roles and grants of a server from 2.4.10 on, in memory; they let nobody in or out.

``RestoreRBAC`` refuses as milvus ``rootcoord/meta_table.go`` does (``CheckIfRBACRestorable``): what
is there already, and privileges that are neither defined nor a group's name; otherwise it makes
all. ``DropRole`` refuses a role with grants, ``DropPrivilegeGroup`` a group that is granted.
"""

from __future__ import annotations

from typing import Any

from pymilvus.grpc_gen import common_pb2, milvus_pb2

PRIVILEGES = frozenset({"Query", "Search", "Insert", "CreateCollection", "CollectionReadOnly"})
"""Some of those that are defined; enough for a test."""


def _status(problem: str = "") -> Any:
    code = 65535 if problem else 0
    return common_pb2.Status(code=code, error_code=1 if problem else 0, reason=problem)


def _key(grant: Any) -> tuple[str, ...]:
    return (
        grant.role.name,
        grant.object.name,
        grant.object_name,
        grant.db_name,
        grant.grantor.privilege.name,
    )


class AccessCalls:
    """The calls of a servicer that are about users and roles; `rbac` is what the server holds."""

    def __init__(self) -> None:
        self.rbac = milvus_pb2.RBACMeta()

    def BackupRBAC(self, request, context):
        return milvus_pb2.BackupRBACMetaResponse(status=_status(), RBAC_meta=self.rbac)

    def RestoreRBAC(self, request, context):
        problem = self._unfit(request.RBAC_meta)
        if not problem:
            self.rbac.MergeFrom(request.RBAC_meta)
        return _status(problem)

    def _unfit(self, meta: Any) -> str:
        if not meta.ByteSize():
            return "empty rbac meta"
        roles = {one.name for one in self.rbac.roles} | {"admin", "public"}
        groups = {one.group_name for one in self.rbac.privilege_groups}
        users = {one.user for one in self.rbac.users} | {"root"}
        for one in meta.roles:
            if one.name in roles:
                return f"role [{one.name}] already exists"
        for one in meta.privilege_groups:
            if one.group_name in groups:
                return f"privilege group [{one.group_name}] already exists"
        known = PRIVILEGES | groups | {one.group_name for one in meta.privilege_groups}
        for one in meta.grants:
            if one.grantor.privilege.name not in known:
                return f"privilege [{one.grantor.privilege.name}] does not exist"
        roles |= {one.name for one in meta.roles}
        for one in meta.users:
            if one.user in users:
                return f"user [{one.user}] already exists"
            if missing := [role.name for role in one.roles if role.name not in roles]:
                return f"role [{missing[0]}] does not exist"
        return ""

    def CreateRole(self, request, context):
        if request.entity.name in {one.name for one in self.rbac.roles}:
            return _status(f"role [{request.entity.name}] already exists")
        self.rbac.roles.add(name=request.entity.name)
        return _status()

    def DropRole(self, request, context):
        if any(one.role.name == request.role_name for one in self.rbac.grants):
            return _status("fail to drop the role that it has privileges")
        self._keep("roles", lambda one: one.name != request.role_name)
        return _status()

    def SelectRole(self, request, context):
        names = ["admin", "public", *(one.name for one in self.rbac.roles)]
        results = [
            milvus_pb2.RoleResult(role=milvus_pb2.RoleEntity(name=name))
            for name in names
            if not request.role.name or request.role.name == name
        ]
        return milvus_pb2.SelectRoleResponse(status=_status(), results=results)

    def SelectGrant(self, request, context):
        """Those of a database, and of all; with `*` every one, as from 2.4 on."""
        database = request.entity.db_name or "default"
        entities = [
            one
            for one in self.rbac.grants
            if one.role.name == request.entity.role.name
            and (database == "*" or one.db_name in (database, "*"))
        ]
        return milvus_pb2.SelectGrantResponse(status=_status(), entities=entities)

    def OperatePrivilege(self, request, context):
        if request.type == milvus_pb2.OperatePrivilegeType.Value("Revoke"):
            revoked = _key(request.entity)
            self._keep("grants", lambda one: _key(one) != revoked)
        else:
            self.rbac.grants.append(request.entity)
        return _status()

    def ListCredUsers(self, request, context):
        names = ["root", *(one.user for one in self.rbac.users)]
        return milvus_pb2.ListCredUsersResponse(status=_status(), usernames=names)

    def SelectUser(self, request, context):
        results = [
            milvus_pb2.UserResult(user=milvus_pb2.UserEntity(name=one.user), roles=one.roles)
            for one in self.rbac.users
            if one.user == request.user.name
        ]
        return milvus_pb2.SelectUserResponse(status=_status(), results=results)

    def DeleteCredential(self, request, context):
        self._keep("users", lambda one: one.user != request.username)
        return _status()

    def ListPrivilegeGroups(self, request, context):
        return milvus_pb2.ListPrivilegeGroupsResponse(
            status=_status(), privilege_groups=self.rbac.privilege_groups
        )

    def DropPrivilegeGroup(self, request, context):
        if any(one.grantor.privilege.name == request.group_name for one in self.rbac.grants):
            return _status(f"privilege group [{request.group_name}] is used by a role")
        self._keep("privilege_groups", lambda one: one.group_name != request.group_name)
        return _status()

    def _keep(self, field: str, wanted: Any) -> None:
        kept = [one for one in getattr(self.rbac, field) if wanted(one)]
        self.rbac.ClearField(field)
        getattr(self.rbac, field).extend(kept)
