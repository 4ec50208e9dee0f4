"""A segment's rows that must not be read, one bit each."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

_STEP = 1 << 20


class DeadRows:
    """A set of row offsets: deleted rows, and older rows of repeated ids.

    A bit a row, so that the largest segment (2^31 rows) costs 256 MB, and a usual one 250 KB,
    however many rows are deleted.

    Args:
        rows: rows of the segment, dead and live.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self._bits = np.zeros((rows + 7) // 8, np.uint8)

    def add(self, offsets: NDArray[Any]) -> None:
        """Adds offsets in any order, also ones that it has; each must be in [0, rows)."""
        bits = np.left_shift(1, offsets & 7).astype(np.uint8)
        np.bitwise_or.at(self._bits, offsets >> 3, bits)

    def __len__(self) -> int:
        return int(np.bitwise_count(self._bits).sum())

    def mask(self, start: int, stop: int) -> NDArray[np.bool_] | None:
        """For each row in [start, stop) whether it is dead; None when none is."""
        first = start >> 3
        bits = self._bits[first : (stop + 7) >> 3]
        if not bits.any():
            return None
        dead = np.unpackbits(bits, bitorder="little")[start - 8 * first : stop - 8 * first]
        return dead.view(np.bool_) if dead.any() else None

    def live(self, start: int, stop: int) -> int:
        """How many rows in [start, stop) are live."""
        live = stop - start
        for at in range(start, stop, _STEP):
            mask = self.mask(at, min(at + _STEP, stop))
            live -= 0 if mask is None else int(np.count_nonzero(mask))
        return live

    def stop_after(self, start: int, live: int) -> int:
        """The end of the shortest range from `start` on that has so many live rows (one or more).

        Raises:
            ValueError: there are not that many.
        """
        for at in range(start, self.rows, _STEP):
            end = min(at + _STEP, self.rows)
            mask = self.mask(at, end)
            found = end - at if mask is None else end - at - int(np.count_nonzero(mask))
            if found >= live:
                if mask is None:
                    return at + live
                return at + int(np.flatnonzero(~mask)[live - 1]) + 1
            live -= found
        raise ValueError(f"{live} more live rows asked for than there are")

    def digest(self) -> str:
        """A hash of the set: whether it is still the same set."""
        return hashlib.blake2b(self._bits.data, digest_size=8).hexdigest()
