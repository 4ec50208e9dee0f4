"""What a Milvus' description of a collection means, wherever it was found: server or backup."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_CONSISTENCY = ("Strong", "Session", "Bounded", "Eventually")
# What a server sets by itself, and would not take from a client.
_SERVERS_PROPERTIES = ("partitionkey.", "timezone", "replicate.")


def consistency_name(level: object) -> str:
    """The name of a consistency level; Bounded for one that has none."""
    if isinstance(level, int) and 0 <= level < len(_CONSISTENCY):
        return _CONSISTENCY[level]
    return "Bounded"


def own_properties(told: Mapping[Any, Any]) -> dict[str, str]:
    """The properties that somebody has set, without those that the server sets."""
    return {
        key: str(value)
        for key, value in told.items()
        if not str(key).startswith(_SERVERS_PROPERTIES)
    }
