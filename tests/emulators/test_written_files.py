"""The files that the engine's formats write, of every type, imported by each recorded version."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable, Iterable
from contextlib import closing
from typing import Any

import pyarrow as pa
import pytest
from pymilvus import MilvusClient
from pymilvus.grpc_gen import schema_pb2

from airlift.datatypes import DataType
from airlift.formats import CHOICES
from airlift.formats.base import ChunkFormat
from airlift.schema import CollectionSchema, Field
from airlift.storage import open_storage
from tests.emulators.recorded import VERSIONS
from tests.emulators.recorded_files import Case, column
from tests.emulators.recorded_server import ACCEPTED, JOBS, Asked
from tests.unit.arrow_rows import batch_of, schema_of

ROWS = 60
ABSENT = {"2.5.27": {DataType.INT8_VECTOR}, "2.6.20": set()}
VECTORS = {kind for kind in DataType if kind.name.endswith("_VECTOR")}
HALVES_AND_BITS = VECTORS - {DataType.FLOAT_VECTOR, DataType.SPARSE_FLOAT_VECTOR}


def rest_name(kind: DataType) -> str:
    """``FLOAT_VECTOR`` as REST spells it: ``FloatVector``."""
    names = {name.upper(): name for name in schema_pb2.DataType.keys()}  # noqa: SIM118
    return names[kind.value.replace("_", "")]


def rest_field(field: Field) -> dict[str, Any]:
    more: dict[str, Any] = {"nullable": True} if field.nullable else {}
    if field.primary_key:
        more["isPrimary"] = True
    if field.dim:
        more["dim"] = field.dim
    if field.type is DataType.VARCHAR or field.element_type is DataType.VARCHAR:
        more["max_length"] = 200
    if field.element_type:
        more |= {"elementDataType": rest_name(field.element_type), "max_capacity": 8}
    return column(field.name, rest_name(field.type), **more)


def written(
    ask: Asked, chunk_format: type[ChunkFormat], schema: CollectionSchema
) -> pa.RecordBatch:
    """Writes rows as a chunk in the bucket's folder `chunk`, imports it, and returns them."""
    made = ask.make(schema.name, Case(fields=tuple(map(rest_field, schema.fields))))
    assert made == ACCEPTED
    batch = batch_of(schema, ROWS, seed=len(schema.fields))
    # Keys of their own, by which rows are found.
    batch = batch.set_column(0, batch.schema.field(0), pa.array(range(ROWS), pa.int64()))
    folder = open_storage(str(ask.bucket / "chunk" / schema.name), None)
    writer = chunk_format.writer(folder, schema, ROWS)
    writer.write(batch)
    files = [f"chunk/{schema.name}/{file.name}" for file in writer.close()]
    job = ask(f"{JOBS}create", {"collectionName": schema.name, "files": [files]})
    last = ask.watch(job["answer"]["data"]["jobId"])[-1]["answer"]["data"]
    assert (last["state"], last["totalRows"]) == ("Completed", ROWS), last
    return batch


def kept(ask: Asked, name: str) -> dict[int, dict[str, Any]]:
    """The rows that a client reads, by key; the collection is dropped then.

    Sparse vectors come from Lite's engine: its gRPC side mixes them up where some are null.
    """
    collection = ask.server.engine.collection("default", name)
    raw = {row["id"]: row for row in collection.query("id >= 0", output_fields=["*"])}
    with closing(MilvusClient(uri=ask.server.grpc_address, dedicated=True)) as client:
        rows = client.query(name, "id >= 0", ["*"], limit=1000)
        client.drop_collection(name)
    sparse = DataType.SPARSE_FLOAT_VECTOR.value.lower()
    for row in rows:
        if sparse in row:
            value = raw[row["id"]][sparse]
            row[sparse] = value if value is None else _sparse(value)
    return {row["id"]: row for row in rows}


def _sparse(value: bytes) -> dict[int, float]:
    return dict(struct.iter_unpack("<If", value))


def _bytes(value: Any) -> str:
    if isinstance(value, list):
        value = struct.pack(f"{len(value)}b", *value)
    return base64.b64encode(value).decode()


# A value of Arrow as a client reads it.
CONVERSIONS: dict[DataType, Callable[[Any], Any]] = {
    DataType.SPARSE_FLOAT_VECTOR: _sparse,
    DataType.JSON: json.loads,
    **dict.fromkeys(HALVES_AND_BITS, _bytes),
}


def wanted(field: Field, value: Any, in_parquet: bool) -> Any:
    if value is None:
        # Lite keeps zeros for a missing vector.
        return [0.0] * field.dim if field.type is DataType.FLOAT_VECTOR else None
    if field.element_type and field.nullable and in_parquet and not value:
        return None
    return CONVERSIONS.get(field.type, lambda same: same)(value)


def _plain(value: Any) -> Any:
    """Lists and dicts in place of pymilvus' own."""
    if isinstance(value, dict):
        return dict(value)
    is_list = isinstance(value, Iterable) and not isinstance(value, str)
    return list(value) if is_list else value


def fields_for(
    chunk_format: type[ChunkFormat], nullable: bool, version: str = VERSIONS[-1]
) -> list[Field]:
    """One field of each type that the format writes and the version has."""
    schema = schema_of(*(kind for kind in DataType if kind not in ABSENT[version]))
    fields = []
    for field in schema.fields:
        may_be = not field.primary_key and (version != "2.5.27" or field.type not in VECTORS)
        changed = field.model_copy(update={"nullable": nullable and may_be})
        if not chunk_format.unfit(schema.model_copy(update={"fields": (changed,)})):
            fields.append(changed)
    return fields


CHOSEN = [
    pytest.param(choice, nullable, id=f"{choice.name}{' with nulls' if nullable else ''}")
    for choice in CHOICES
    for nullable in (False, True)
    if len(fields_for(choice, nullable)) > 1
]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("chunk_format", "nullable"), CHOSEN)
def test_every_type_is_imported(
    ask: Asked, version: str, chunk_format: type[ChunkFormat], nullable: bool
):
    fields = fields_for(chunk_format, nullable, version)
    name = f"written_{chunk_format.name}_{nullable}"
    schema = CollectionSchema(name=name, fields=tuple(fields))
    batch = written(ask, chunk_format, schema)
    rows = kept(ask, name)
    assert sorted(rows) == list(range(ROWS))
    for row in batch.to_pylist():
        for field in fields:
            found = _plain(rows[row["id"]][field.name])
            expected = wanted(field, row[field.name], chunk_format.name == "parquet")
            assert found == expected, (field.name, row[field.name])
