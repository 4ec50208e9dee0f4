"""The path from a backup on real servers: rows are read back from the target and compared."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import orjson
import pyarrow as pa
import pytest

from airlift.errors import Refused
from airlift.storage import open_storage
from localservers import Milvus, MilvusLite, MilvusOnS3
from samples.milvus_backups import (
    BackupCollection,
    BackupField,
    BackupSegment,
    vectors,
    write_backup,
)
from tests.paths.place import Place, SourceKind, bucket_place, lite_place, local_place
from tests.real_backups import truth, unpack

BACKUP = SourceKind(
    "backup", lambda folder, names: [unpack(name, folder) for name in names], lambda folder: {}
)
# One page holds all: those of Milvus Lite are in no order.
_PAGE = 16_000


@pytest.fixture
def in_bucket(milvus_on_s3: MilvusOnS3, tmp_path: Path) -> Iterator[Place]:
    """Milvus that stores in a bucket."""
    with bucket_place(milvus_on_s3, tmp_path / "backups", BACKUP) as place:
        yield place


@pytest.fixture
def place(milvus: Milvus, tmp_path: Path) -> Iterator[Place]:
    """Milvus that stores locally."""
    with local_place(milvus, tmp_path / "backups", BACKUP) as place:
        yield place


@pytest.fixture
def lite(milvus_lite: MilvusLite, tmp_path: Path) -> Iterator[Place]:
    """Milvus Lite."""
    with lite_place(milvus_lite, tmp_path / "backups", BACKUP) as place:
        yield place


def rows_of(client: Any, name: str, key: str, partition: str | None) -> list[dict[str, Any]]:
    """Every row of a partition, by the test's own reading; numbers of single precision as bytes."""
    described = client.describe_collection(name)["fields"]
    kinds = {field["name"]: field["type"].name for field in described}
    everything = f"{key} >= 0 or {key} < 0" if kinds[key] == "INT64" else f'{key} >= ""'
    page = client.query(
        name,
        everything,
        ["*"],
        limit=_PAGE,
        partition_names=[partition] if partition else None,
        consistency_level="Strong",
    )
    assert len(page) < _PAGE
    return [
        {
            **{one: plain(row[one], kinds[one]) for one in kinds},
            "$meta": {one: plain(value, "") for one, value in row.items() if one not in kinds},
        }
        # Not sorted in place: pymilvus fills a page's rows in while they are asked for.
        for row in sorted(page, key=lambda row: row[key])
    ]


def plain(value: Any, kind: str) -> Any:
    if kind in ("FLOAT_VECTOR", "FLOAT"):
        return np.asarray(value, np.float32).tobytes()
    if kind == "BINARY_VECTOR":
        return value if isinstance(value, bytes) else bytes(value[0])
    if kind == "JSON":
        return orjson.loads(value) if isinstance(value, str | bytes) else value
    return list(value) if kind == "ARRAY" else value


def holds(client: Any, name: str, expected: list[dict[str, Any]], key: str) -> None:
    """The collection holds the truth's rows, in their partitions, and no others."""
    for partition in {row["partition"] for row in expected}:
        wanted = [
            {field: value for field, value in row.items() if field != "partition"}
            for row in expected
            if row["partition"] == partition
        ]
        assert rows_of(client, name, key, partition) == wanted, partition
    assert len(rows_of(client, name, key, None)) == len(expected)


def counts(one: dict[str, Any]) -> set[int]:
    return {one[f"rows_{step}"] for step in ("planned", "converted", "imported", "counted")}


YAML = """
minio:
  storageType: minio
  address: {host}
  port: {port}
  accessKeyID: never-read
  bucketName: {bucket}
  rootPath: files
  backupRootPath: "/backups/of/2026"
"""


def from_disk(place: Place, folder: Path) -> dict[str, Any]:
    return {"backup_url": str(folder)}


