"""Which collections of a source are moved, by the param `collections`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TypeVar

T = TypeVar("T")


def choose(collections: Mapping[str, T], patterns: Sequence[str]) -> tuple[list[T], list[str]]:
    """The collections that names and patterns (`*`, `?`) name, each once.

    Returns:
        Them, and a reason for each name or pattern that names none.
    """
    chosen: dict[str, T] = {}
    reasons: list[str] = []
    for pattern in patterns:
        names = [pattern] if pattern in collections else []
        names = names or [name for name in collections if fnmatchcase(name, pattern)]
        chosen.update((name, collections[name]) for name in names)
        if not names:
            near = get_close_matches(pattern, collections, n=3, cutoff=0.5)
            there = ", ".join(near or sorted(collections)[:10]) or "no collections at all"
            reasons.append(
                f"no collection {pattern!r} in the source; it has {there}; check `collections`"
            )
    return list(chosen.values()), reasons
