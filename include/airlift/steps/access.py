"""Users, roles and grants: what is to be restored of them, worked out by `plan`, done by `publish`.

They come last, so that nobody is let in to what is not verified.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from airlift.access import PLANNED, RESTORED, AccessControl, RestoredAccess
from airlift.access_mapping import AccessMapper, Moved, OnTarget
from airlift.errors import AirliftError, Refused
from airlift.mapping import MappedCollection
from airlift.migration import Migration, log
from airlift.milvus.access import MilvusAccess
from airlift.schema import SourceCollection
from airlift.steps.existing import appends_to
from airlift.targets.access import ACCESS_WAYS, AccessWay

_DEFAULT = "default"


def plan_access(
    migration: Migration,
    collections: Iterable[SourceCollection],
    mapped: Iterable[MappedCollection],
) -> list[str]:
    """Writes down what is to be restored; returns why nothing can be, if so."""
    try:
        held = migration.source.access()
        if held is None:
            migration.staging.folder.delete_file(PLANNED)
            return []
        way = _way(migration)
        unknown: frozenset[str] = frozenset()
        if not migration.params.dry_run:
            unknown = way.unknown(held.grants)
        moved = {
            one.source: _moved(migration, one, appends_to(migration, collection, one))
            for collection, one in zip(collections, mapped, strict=True)
        }
        planned = _worked_out(migration, moved, held, way, unknown)
    except Refused as refused:
        return refused.reasons
    except AirliftError as error:
        return [f"with_rbac: {error}"]
    migration.staging.write(PLANNED, planned)
    return []


def restore_access(migration: Migration) -> None:
    """Restores it, once; what a run that was killed had begun is brought to its end."""
    held = migration.source.access()
    wanted = migration.staging.read(RESTORED, RestoredAccess)
    if held is None or (wanted and wanted.done):
        return
    way = _way(migration)
    if wanted is None:
        planned = migration.staging.read(PLANNED, RestoredAccess) or RestoredAccess()
        moved = {
            one.mapped.source: _moved(migration, one.mapped, one.appends)
            for one in migration.staging.plan().collections
        }
        wanted = _worked_out(migration, moved, held, way, planned.unknown)
        # Before anything is made: so it is known afterwards that it is not somebody else's.
        migration.staging.write(RESTORED, wanted)
    way.restore(wanted, held)
    migration.staging.write(RESTORED, wanted.model_copy(update={"done": True}))
    log.info("restored %d roles and %d users", len(wanted.roles), len(wanted.users))
    for told in wanted.left:
        log.warning("not restored: %s", told)


def _way(migration: Migration) -> AccessWay:
    name = migration.capabilities.access_way
    if not name:
        raise AirliftError(
            f"users, roles and grants can't be restored on {migration.server.version().name}; turn "
            "with_rbac off, and make them there yourself"
        )
    return ACCESS_WAYS[name](migration.server)


def _worked_out(
    migration: Migration,
    moved: Mapping[str, Moved],
    held: AccessControl,
    way: AccessWay,
    unknown: frozenset[str],
) -> RestoredAccess:
    mine = migration.staging.read(RESTORED, RestoredAccess) or RestoredAccess()
    server = MilvusAccess(migration.server)
    groups = None
    if migration.capabilities.privilege_groups:
        groups = {k: v for k, v in server.groups().items() if k not in mine.groups}
    target = OnTarget(
        name=migration.server.version().name,
        user=server.user,
        users=server.users() - mine.users.keys(),
        roles=server.roles() - set(mine.roles),
        groups=groups,
        collections=_others(migration, moved.values()),
        takes_users=way.takes_users,
        unknown=unknown,
    )
    return AccessMapper(held, moved, target).worked_out()


def _moved(migration: Migration, one: MappedCollection, appended: bool) -> Moved:
    return Moved(
        one.database or migration.server.database or _DEFAULT,
        (one.target.name, *([one.alias] if one.alias else [])),
        frozenset(one.target.aliases),
        appended,
    )


def _others(migration: Migration, moved: Iterable[Moved]) -> dict[str, frozenset[str]]:
    """The collections of the target, by database, that this migration does not bring."""
    own = {(one.database, one.names[0]) for one in moved if not one.appended}
    found = {}
    for database in migration.server.databases():
        names = frozenset(
            name
            for name in migration.database(database).collections()
            if (database, name) not in own
        )
        if names:
            found[database] = names
    return found
