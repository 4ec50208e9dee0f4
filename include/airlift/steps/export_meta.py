"""The step `export_meta`: describes the source's collections into staging."""

from __future__ import annotations

from typing import Any

from airlift.migration import Migration
from airlift.staging import Meta


def export_meta(migration: Migration) -> dict[str, Any]:
    """Writes `meta.json`.

    Returns:
        Rows, deleted rows and partitions per collection.

    Raises:
        Refused: a collection can't be described; with every reason.
    """
    collections = migration.source.describe()
    migration.staging.write(
        "meta.json", Meta(source=migration.source_name, collections=tuple(collections))
    )
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
