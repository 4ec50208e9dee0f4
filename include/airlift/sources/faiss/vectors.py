"""Reads the rows of an index file from where `layout` found them, in blocks of bounded size."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from airlift.errors import AirliftError
from airlift.sources.faiss.layout import Layout
from airlift.storage import Storage

Ids = NDArray[np.int64]
Piece = tuple[int, memoryview]

_MOST_PIECES = 1000  # of one preadv; the kernel takes 1,024


class Block(NamedTuple):
    """Rows of a file.

    Attributes:
        start: the position of the first.
        ids: the ids that its inverted lists have; None where rows are known by position.
        vectors: one row of bytes each, as they are stored.
    """

    start: int
    ids: Ids | None
    vectors: NDArray[Any]


class VectorFile:
    """A file whose layout is known; use it as a context manager.

    Args:
        folder, path: the file.
        layout: with a codec: not one that only Faiss can decode.
    """

    def __init__(self, folder: Storage, path: str, layout: Layout) -> None:
        self._folder = folder
        self._path = path
        self._layout = layout
        self._ends = np.cumsum(layout.run_rows)
        self._file = None if folder.is_local else folder.open_input(path)
        self._fd = -1
        if folder.is_local:
            with folder.explained("read", path):
                self._fd = os.open(folder.path(path), os.O_RDONLY | os.O_CLOEXEC)

    def __enter__(self) -> VectorFile:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
        else:
            os.close(self._fd)

    def block(self, start: int, stop: int) -> Block:
        """The rows [start, stop)."""
        vectors = np.empty((stop - start, self._layout.width), np.uint8)
        ids = np.empty(stop - start, np.int64) if self._layout.lists else None
        self._fill(list(self._pieces(start, stop, vectors, ids)))
        return Block(start, ids, vectors)

    def list_ids(self, start: int, stop: int) -> Ids:
        """The ids in the inverted lists of the rows [start, stop)."""
        ids = np.empty(stop - start, np.int64)
        self._fill(list(self._pieces(start, stop, None, ids)))
        return ids

    def mapped_ids(self, start: int, stop: int) -> Ids:
        """The IDMap's ids of the positions [start, stop)."""
        ids = np.empty(stop - start, np.int64)
        self._fill([((self._layout.id_map_at or 0) + 8 * start, _bytes_of(ids))])
        return ids

    def _pieces(
        self, start: int, stop: int, vectors: NDArray[Any] | None, ids: Ids | None
    ) -> Iterator[Piece]:
        """Where in the file the rows lie, and where each piece goes to."""
        layout, width = self._layout, self._layout.width
        flat = None if vectors is None else _bytes_of(vectors)
        raw = None if ids is None else _bytes_of(ids)
        at = start
        run = int(np.searchsorted(self._ends, start, side="right"))
        while at < stop:
            rows = int(layout.run_rows[run])
            inside = at - (int(self._ends[run]) - rows)
            count = min(rows - inside, stop - at)
            out = at - start
            if flat is not None:
                place = int(layout.vectors_at[run]) + inside * width
                yield place, flat[out * width : (out + count) * width]
            if raw is not None:
                yield int(layout.ids_at[run]) + 8 * inside, raw[8 * out : 8 * (out + count)]
            at, run = at + count, run + 1

    def _fill(self, pieces: list[Piece]) -> None:
        """Reads pieces; those that lie together in the file are read at one stroke."""
        views: list[memoryview] = []
        start = end = wanted = spare = 0
        for place, view in pieces:
            gap = place - end
            # In a bucket a request costs more than some bytes: lists with space for more rows than
            # they have are read with that space, as long as it is less than what is wanted.
            near = gap == 0 or (self._file is not None and 0 < gap <= wanted - spare)
            if views and (not near or len(views) > _MOST_PIECES - 2):
                self._read(start, views)
                views = []
            if not views:
                start, gap, wanted, spare = place, 0, 0, 0
            if gap:
                views.append(memoryview(bytearray(gap)))
            views.append(view)
            end, wanted, spare = place + len(view), wanted + len(view), spare + gap
        if views:
            self._read(start, views)

    def _read(self, place: int, views: list[memoryview]) -> None:
        with self._folder.explained("read", self._path):
            if self._file is None:
                while views:
                    count = os.preadv(self._fd, views, place)
                    if not count:
                        break
                    place += count
                    while views and count >= len(views[0]):
                        count -= len(views.pop(0))
                    if views and count:
                        views[0] = views[0][count:]
                short = bool(views)
            else:
                size = sum(len(view) for view in views)
                data = memoryview(self._file.read_at(size, place))
                short = len(data) != size
                for view in views if not short else ():
                    view[:], data = data[: len(view)], data[len(view) :]
        if short:
            raise AirliftError(
                f"{self._folder.address(self._path)} became shorter while it was read; run the "
                "migration again with a new migration_id"
            )


def _bytes_of(array: NDArray[Any]) -> memoryview:
    """The array's own bytes, to be written to."""
    return memoryview(array.reshape(-1).view(np.uint8).data)
