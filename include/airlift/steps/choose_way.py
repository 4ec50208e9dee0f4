"""Chooses the way in for each collection, and finds out whether the target can read staging."""

from __future__ import annotations

from airlift.datatypes import DataType
from airlift.errors import AirliftError
from airlift.migration import Migration
from airlift.milvus.capabilities import WAYS_OF_MODE
from airlift.milvus.errors import Unavailable
from airlift.params import WriteMode
from airlift.schema import CollectionSchema, Field, SourceCollection
from airlift.steps.probe_collections import drop_left_probes, probe_collection
from airlift.targets.base import JobState
from airlift.targets.ways import IMPORT_WAYS
from airlift.waiting import wait_for

FEW_ROWS = 50_000
"""Fewer rows are in sooner by insert: import jobs take 2 seconds or more, one after the other."""

_PROBE_SECONDS = 120.0


def choose_way(migration: Migration, collection: SourceCollection | None = None) -> str:
    """The way in that `write_mode` and the target agree on.

    Args:
        collection: what is to be moved, once it is known.

    Raises:
        AirliftError: the target has no such way.
    """
    if collection is not None and collection.imports_own_files:
        return migration.capabilities.own_files_way
    mode = migration.params.write_mode
    ways = migration.capabilities.ways
    if mode is WriteMode.AUTO and collection is not None:
        if collection.since is not None:
            mode = WriteMode.UPSERT
        elif collection.live < FEW_ROWS:
            mode = WriteMode.INSERT
    for way in WAYS_OF_MODE.get(mode, ways):
        if way in ways:
            return way
    raise AirliftError(
        f"write_mode {mode.value!r} is not possible on {migration.server.version().name}; it has "
        f"{', '.join(ways)}; use write_mode auto"
    )


def check_target_reads_staging(migration: Migration, way_name: str) -> None:
    """Has the target import a file that is no data: it must find it, and refuse what is in it.

    A server that can't see the file says so instead. Works on a collection of its own, which is
    dropped again.

    Raises:
        AirliftError: it can't.
        Unavailable: it has too much to do to say so.
    """
    drop_left_probes(migration.database, migration.staging.folder)
    schema = CollectionSchema(
        name="",
        fields=(
            Field(name="id", type=DataType.INT64, primary_key=True),
            Field(name="vector", type=DataType.FLOAT_VECTOR, dim=8),
        ),
    )
    with probe_collection(migration.server, "", migration.staging.folder, schema) as probe:
        way = IMPORT_WAYS[way_name](migration.server, probe.folder)
        names = [way.file_name(f"{field.name}.npy") for field in schema.fields]
        for field in schema.fields:
            probe.folder.write_bytes(f"{field.name}.npy", b"not a numpy file, on purpose")
        job_id = way.submit(probe.name, "", names, probe.token)
        job = wait_for(
            lambda: way.job(job_id),
            lambda job: bool(job and job.state is JobState.FAILED),
            _PROBE_SECONDS,
        )
    if not job:
        raise Unavailable(
            f"whether the target can read the staging folder {migration.params.staging_url} is not "
            f"known: it did not get round to the import of a probe in {_PROBE_SECONDS:.0f} s, as "
            "others come first; clear the task when they have ended"
        )
    if any(sign in job.reason.lower() for sign in _NOT_FOUND_SIGNS):
        raise AirliftError(
            f"it can't read the staging folder {migration.params.staging_url} ({job.reason}); "
            "stage in the bucket that Milvus itself uses (minio.bucketName), or below its data "
            "folder when it stores locally; or set write_mode to insert"
        )


_NOT_FOUND_SIGNS = (
    "no such file",
    "does not exist",
    "not exist",
    "not found",
    "nosuchkey",
    "nosuchbucket",
    "file size of",
    "access denied",
    "permission denied",
)
"""What a server's refusal says when it did not see the file."""
