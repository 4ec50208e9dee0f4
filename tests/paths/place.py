"""Where a test's migrations run: a source folder, a staging folder and a real target."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from pydantic import SecretStr
from pymilvus import MilvusClient
from sqlalchemy.engine import URL

from airlift.connections import (
    ElasticsearchConnection,
    MilvusConnection,
    S3Connection,
    StorageConnection,
)
from airlift.migration import Migration
from airlift.run import run
from airlift.sources.registry import params_class
from airlift.steps.check import check
from airlift.steps.convert import convert_batch
from airlift.steps.create import create
from airlift.steps.export_meta import export_meta
from airlift.steps.plan import make_plan
from airlift.storage import open_storage
from localservers import Milvus, MilvusLite, MilvusOnS3, S3Server
from samples.milvus1x_tables import write_milvus1x

FLAT = {"index_type": "FLAT"}
BIN_FLAT = {"index_type": "BIN_FLAT"}
_serial = itertools.count(1)


@dataclass
class KnownConnections:
    """Connections by id, as a test gives them; see `airlift.connections.Connections`."""

    servers: dict[str, MilvusConnection] = field(default_factory=dict)
    buckets: dict[str, StorageConnection] = field(default_factory=dict)
    databases: dict[str, URL] = field(default_factory=dict)
    searches: dict[str, ElasticsearchConnection] = field(default_factory=dict)

    def milvus(self, conn_id: str) -> MilvusConnection:
        return self.servers[conn_id]

    def storage(self, conn_id: str) -> StorageConnection:
        return self.buckets[conn_id]

    def sql(self, conn_id: str) -> URL:
        return self.databases[conn_id]

    def elasticsearch(self, conn_id: str) -> ElasticsearchConnection:
        return self.searches[conn_id]


@dataclass(frozen=True)
class SourceKind:
    """What a test needs to know of a source system.

    Attributes:
        name: as the entry-point groups have it.
        write: makes sample data: `write(folder, specs, **options)` returns what must arrive.
        params: the params that say where the data is, given its folder. A param that a test gives
            as None is left out.
    """

    name: str
    write: Callable[..., Any]
    params: Callable[[Path], dict[str, Any]]


MILVUS1X = SourceKind(
    "milvus1x",
    write_milvus1x,
    lambda folder: {"tables_url": f"{folder}/tables", "meta_url": f"{folder}/meta.sqlite"},
)


class Place:
    """Runs migrations of one source into one server.

    Args:
        folder: where the source's data is.
        client: a MilvusClient of the target, for the test's own look at it.
        kind: the source system.
    """

    def __init__(
        self,
        folder: Path,
        staging_url: str,
        client: Any,
        connections: KnownConnections,
        kind: SourceKind = MILVUS1X,
    ) -> None:
        self.folder = folder
        self.staging_url = staging_url
        self.client = client
        self.connections = connections
        self.kind = kind
        self.defaults: dict[str, Any] = {"index": FLAT, "staging_url": staging_url}
        self.migration_id = f"m{next(_serial)}"

    def write(self, *specs: Any, **options: Any) -> Any:
        """Makes the source; returns what must arrive."""
        return self.kind.write(self.folder, specs, **options)

    def migration(self, **params: Any) -> Migration:
        """The migration, with `migration_id` of the place unless params have another."""
        given = {**self.kind.params(self.folder), **self.defaults, **params}
        migration_id = given.pop("migration_id", self.migration_id)
        given = {name: value for name, value in given.items() if value is not None}
        model = params_class(self.kind.name)
        return Migration(self.kind.name, model(**given), migration_id, self.connections)

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


def bucket_of(server: S3Server) -> S3Connection:
    """The connection of an S3 server."""
    return S3Connection(
        access_key=server.access_key,
        secret_key=SecretStr(server.secret_key),
        region=server.region,
        endpoint_url=server.endpoint_url,
    )


@contextmanager
def local_place(milvus: Milvus, folder: Path, kind: SourceKind = MILVUS1X) -> Iterator[Place]:
    """A target that stores locally, and staging in its data folder."""
    connections = KnownConnections({"milvus_default": MilvusConnection(uri=milvus.uri)})
    staging = milvus.data_dir / "staging"
    with _clean_after(milvus.client()) as client:
        place = Place(folder, str(staging), client, connections, kind)
        place.defaults["write_mode"] = "bulk_insert"
        yield place


@contextmanager
def bucket_place(milvus: MilvusOnS3, folder: Path, kind: SourceKind = MILVUS1X) -> Iterator[Place]:
    """A target that stores in a bucket, and staging in that."""
    connections = KnownConnections(
        {"milvus_default": MilvusConnection(uri=milvus.uri, user="root", password="Milvus")},
        {"store": bucket_of(milvus.s3)},
    )
    with _clean_after(milvus.client()) as client:
        staging = f"s3://{milvus.s3.bucket}/staging"
        place = Place(folder, staging, client, connections, kind)
        place.defaults |= {"staging_conn_id": "store", "write_mode": "bulk_insert"}
        yield place


@contextmanager
def lite_place(lite: MilvusLite, folder: Path, kind: SourceKind = MILVUS1X) -> Iterator[Place]:
    """Milvus Lite, which takes inserts only, so staging may lie anywhere."""
    connections = KnownConnections({"milvus_default": MilvusConnection(uri=lite.uri)})
    with _clean_after(lite.client()) as client:
        yield Place(folder, str(folder.parent / "staging"), client, connections, kind)


@contextmanager
def _clean_after(client: Any) -> Iterator[Any]:
    """Drops at the end what came into the default database."""
    before = set(client.list_collections())
    try:
        yield client
    finally:
        for name in set(client.list_collections()) - before:
            for alias in client.describe_collection(name)["aliases"]:
                client.drop_alias(alias)
            client.drop_collection(name)
        client.close()


def up_to_import(place: Place, **params: Any) -> Migration:
    """A migration that is about to import; to be closed by the caller."""
    migration = place.migration(**params)
    check(migration)
    export_meta(migration)
    make_plan(migration, 64)
    convert_batch(migration, 0)
    create(migration)
    return migration
