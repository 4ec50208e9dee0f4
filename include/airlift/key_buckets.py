"""The fingerprints of converted rows by buckets of the primary key's hash.

`buckets/<batch>/<collection>.arrow` in staging is an Arrow IPC file; a row of it holds the
fingerprints of some chunks' rows in each of the 1,024 buckets (`airlift.fingerprint`). They show in
how many buckets rows differ on the target, and so about how many rows do.

A chunk's own row is written before its manifest. So the latest chunk has a row of its own, which is
multiplied into that of the earlier ones when the next chunk comes and the manifest is there;
without the manifest, the chunk was not done and is converted again.
"""

from __future__ import annotations

import hashlib
import logging
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
from airlift.stores.disk import MAX_NAME_BYTES

log = logging.getLogger("airlift")

_FOLDER = "buckets"
_LANE = pa.list_(pa.uint64(), BUCKETS)
_SCHEMA = pa.schema(
    [
        pa.field("chunks", pa.list_(pa.string()), nullable=False),
        *(pa.field(f"lane_{lane}", _LANE, nullable=False) for lane in range(LANES)),
    ]
)


@dataclass(frozen=True)
class ChunkBuckets:
    """Fingerprints by buckets of the rows of some chunks; shape (2, 1024)."""

    chunks: tuple[str, ...]
    values: U64

    def with_chunks_of(self, other: ChunkBuckets) -> ChunkBuckets:
        """The rows of both."""
        return ChunkBuckets(self.chunks + other.chunks, multiply(self.values, other.values))


class BatchBuckets:
    """Writes the files of a batch, while its chunks are converted.

    Args:
        batch: its number in the plan.
    """

    def __init__(self, staging: Staging, batch: int) -> None:
        self._staging = staging
        self._folder = f"{_FOLDER}/{batch:03d}"

    def add(self, collection: str, manifest: Manifest, values: U64) -> None:
        """Writes down a chunk, before its manifest is written.

        Args:
            values: fingerprints of its rows, shape (2, 1024).
        """
        path = f"{self._folder}/{_file_name(collection)}"
        try:
            known = _read(self._staging, path)
        except AirliftError as error:
            log.warning("%s; it is written anew", error)
            known = []
        before = self._before(collection, known, manifest)
        if before and manifest.chunk in before.chunks:
            return  # its files were gone and are written anew, with the same rows
        added = ChunkBuckets((manifest.chunk,), values)
        _write(self._staging, path, [before, added] if before else [added])

    def _before(
        self, collection: str, known: list[ChunkBuckets], manifest: Manifest
    ) -> ChunkBuckets | None:
        """The earlier chunks of a collection, as far as their manifests are there."""
        done: ChunkBuckets | None = None
        for chunks in known:
            if manifest.chunk in chunks.chunks:
                earlier = self._staging.manifest(collection, manifest.chunk)
                is_same = earlier is not None and earlier.fingerprint == manifest.fingerprint
                if len(chunks.chunks) == 1 or not is_same:
                    continue  # written anew
            elif len(chunks.chunks) == 1 and not _is_done(self._staging, collection, chunks):
                continue
            done = chunks if done is None else done.with_chunks_of(chunks)
        return done


def buckets_of(
    staging: Staging, collection: CollectionPlan, fingerprint: Fingerprint
) -> U64 | None:
    """The fingerprints of all converted rows of a collection by buckets, shape (2, 1024).

    Args:
        fingerprint: of all its chunks' manifests.

    Returns:
        None where the files don't hold each chunk once, such as after a chunk was converted anew
        with other rows, or where one is damaged: then a warning is logged.
    """
    try:
        known = [
            chunks
            for folder in sorted(staging.folder.list(_FOLDER))
            for chunks in _read(staging, f"{folder}/{_file_name(collection.name)}")
        ]
    except AirliftError as error:
        log.warning("%s", error)
        return None
    total = ChunkBuckets((), no_rows())
    # A chunk that was cut off in one batch, and converted in another one, has a row in both.
    for chunks in sorted(known, key=lambda chunks: -len(chunks.chunks)):
        is_latest = len(chunks.chunks) == 1
        if is_latest and chunks.chunks[0] in total.chunks:
            continue
        if not is_latest or _is_done(staging, collection.name, chunks):
            total = total.with_chunks_of(chunks)
    planned = sorted(chunk.id for chunk in collection.chunks)
    if sorted(total.chunks) != planned or of_buckets(total.values) != fingerprint:
        return None
    return total.values


def _file_name(collection: str) -> str:
    """The name of a collection's file; a disk does not take longer ones."""
    name = f"{collection}.arrow"
    if len(name.encode()) > MAX_NAME_BYTES:
        digest = hashlib.sha256(collection.encode()).hexdigest()
        name = f"{collection.encode()[:128].decode(errors='ignore')}-{digest[:32]}.arrow"
    return name


def _is_done(staging: Staging, collection: str, chunks: ChunkBuckets) -> bool:
    """Whether the manifest of a single chunk is there, with the same rows."""
    manifest = staging.manifest(collection, chunks.chunks[0])
    return manifest is not None and manifest.fingerprint == str(of_buckets(chunks.values))


def _read(staging: Staging, path: str) -> list[ChunkBuckets]:
    if not staging.folder.exists(path):
        return []
    raw = staging.folder.read_bytes(path)
    try:
        with pa.ipc.open_file(pa.py_buffer(raw)) as reader:
            table = reader.read_all()
        if table.schema != _SCHEMA:
            raise pa.ArrowInvalid(f"expected the columns {_SCHEMA.names}, found {table.schema}")
        table.validate(full=True)
        lanes = [
            table.column(f"lane_{lane}").combine_chunks().flatten().to_numpy()
            for lane in range(LANES)
        ]
        names = table.column("chunks").to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise AirliftError(
            f"{staging.folder.address(path)} is damaged: {error}; it is only needed to count "
            "differences by buckets"
        ) from error
    values = np.stack(lanes).reshape(LANES, -1, BUCKETS) % np.uint64(PRIME)
    return [ChunkBuckets(tuple(chunks), values[:, place]) for place, chunks in enumerate(names)]


def _write(staging: Staging, path: str, rows: list[ChunkBuckets]) -> None:
    columns = [
        pa.array([list(row.chunks) for row in rows], pa.list_(pa.string())),
        *(
            pa.FixedSizeListArray.from_arrays(
                pa.array(np.concatenate([row.values[lane] for row in rows])), BUCKETS
            )
            for lane in range(LANES)
        ),
    ]
    sink = pa.BufferOutputStream()
    # Most buckets of a small collection are empty.
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_file(sink, _SCHEMA, options=options) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=_SCHEMA))
    staging.folder.write_bytes(path, sink.getvalue().to_pybytes())
