"""Finds int64 keys that occur more than once, among any number of keys, in bounded memory.

Few keys are sorted in memory. Many are spilled as sorted runs into a temporary folder (8 bytes a
key, 16 with positions), and then looked at one key range after another: a range holds a bounded
number of keys, or one key that is repeated without end, which is taken in pieces.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from airlift.storage import Storage
from airlift.temporary_folder import TemporaryFolder

Keys = NDArray[np.int64]

_FENCE = 4096  # keys of a run for each one that stays in memory
_EXAMPLES = 5
_OFFSET_BITS = 32
_COPY_BYTES = 4 << 20
_NOTHING: Keys = np.empty(0, np.int64)
_NOTHING.flags.writeable = False


class RepeatedKeys:
    """Takes keys in an order, and tells which occur more than once.

    Use it as a context manager: the temporary folder goes at its end.

        with RepeatedKeys(keep_last=True) as finder:
            finder.add(0, offsets, keys)
            finder.finish()
            finder.save_keys(scratch, "repeated_keys.npy")

    Args:
        keep_last: also find every occurrence but the last of each key.
        budget: about how many bytes of memory to use.
        temporary: folder for the temporary folder; None for the system's.

    Attributes:
        keys: number of different keys that occur more than once.
        extra: rows beyond one for each of them.
        examples: the smallest few of them.
        losers: rows to leave out, by part (`keep_last` only).
    """

    def __init__(
        self, keep_last: bool, budget: int = 64 << 20, temporary: Path | None = None
    ) -> None:
        self.keys = 0
        self.extra = 0
        self.examples: list[int] = []
        self.losers: dict[int, int] = {}
        self._keep_last = keep_last
        # Sorting, and telling the first from the others, takes a few copies.
        self._limit = max(budget // (8 * (8 if keep_last else 5)), _FENCE)
        self._folder = TemporaryFolder("keys", temporary)
        self._held: list[tuple[Keys, Keys]] = []
        self._held_rows = 0
        self._runs: list[_Run] = []
        self._repeated = self._path("repeated").open("wb")

    def __enter__(self) -> RepeatedKeys:
        return self

    def __exit__(self, *_: object) -> None:
        self._repeated.close()
        self._folder.close()

    def _path(self, name: str) -> Path:
        return self._folder.path / name

    def add(self, part: int, offsets: NDArray[np.int64], keys: Keys) -> None:
        """Adds keys, newer than all that were added before.

        Args:
            part: where they stand, e.g. the number of a segment; below 2^31, never falling.
            offsets: their places in the part, rising; below 2^32.
        """
        for at in range(0, len(keys), self._limit):
            some = keys[at : at + self._limit]
            if self._held_rows + len(some) > self._limit:
                self._spill()
            places = _NOTHING
            if self._keep_last:
                places = offsets[at : at + self._limit] + (part << _OFFSET_BITS)
            self._held.append((some, places))
            self._held_rows += len(some)

    def finish(self) -> None:
        """Finds the repeated keys; call it once, after all keys were added."""
        if not self._runs:
            self._look(iter([self._take_held()]))
        else:
            self._spill()
            for stop in self._range_stops():
                self._look(self._pieces(stop))
        self._repeated.close()
        for part in self.losers:
            path = self._path(f"part-{part}")
            np.sort(np.fromfile(path, np.int64)).tofile(path)

    def save_keys(self, storage: Storage, relative: str) -> None:
        """Writes the repeated keys, sorted, as an `.npy` of int64."""
        _save_npy(self._path("repeated"), self.keys, storage, relative)

    def repeated(self) -> Keys:
        """The repeated keys, sorted, in memory: for those who expect few of them."""
        return np.fromfile(self._path("repeated"), np.int64)

    def save_losers(self, part: int, storage: Storage, relative: str) -> None:
        """Writes the sorted offsets of a part's rows that are not the last of their key."""
        _save_npy(self._path(f"part-{part}"), self.losers[part], storage, relative)

    def _take_held(self) -> tuple[Keys, Keys]:
        held, self._held, self._held_rows = self._held, [], 0
        if not held:
            return _NOTHING, _NOTHING
        return np.concatenate([keys for keys, _ in held]), np.concatenate([at for _, at in held])

    def _spill(self) -> None:
        keys, places = self._take_held()
        if len(keys):
            self._runs.append(_Run(self._path(f"run-{len(self._runs)}"), keys, places))

    def _range_stops(self) -> list[int | None]:
        """Where ranges of fewer than `_limit` keys end (exclusive); None is the end of all."""
        fences = np.sort(np.concatenate([run.fences for run in self._runs]))
        # Fences tell ranges about, so aim at half of what a piece may be.
        step = max(self._limit // (2 * _FENCE), 1)
        stops: list[int | None] = [int(stop) for stop in np.unique(fences[step::step])]
        return [*stops, None]

    def _pieces(self, stop: int | None) -> Iterator[tuple[Keys, Keys]]:
        """What the runs hold below `stop`, newest first, in pieces of bounded size."""
        held: list[tuple[Keys, Keys]] = []
        rows = 0
        for run in reversed(self._runs):
            keys, places = run.read_below(stop)
            if held and rows + len(keys) > self._limit:
                yield _joined(held)
                held, rows = [], 0
            held.append((keys, places))
            rows += len(keys)
        yield _joined(held)

    def _look(self, pieces: Iterator[tuple[Keys, Keys]]) -> None:
        """Finds the repeated keys of one key range; its pieces come newest first."""
        seen = repeated = _NOTHING
        for keys, places in pieces:
            ordered = np.sort(keys)
            again = ordered[1:] == ordered[:-1]
            inside = _distinct(ordered[1:][again])
            unique = ordered[np.concatenate(([True], ~again))] if again.any() else ordered
            before = unique[_isin(unique, seen)]
            self.extra += len(ordered) - len(unique) + len(before)
            if len(inside) or len(before):
                found = _union(inside, before)
                repeated = _union(repeated, found)
                if self._keep_last:
                    self._lose(keys, places, found, seen)
            seen = _union(seen, unique)
        self.keys += len(repeated)
        self.examples += [int(key) for key in repeated[: _EXAMPLES - len(self.examples)]]
        repeated.tofile(self._repeated)

    def _lose(self, keys: Keys, places: Keys, found: Keys, seen: Keys) -> None:
        """Notes the rows with a key in `found`, but the last of each unless a newer was seen."""
        chosen = _isin(keys, found)
        keys, places = keys[chosen], places[chosen]
        order = np.lexsort((places, keys))
        keys, places = keys[order], places[order]
        last = np.concatenate((keys[1:] != keys[:-1], [True]))
        lost = np.sort(places[~last | _isin(keys, seen)])
        parts, starts = np.unique(lost >> _OFFSET_BITS, return_index=True)
        for part, some in zip(parts.tolist(), np.split(lost, starts[1:]), strict=True):
            with self._path(f"part-{part}").open("ab") as file:
                (some & ((1 << _OFFSET_BITS) - 1)).tofile(file)
            self.losers[part] = self.losers.get(part, 0) + len(some)


class _Run:
    """Keys sorted in a file, perhaps with their positions; read once, from small to large."""

    def __init__(self, path: Path, keys: Keys, places: Keys) -> None:
        self._path = path
        self._rows = len(keys)
        self._at = 0
        self._places = len(places) > 0
        order = np.argsort(keys) if self._places else None
        keys = np.sort(keys) if order is None else keys[order]
        self.fences = keys[::_FENCE].copy()
        with path.open("wb") as file:
            keys.tofile(file)
            if order is not None:
                places[order].tofile(file)

    def read_below(self, stop: int | None) -> tuple[Keys, Keys]:
        """The keys below `stop` that were not read yet, and their positions."""
        start, self._at = self._at, self._rows if stop is None else self._find(stop)
        if start == self._at:
            return _NOTHING, _NOTHING
        keys = self._values(start, self._at)
        if not self._places:
            return keys, _NOTHING
        return keys, self._values(self._rows + start, self._rows + self._at)

    def _find(self, stop: int) -> int:
        # The fences tell the one block in which the keys reach `stop`.
        block = max(int(np.searchsorted(self.fences, stop)) - 1, 0) * _FENCE
        keys = self._values(block, min(block + _FENCE, self._rows))
        return block + int(np.searchsorted(keys, stop))

    def _values(self, start: int, stop: int) -> Keys:
        return np.fromfile(self._path, np.int64, stop - start, offset=8 * start)


def _joined(pieces: list[tuple[Keys, Keys]]) -> tuple[Keys, Keys]:
    return np.concatenate([keys for keys, _ in pieces]), np.concatenate([at for _, at in pieces])


def _distinct(ordered: Keys) -> Keys:
    """The different values of a sorted array."""
    if len(ordered) < 2:
        return ordered
    return ordered[np.concatenate(([True], ordered[1:] != ordered[:-1]))]


def _union(one: Keys, other: Keys) -> Keys:
    """The different values of two sorted arrays; np.union1d is slower, by way of a hash table."""
    if not len(one) or not len(other):
        return one if len(one) else other
    return _distinct(np.sort(np.concatenate((one, other))))


def _isin(values: Keys, ordered: Keys) -> NDArray[np.bool_]:
    """Which of the values stand in the sorted array."""
    if not len(ordered):
        return np.zeros(len(values), np.bool_)
    found: NDArray[np.bool_] = ordered.take(np.searchsorted(ordered, values), mode="clip") == values
    return found


def _save_npy(raw: Path, rows: int, storage: Storage, relative: str) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<i8", "fortran_order": False, "shape": (rows,)}
    )
    output = storage.open_output(relative)
    output.write(header.getvalue())
    with raw.open("rb") as file:
        while data := file.read(_COPY_BYTES):
            output.write(data)
    output.commit()
