"""Makes sure that no two rows of a collection share a primary key, where the source can't vouch.

Each chunk leaves a 64-bit hash of every key behind. Few bytes a row tell which keys may be the
same; only then the rows' own keys are read again.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from airlift.repeated_keys import RepeatedKeys
from airlift.storage import Storage

_NAME = "keys.npy"
_BLOCK = 1 << 20


def value_hashes(keys: pa.Array) -> npt.NDArray[np.uint64]:
    """64 bits of each key: a whole number itself, of a text a BLAKE2b-64; equal for equal keys."""
    if pa.types.is_integer(keys.type):
        numbers: npt.NDArray[np.int64] = keys.cast(pa.int64()).to_numpy()
        return numbers.view(np.uint64)
    values = keys.cast(pa.binary()).to_pylist()
    digests = (hashlib.blake2b(value, digest_size=8).digest() for value in values)
    return np.frombuffer(b"".join(digests), np.uint64)


class KeyHashes:
    """Collects the key hashes of one chunk."""

    def __init__(self) -> None:
        self._hashes: list[npt.NDArray[np.uint64]] = []

    def add(self, keys: pa.Array) -> None:
        """Takes the keys of more rows."""
        self._hashes.append(value_hashes(keys))

    def write(self, folder: Storage) -> None:
        """Writes them beside the chunk's files."""
        hashes = np.concatenate([np.empty(0, np.uint64), *self._hashes])
        data = io.BytesIO()
        np.lib.format.write_array(data, hashes.view(np.int64), allow_pickle=False)
        folder.write_bytes(_NAME, data.getvalue())


def suspects(folders: Iterable[Storage]) -> npt.NDArray[np.int64]:
    """The hashes that several rows of the chunks share; nearly always none.

    Args:
        folders: of the chunks, each with what `KeyHashes.write` left there.
    """
    with RepeatedKeys(keep_last=False) as finder:
        for part, folder in enumerate(folders):
            with folder.open_input(_NAME) as stream:
                hashes = np.lib.format.read_array(stream, allow_pickle=False)
            for start in range(0, len(hashes), _BLOCK):
                block = hashes[start : start + _BLOCK]
                finder.add(part, np.arange(start, start + len(block)), block)
        finder.finish()
        return finder.repeated()


def repeated(keys: Iterator[pa.Array], hashes: npt.NDArray[np.int64]) -> tuple[int, list[object]]:
    """How many keys are really repeated, and some of them.

    Args:
        keys: of all rows.
        hashes: from `suspects`.
    """
    wanted = [
        column.filter(pa.array(np.isin(value_hashes(column).view(np.int64), hashes)))
        for column in keys
    ]
    counts = pc.value_counts(pa.chunked_array(wanted).combine_chunks())
    found = [one["values"].as_py() for one in counts if one["counts"].as_py() > 1]
    return len(found), sorted(found)[:5]
