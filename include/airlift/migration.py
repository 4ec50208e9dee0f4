"""One migration: its params, its source, its target and its staging folder.

The steps in `airlift.steps` work on it; Airflow's operators, the tests and the benchmarks make it.
"""

from __future__ import annotations

import logging
from functools import cached_property
from types import TracebackType
from typing import Protocol

from airlift.connections import Connections
from airlift.errors import AirliftError
from airlift.milvus.capabilities import Capabilities, capabilities_of
from airlift.milvus.client import address, ensure_supported
from airlift.milvus.database import MilvusDatabase
from airlift.names import is_valid
from airlift.params import MigrationParams
from airlift.sources.base import Source
from airlift.sources.registry import source_class
from airlift.staging import Staging
from airlift.storage import Storage, open_storage

log = logging.getLogger("airlift")


class InDatabase(Protocol):
    """A collection of the target; `database` is "" for the connection's own."""

    @property
    def database(self) -> str:
        """The database's name."""
        ...


class Migration:
    """Opens what a step asks for, when it asks; use it as a context manager to close it again.

    Args:
        source: the source system's name, as the entry-point group `airlift.sources` has it.
        params: the path's params.
        migration_id: names the staging folder; letters, digits and `_`.
        connections: looks connections up.
    """

    def __init__(
        self,
        source: str,
        params: MigrationParams,
        migration_id: str,
        connections: Connections,
    ) -> None:
        if not is_valid(f"m{migration_id}") or not migration_id:
            raise AirliftError(
                f"migration_id {migration_id!r}: use letters, digits and _ only, at most 64"
            )
        self.source_name = source
        self.params = params
        self.id = migration_id
        self.connections = connections
        self._databases: dict[str, MilvusDatabase] = {}

    def __enter__(self) -> Migration:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for opened in {"source", "server"} & self.__dict__.keys():
            self.__dict__[opened].close()
        for database in self._databases.values():
            database.close()

    @cached_property
    def staging_root(self) -> Storage:
        """The folder that `staging_url` names."""
        params = self.params
        connection = params.staging_conn_id and self.connections.storage(params.staging_conn_id)
        return open_storage(params.staging_url, connection or None)

    @cached_property
    def staging(self) -> Staging:
        """The migration's own folder."""
        return Staging(self.staging_root.folder(self.id))

    @cached_property
    def source(self) -> Source:
        """The source, reading from the copy in staging where there is one."""
        source = self.original_source()
        if self.staging.folder.exists("copied.json"):
            source.read_from(self.staging.copied_source)
        return source

    def original_source(self) -> Source:
        """The source at its own place; works where staging can't be read."""
        return source_class(self.source_name)(self.params, self.connections, self.staging.scratch)

    def reopen_source(self) -> None:
        """Has the source opened anew by who asks for it next."""
        if opened := self.__dict__.pop("source", None):
            opened.close()

    @cached_property
    def server(self) -> MilvusDatabase:
        """The target in the connection's own database, for what does not need the target's."""
        return MilvusDatabase(self.connections.milvus(self.params.target_conn_id))

    def target_address(self, version: str = "") -> str:
        """What the target is and where, for the report; without credentials.

        Args:
            version: what it calls itself, where that is known; else it is asked.
        """
        server = self.server
        database = f", database {server.database}" if server.database else ""
        return f"{version or server.version().name} at {address(server.connection)}{database}"

    def database_exists(self, name: str) -> bool:
        """Whether the target has a database ("", the connection's own, is there)."""
        return not name or name in self.server.databases()

    def target(self, collection: InDatabase) -> MilvusDatabase:
        """The database of the target that a collection goes to, or has gone to."""
        return self.database(collection.database)

    def database(self, name: str) -> MilvusDatabase:
        """A database of the target; "" is the connection's own."""
        if name not in self._databases:
            connection = self.connections.milvus(self.params.target_conn_id)
            self._databases[name] = MilvusDatabase(connection, name)
        return self._databases[name]

    @cached_property
    def capabilities(self) -> Capabilities:
        """What the target can do. Raises AirliftError when it is too old."""
        version = self.server.version()
        ensure_supported(version)
        found = capabilities_of(version)
        if found is None:
            raise AirliftError(
                f"{version.name} is too old as a target: Milvus 2.2 or newer is needed"
            )
        return found
