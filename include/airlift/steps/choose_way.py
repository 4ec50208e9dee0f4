"""Chooses the way in for each collection, and finds out whether the target can read staging."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from airlift.datatypes import DataType
from airlift.errors import AirliftError
from airlift.mapping import MappedCollection
from airlift.migration import Migration
from airlift.milvus.capabilities import WAYS_OF_MODE, Capabilities
from airlift.milvus.errors import Unavailable
from airlift.params import WriteMode
from airlift.schema import CollectionSchema, Field, SourceCollection
from airlift.steps.probe_collections import drop_left_probes, probe_collection
from airlift.storage import Storage
from airlift.storage_errors import own_words
from airlift.targets.base import JobState
from airlift.targets.ways import IMPORT_WAYS
from airlift.waiting import wait_for

FEW_ROWS = 50_000
"""Fewer rows are in sooner by insert: import jobs take 2 seconds or more, one after the other."""

_PROBE_SECONDS = 120.0


@dataclass(frozen=True)
class ChosenWays:
    """How the rows of each collection get into the target.

    Attributes:
        ways: by target collection, with its database.
        reasons: why that is not possible.
        notes: what the user should know, by source collection.
    """

    ways: dict[str, str]
    reasons: list[str]
    notes: dict[str, str]

    def noted(self, mapped: MappedCollection) -> MappedCollection:
        """A collection with the note on it."""
        note = self.notes.get(mapped.source)
        return mapped.model_copy(update={"notes": (*mapped.notes, note)}) if note else mapped


def choose_ways(
    migration: Migration, collections: Iterable[SourceCollection], mapped: list[MappedCollection]
) -> ChosenWays:
    """Chooses for every collection, and finds out whether the target can read staging for it.

    Raises:
        Unavailable: the target can't answer now.
    """
    can, target = migration.capabilities, migration.server.version().name
    ways, refused = {}, {}
    for collection, one in zip(collections, mapped, strict=True):
        way = choose_way(migration, collection)
        fields = _refused_by_insert(can, one.target) if way == "insert" else []
        if fields and migration.params.write_mode is WriteMode.AUTO and can.ways[0] in IMPORT_WAYS:
            way, refused[one.source] = can.ways[0], fields
        ways[one.full_name] = way
    imports = {*can.ways} & IMPORT_WAYS.keys()
    unreadable = _unreadable_staging(migration, imports.intersection(ways.values()))
    notes = {}
    for one in mapped:
        if one.source not in refused:
            continue
        what = (
            f"collection {one.source!r}: inserts into {target} do not take every value of "
            f"{refused[one.source]}"
        )
        if unreadable:
            ways[one.full_name] = "insert"
            notes[one.source] = (
                f"{what}; its import would, but it can't read staging: such a row is a bad row"
            )
        else:
            notes[one.source] = f"{what}, its import does: the rows are bulk inserted"
    needed = imports.intersection(ways.values())
    return ChosenWays(ways, unreadable if needed else [], notes)


def _refused_by_insert(can: Capabilities, schema: CollectionSchema) -> list[str]:
    """The fields that may hold values which the target takes by its import, and not by insert.

    Values of the dynamic field are objects wherever they come from.
    """
    limited = {limit.type for limit in can.value_limits if "insert" in limit.ways}
    return [
        field.name for field in schema.written if field.type in limited and not field.is_dynamic
    ]


def _unreadable_staging(migration: Migration, ways: Iterable[str]) -> list[str]:
    """Why the target can't import what lies in staging."""
    if migration.params.dry_run and not migration.params.dry_run_probe:
        return []
    try:
        for way in ways:
            check_target_reads_staging(migration, way)
    except Unavailable:
        raise  # no reason against the migration: the task is tried again
    except AirliftError as error:
        return [f"target: {error}"]
    return []


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
    if did_not_find_file(job.reason, probe.folder):
        raise AirliftError(
            f"it can't read the staging folder {migration.params.staging_url} ({job.reason}); "
            "stage in the bucket that Milvus itself uses (minio.bucketName), or below its data "
            "folder when it stores locally; or set write_mode to insert"
        )


def did_not_find_file(reason: str, folder: Storage) -> bool:
    """Whether a server could not import files because it does not see them.

    Args:
        reason: what the import job says.
        folder: where the files are; its path is the user's, and may hold any word.
    """
    for path in (folder.path(), folder.key()):
        reason = reason.replace(path, "''")
    words = own_words(reason, folder.url).lower()
    return any(sign in words for sign in _NOT_FOUND_SIGNS)


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
