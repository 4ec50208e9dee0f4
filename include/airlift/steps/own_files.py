"""Decides whether the target imports the source's own files, without conversion."""

from __future__ import annotations

from airlift.errors import Refused
from airlift.mapping import MappedCollection
from airlift.mapping_params import CollectionMapping
from airlift.migration import Migration
from airlift.params import WriteMode
from airlift.schema import SourceCollection
from airlift.steps.existing import appends_to
from airlift.storage import Storage

_KEEPS_ROWS = {
    "target",
    "database",
    "aliases",
    "consistency_level",
    "dynamic_field",
    "shards",
    "metric_type",
}
"""What of a mapping leaves the rows, and the ids of their fields, as they are."""


def imports_own_files(
    migration: Migration, collection: SourceCollection, mapped: MappedCollection
) -> bool:
    """Whether the target imports the files of a collection as they are.

    Raises:
        Refused: the params ask for it, and it can't be; with every reason.
    """
    own = collection.own_files
    if not migration.params.own_files_wanted or own is None:
        return False
    reasons = [*own.reasons, *_reasons(migration, collection, mapped)]
    if reasons:
        raise Refused([f"collection {collection.name!r}: backup_way native: {r}" for r in reasons])
    return True


def _reasons(
    migration: Migration, collection: SourceCollection, mapped: MappedCollection
) -> list[str]:
    """Why the target can't, or would not give the same rows."""
    params, reasons = migration.params, []
    if not migration.capabilities.own_files_way:
        reasons.append(f"{migration.server.version().name} is not known to import such files")
    if params.write_mode not in (WriteMode.AUTO, WriteMode.BULK_INSERT):
        reasons.append(f"it is an import, and write_mode is {params.write_mode.value}")
    if params.sets_rows_aside:
        reasons.append("no row can be set aside from files that are imported as they are")
    if appends_to(migration, collection, mapped):
        reasons.append("it would also bring the rows that the target collection holds already")
    mapping = params.mapping.get(collection.name, CollectionMapping())
    if changed := sorted(mapping.model_fields_set - _KEEPS_ROWS):
        reasons.append(f"mapping has {changed}, which changes rows")
    schema = collection.collection_schema
    if mapped.target.fields != schema.fields:
        reasons.append("the target needs other fields than the source has")
    elif mapped.target.dynamic_field != schema.dynamic_field:
        reasons.append("the source has no dynamic field; turn it off in mapping: dynamic_field")
    if mapped.has_partition_key:
        reasons.append("the server would have to spread the rows by the partition key")
    folder = migration.source.folder()
    will_be_copied = params.dry_run and params.copy_source == "always"
    if not will_be_copied and (folder is None or not _same_store(folder, migration.staging_root)):
        reasons.append(
            "the files are not in the store that the target reads; set copy_source to always"
        )
    return reasons


def _same_store(one: Storage, other: Storage) -> bool:
    """Whether the target, which reads the one, can be taken to read the other."""
    return (
        type(one.store) is type(other.store)
        and one.bucket == other.bucket
        and one.store.connection.endpoint_url == other.store.connection.endpoint_url
    )
