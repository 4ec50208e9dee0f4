"""What a run claims, so that no other works on it at the same moment: see `airlift.claims`."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict

from airlift.claims import Claims, key_of
from airlift.connections import MilvusConnection
from airlift.migration import Migration
from airlift.milvus.client import address

_FILE = "claimed.json"


class Claimed(BaseModel):
    """`claimed.json`: what the plan's collections and aliases are claimed by, key -> in words."""

    model_config = ConfigDict(frozen=True)

    names: dict[str, str]


def claim(migration: Migration, claims: Claims) -> None:
    """Claims the migration's folder and, once it is planned, the names that it moves rows to.

    A dry run touches no collection, and claims none.

    Raises:
        Taken: another run works on one of them.
    """
    planned = None if migration.params.dry_run else migration.staging.read(_FILE, Claimed)
    claims.take(claimed_migration(migration.id) | (planned.names if planned else {}))


def claim_planned(migration: Migration, claims: Claims) -> None:
    """Claims the plan's collections and aliases, now and whenever `claim` is called; see there."""
    connection = migration.connections.milvus(migration.params.target_conn_id)
    wanted: dict[str, str] = {}
    for one in migration.staging.plan().collections:
        names = (one.target_name, one.mapped.alias, *one.mapped.target.aliases)
        wanted |= claimed_names(connection, one.mapped.database, filter(None, names))
    if not migration.params.dry_run:
        migration.staging.write(_FILE, Claimed(names=wanted))
    claim(migration, claims)


def claimed_migration(migration_id: str) -> dict[str, str]:
    """The claim of a migration's folder in staging."""
    return {key_of("migration", migration_id): f"the migration {migration_id!r}"}


def claimed_names(
    connection: MilvusConnection, database: str, names: Iterable[str]
) -> dict[str, str]:
    """The claims of collections and aliases of a target.

    Args:
        database: "" for the connection's own.
    """
    where = address(connection).lower()
    database = database or connection.database or "default"
    return {
        key_of("name", where, database, name): f"the name {database}.{name} of {where}"
        for name in names
    }
