"""The step `export_meta`: describes the source's collections into staging."""

from __future__ import annotations

from typing import Any

from airlift.errors import AirliftError
from airlift.migration import Migration
from airlift.params import IfExists
from airlift.staging import Meta
from airlift.steps.copy_source import COPIED, discard_outdated_copies


def export_meta(migration: Migration) -> dict[str, Any]:
    """Writes `meta.json`.

    Returns:
        Rows, deleted rows and partitions per collection.

    Raises:
        Refused: a collection can't be described; with every reason.
    """
    earlier = migration.staging.read("meta.json", Meta)
    if earlier is None and migration.params.incremental_by:
        _refuse_lost_mark(migration)
    # A migration that is resumed begins where it began, also when it has moved the mark itself.
    since = earlier.since if earlier else _since(migration)
    # Also where an earlier attempt has copied all files: the originals may be others since.
    copied = migration.staging.folder.exists(COPIED)
    source = migration.original_source() if copied else migration.source
    try:
        source.begin_after(since)
        collections = tuple(source.describe())
    finally:
        if copied:
            source.close()
    discard_outdated_copies(migration, earlier, collections)
    meta = Meta(source=migration.source_name, since=since, collections=collections)
    migration.staging.write("meta.json", meta)
    return {
        "collections": {
            one.name: {
                "rows": one.rows,
                "deleted": one.deleted,
                "partitions": len(one.collection_schema.partitions),
            }
            for one in collections
        }
    }


def _refuse_lost_mark(migration: Migration) -> None:
    """Raises AirliftError where nobody knows any more after which value this run began."""
    if migration.staging.folder.exists("meta.json"):
        raise AirliftError(
            f"{migration.staging.folder.address('meta.json')} is damaged, and only it says after "
            "which value this incremental run began; use a new migration_id"
        )


def _since(migration: Migration) -> dict[str, int | str]:
    """What earlier runs have moved, by source collection; empty unless the params ask for it."""
    params = migration.params
    if not params.incremental_by or params.if_exists is IfExists.REPLACE:
        return {}
    from airlift.high_water import read_marks

    return {source: mark.value for source, mark in read_marks(migration).items()}
