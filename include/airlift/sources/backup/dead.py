"""Which rows of a backup's segments are dead: deleted, or older than another row of their key.

A row is dead when a delete of its key is later than the row itself, strictly: an upsert writes its
delete and its new row with one timestamp, and a row that was inserted again after a delete lives.
A segment's own delta logs hit its own rows only; those of level 0 hit all segments of their
partition (or of the collection).
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from airlift.errors import AirliftError
from airlift.reading_ahead import read_ahead
from airlift.schema import Field
from airlift.sources.backup.deltas import U64, Deletes, deletes, int64_values
from airlift.sources.backup.log_file import reading
from airlift.sources.backup.rows import TIMESTAMP, LogSet
from airlift.sources.backup.segments import Segment, WideDeletes
from airlift.storage import Storage

Offsets = NDArray[np.uint32]

_BATCH_ROWS = 1 << 18
_NPY_HEADER = 4096
_NONE: Offsets = np.empty(0, np.uint32)


class KeyReader:
    """Reads the keys and timestamps of segments.

    Args:
        declared, dynamic: as of `LogSet`.
        key_id: the primary key's id at the source.
    """

    def __init__(
        self, storage: Storage, key: Field, key_id: int, declared: set[int], dynamic: bool
    ) -> None:
        self.storage = storage
        self.key = key
        self._key_id = key_id
        self._declared = declared
        self._dynamic = dynamic

    def log_rows(self, segment: Segment) -> list[int]:
        """The rows of each of a segment's logs, as the footers say."""
        rows = []
        for index in range(len(segment.logs)):
            with self._logs(segment, index) as logs:
                rows.append(logs.rows)
        return rows

    def keys(self, segment: Segment) -> Iterator[tuple[int, pa.Array, U64]]:
        """Yields keys and timestamps, each time with the place of the first row."""
        start = 0
        for index in range(len(segment.logs)):
            with self._logs(segment, index) as logs:
                for columns in logs.batches(_BATCH_ROWS):
                    keys, times = columns[self._key_id], columns[TIMESTAMP]
                    self._check(segment, keys, times)
                    yield start, keys, int64_values(times).view(np.uint64)
                    start += len(keys)

    def _check(self, segment: Segment, keys: pa.Array, times: pa.Array) -> None:
        what = f"the keys of segment {segment.id}"
        if keys.type != self.key.arrow.type or times.type != pa.int64():
            raise AirliftError(
                f"{what} are stored as {keys.type}, the timestamps as {times.type}; expected "
                f"{self.key.arrow.type} and int64"
            )
        if keys.null_count or times.null_count:
            raise AirliftError(f"{what} or its timestamps are missing in some rows")
        if keys.type == pa.string():
            with reading(what):
                keys.validate(full=True)

    def _logs(self, segment: Segment, index: int) -> LogSet:
        wanted = {
            self._key_id: self.key,
            TIMESTAMP: self.key.model_copy(update={"name": "timestamp"}),
        }
        logs = LogSet(self.storage, segment, index, wanted, self._declared, self._dynamic)
        if not wanted.keys() <= logs.columns.keys():
            logs.close()
            raise AirliftError(
                f"segment {segment.id} has no logs of the primary key {self.key.name!r} or of the "
                "timestamps; copy the backup again"
            )
        return logs


def deleted_rows(
    reader: KeyReader, segments: Sequence[Segment], wide: Sequence[WideDeletes]
) -> list[Offsets]:
    """The sorted places of each segment's deleted rows.

    Raises:
        AirliftError: a log can't be read.
    """
    found = [_NONE] * len(segments)
    storage, key = reader.storage, reader.key
    own = [place for place, one in enumerate(segments) if one.deltas]

    def of_own(at: int, _: int) -> Offsets:
        segment = segments[own[at]]
        hits = [_hit(reader, segment, some) for some in deletes(storage, segment.deltas, key)]
        return _union(hits)

    ranges = [(at, at + 1) for at in range(len(own))]
    for (at, _), offsets in read_ahead(of_own, ranges, storage.ranges_ahead):
        found[own[at]] = offsets
    for one in wide:
        hit = [
            place
            for place, segment in enumerate(segments)
            if one.origin in (None, segment.origin) and segment.older >= one.older
        ]
        # The deletes outside: there may be more of them than fit into memory at once.
        for some in deletes(storage, one.logs, key):
            for place in hit:
                found[place] = _union([found[place], _hit(reader, segments[place], some)])
    return found


def _hit(reader: KeyReader, segment: Segment, some: Deletes) -> Offsets:
    hits = [
        np.flatnonzero(some.hit(keys, times)) + start for start, keys, times in reader.keys(segment)
    ]
    return np.concatenate([_NONE, *hits]).astype(np.uint32)


def _union(offsets: Sequence[Offsets]) -> Offsets:
    several = [some for some in offsets if len(some)]
    if len(several) < 2:
        return several[0] if several else _NONE
    return np.unique(np.concatenate(several))


def save(scratch: Storage, path: str, offsets: Offsets) -> None:
    """Keeps places of rows in the source's scratch folder."""
    data = io.BytesIO()
    np.lib.format.write_array(data, offsets, allow_pickle=False)
    scratch.write_bytes(path, data.getvalue())


def load(scratch: Storage, path: str, rows: int) -> Offsets:
    """What `save` kept, of a segment of so many rows; none for no path.

    Raises:
        AirliftError: it is damaged.
    """
    if not path:
        return _NONE
    data = scratch.read_bytes(path, limit=4 * rows + _NPY_HEADER)
    try:
        offsets = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
        if offsets.dtype != np.uint32 or offsets.ndim != 1:
            raise ValueError(f"found {offsets.dtype} of shape {offsets.shape}")
        if len(offsets) and (offsets[-1] >= rows or (offsets[1:] <= offsets[:-1]).any()):
            raise ValueError("they don't rise, or end beyond the rows")
    except (ValueError, EOFError) as error:
        raise AirliftError(
            f"{scratch.address(path)} is damaged: expected places of rows; {error}; run again with "
            "a new migration_id"
        ) from error
    return offsets
