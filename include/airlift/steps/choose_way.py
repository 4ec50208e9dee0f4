"""Chooses the way in for each collection, and finds out whether the target can read staging."""

from __future__ import annotations

import uuid

from airlift.datatypes import DataType
from airlift.errors import AirliftError
from airlift.migration import Migration
from airlift.milvus.capabilities import WAYS_OF_MODE
from airlift.milvus.database import MilvusDatabase
from airlift.milvus.errors import Unavailable
from airlift.params import WriteMode
from airlift.schema import CollectionSchema, Field, SourceCollection
from airlift.storage import Storage
from airlift.targets.base import JobState
from airlift.targets.ways import IMPORT_WAYS
from airlift.waiting import wait_for

FEW_ROWS = 50_000
"""Fewer rows are in sooner by insert: import jobs take 2 seconds or more, one after the other."""

_PROBE_SECONDS = 120.0
_PROBE = "probe-"
"""Before the token of a probe, in its folder's name; it is there as long as the collection is."""


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
    drop_left_probes(migration.server, migration.staging.folder)
    token = uuid.uuid4().hex[:12]
    staging = migration.staging.folder.folder(f"{_PROBE}{token}")
    way = IMPORT_WAYS[way_name](migration.server, staging)
    schema = CollectionSchema(
        name=_probe_name(token),
        fields=(
            Field(name="id", type=DataType.INT64, primary_key=True),
            Field(name="vector", type=DataType.FLOAT_VECTOR, dim=8),
        ),
    )
    names = [way.file_name(f"{field.name}.npy") for field in schema.fields]
    for field in schema.fields:
        staging.write_bytes(f"{field.name}.npy", b"not a numpy file, on purpose")
    migration.server.create(schema)
    try:
        job_id = way.submit(schema.name, "", names, token)
        job = wait_for(
            lambda: way.job(job_id),
            lambda job: bool(job and job.state is JobState.FAILED),
            _PROBE_SECONDS,
        )
    finally:
        migration.server.drop(schema.name)
        migration.staging.folder.delete_folder(f"{_PROBE}{token}")
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


def drop_left_probes(server: MilvusDatabase, staging: Storage) -> None:
    """Drops what a check left that was killed: the probes' folders say which collections."""
    tokens = {path.split("/")[0] for path in staging.list() if path.startswith(_PROBE)}
    for token in sorted(one.removeprefix(_PROBE) for one in tokens):
        if server.exists(_probe_name(token)):
            server.drop(_probe_name(token))
        staging.delete_folder(f"{_PROBE}{token}")


def _probe_name(token: str) -> str:
    return f"airlift_probe_{token}"


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
