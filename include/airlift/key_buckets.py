"""The fingerprints of converted rows by buckets of the primary key's hash, a file for each batch.

`buckets/<batch>.arrow` in staging is an Arrow IPC file; a row of it holds the fingerprints of some
chunks' rows in each of the 1,024 buckets (`airlift.fingerprint`). They tell in how many buckets
rows differ on the target, and so about how many rows do.

A chunk's own row is written before its manifest. So of each collection the latest chunk has a row
of its own, which is multiplied into that of the earlier ones when the next chunk comes and the
manifest is there; without the manifest, the chunk was not done and is converted again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from airlift.chunk import Manifest
from airlift.errors import AirliftError
from airlift.fingerprint import Fingerprint, no_rows, of_buckets
from airlift.plan import CollectionPlan
from airlift.prime_field import PRIME, U64, multiply
from airlift.row_hash import BUCKETS, LANES
from airlift.staging import Staging

_FOLDER = "buckets"
_LANE = pa.list_(pa.uint64(), BUCKETS)
_SCHEMA = pa.schema(
    [
        pa.field("collection", pa.string(), nullable=False),
        pa.field("chunks", pa.list_(pa.string()), nullable=False),
        *(pa.field(f"lane_{lane}", _LANE, nullable=False) for lane in range(LANES)),
    ]
)


@dataclass(frozen=True)
class ChunkBuckets:
    """Fingerprints by buckets of the rows of some chunks of a collection; shape (2, 1024)."""

    collection: str
    chunks: tuple[str, ...]
    values: U64

    def with_chunks_of(self, other: ChunkBuckets) -> ChunkBuckets:
        """The rows of both."""
        values = multiply(self.values, other.values)
        return ChunkBuckets(self.collection, self.chunks + other.chunks, values)


class BatchBuckets:
    """Writes the file of a batch, while its chunks are converted.

    Args:
        batch: its number in the plan.
    """

    def __init__(self, staging: Staging, batch: int) -> None:
        self._staging = staging
        self._path = f"{_FOLDER}/{batch:03d}.arrow"

    def add(self, collection: str, manifest: Manifest, values: U64) -> None:
        """Writes down a chunk, before its manifest is written.

        Args:
            values: fingerprints of its rows, shape (2, 1024).
        """
        added = ChunkBuckets(collection, (manifest.chunk,), values)
        others: list[ChunkBuckets] = []
        own: list[ChunkBuckets] = []
        for known in _read(self._staging, self._path):
            (own if known.collection == collection else others).append(known)
        before = self._before(own, manifest)
        if before and manifest.chunk in before.chunks:
            return  # its files were gone and are written anew, with the same rows
        _write(self._staging, self._path, [*others, *([before] if before else []), added])

    def _before(self, own: list[ChunkBuckets], manifest: Manifest) -> ChunkBuckets | None:
        """The earlier chunks of a collection, as far as their manifests are there."""
        done: ChunkBuckets | None = None
        for known in own:
            if manifest.chunk in known.chunks:
                earlier = self._staging.manifest(known.collection, manifest.chunk)
                is_same = earlier is not None and earlier.fingerprint == manifest.fingerprint
                if len(known.chunks) == 1 or not is_same:
                    continue  # written anew
            elif len(known.chunks) == 1 and not self._is_done(known):
                continue
            done = known if done is None else done.with_chunks_of(known)
        return done

    def _is_done(self, known: ChunkBuckets) -> bool:
        manifest = self._staging.manifest(known.collection, known.chunks[0])
        return manifest is not None and manifest.fingerprint == str(of_buckets(known.values))


def buckets_of(
    staging: Staging, collection: CollectionPlan, fingerprint: Fingerprint
) -> U64 | None:
    """The fingerprints of all converted rows of a collection by buckets, shape (2, 1024).

    Args:
        fingerprint: of all its chunks' manifests.

    Returns:
        None where the files don't hold each chunk once, such as after a chunk was converted anew
        with other rows.
    """
    total = ChunkBuckets(collection.name, (), no_rows())
    for path in sorted(staging.folder.list(_FOLDER)):
        for known in _read(staging, path):
            if known.collection == collection.name:
                total = total.with_chunks_of(known)
    planned = sorted(chunk.id for chunk in collection.chunks)
    if sorted(total.chunks) != planned or of_buckets(total.values) != fingerprint:
        return None
    return total.values


def _read(staging: Staging, path: str) -> list[ChunkBuckets]:
    if not staging.folder.exists(path):
        return []
    try:
        with pa.ipc.open_file(pa.py_buffer(staging.folder.read_bytes(path))) as reader:
            table = reader.read_all()
        if table.schema != _SCHEMA:
            raise pa.ArrowInvalid("its columns are others")
        table.validate(full=True)
        lanes = [
            table.column(f"lane_{lane}").combine_chunks().flatten().to_numpy()
            for lane in range(LANES)
        ]
    except pa.ArrowInvalid as error:
        raise AirliftError(
            f"{staging.folder.address(path)} is damaged: {error}; remove it, and clear the task "
            "that failed: differences are then not told by buckets"
        ) from error
    values = np.stack(lanes).reshape(LANES, -1, BUCKETS) % np.uint64(PRIME)
    return [
        ChunkBuckets(row["collection"], tuple(row["chunks"]), values[:, place])
        for place, row in enumerate(table.select(["collection", "chunks"]).to_pylist())
    ]


def _write(staging: Staging, path: str, rows: list[ChunkBuckets]) -> None:
    columns = [
        pa.array([row.collection for row in rows], pa.string()),
        pa.array([list(row.chunks) for row in rows], pa.list_(pa.string())),
        *(
            pa.FixedSizeListArray.from_arrays(
                pa.array(np.concatenate([row.values[lane] for row in rows])), BUCKETS
            )
            for lane in range(LANES)
        ),
    ]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, _SCHEMA) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=_SCHEMA))
    staging.folder.write_bytes(path, sink.getvalue().to_pybytes())
