"""Users, roles and grants, as a source holds them and as a target gets them.

The words are Milvus': a role is granted a privilege on an object (of the type `Collection`,
`Global` or `User`) of a database, and users have roles.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, SecretStr

ANY = "*"
COLLECTION, GLOBAL, USER = "Collection", "Global", "User"
BUILT_IN_ROLES = frozenset({"admin", "public"})
ROOT = "root"


class Grant(BaseModel):
    """A privilege that a role has.

    Attributes:
        object_type: `Collection`, `Global` or `User`.
        object_name: a collection's name within its database, or an alias; `*` for all.
        database: its name; `*` for all.
        privilege: as the interface names it (`Search`), or the name of a privilege group.
    """

    model_config = ConfigDict(frozen=True)

    role: str
    object_type: str
    object_name: str
    database: str
    privilege: str

    @property
    def told(self) -> str:
        """For people."""
        where = "everything" if self.object_name == ANY else repr(self.object_name)
        database = "all databases" if self.database == ANY else f"the database {self.database!r}"
        kind = "" if self.object_type == COLLECTION else f" ({self.object_type})"
        return f"{self.role}: {self.privilege}{kind} on {where} of {database}"


class User(BaseModel):
    """A user; the password is what the server keeps of it (a bcrypt hash), and as secret."""

    model_config = ConfigDict(frozen=True)

    name: str
    password: SecretStr
    roles: tuple[str, ...]


class PrivilegeGroup(BaseModel):
    """Privileges under a name of their own (Milvus 2.5 and later)."""

    model_config = ConfigDict(frozen=True)

    name: str
    privileges: frozenset[str]


class HeldCollection(BaseModel):
    """A collection that the source holds, moved or not.

    Attributes:
        source: its name as `SourceCollection.name` has it.
        name: its name within the database.
    """

    model_config = ConfigDict(frozen=True)

    source: str
    database: str
    name: str
    aliases: tuple[str, ...] = ()


class AccessControl(BaseModel):
    """All that a source knows of who may do what.

    Attributes:
        collections: all of the source, whether they are moved or not.
    """

    model_config = ConfigDict(frozen=True)

    users: tuple[User, ...] = ()
    roles: tuple[str, ...] = ()
    grants: tuple[Grant, ...] = ()
    groups: tuple[PrivilegeGroup, ...] = ()
    collections: tuple[HeldCollection, ...] = ()


PLANNED = "access_plan.json"
RESTORED = "restored_rbac.json"
"""In staging: what is to be restored, and what is; written before it is made, so that a run that
was killed, and a rollback, know it."""


class RestoredAccess(BaseModel):
    """What a migration restores of it, without secrets.

    Attributes:
        users: with the roles that they get.
        left: what is not restored, and why.
        unknown: privileges (`<object type>.<name>`) that the target does not have.
        done: whether all of it is on the target.
    """

    model_config = ConfigDict(frozen=True)

    users: dict[str, tuple[str, ...]] = {}
    roles: tuple[str, ...] = ()
    grants: tuple[Grant, ...] = ()
    groups: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    unknown: frozenset[str] = frozenset()
    done: bool = False
