"""What a Milvus' description of a collection means, wherever it was found: server or backup."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_CONSISTENCY = ("Strong", "Session", "Bounded", "Eventually")
DEFAULT_PARTITION = "_default"
MARK = "airlift.made_by"
"""The property by which a migration knows a collection that it made itself."""

# What a server sets by itself, and would not take from a client; and what is said of its making.
_SERVERS_PROPERTIES = ("partitionkey.", "timezone", "replicate.", MARK)


def partitions_by_key(partitions: Iterable[str], said: int = 0) -> int:
    """How many partitions rows are spread over by a partition key.

    Args:
        partitions: the names of all.
        said: how many the server says there are; 0 where it does not. Milvus Lite counts its
            `_default` too, which servers don't have beside such a key.
    """
    names = list(partitions)
    own = [name for name in names if name != DEFAULT_PARTITION]
    return said if said and len(own) == len(names) else len(own)


def consistency_name(level: object) -> str:
    """The name of a consistency level; Bounded for one that has none."""
    if isinstance(level, int) and is_consistency_level(level):
        return _CONSISTENCY[level]
    return "Bounded"


def is_consistency_level(level: int) -> bool:
    """Whether a collection can be made with the level of this number."""
    return 0 <= level < len(_CONSISTENCY)


def left_out_properties(told: Mapping[Any, Any]) -> dict[str, str]:
    """The properties that are not carried although somebody may have set them.

    A target may refuse them: isolation by partition key needs a setting of the server.
    """
    usual = {"partitionkey.isolation": "false", "timezone": "UTC"}
    return {
        key: str(value)
        for key, value in told.items()
        if str(key).startswith(_SERVERS_PROPERTIES)
        and key != MARK
        and str(value).lower() not in ("", usual.get(key, "").lower())
    }


def property_notes(told: Mapping[Any, Any]) -> list[str]:
    """What is noted of a collection's properties at the source."""
    notes = []
    if carried := own_properties(told):
        notes.append(f"the properties {carried} come along")
    if left_out := left_out_properties(told):
        notes.append(
            f"the properties {left_out} are left out, as a target may refuse them; set them on the "
            "target with alter_collection_properties"
        )
    return notes


def own_properties(told: Mapping[Any, Any]) -> dict[str, str]:
    """The properties that somebody has set, without those that the server or a migration sets."""
    return {
        key: str(value)
        for key, value in told.items()
        if not str(key).startswith(_SERVERS_PROPERTIES)
    }
