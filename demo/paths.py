"""What the demo shows: for each path its sample data, and the params that say where that is.

To show another path, add a function and a line in PATHS. A path whose source is a server starts it
on the stack, and names the connection that leads to it.
"""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from include.samples.elasticsearch_documents import write_articles
from include.samples.faiss_indexes import demo_indexes, write_faiss
from include.samples.milvus1x_tables import demo_tables, write_milvus1x
from include.samples.milvus_collection import write_songs
from localservers import Elasticsearch, MilvusLite

_BACKUP = Path(__file__).parents[1] / "tests" / "fixtures" / "backups" / "mixed.tar.gz"


@dataclass(frozen=True)
class Sample:
    """A source to migrate.

    Attributes:
        params: that say where it is.
        connections: that Airflow must have to reach it, as its REST interface takes them.
    """

    params: dict[str, Any]
    connections: list[dict[str, Any]] = field(default_factory=list)


def _milvus1x(stack: ExitStack, folder: Path, lite: bool) -> Sample:
    tables = demo_tables()[:1] if lite else demo_tables()  # Lite has no binary vectors
    write_milvus1x(folder, tables)
    return Sample({"tables_url": f"{folder}/tables", "meta_url": f"{folder}/meta.sqlite"})


def _faiss(stack: ExitStack, folder: Path, lite: bool) -> Sample:
    write_faiss(folder, demo_indexes())
    return Sample(
        {
            "index_url": f"{folder}/songs-*.index",
            "scalars_url": f"{folder}/songs.parquet",
            "scalars_id_column": "song",
        }
    )


def _elasticsearch(stack: ExitStack, folder: Path, lite: bool) -> Sample:
    print("Starting Elasticsearch 8.19 and writing 5,000 documents", flush=True)
    server = stack.enter_context(Elasticsearch(folder))
    write_articles(server, 5_000)
    connection = {
        "connection_id": "elasticsearch_default",
        "conn_type": "elasticsearch",
        "host": server.url,
    }
    return Sample({"indices": ["shop-*"]}, [connection])


def _milvus(stack: ExitStack, folder: Path, lite: bool) -> Sample:
    server = stack.enter_context(MilvusLite(folder))
    with closing(server.client()) as client:
        write_songs(client, "songs", 5_000)
    host, port = server.address.rsplit(":", 1)
    source = {"connection_id": "milvus_source", "conn_type": "milvus"}
    return Sample({"collections": ["songs"]}, [{**source, "host": host, "port": int(port)}])


def _backup(stack: ExitStack, folder: Path, lite: bool) -> Sample:
    # A real one, of articles with partitions, deletes, upserts and an alias.
    with tarfile.open(_BACKUP) as archive:
        archive.extractall(folder, filter="data")
    return Sample({"backup_url": f"{folder}/mixed"})


PATHS: dict[str, Callable[[ExitStack, Path, bool], Sample]] = {
    "milvus1x_to_milvus": _milvus1x,
    "faiss_to_milvus": _faiss,
    "elasticsearch_to_milvus": _elasticsearch,
    "milvus_to_milvus": _milvus,
    "backup_to_milvus": _backup,
}


def make_sample(dag_id: str, stack: ExitStack, home: Path, lite: bool) -> Sample:
    """Makes a path's sample data anew.

    Args:
        stack: what is started for it goes on this.
        home: the demo's folder.
        lite: the target is Milvus Lite.
    """
    folder = home / "source"
    shutil.rmtree(folder, ignore_errors=True)
    return PATHS[dag_id](stack, folder, lite)
