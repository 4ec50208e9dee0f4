"""Removes what a migration made on the target and in staging, and nothing else.

What it made stands in its `created.json` and `published.json`. Where others have changed one of its
collections since, nothing is touched, and the reasons are told.
"""

from __future__ import annotations

from functools import cached_property

from pydantic import BaseModel, ConfigDict

from airlift.access import RESTORED, RestoredAccess
from airlift.claims import Claims
from airlift.connections import Connections
from airlift.errors import AirliftError, Refused
from airlift.migration import InDatabase, log
from airlift.milvus.database import MilvusDatabase
from airlift.milvus.rows import MilvusRows
from airlift.names import is_valid, with_database
from airlift.rollback_access import AccessRollback
from airlift.rollback_params import RollbackParams
from airlift.staging import ImportRecord, Staging, is_import_record
from airlift.steps.claim import claimed_migration, claimed_names
from airlift.steps.existing import half_made
from airlift.steps.probe_collections import drop_left_probes
from airlift.storage import Storage, open_storage
from airlift.target_changes import Created, CreatedCollection, Published, PublishedAlias
from airlift.targets.running_imports import wait_for_imports
from airlift.verification import Verifications


class WhatIsUndone(BaseModel):
    """What a rollback removes.

    Attributes:
        collections: with their databases, where those are named.
        aliases: alias -> the collection that it points to afterwards; "" where it is dropped.
        databases: those that hold nothing else.
        users, roles, privilege_groups: those that it restored from a backup.
        staging_files: how many files of the migration.
        left: what stays as it is, and why.
    """

    model_config = ConfigDict(frozen=True)

    collections: tuple[str, ...]
    aliases: dict[str, str]
    databases: tuple[str, ...]
    users: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    privilege_groups: tuple[str, ...] = ()
    staging_files: int
    left: tuple[str, ...]


