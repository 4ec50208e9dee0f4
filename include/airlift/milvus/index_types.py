"""The index types of Milvus' versions and their parameters, as data.

2.2.16 and 2.3.5 were asked; what is said of later versions is from Milvus' documentation
(https://milvus.io/docs/index.md and its pages of each type).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from airlift.datatypes import TYPES, DataType

_BINARY = frozenset({DataType.BINARY_VECTOR})
_SPARSE = frozenset({DataType.SPARSE_FLOAT_VECTOR})
_DENSE = frozenset(kind for kind, facts in TYPES.items() if facts.is_vector) - _BINARY - _SPARSE
_VECTORS = _DENSE | _BINARY | _SPARSE


@dataclass(frozen=True)
class IndexType:
    """An index type for vector fields, as one version of Milvus has it.

    Attributes:
        data_types: the fields that it can be built on.
        ranges: parameter -> the smallest and the largest value.
        needed: the parameters without a default value.
        divides: the parameter that must divide the dimension; "" for none.
        only_known: whether it takes no other parameters than those in `ranges`.
    """

    data_types: frozenset[DataType]
    ranges: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    needed: frozenset[str] = frozenset()
    divides: str = ""
    only_known: bool = False

    def faults(self, dim: int, params: Mapping[str, Any]) -> Iterator[str]:
        """What is wrong with such an index on a field, each as a part of a sentence.

        Args:
            dim: of the field; 0 where it has none.
        """
        if self.only_known and (more := sorted(params.keys() - self.ranges)):
            yield f"it takes no params, found {more}"
        for name in sorted(self.needed - params.keys()):
            yield f"it needs the param {name!r} ({self._range_text(name)})"
        for name, (low, high) in self.ranges.items():
            if name in params and not _is_within(params[name], low, high):
                yield f"{name} is {params[name]!r}, expected {self._range_text(name)}"
        part = _as_int(params.get(self.divides))
        if part and dim % part:
            yield f"{self.divides} is {part}, which does not divide the dimension {dim:,}"

    def _range_text(self, name: str) -> str:
        low, high = self.ranges[name]
        return f"a whole number of at least {low}" if high >= _OPEN else f"{low} to {high:,}"


IndexTypes = Mapping[str, IndexType]

_OPEN = (1 << 31) - 1
_NLIST = {"nlist": (1, 65_536)}
_HNSW = {"M": (1, 2048), "efConstruction": (1, _OPEN)}
_HNSW_2_2 = {"M": (4, 64), "efConstruction": (8, 512)}


def _ivf(data_types: frozenset[DataType], **ranges: tuple[int, int]) -> IndexType:
    return IndexType(data_types, _NLIST | ranges, frozenset({"nlist"}))


_2_2_TYPES = {
    "AUTOINDEX": IndexType(_VECTORS, only_known=True),
    "FLAT": IndexType(_DENSE),
    "IVF_FLAT": _ivf(_DENSE),
    "IVF_SQ8": _ivf(_DENSE),
    "IVF_PQ": replace(
        _ivf(_DENSE, m=(1, 65_536), nbits=(1, 64)), needed=frozenset({"nlist", "m"}), divides="m"
    ),
    "HNSW": IndexType(_DENSE, _HNSW_2_2, frozenset(_HNSW_2_2)),
    "RHNSW_FLAT": IndexType(_DENSE, _HNSW_2_2, frozenset(_HNSW_2_2)),
    "ANNOY": IndexType(_DENSE, {"n_trees": (1, 1024)}, frozenset({"n_trees"})),
    "DISKANN": IndexType(_DENSE),
    "BIN_FLAT": IndexType(_BINARY),
    "BIN_IVF_FLAT": _ivf(_BINARY),
}
_2_3_TYPES = {
    **{name: kind for name, kind in _2_2_TYPES.items() if name not in ("RHNSW_FLAT", "ANNOY")},
    "HNSW": IndexType(_DENSE, _HNSW, frozenset(_HNSW)),
    "SCANN": _ivf(_DENSE),
    "GPU_IVF_FLAT": _ivf(_DENSE),
    "GPU_IVF_PQ": _ivf(_DENSE),
}
_2_4_TYPES = {
    **_2_3_TYPES,
    "GPU_BRUTE_FORCE": IndexType(_DENSE),
    "GPU_CAGRA": IndexType(_DENSE),
    "SPARSE_INVERTED_INDEX": IndexType(_SPARSE),
    "SPARSE_WAND": IndexType(_SPARSE),
}
_2_5_TYPES = {
    **{
        name: replace(kind, needed=frozenset(), only_known=False)
        for name, kind in _2_4_TYPES.items()
    },
    "HNSW_SQ": IndexType(_DENSE, _HNSW),
    "HNSW_PQ": IndexType(_DENSE, _HNSW),
    "HNSW_PRQ": IndexType(_DENSE, _HNSW),
}
_2_6_TYPES = {
    **_2_5_TYPES,
    "IVF_RABITQ": IndexType(_DENSE, _NLIST),
    "MINHASH_LSH": IndexType(_BINARY),
}
_3_0_TYPES = {
    **_2_6_TYPES,
    "SINDI": IndexType(_SPARSE),
    "SVS_VAMANA": IndexType(_DENSE),
    "AISAQ": IndexType(_DENSE),
}

_BY_VERSION: tuple[tuple[tuple[int, int], IndexTypes], ...] = (
    ((3, 0), _3_0_TYPES),
    ((2, 6), _2_6_TYPES),
    ((2, 5), _2_5_TYPES),
    ((2, 4), _2_4_TYPES),
    ((2, 3), _2_3_TYPES),
    ((2, 2), _2_2_TYPES),
)

ALL_INDEX_TYPES: IndexTypes = {
    name: IndexType(kind.data_types)
    for _, types in reversed(_BY_VERSION)
    for name, kind in types.items()
}
"""Those of any version, with any params: what Milvus Lite takes (3.2.2)."""


def index_types(major: int, minor: int) -> IndexTypes:
    """The index types for vector fields of a version, by name."""
    return next(types for since, types in _BY_VERSION if (major, minor) >= since)


def _as_int(value: Any) -> int | None:
    """A param's number, which may also be written as text; None where it is none."""
    try:
        return int(str(value))
    except ValueError:
        return None


def _is_within(value: Any, low: int, high: int) -> bool:
    number = _as_int(value)
    return number is not None and low <= number <= high
