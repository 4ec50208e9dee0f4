"""Tests of the emulator's import of a backup's logs, and of its users and roles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pymilvus import DataType, MilvusClient
from pymilvus.exceptions import MilvusException
from pymilvus.grpc_gen import milvus_pb2

from samples.milvus_backups import (
    BackupCollection,
    BackupField,
    BackupSegment,
    vectors,
    write_backup,
)
from tests.emulators.rest_client import Rest
from tests.emulators.rest_import import RestImportServer

BACKUP = {"options": {"backup": "true"}, "partitionName": "_default"}


def make(server: RestImportServer) -> MilvusClient:
    client = MilvusClient(uri=server.grpc_address, token=server.token)
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
    schema.add_field("name", DataType.VARCHAR, max_length=16)
    index = client.prepare_index_params("v", index_type="FLAT", metric_type="L2")
    client.create_collection("c", schema=schema, index_params=index)
    return client


def segment(keys: list[int], time: int, deletes: list[tuple[int, int]]) -> BackupSegment:
    columns = {
        "id": pa.array(keys, pa.int64()),
        "v": vectors(np.float32([[key, time] for key in keys])),
        "name": pa.array([f"né{key}" for key in keys]),
    }
    return BackupSegment(
        columns=columns, times=[time] * len(keys), deletes=deletes, logs=2, id=time
    )


def folders(bucket: Path, *segments: BackupSegment) -> list[str]:
    """The folders of the logs of each kind, as keys."""
    fields = [
        BackupField("id", "INT64"),
        BackupField("v", "FLOAT_VECTOR", {"dim": 2}),
        BackupField("name", "VARCHAR", {"max_length": 16}),
    ]
    write_backup(bucket / "b", [BackupCollection("c", fields, segments)])
    found = (bucket / "b" / "binlogs").glob("*_log/*/*/*")
    return sorted((f"{one.relative_to(bucket)}/" for one in found), reverse=True)


def test_each_segment_is_a_group_and_later_deletes_count(server, tmp_path):
    client, rest = make(server), Rest(server)
    bucket = tmp_path / "bucket"
    insert, *more = folders(bucket, segment([1, 2, 3, 4], 10, [(2, 11), (3, 10), (9, 99)]))
    [delta] = more
    done = rest.run([[insert, delta]], **BACKUP)
    # A delete of the row's own time is the first half of an upsert.
    assert (done["state"], done["importedRows"], done["totalRows"]) == ("Completed", 3, 3)
    [one] = done["details"]
    assert one["fileName"] == f"[{insert}10/ {delta}10/]"
    rows = client.query("c", "id > 0", output_fields=["*"])
    assert [(row["id"], list(row["v"]), row["name"]) for row in rows] == [
        (key, [key, 10], f"né{key}") for key in (1, 3, 4)
    ]


def test_what_is_no_backup_is_refused(server, tmp_path):
    make(server)
    rest, bucket = Rest(server), tmp_path / "bucket"
    insert, _ = folders(bucket, segment([1], 10, [(1, 11)]))
    answer = rest("create", collectionName="c", files=[[insert]], options={"backup": "true"})
    assert "partition not specified" in answer["message"]
    answer = rest("create", collectionName="c", files=[["nothing/"]], **BACKUP)
    assert "no binlog to import" in answer["message"]
    answer = rest("create", collectionName="c", files=[[insert, insert, insert]], **BACKUP)
    assert "too many input paths" in answer["message"]
    # Without the option a folder is no file that can be imported.
    assert "unexpected file type" in rest("create", collectionName="c", files=[[insert]])["message"]
    [log, *_] = (bucket / insert).glob("10/100/*")
    log.write_bytes(b"torn")
    done = rest.run([[insert]], **BACKUP)
    assert done["state"] == "Failed" and "magic number" in done["reason"]


def test_users_and_roles_are_restored_once(server):
    client = MilvusClient(uri=server.grpc_address, token=server.token)
    meta = milvus_pb2.RBACMeta()
    meta.roles.add(name="reader")
    meta.users.add(user="ann", password="hash").roles.add(name="reader")
    stub, context = client._get_connection()._stub, [("authorization", "cm9vdDpNaWx2dXM=")]
    request = milvus_pb2.RestoreRBACMetaRequest(RBAC_meta=meta)
    assert stub.RestoreRBAC(request, metadata=context).code == 0
    assert client.list_roles() == ["admin", "public", "reader"]
    assert client.describe_user("ann")["roles"] == ("reader",)
    assert "role [reader] already exists" in stub.RestoreRBAC(request, metadata=context).reason
    client.grant_privilege("reader", "Collection", "Query", "c", db_name="default")
    [one] = client.describe_role("reader", db_name="*")["privileges"]
    assert (one["privilege"], one["object_name"], one["db_name"]) == ("Query", "c", "default")
    with pytest.raises(MilvusException, match="has privileges"):
        client.drop_role("reader")
    client.revoke_privilege("reader", "Collection", "Query", "c", db_name="default")
    client.drop_role("reader")
    client.drop_user("ann")
    assert client.list_users() == ["root"] and not server.rbac.ByteSize()
