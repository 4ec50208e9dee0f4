"""Keys of a backup's metadata that this version does not know, and where they are.

A newer milvus-backup may say with them that rows lie elsewhere. A reader that ignored them might
find fewer rows than the backup holds, so they are refused by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from airlift.sources.backup.meta import BackupMeta, CollectionMeta, Message

_ADVICE = (
    "it may change which rows the backup holds. Update Milvus Airlift, or restore the backup with "
    "milvus-backup and use milvus_to_milvus"
)

_WORDS = {
    "segment_backups": "segment",
    "l0_segments": "segment",
    "partition_backups": "partition",
    "fields": "field",
}


def in_backup(meta: BackupMeta) -> list[str]:
    """A reason for each unknown key of a backup as a whole; not those of collections and roles."""
    whole = meta.model_copy(update={"collection_backups": (), "rbac_meta": None})
    return _reasons(f"the backup {meta.name!r}", whole, _ADVICE)


def in_collection(meta: CollectionMeta, name: str) -> list[str]:
    """A reason for each unknown key of a collection, its partitions, segments and logs.

    Args:
        name: as the collection is called among all of the backup.
    """
    advice = f"{_ADVICE}; or leave the collection out by `collections`"
    return _reasons(f"collection {name!r}", meta, advice)


def in_roles(meta: BackupMeta) -> list[str]:
    """A reason for each unknown key of users, roles, grants and privilege groups."""
    if meta.rbac_meta is None:
        return []
    advice = "it may change what is allowed. Update Milvus Airlift, or turn with_rbac off"
    return _reasons(f"the backup {meta.name!r}: rbac_meta", meta.rbac_meta, advice)


def _reasons(what: str, message: Message, advice: str) -> list[str]:
    places: dict[str, list[str]] = {}
    for place, key in _unknown(message, ""):
        places.setdefault(key, []).append(place)
    return [
        f"{what}: the metadata has the key {key!r}{_where(found)}, which is not known here: "
        f"{advice}"
        for key, found in sorted(places.items())
    ]


def _where(places: list[str]) -> str:
    more = f" and {len(places) - 1:,} more places" if len(places) > 1 else ""
    return f" in {places[0]}{more}" if places[0] else more


def _unknown(message: Message, place: str) -> Iterator[tuple[str, str]]:
    """Place and key of each, in the message and all that is in it."""
    for key in message.unknown_keys:
        yield place, key
    for name in _nested(type(message)):
        held = getattr(message, name)
        for inner in held if isinstance(held, tuple) else (held,):
            if isinstance(inner, Message):
                yield from _unknown(inner, _place(place, name, inner))


def _place(outer: str, name: str, inner: Message) -> str:
    known_by = type(inner).known_by
    own = f" {getattr(inner, known_by)!r}" if known_by else ""
    return f"{outer}{', ' if outer else ''}{_WORDS.get(name, name)}{own}"


@cache
def _nested(model: type[Message]) -> tuple[str, ...]:
    """The fields that may hold messages."""
    plain = (int, str, bool)
    return tuple(
        name
        for name, field in model.model_fields.items()
        if name != "unknown_keys" and field.annotation not in plain
    )