def from_bucket(place: Place, folder: Path) -> dict[str, Any]:
    """Puts the backup into the bucket; the endpoint is in the user's backup.yaml alone."""
    store = place.connections.buckets["store"]
    place.connections.buckets["keys"] = store.model_copy(update={"endpoint_url": ""})
    bucket = place.staging_url.split("/")[2]
    target = open_storage(f"s3://{bucket}/backups/of/2026/{folder.name}", store)
    for path in folder.rglob("*"):
        if path.is_file():
            target.write_bytes(str(path.relative_to(folder)), path.read_bytes())
    address = urlsplit(store.endpoint_url)
    text = YAML.format(host=address.hostname, port=address.port, bucket=bucket)
    (folder.parent / "backup.yaml").write_text(text)
    return {
        "backup_yaml_url": f"{folder.parent}/backup.yaml",
        "source_conn_id": "keys",
        "backup_names": [folder.name],
    }


@pytest.mark.parametrize(("target", "put"), [("in_bucket", from_bucket), ("lite", from_disk)])
def test_a_whole_collection_arrives_as_it_was(request, target, put):
    place = request.getfixturevalue(target)
    [folder] = place.write("mixed")
    report = place.run(**put(place, folder), verify="full", index="source")
    [one] = report["collections"]
    assert (one["rows_source"], one["rows_deleted"]) == (6133, 460)
    assert counts(one) == {5673}
    assert any("counts 6,133 rows in 35 segments" in note for note in one["notes"])
    verified = one["verification"]
    assert verified["compared"] == 5673
    assert verified["fingerprint_source"] == verified["fingerprint_target"]
    holds(place.client, "articles", truth("mixed", "articles"), "id")
    assert set(place.client.list_partitions("articles")) == {"_default", "news", "blog", "empty"}
    described = place.client.describe_collection("articles_live")
    assert described["collection_name"] == "articles"
    if target != "lite":  # it keeps no descriptions
        assert described["description"] == "news and blog articles ü"
    [index] = place.client.list_indexes("articles")
    assert place.client.describe_index("articles", index)["index_type"] == "HNSW"


def without_partitions(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Where the server puts rows into partitions by itself, only the whole can be compared."""
    return [{name: value for name, value in row.items() if name != "partition"} for row in rows]


def test_every_type_arrives_in_the_databases_that_it_was_in(place):
    [folder] = place.write("types")
    with place.database("archive") as archive:
        report = place.run(
            backup_url=str(folder), verify="full", index="autoindex", wait_for_index=False
        )
        numbers = {one["source"]: counts(one) for one in report["collections"]}
        assert numbers == {
            "default.codes": {1861},
            "archive.readings": {1920},
            "archive.blank": {0},
        }
        holds(place.client, "codes", truth("types", "default.codes"), "code")
        readings = without_partitions(truth("types", "archive.readings"))
        assert rows_of(archive, "readings", "rid", None) == readings
        assert archive.has_collection("blank")


def test_a_chosen_database_goes_where_the_params_say(lite):
    [folder] = lite.write("types")
    report = lite.run(
        backup_url=str(folder),
        verify="full",
        collections=["archive.*"],
        target_database="default",
    )
    assert [counts(one) for one in report["collections"]] == [{0}, {1920}]
    readings = without_partitions(truth("types", "archive.readings"))
    assert rows_of(lite.client, "readings", "rid", None) == readings


def test_rows_that_share_a_key_are_refused_or_the_newest_is_kept(lite):
    def rows(*keys: int, time: int) -> BackupSegment:
        values = np.repeat(np.float32([[key + time] for key in keys]), 4, axis=1)
        columns = {"id": pa.array(keys, pa.int64()), "v": vectors(values)}
        return BackupSegment(columns=columns, times=[time] * len(keys))

    fields = [BackupField("id", "INT64"), BackupField("v", "FLOAT_VECTOR", {"dim": 4})]
    segments = [rows(1, 2, 3, time=20), rows(2, 3, 4, time=10)]
    folder = write_backup(lite.folder / "b", [BackupCollection("twice", fields, segments)])
    with pytest.raises(Refused, match="2 primary keys stand in several rows"):
        lite.run(backup_url=str(folder))
    report = lite.run(
        backup_url=str(folder), verify="full", on_duplicate_id="keep_one", migration_id="kept"
    )
    [one] = report["collections"]
    assert (one["rows_source"], one["rows_left_out"], counts(one)) == (6, 2, {4})
    found = rows_of(lite.client, "twice", "id", None)
    told = {row["id"]: np.frombuffer(row["v"], np.float32)[0] for row in found}
    assert told == {1: 21, 2: 22, 3: 23, 4: 14}
