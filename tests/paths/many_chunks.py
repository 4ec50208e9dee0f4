"""The staging folder of a migration with 10,000 chunks, half of them read."""

from __future__ import annotations

import time
from pathlib import Path

from airlift.chunk import Chunk
from airlift.mapping import MappedCollection
from airlift.plan import ChunkRef, CollectionPlan, Plan
from airlift.progress import ChunkProgress, TaskProgress, file_name
from airlift.schema import CollectionSchema, Field
from airlift.staging import Staging
from airlift.storage import open_storage

HOSTILE = "<img src=x onerror=alert(1)>_" + "long_" * 45
_NAMES = [f"collection_{at:03d}" for at in range(99)] + [HOSTILE]
_FIELDS = (
    Field(name="id", type="INT64", primary_key=True),
    Field(name="vector", type="FLOAT_VECTOR", dim=4),
)


def stage_many_chunks(folder: Path, migration_id: str) -> None:
    """Writes the plan and what the tasks have told: every other collection is read."""
    staging = Staging(open_storage(f"{folder}/{migration_id}"))
    plans = tuple(_plan(name) for name in _NAMES)
    batches = tuple(
        tuple(ChunkRef(collection=one.name, chunk=chunk.id) for chunk in one.chunks)
        for one in plans
    )
    staging.write("plan.json", Plan(migration_id=migration_id, collections=plans, batches=batches))
    for index, plan in enumerate(plans):
        if index % 2:
            told = TaskProgress(step="convert", index=index, chunks=tuple(_read(plan)))
            staging.write(file_name("convert", index), told)


def _plan(name: str) -> CollectionPlan:
    schema = CollectionSchema(name=name, fields=_FIELDS)
    chunks = tuple(
        Chunk(
            id=f"{at:06d}-abcdef", collection=name, partition="", rows=1000, bytes=1 << 20, read={}
        )
        for at in range(100)
    )
    return CollectionPlan(
        mapped=MappedCollection(source=name, key="id", target=schema, fields={}, partitions={}),
        way="insert",
        file_format="parquet",
        rows=100_000,
        deleted=0,
        left_out=0,
        notes=(f"a note on {name}",),
        chunks=chunks,
    )


def _read(plan: CollectionPlan) -> list[ChunkProgress]:
    return [
        ChunkProgress(
            collection=plan.name,
            chunk=chunk.id,
            done=True,
            read=chunk.rows,
            rows=chunk.rows,
            bytes=chunk.bytes,
            ended=time.time(),
            seconds=1.0,
        )
        for chunk in plan.chunks
    ]
