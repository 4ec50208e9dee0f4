"""The step `check`: connects to both ends and refuses what can't work, with every reason."""

from __future__ import annotations

import uuid
from typing import Any

from airlift.datatypes import DataType
from airlift.errors import AirliftError, Refused
from airlift.migration import Migration
from airlift.milvus.capabilities import WAYS_OF_MODE
from airlift.params import OnBadRow, WriteMode
from airlift.schema import CollectionSchema, Field
from airlift.targets.base import JobState
from airlift.targets.ways import IMPORT_WAYS
from airlift.waiting import wait_for

_PROBE_SECONDS = 120.0


def choose_way(migration: Migration) -> str:
    """The way in that `write_mode` and the target agree on.

    Raises:
        AirliftError: the target has no such way.
    """
    mode = migration.params.write_mode
    ways = migration.capabilities.ways
    for way in WAYS_OF_MODE.get(mode, ways):
        if way in ways:
            return way
    raise AirliftError(
        f"write_mode {mode.value!r} is not possible on {migration.server.version().name}; it has "
        f"{', '.join(ways)}; use write_mode auto"
    )


def check(migration: Migration) -> dict[str, Any]:
    """Connects to both ends.

    Returns:
        What was found: the target's version and the way in.

    Raises:
        Refused: with every reason why the migration can't work.
    """
    reasons = _unfit_params(migration)
    found: dict[str, Any] = {"migration_id": migration.id}
    staging_reason = migration.staging_root.check(write=True)
    if staging_reason:
        reasons.append(f"staging: {staging_reason}")
    source = migration.original_source() if staging_reason else migration.source
    reasons += source.check()
    try:
        found["target"] = migration.server.version().name
        found["way"] = choose_way(migration)
        migration.database_exists(migration.params.target_database)
        if found["way"] in IMPORT_WAYS and not staging_reason and not migration.params.dry_run:
            _check_target_reads_staging(migration, found["way"])
    except AirliftError as error:
        reasons.append(f"target: {error}")
    if reasons:
        raise Refused(reasons)
    return found


def _unfit_params(migration: Migration) -> list[str]:
    """Params that contradict each other."""
    params = migration.params
    reasons = []
    with_auto_id = [name for name, mapping in params.mapping.items() if mapping.auto_id]
    if params.write_mode is WriteMode.UPSERT and with_auto_id:
        reasons.append(f"write_mode upsert needs primary keys, but {with_auto_id} have auto_id")
    if params.file_format.value == "numpy" and params.on_bad_row is OnBadRow.SET_ASIDE:
        reasons.append(
            "file_format numpy needs the number of rows beforehand, so rows can't be set aside; "
            "use file_format auto"
        )
    return reasons


def _check_target_reads_staging(migration: Migration, way_name: str) -> None:
    """Has the target import a file that is no data: it must find it, and refuse what is in it.

    A server that can't see the file says so instead. Works on a collection of its own, which is
    dropped again.
    """
    token = uuid.uuid4().hex[:12]
    staging = migration.staging.folder.folder(f"probe-{token}")
    way = IMPORT_WAYS[way_name](migration.server, staging)
    schema = CollectionSchema(
        name=f"airlift_probe_{token}",
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
        migration.staging.folder.delete_folder(f"probe-{token}")
    reason = (job.reason if job else "") or "it did not answer in time"
    if not job or any(sign in reason.lower() for sign in _NOT_FOUND_SIGNS):
        raise AirliftError(
            f"it can't read the staging folder {migration.params.staging_url} ({reason}); stage in "
            "the bucket that Milvus itself uses (minio.bucketName), or below its data folder when "
            "it stores locally; or set write_mode to insert"
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
