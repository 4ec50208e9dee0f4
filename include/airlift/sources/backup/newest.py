"""Finds, of live rows that share a primary key, all but the newest; in bounded memory.

Keys are dealt into files by their hash, so that equal keys meet in one file, and each file is
looked at alone. 128 bits of a hash stand for a text: no two texts will ever share those.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from airlift.sources.backup.dead import Offsets
from airlift.sources.backup.deltas import U64, int64_values
from airlift.temporary_folder import TemporaryFolder

_ROW = np.dtype(
    [("key", "<u8"), ("more", "<u8"), ("time", "<u8"), ("part", "<u4"), ("offset", "<u4")]
)
_BUCKET_ROWS = 1 << 20
_MOST_BUCKETS = 256
_SPREAD = np.uint64(0x9E3779B97F4A7C15)


class OlderRows:
    """Takes the live rows of all parts, and tells which are not the newest of their key.

    Use it as a context manager: its temporary folder goes at its end.

    Args:
        rows: about how many there will be.

    Attributes:
        keys: how many keys several rows have.
    """

    def __init__(self, rows: int) -> None:
        self.keys = 0
        buckets = min(max(rows // _BUCKET_ROWS, 1), _MOST_BUCKETS)
        self._folder = TemporaryFolder("newest")
        self._paths = [self._folder.path / str(number) for number in range(buckets)]

    def __enter__(self) -> OlderRows:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.close()

    def add(self, part: int, offsets: NDArray[np.int64], keys: pa.Array, times: U64) -> None:
        """Takes rows of a part; of equal times, the row of the later part is the newer one."""
        rows = np.zeros(len(keys), _ROW)
        if pa.types.is_integer(keys.type):
            rows["key"] = int64_values(keys).view(np.uint64)
        else:
            digests = b"".join(
                hashlib.blake2b(text.encode(), digest_size=16).digest() for text in keys.to_pylist()
            )
            halves = np.frombuffer(digests, "<u8").reshape(-1, 2)
            rows["key"], rows["more"] = halves[:, 0], halves[:, 1]
        rows["time"], rows["part"], rows["offset"] = times, part, offsets
        bucket = ((rows["key"] * _SPREAD) >> np.uint64(32)) % np.uint64(len(self._paths))
        order = np.argsort(bucket, kind="stable")
        numbers, starts = np.unique(bucket[order], return_index=True)
        for number, some in zip(numbers.tolist(), np.split(rows[order], starts[1:]), strict=True):
            with self._paths[number].open("ab") as file:
                some.tofile(file)

    def found(self) -> dict[int, Offsets]:
        """The sorted places of the older rows, by part."""
        lost: dict[int, list[Offsets]] = {}
        for path in self._paths:
            if not path.exists():
                continue
            rows = np.fromfile(path, _ROW)
            rows = rows[
                np.lexsort((rows["offset"], rows["part"], rows["time"], rows["more"], rows["key"]))
            ]
            same = (rows["key"][1:] == rows["key"][:-1]) & (rows["more"][1:] == rows["more"][:-1])
            # A row that the next one shares its key with is older; the last of them stays.
            older = rows[:-1][same]
            self.keys += int(np.count_nonzero(same & ~np.append(False, same[:-1])))
            for part in np.unique(older["part"]).tolist():
                lost.setdefault(part, []).append(older["offset"][older["part"] == part])
        return {part: np.sort(np.concatenate(some)) for part, some in lost.items()}
