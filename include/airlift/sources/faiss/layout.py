"""Where an index file keeps its vectors and ids; `parser` finds it out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from airlift.sources.faiss.kinds import Codec
from airlift.sources.faiss.transforms import Transform

Offsets = NDArray[np.int64]


def _none() -> Offsets:
    return np.zeros(0, np.int64)


@dataclass(frozen=True)
class Layout:
    """Where the vectors are.

    Attributes:
        kind: the classes, from the outside in: `IndexIDMap > IndexFlatL2`.
        dim: of the vectors that were added (bits, if binary).
        held_dim: of the vectors that are stored, before `transforms` are undone.
        codec: how their numbers lie; None where only Faiss can tell (`decoder`).
        lossy: what is stored is not what was added.
        lists: rows come from inverted lists, with ids.
        inner: the attributes that lead from the index to the one that holds the vectors.
        run_rows, vectors_at, ids_at: runs of rows that lie together in the file, and where; the
            ids only with `lists`.
        lists_file, lists_bytes: base name, and length in bytes, of the file beside the index that
            holds the inverted lists (OnDiskInvertedLists); "" and 0 where the index itself does.
        id_map_at: where the ids by position are, or None.
        transforms: to be undone.
        index: how it is searched, as Milvus has it: an index type and its params; None where Milvus
            has no counterpart.
    """

    kind: str
    dim: int
    rows: int
    metric: str
    binary: bool
    held_dim: int
    codec: Codec | None
    lossy: bool = False
    lists: bool = False
    inner: tuple[str, ...] = ()
    run_rows: Offsets = field(default_factory=_none)
    vectors_at: Offsets = field(default_factory=_none)
    ids_at: Offsets = field(default_factory=_none)
    lists_file: str = ""
    lists_bytes: int = 0
    id_map_at: int | None = None
    transforms: tuple[Transform, ...] = ()
    index: dict[str, Any] | None = None

    @property
    def width(self) -> int:
        """Bytes of a stored vector."""
        return self.codec.width(self.held_dim) if self.codec else 4 * self.held_dim
