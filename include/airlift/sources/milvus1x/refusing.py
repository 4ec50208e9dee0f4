"""What stands against moving a collection of Milvus 1.x."""

from __future__ import annotations

from airlift.sources.milvus1x.meta import BINARY_METRICS, Table

MAX_DIM = 32_768
_NO_COUNTERPART = ("SUBSTRUCTURE", "SUPERSTRUCTURE")


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