class Rollback:
    """Undoes one migration; close it afterwards.

    Args:
        connections: looks connections up.
    """

    def __init__(self, params: RollbackParams, connections: Connections) -> None:
        self._params = params
        self._connections = connections
        self._databases: dict[str, MilvusDatabase] = {}
        self._left: list[str] = []

    def close(self) -> None:
        """Closes the connections."""
        for database in self._databases.values():
            database.close()

    def listed(self) -> WhatIsUndone:
        """What is to be removed.

        Raises:
            AirliftError: staging knows no such migration.
            Refused: others have changed what it made; with every reason.
        """
        self._left = []
        made = [one for one in self._created.collections if self._is_ours(one)]
        reasons = [reason for one in made if (reason := self._changed(one))]
        if reasons:
            raise Refused(reasons)
        access = self._access()
        aliases = {with_database(one.database, one.alias): one.before for one in self._aliases()}
        return WhatIsUndone(
            collections=tuple(one.name for one in made),
            aliases=aliases,
            databases=tuple(self._empty_afterwards({one.name for one in made})),
            users=access.users if access else (),
            roles=access.roles if access else (),
            privilege_groups=access.groups if access else (),
            staging_files=sum(size is not None for size in self._files.values()),
            left=tuple(self._left),
        )

    def claim(self, claims: Claims) -> None:
        """Claims the migration, and the collections that it made.

        Raises:
            Taken: a run works on one of them.
        """
        wanted = claimed_migration(self._params.migration_id)
        connection = self._connections.milvus(self._params.target_conn_id)
        for one in self._created.collections:
            wanted |= claimed_names(connection, one.database, [one.target_name])
        claims.take(wanted)

    def undo(self) -> WhatIsUndone:
        """Removes what `listed` tells, once nobody imports into it; safe to repeat."""
        undone = self.listed()
        for one in self._created.collections:
            if one.name in undone.collections:
                folder = self._staging.folder
                wait_for_imports(self._database(one), one.target_name, folder, "remove")
        if access := self._access():
            access.undo()
        for alias in self._aliases():
            self._put_back(alias)
        for one in self._created.collections:
            if one.name in undone.collections:
                log.info("dropping the collection %s", one.name)
                self._database(one).drop(one.target_name)
        for name in undone.databases:
            log.info("dropping the database %s", name)
            self._server.call(
                f"drop the database {name!r}", self._server.client.drop_database, name
            )
        drop_left_probes(self._at, self._staging.folder)
        # Last: until then a rollback that was interrupted knows what is left to do.
        self.root.delete_folder(self._params.migration_id)
        return undone

    def _access(self) -> AccessRollback | None:
        """What is undone of users and roles; None where none were restored."""
        restored = self._staging.read(RESTORED, RestoredAccess)
        return AccessRollback(self._server, restored, self._left) if restored else None

    @cached_property
    def root(self) -> Storage:
        """The folder that `staging_url` names."""
        params = self._params
        connection = params.staging_conn_id and self._connections.storage(params.staging_conn_id)
        return open_storage(params.staging_url, connection or None)

    @cached_property
    def _staging(self) -> Staging:
        if not is_valid(f"m{self._params.migration_id}") or not self._files:
            raise AirliftError(
                f"{self.root.address(self._params.migration_id)} does not exist: check "
                "migration_id and staging_url (or it was undone already)"
            )
        return Staging(self.root.folder(self._params.migration_id))

    @property
    def _files(self) -> dict[str, int | None]:
        return self.root.list(self._params.migration_id, recursive=True)

    @cached_property
    def _created(self) -> Created:
        created = self._staging.read("created.json", Created) or Created()
        there = (
            set(self._server.databases()) if any(one.database for one in created.begun) else set()
        )
        begun = [one for one in created.begun if not one.database or one.database in there]
        made = [found for one in begun if (found := half_made(one, self._database(one)))]
        created = created.add(*made)
        self._refuse_lost_record(created)
        return created

    def _refuse_lost_record(self, created: Created) -> None:
        """Raises AirliftError when chunks are in collections of the target that no record names."""
        start = len(self._params.migration_id) + 1
        paths = [path[start:] for path in self._files if is_import_record(path)]
        known = {one.name for one in created.collections}
        lost: set[str] = set()
        for path in paths:
            name = path.rsplit("/", 2)[0]
            if name not in known | lost and self._holds_chunk(name, path):
                lost.add(name)
        if lost:
            raise AirliftError(
                f"{self._staging.folder.address('created.json')} does not name the collections "
                f"{sorted(lost)}, to which this migration has moved rows: it is not known whether "
                "they were there before. Drop those collections yourself where they held nothing "
                "before, then run the rollback again"
            )

    def _holds_chunk(self, name: str, path: str) -> bool:
        """Whether a chunk went into the collection that has that name now."""
        database, _, target_name = name.rpartition(".")
        if database and database not in self._server.databases():
            return False
        target = self._at(database)
        if target.found_by(target_name) != target_name:
            return False
        record = self._staging.read(path, ImportRecord)
        wanted = ("", record.collection_id) if record else ()
        return target.collection_id(target_name) in wanted

    @cached_property
    def _server(self) -> MilvusDatabase:
        return self._at("")

    def _database(self, one: InDatabase) -> MilvusDatabase:
        return self._at(one.database)

    def _at(self, name: str) -> MilvusDatabase:
        if name not in self._databases:
            connection = self._connections.milvus(self._params.target_conn_id)
            self._databases[name] = MilvusDatabase(connection, name)
        return self._databases[name]

    def _is_ours(self, one: CreatedCollection) -> bool:
        """Whether it is there, and the one that the migration made."""
        if one.database and one.database not in self._server.databases():
            return False
        database, name = self._database(one), one.target_name
        if database.found_by(name) != name:
            return False
        if not one.made:
            self._left.append(f"{one.name} was there before: the rows added to it stay")
            return False
        if database.collection_id(name) not in ("", one.collection_id):
            self._left.append(f"{one.name} is another collection by now: made anew by others")
            return False
        return True

    def _changed(self, one: CreatedCollection) -> str:
        """How others have changed a collection; "" when they have not."""
        database, name = self._database(one), one.target_name
        own = {alias.alias for alias in self._published if alias.collection == name}
        if others := sorted(set(database.aliases(name)) - own):
            return f"{one.name}: the aliases {others}, which others made, point to it; drop them"
        verified = self._staging.read("verification.json", Verifications)
        known = (
            {v.collection: v.counted for v in verified.collections if not v.problems}
            if (verified)
            else {}
        )
        if one.name not in known:
            return ""  # it was never whole, so nobody can have relied on it
        was_loaded = database.is_loaded(name)
        if not was_loaded:
            database.load(name)
            database.wait_loaded(name)
        rows = MilvusRows(database).count(name)
        if not was_loaded:
            database.release(name)
        if rows == known[one.name]:
            return ""
        return (
            f"{one.name} has {rows:,} rows, and had {known[one.name]:,} when it was verified: "
            "others have changed it since; drop it yourself if that is meant"
        )

    @cached_property
    def _published(self) -> tuple[PublishedAlias, ...]:
        return (self._staging.read("published.json", Published) or Published()).aliases

    def _aliases(self) -> list[PublishedAlias]:
        """The aliases that still point to what the migration made."""
        made = {(one.database, one.target_name) for one in self._created.collections if one.made}
        return [
            one
            for one in self._published
            if (one.database, one.collection) in made
            and (not one.database or one.database in self._server.databases())
            and self._database(one).alias_target(one.alias) == one.collection
        ]

    def _put_back(self, one: PublishedAlias) -> None:
        database = self._database(one)
        if one.before and database.exists(one.before):
            log.info("the alias %s points to %s again", one.alias, one.before)
            database.point_alias(one.alias, one.before)
        else:
            log.info("dropping the alias %s", one.alias)
            database.call(f"drop the alias {one.alias!r}", database.client.drop_alias, one.alias)

    def _empty_afterwards(self, dropped: set[str]) -> list[str]:
        """The databases that the migration made, without those that hold something else."""
        there = set(self._server.databases()) if self._created.databases else set()
        empty = []
        for name in self._created.databases:
            held = (
                {f"{name}.{one}" for one in self._at(name).collections()} if name in there else {}
            )
            if others := sorted(set(held) - dropped):
                self._left.append(f"the database {name} stays: it holds {others}")
            elif name in there:
                empty.append(name)
        return empty
