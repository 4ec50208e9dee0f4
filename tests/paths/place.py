"""Where a test's migrations run: a source folder, a staging folder and a real target."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from pydantic import SecretStr
from pymilvus import MilvusClient
from sqlalchemy.engine import URL

from airlift.connections import MilvusConnection, StorageConnection
from airlift.migration import Migration
from airlift.run import run
from airlift.sources.milvus1x.params import Milvus1xParams
from airlift.storage import open_storage
from localservers import Milvus, MilvusLite, MilvusOnS3, S3Server
from samples.milvus1x_tables import CollectionTruth, TableSpec, write_milvus1x

FLAT = {"index_type": "FLAT"}
BIN_FLAT = {"index_type": "BIN_FLAT"}
_serial = itertools.count(1)


@dataclass
class KnownConnections:
    """Connections by id, as a test gives them; see `airlift.connections.Connections`."""

    servers: dict[str, MilvusConnection] = field(default_factory=dict)
    buckets: dict[str, StorageConnection] = field(default_factory=dict)
    databases: dict[str, URL] = field(default_factory=dict)

    def milvus(self, conn_id: str) -> MilvusConnection:
        return self.servers[conn_id]

    def storage(self, conn_id: str) -> StorageConnection:
        return self.buckets[conn_id]

    def sql(self, conn_id: str) -> URL:
        return self.databases[conn_id]


class Place:
    """Runs migrations of one source folder into one server.

    Args:
        folder: the source's: `tables/`, `meta.sqlite`.
        client: a MilvusClient of the target, for the test's own look at it.
    """

    def __init__(
        self, folder: Path, staging_url: str, client: Any, connections: KnownConnections
    ) -> None:
        self.folder = folder
        self.staging_url = staging_url
        self.client = client
        self.connections = connections
        self.defaults: dict[str, Any] = {"index": FLAT, "staging_url": staging_url}
        self.migration_id = f"m{next(_serial)}"

    def write(self, *specs: TableSpec, meta_json: bool = False) -> dict[str, CollectionTruth]:
        """Makes the source; returns what must arrive."""
        return write_milvus1x(self.folder, specs, meta_json)

    def migration(self, **params: Any) -> Migration:
        """The migration, with `migration_id` of the place unless params have another."""
        given = {
            "tables_url": str(self.folder / "tables"),
            "meta_url": str(self.folder / "meta.sqlite"),
            **self.defaults,
            **params,
        }
        migration_id = given.pop("migration_id", self.migration_id)
        if given.get("meta_conn_id"):
            given.pop("meta_url")
        return Migration("milvus1x", Milvus1xParams(**given), migration_id, self.connections)

    def run(self, max_batches: int = 64, **params: Any) -> dict[str, Any]:
        """Runs a migration to its end; returns what stands in its report.json."""
        with self.migration(**params) as migration:
            run(migration, max_batches)
            report = migration.staging.folder.read_bytes("report.json")
        read: dict[str, Any] = orjson.loads(report)
        return read

    @contextmanager
    def database(self, name: str) -> Iterator[Any]:
        """A client of another database of the target; the database is dropped at the end."""
        connection = self.connections.milvus("milvus_default")
        password = connection.password.get_secret_value()
        client = MilvusClient(
            uri=connection.uri, user=connection.user, password=password, db_name=name
        )
        try:
            yield client
            for collection in client.list_collections():
                client.drop_collection(collection)
        finally:
            client.close()
        self.client.drop_database(name)

    def staged(self, migration_id: str | None = None) -> set[str]:
        """The files that a migration has in staging."""
        migration_id = migration_id or self.migration_id
        connection = self.connections.buckets.get(self.defaults.get("staging_conn_id", ""))
        folder = open_storage(f"{self.staging_url}/{migration_id}", connection)
        found = folder.list(recursive=True)
        return {path for path, size in found.items() if size is not None}


def bucket_of(server: S3Server) -> StorageConnection:
    """The connection of an S3 server."""
    return StorageConnection(
        access_key=server.access_key,
        secret_key=SecretStr(server.secret_key),
        region=server.region,
        endpoint_url=server.endpoint_url,
    )


@contextmanager
def local_place(milvus: Milvus, folder: Path) -> Iterator[Place]:
    """A target that stores locally, and staging in its data folder."""
    connections = KnownConnections({"milvus_default": MilvusConnection(uri=milvus.uri)})
    staging = milvus.data_dir / "staging"
    with _clean_after(milvus.client()) as client:
        yield Place(folder, str(staging), client, connections)


@contextmanager
def bucket_place(milvus: MilvusOnS3, folder: Path) -> Iterator[Place]:
    """A target that stores in a bucket, and staging in that."""
    connections = KnownConnections(
        {"milvus_default": MilvusConnection(uri=milvus.uri, user="root", password="Milvus")},
        {"store": bucket_of(milvus.s3)},
    )
    with _clean_after(milvus.client()) as client:
        place = Place(folder, f"s3://{milvus.s3.bucket}/staging", client, connections)
        place.defaults["staging_conn_id"] = "store"
        yield place


@contextmanager
def lite_place(lite: MilvusLite, folder: Path) -> Iterator[Place]:
    """Milvus Lite, which takes inserts only, so staging may lie anywhere."""
    connections = KnownConnections({"milvus_default": MilvusConnection(uri=lite.uri)})
    with _clean_after(lite.client()) as client:
        yield Place(folder, str(folder.parent / "staging"), client, connections)


@contextmanager
def _clean_after(client: Any) -> Iterator[Any]:
    """Drops at the end what came into the default database."""
    before = set(client.list_collections())
    try:
        yield client
    finally:
        for name in set(client.list_collections()) - before:
            for alias in client.list_aliases(name)["aliases"]:
                client.drop_alias(alias)
            client.drop_collection(name)
        client.close()
