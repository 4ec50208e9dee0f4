"""Which collections of Milvus 1.x are moved, and what stands against one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase

from airlift.sources.milvus1x.meta import BINARY_METRICS, Table

MAX_DIM = 32_768
_NO_COUNTERPART = ("SUBSTRUCTURE", "SUPERSTRUCTURE")


def choose(tables: Mapping[str, Table], patterns: Sequence[str]) -> tuple[list[Table], list[str]]:
    """The collections that names and patterns (`*`, `?`) name, each once.

    Returns:
        Them, and a reason for each name or pattern that names none.
    """
    chosen: dict[str, Table] = {}
    reasons: list[str] = []
    for pattern in patterns:
        names = [pattern] if pattern in tables else []
        names = names or [name for name in tables if fnmatchcase(name, pattern)]
        chosen.update((name, tables[name]) for name in names)
        if not names:
            near = get_close_matches(pattern, tables, n=3, cutoff=0.5) or sorted(tables)[:10]
            there = ", ".join(near) or "no collections at all"
            reasons.append(
                f"no collection {pattern!r} in the source; it has {there}; check `collections`"
            )
    return list(chosen.values()), reasons


def reasons_against(table: Table, allow_lossy: bool) -> list[str]:
    """Every reason why Milvus 2.x can't have such a collection."""
    what = f"collection {table.name!r}"
    reasons: list[str] = []
    if not 1 <= table.dim <= MAX_DIM:
        reasons.append(
            f"{what} has dimension {table.dim:,}; Milvus 2.x takes 1 to {MAX_DIM:,}; leave it "
            "out by `collections`, or mend the metadata"
        )
    if table.metric in BINARY_METRICS and table.dim % 8:
        reasons.append(
            f"{what} has binary vectors of {table.dim} bits; expected a multiple of 8; mend "
            "the metadata"
        )
    if table.metric in _NO_COUNTERPART:
        reasons.append(
            f"{what} is searched by {table.metric}, which no metric of Milvus 2.x does; leave "
            "it out by `collections`"
        )
    if table.metric == "TANIMOTO" and not allow_lossy:
        reasons.append(
            f"{what} is searched by TANIMOTO; JACCARD orders results alike, but its distances "
            "are other numbers; set allow_lossy to have JACCARD"
        )
    return reasons
