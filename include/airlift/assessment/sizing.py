"""How much memory and storage a collection takes on the target, by Milvus' public formulas.

They are those of Milvus' sizing tool (https://milvus.io/tools/sizing): an estimate, since it knows
neither how segments are cut nor what else the server does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

LOADING = 1.15
"""The sizing tool's factor for what a query node takes to hold an index of a byte."""


class Vectors(NamedTuple):
    """The vectors of a field; `row_bytes` of one vector, `params` of the index."""

    rows: int
    row_bytes: float
    params: dict[str, Any]

    @property
    def raw(self) -> float:
        """Bytes of all vectors."""
        return self.rows * self.row_bytes

    @property
    def centroids(self) -> float:
        """Bytes of an IVF index' centroids."""
        return self.param("nlist", 128) * self.row_bytes

    def param(self, name: str, otherwise: float) -> float:
        """A number of the index' params, or its default."""
        value = self.params.get(name, otherwise)
        return float(value) if isinstance(value, int | float) else otherwise


@dataclass(frozen=True)
class Formula:
    """Bytes of an index in memory and on a query node's own disk; `text` says how, for people."""

    text: str
    memory: Callable[[Vectors], float]
    local_disk: Callable[[Vectors], float] = lambda vectors: 0.0


_RAW = Formula("vectors", lambda v: v.raw)
_IVF = Formula("vectors + nlist x bytes of a vector", lambda v: v.raw + v.centroids)


def _hnsw(links: int, text: str) -> Formula:
    return Formula(text, lambda v: v.raw + 8 * v.param("M", links) * v.rows)


_HNSW = _hnsw(30, "vectors + 8 x M bytes a row (M 30 unless given)")

FORMULAS: dict[str, Formula] = {
    "": _RAW,
    "FLAT": _RAW,
    "BIN_FLAT": _RAW,
    "IVF_FLAT": _IVF,
    "BIN_IVF_FLAT": _IVF,
    "IVF_SQ8": Formula(
        "vectors / 4 + nlist x bytes of a vector", lambda v: v.raw / 4 + v.centroids
    ),
    "IVF_RABITQ": Formula(
        "vectors / 32 + nlist x bytes of a vector", lambda v: v.raw / 32 + v.centroids
    ),
    "IVF_PQ": Formula(
        "m x nbits / 8 bytes a row + nlist x bytes of a vector",
        lambda v: v.rows * v.param("m", v.row_bytes / 32) * v.param("nbits", 8) / 8 + v.centroids,
    ),
    "SCANN": Formula(
        "vectors x 9/8 (1/8 without raw data)",
        lambda v: v.raw * (9 / 8 if v.params.get("with_raw_data", True) else 1 / 8),
    ),
    "HNSW": _HNSW,
    "AUTOINDEX": _hnsw(18, "as HNSW with M 18, Milvus' default: vectors + 8 x M bytes a row"),
    "DISKANN": Formula(
        "vectors / 4; on the query node's disk vectors + 4 x max_degree bytes a row",
        lambda v: v.raw / 4,
        lambda v: v.raw + 4 * v.param("max_degree", 56) * v.rows,
    ),
    "SPARSE_INVERTED_INDEX": _RAW,
    "SPARSE_WAND": _RAW,
}
"""By index type; "" for a field without an index. Sparse vectors are counted as their values."""

UNKNOWN = Formula(f"not in the sizing tool, counted as HNSW: {_HNSW.text}", _HNSW.memory)
"""For index types that the tool does not know."""


def memory_bytes(index_bytes: float, scalar_bytes: float) -> float:
    """What a loaded collection takes: its indexes with the tool's factor, and all other values."""
    return LOADING * index_bytes + scalar_bytes


def storage_bytes(raw_bytes: float, memory: float) -> float:
    """What it takes in the target's object storage: its rows, and as much again as is loaded."""
    return raw_bytes + memory
