"""What is migrated in these tests: every path, by every way in, onto every kind of target."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pymilvus import DataType, MilvusClient

from airlift.connections import MilvusConnection
from samples.faiss_indexes import IndexSpec, write_faiss
from samples.milvus1x_tables import TableSpec, write_milvus1x
from samples.milvus_collection import songs, write_songs
from tests.faults.rows import Rows
from tests.paths.place import FLAT, KnownConnections, bucket_of
from tests.real_backups import truth as backup_truth
from tests.real_backups import unpack
from tests.servers.search_place import connection_to, make_index, vector_field, vectors, write

# A kilobyte a row, so that a few thousand make several chunks of the smallest size.
DIM = 256
_ON_LITE = "faults"
_TABLE = TableSpec("songs", 2_400, DIM, segments=4, deleted_fraction=0.05, partitions={"rock": 300})


@dataclass(frozen=True)
class Sample:
    """A source with data in it.

    Attributes:
        kind: as the entry-point groups have it.
        collection: its name there, which `mapping` renames.
        params: that say where it is.
        rows: what must arrive.
    """

    kind: str
    collection: str
    params: dict[str, Any]
    rows: Rows


@dataclass(frozen=True)
class Route:
    """A path, a way in, a target, and what is there before.

    Attributes:
        sample: a key of SAMPLES.
        server: a name in the ground.
        params: of the migration.
        more: what is added to the collection's mapping.
        there: whether the target collection is there already, with rows of its own.
    """

    sample: str
    server: str
    params: dict[str, Any] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)
    there: bool = False

    @property
    def name(self) -> str:
        """In one word: what a seed is repeated by."""
        given = [str(value) for name, value in self.params.items() if name in _TELLING]
        alias = ["alias"] if self.params.get("cutover_alias") else []
        return "-".join([self.sample, self.server, *given, *alias])


_TELLING = ("write_mode", "if_exists", "backup_way", "file_format")

ROUTES = [
    Route("milvus1x", "milvus", {"write_mode": "bulk_insert"}),
    Route("milvus1x", "milvus_on_s3", {"write_mode": "bulk_insert", "cutover_alias": True}),
    Route("milvus1x", "milvus_on_s3", {"write_mode": "bulk_insert", "file_format": "json"}),
    Route("milvus1x", "lite", {"write_mode": "insert", "chunk_mb": 1}),
    Route("milvus1x", "lite", {"write_mode": "upsert", "chunk_mb": 1, "cutover_alias": True}),
    Route("milvus1x", "milvus", {"write_mode": "insert", "if_exists": "append"}, there=True),
    Route("milvus1x", "lite", {"write_mode": "upsert", "if_exists": "append"}, there=True),
    Route(
        "milvus1x",
        "milvus_on_s3",
        {"write_mode": "bulk_insert", "if_exists": "replace"},
        there=True,
    ),
    Route("faiss", "milvus_on_s3", {"write_mode": "bulk_insert"}),
    Route("faiss", "lite", {"write_mode": "insert", "cutover_alias": True}),
    Route("faiss", "milvus", {"write_mode": "upsert", "if_exists": "replace"}, there=True),
    Route("milvus", "milvus", {"write_mode": "bulk_insert"}),
    Route("milvus", "milvus_on_s3", {"write_mode": "insert", "cutover_alias": True}),
    Route("backup", "lite", {"write_mode": "insert"}, {"aliases": []}),
    Route("backup", "milvus", {"write_mode": "bulk_insert"}, {"aliases": []}),
    Route(
        "codes",
        "milvus",
        {"backup_way": "native", "index": "autoindex", "wait_for_index": False},
        {"database": "default", "dynamic_field": False},
    ),
]
SEARCH_ROUTES = [
    Route("elasticsearch", "lite", {"write_mode": "insert"}),
    Route("elasticsearch", "lite", {"write_mode": "upsert", "cutover_alias": True}),
    Route("elasticsearch", "milvus", {"write_mode": "insert", "if_exists": "replace"}, there=True),
    Route("elasticsearch", "milvus", {"write_mode": "bulk_insert"}),
]


class Ground:
    """The servers and sources of these tests; a sample is made when it is first asked for.

    Args:
        folder: for the sources' files.
        servers: `milvus`, `milvus_on_s3`, `lite`, `elasticsearch`: those that the routes need.
        reached_by: server -> the address by which migrations reach it, where not by its own.
    """

    def __init__(
        self, folder: Path, servers: dict[str, Any], reached_by: dict[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.servers = servers
        self._reached_by = reached_by or {}
        self._samples: dict[str, Sample] = {}
        self._lock = threading.Lock()

    def sample(self, name: str) -> Sample:
        """A source with its data."""
        with self._lock:
            if name not in self._samples:
                self._samples[name] = _SAMPLES[name](self)
            return self._samples[name]

    def remove_samples(self) -> None:
        """Removes those that lie in a server which other tests share."""
        if self._samples.pop("milvus", None):
            with closing(self.client("lite")) as client:
                client.drop_collection(_ON_LITE)

    def client(self, server: str) -> MilvusClient:
        """A client of a target."""
        client: MilvusClient = self.servers[server].client()
        return client

    def connections(self, server: str) -> KnownConnections:
        """Those of a migration onto a server."""
        target = self.servers[server]
        uri = self._reached_by.get(server, target.uri)
        login = {"user": "root", "password": "Milvus"} if getattr(target, "auth", False) else {}
        found = KnownConnections({"milvus_default": MilvusConnection(uri=uri, timeout=30, **login)})
        if "lite" in self.servers:
            found.servers["milvus_source"] = MilvusConnection(uri=self.servers["lite"].uri)
        if "elasticsearch" in self.servers:
            found.searches["elasticsearch_default"] = connection_to(self.servers["elasticsearch"])
        if hasattr(target, "s3"):
            found.buckets["store"] = bucket_of(target.s3)
        return found

    def staging(self, server: str) -> dict[str, Any]:
        """The params that say where to stage for a server."""
        target = self.servers[server]
        if hasattr(target, "s3"):
            return {"staging_url": f"s3://{target.s3.bucket}/staging", "staging_conn_id": "store"}
        data = getattr(target, "data_dir", self.folder) if server != "lite" else self.folder
        return {"staging_url": f"{data}/staging"}

    def params(self, route: Route, name: str) -> dict[str, Any]:
        """The params of a migration into a collection."""
        sample = self.sample(route.sample)
        return {
            "index": FLAT,
            "verify": "full",
            **sample.params,
            **self.staging(route.server),
            "collections": [sample.collection],
            "mapping": {sample.collection: {"target": name, **route.more}},
            **route.params,
        }


def _milvus1x(ground: Ground) -> Sample:
    folder = ground.folder / "milvus1x"
    parts = write_milvus1x(folder, [_TABLE])["songs"].partitions
    rows = {
        tag or "_default": {
            int(key): {"id": int(key), "vector": vector.tobytes()}
            for key, vector in zip(part.ids, part.vectors, strict=True)
        }
        for tag, part in parts.items()
    }
    where = {"tables_url": f"{folder}/tables", "meta_url": f"{folder}/meta.sqlite"}
    return Sample("milvus1x", "songs", where, rows)


def _faiss(ground: Ground) -> Sample:
    folder = ground.folder / "faiss"
    spec = IndexSpec(
        "songs", 2_000, "IVF16,Flat", DIM, own_ids=True, scalars="parquet", joined=True
    )
    truth = write_faiss(folder, [spec])["songs"]
    rows = {
        int(key): {
            "id": int(key),
            "vector": truth.vectors[at].tobytes(),
            **{name: values[at] for name, values in truth.scalars.items()},
        }
        for at, key in enumerate(truth.ids)
    }
    where = {
        "index_url": f"{folder}/songs.index",
        "scalars_url": f"{folder}/songs.parquet",
        "scalars_id_column": "song",
        "chunk_mb": 1,
    }
    return Sample("faiss", "songs", where, {"_default": rows})


def _milvus(ground: Ground) -> Sample:
    with closing(ground.client("lite")) as client:
        if not client.has_collection(_ON_LITE):
            write_songs(client, _ON_LITE, 2_000)
    rows = {row["id"]: row for row in songs(2_000)}
    return Sample("milvus", _ON_LITE, {"chunk_mb": 1}, {"_default": rows})


def _backup(ground: Ground) -> Sample:
    folder = unpack("mixed", ground.folder)
    rows: Rows = {"empty": {}}
    for told in backup_truth("mixed", "articles"):
        row = {name: value for name, value in told.items() if name not in ("partition", "$meta")}
        rows.setdefault(told["partition"], {})[row["id"]] = row | told["$meta"]
    return Sample("backup", "articles", {"backup_url": str(folder)}, rows)


def _codes(ground: Ground) -> Sample:
    folder = unpack("types", ground.folder)
    rows = {}
    for told in backup_truth("types", "default.codes"):
        row = {name: value for name, value in told.items() if name not in ("partition", "$meta")}
        rows[row["code"]] = row
    where = {"backup_url": str(folder), "copy_source": "always"}
    return Sample("backup", "default.codes", where, {"_default": rows})


def _elasticsearch(ground: Ground) -> Sample:
    server = ground.servers["elasticsearch"]
    fields = {
        "vector": vector_field(server, 64),
        "title": {"type": "keyword"},
        "number": {"type": "long"},
        "ok": {"type": "boolean"},
    }
    make_index(server, "faults", fields, settings={"number_of_shards": 2})
    documents = {
        f"doc-{n}": {"vector": one, "title": f'no. "{n}" 漢\\n', "number": n, "ok": n % 3 == 0}
        for n, one in enumerate(vectors(2_000, 64))
    }
    write(server, "faults", documents)
    rows = {key: {"_id": key, **document} for key, document in documents.items()}
    where = {"indices": ["faults"], "chunk_mb": 1}
    return Sample("elasticsearch", "faults", where, {"_default": rows})


_SAMPLES: dict[str, Callable[[Ground], Sample]] = {
    "milvus1x": _milvus1x,
    "faiss": _faiss,
    "milvus": _milvus,
    "backup": _backup,
    "codes": _codes,
    "elasticsearch": _elasticsearch,
}


def rows_before(ground: Ground, route: Route) -> Rows:
    """What the target collection holds before: rows of its own, and where rows are appended some
    with keys of the source's."""
    if not route.there:
        return {}
    vector = np.ones(DIM, np.float32).tobytes()
    keys = [10_000_000 + n for n in range(50)]
    if route.params["if_exists"] == "append":
        [first, *_] = ground.sample(route.sample).rows.values()
        keys += list(first)[::40]
    return {"_default": {key: {"id": key, "vector": vector} for key in keys}}


def rows_after(ground: Ground, route: Route) -> Rows:
    """What the target collection must hold in the end."""
    rows = dict(ground.sample(route.sample).rows)
    if route.params.get("if_exists") != "append":
        return rows
    for partition, before in rows_before(ground, route).items():
        new = rows.get(partition, {})
        upserts = route.params["write_mode"] == "upsert"
        rows[partition] = before | new if upserts else new | before
    return rows


def fill(client: Any, name: str, rows: Rows) -> None:
    """Makes a collection of ids and vectors, as somebody else has it there."""
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
    index = client.prepare_index_params()
    index.add_index("vector", **FLAT, metric_type="L2")
    client.create_collection(name, schema=schema, index_params=index)
    for partition, held in rows.items():
        if partition != "_default":
            client.create_partition(name, partition)
        data = [
            {"id": row["id"], "vector": np.frombuffer(row["vector"], np.float32).tolist()}
            for row in held.values()
        ]
        client.insert(name, data, partition_name=partition)
