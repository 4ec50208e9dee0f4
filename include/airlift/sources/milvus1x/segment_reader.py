"""Reads a Milvus 1.x segment's rows and deleted offsets, in blocks of bounded size.

Its three files each start with the byte length of what follows (8 bytes, little-endian); then come
float32 rows (or dim/8 bytes a row), int64 ids, int32 row offsets. See Milvus 1.x,
`core/src/codecs/default/`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from airlift.errors import AirliftError
from airlift.reading_ahead import read_ahead
from airlift.sources.milvus1x.dead_rows import DeadRows
from airlift.storage import Storage

HEADER = 8
_OFFSETS_BLOCK = 1 << 20  # deleted offsets read at once
_IDS_BLOCK = 1 << 16  # ids read at once, at least

Ids = NDArray[np.int64]
Vectors = NDArray[Any]


class VectorKind(NamedTuple):
    """How a collection's vectors lie on disk: numbers a row, and their dtype."""

    columns: int
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, dim: int, binary: bool) -> VectorKind:
        """The kind for a dimension (bits, if binary)."""
        return cls(dim // 8, np.dtype("u1")) if binary else cls(dim, np.dtype("<f4"))

    @property
    def width(self) -> int:
        """Bytes of a vector."""
        return self.columns * self.dtype.itemsize


def segment_paths(table_id: str, segment: str) -> tuple[str, str, str]:
    """Where a segment's vectors, ids and deleted rows lie, relative to the `tables` folder."""
    folder = f"{table_id}/{segment}"
    return f"{folder}/{segment}.rv", f"{folder}/{segment}.uid", f"{folder}/deleted_docs"


def read_deleted(
    storage: Storage, path: str, offsets: int, rows: int
) -> tuple[DeadRows, int, int | None]:
    """Reads a segment's deleted offsets: unordered, perhaps repeated.

    Returns:
        The set of those in [0, rows), how many are not, and the first of these.
    """
    dead = DeadRows(rows)
    wrong, example = 0, None
    if not offsets:
        return dead, 0, None
    with storage.open_input(path) as stream:
        for start in range(0, offsets, _OFFSETS_BLOCK):
            stop = min(start + _OFFSETS_BLOCK, offsets)
            found = _values(storage, path, stream, np.dtype("<i4"), start, stop)
            good = (found >= 0) & (found < rows)
            if not good.all():
                bad = found[~good]
                wrong += len(bad)
                example = int(bad[0]) if example is None else example
                found = found[good]
            dead.add(found)
    return dead, wrong, example


def _values(
    storage: Storage, path: str, stream: pa.NativeFile, dtype: np.dtype[Any], start: int, stop: int
) -> NDArray[Any]:
    """Values [start, stop) of a segment's file; the array is a view of the bytes read."""
    size = (stop - start) * dtype.itemsize
    with storage.explained("read", path):
        # At a place, and not one after another: so several threads may read.
        data = stream.read_at(size, HEADER + start * dtype.itemsize)
    if len(data) != size:
        raise AirliftError(
            f"{storage.address(path)} became shorter while it was read; stop Milvus 1.x, then run "
            "the migration again"
        )
    return np.frombuffer(data, dtype)


class SegmentReader:
    """Reads ranges of a segment's live rows, in blocks of bounded size.

    Args:
        storage: the `tables` folder.
        dead: the rows to leave out.
    """

    def __init__(
        self, storage: Storage, table_id: str, segment: str, kind: VectorKind, dead: DeadRows
    ) -> None:
        self._storage = storage
        self._paths = segment_paths(table_id, segment)
        self._kind = kind
        self._dead = dead

    def ids(self, start: int, stop: int, block: int = 1 << 19) -> Iterator[tuple[Ids, Ids]]:
        """Yields the offsets and the ids of the live rows in [start, stop)."""
        if start == stop:
            return
        path = self._paths[1]
        with self._storage.open_input(path) as stream:
            for at in range(start, stop, block):
                end = min(at + block, stop)
                ids = _values(self._storage, path, stream, np.dtype("<i8"), at, end)
                offsets = np.arange(at, end)
                mask = self._dead.mask(at, end)
                yield (offsets, ids) if mask is None else (offsets[~mask], ids[~mask])

    def rows(self, start: int, stop: int, block: int) -> Iterator[tuple[Ids, Vectors]]:
        """Yields ids and vectors of the live rows in [start, stop), in order.

        Where no row is dead, the arrays are views of the bytes read; else they are copied once.

        Args:
            block: rows that are read at once.
        """
        if start == stop:
            return
        row = np.dtype((self._kind.dtype, (self._kind.columns,)))
        vectors_path, ids_path = self._paths[:2]
        ahead = self._storage.ranges_ahead
        with (
            self._storage.open_input(vectors_path) as vectors,
            self._storage.open_input(ids_path) as ids,
        ):

            def read(at: int, end: int) -> Vectors:
                return _values(self._storage, vectors_path, vectors, row, at, end)

            # Ids are small: many blocks' ids are read at once.
            many = max(block, _IDS_BLOCK // block * block)
            for first in range(start, stop, many):
                last = min(first + many, stop)
                keys = _values(self._storage, ids_path, ids, np.dtype("<i8"), first, last)
                mask = self._dead.mask(first, last)
                ranges = [
                    (at, min(at + block, last))
                    for at in range(first, last, block)
                    if mask is None or not mask[at - first : at - first + block].all()
                ]
                for (at, end), found in read_ahead(read, ranges, ahead):
                    here = slice(at - first, end - first)
                    if mask is None or not (dead := mask[here]).any():
                        yield keys[here], found
                    else:
                        live = np.flatnonzero(~dead)
                        yield keys[here].take(live), found.take(live, axis=0)
