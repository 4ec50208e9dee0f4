"""What a Milvus' description of a collection means, wherever it was found: server or backup."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_CONSISTENCY = ("Strong", "Session", "Bounded", "Eventually")
MARK = "airlift.made_by"
"""The property by which a migration knows a collection that it made itself."""

# What a server sets by itself, and would not take from a client; and what is said of its making.
_SERVERS_PROPERTIES = ("partitionkey.", "timezone", "replicate.", MARK)


def consistency_name(level: object) -> str:
    """The name of a consistency level; Bounded for one that has none."""
    if isinstance(level, int) and is_consistency_level(level):
        return _CONSISTENCY[level]
    return "Bounded"


def is_consistency_level(level: int) -> bool:
    """Whether a collection can be made with the level of this number."""
    return 0 <= level < len(_CONSISTENCY)


def own_properties(told: Mapping[Any, Any]) -> dict[str, str]:
    """The properties that somebody has set, without those that the server or a migration sets."""
    return {
        key: str(value)
        for key, value in told.items()
        if not str(key).startswith(_SERVERS_PROPERTIES)
    }
