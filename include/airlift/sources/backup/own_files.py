"""Whether a target can import the logs of a backup as they are."""

from __future__ import annotations

from airlift.schema import OwnFiles, SourceCollection
from airlift.sources.backup.inventory import Detail

_FIRST_ID = 100
"""Of a collection's own fields; a new collection counts from there."""


def own_files(collection: SourceCollection, backups: int, newest_only: bool) -> OwnFiles:
    """The logs of a collection.

    Args:
        backups: how many are read together.
        newest_only: whether rows that share a key are left out.
    """
    detail = Detail.model_validate(collection.detail)
    held = [one.segment for one in detail.segments if one.segment.logs]
    reasons = []
    if backups > 1:
        reasons.append("of several backups the newest rows must be chosen")
    elif newest_only:
        reasons.append("on_duplicate_id leaves rows out")
    if detail.wide:
        reasons.append("it has delete logs of level 0, which are not of one segment")
    if any(one.packed for one in held):
        reasons.append("its logs are of storage v2")
    ids = [detail.ids.get(field.name) for field in collection.collection_schema.fields]
    if ids != list(range(_FIRST_ID, _FIRST_ID + len(ids))):
        reasons.append(f"its fields have the ids {ids}: a new collection has others")
    return OwnFiles(reasons=tuple(reasons))
