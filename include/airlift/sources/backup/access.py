"""The users, roles and grants of a backup's metadata."""

from __future__ import annotations

from collections.abc import Sequence

from airlift.access import AccessControl, Grant, HeldCollection, PrivilegeGroup, User
from airlift.errors import Refused
from airlift.sources.backup.meta import BackupMeta, RbacMeta
from airlift.sources.backup.unknown_keys import in_roles

_DEFAULT = "default"


def access_of(meta: BackupMeta, collections: Sequence[HeldCollection]) -> AccessControl:
    """What a backup holds of who may do what.

    Raises:
        Refused: it was made without, or says what is not understood.
    """
    held = meta.rbac_meta
    if held is None:
        raise Refused(
            [
                f"with_rbac: the backup {meta.name!r} holds no users, roles and grants: it was "
                "made without --rbac; make it again with that, or turn with_rbac off"
            ]
        )
    if reasons := in_roles(meta):
        raise Refused(reasons)
    return AccessControl(
        users=tuple(
            User(name=one.user, password=one.password, roles=tuple(r.name for r in one.roles))
            for one in held.users
        ),
        roles=tuple(one.name for one in held.roles),
        grants=tuple(
            Grant(
                role=one.role.name,
                object_type=one.object.name,
                object_name=one.object_name,
                database=one.db_name or _DEFAULT,
                privilege=one.grantor.privilege.name,
            )
            for one in held.grants
        ),
        groups=tuple(
            PrivilegeGroup(
                name=one.group_name, privileges=frozenset(p.name for p in one.privileges)
            )
            for one in held.privilege_groups
        ),
        collections=tuple(collections),
    )


def counts_of(held: RbacMeta | None) -> dict[str, int]:
    """How many of each kind there are, where there are some."""
    if held is None:
        return {}
    names = ("users", "roles", "grants", "privilege_groups")
    kinds = {name: len(getattr(held, name)) for name in names}
    return {name: count for name, count in kinds.items() if count}
