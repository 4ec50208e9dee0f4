"""The plan of a migration: chunks of every collection, grouped into batches."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict

from airlift.chunk import Chunk
from airlift.fingerprint import BEFORE_KEYS, FingerprintKey
from airlift.mapping import MappedCollection


class ChunkRef(BaseModel):
    """Names a chunk: the target collection and the chunk's id."""

    model_config = ConfigDict(frozen=True)

    collection: str
    chunk: str


class CollectionPlan(BaseModel):
    """What is done with one collection.

    Attributes:
        mapped: source and target, and what the mapping makes of it.
        way: how its rows get into the target; a key of `airlift.targets.ways`.
        appends: whether rows are added to a collection that this migration did not make.
        file_format: of its chunk files.
        rows: rows that the source holds, live and deleted.
        deleted: those that it has deleted.
        left_out: live rows that the options leave out (repeated ids, partitions not chosen).
        keys_unique: whether the source vouches that no two rows share a primary key.
        repeated_keys: file in staging with the primary keys that several rows share; they can't be
            told apart when rows are read back by key. Empty when there are none.
        since_field: field of the source whose largest value is remembered; "" for none.
        since: the value that this run begins with.
        fingerprint_key: what the rows' fingerprints are made with; the same when a run is resumed.
        warnings: that no row is moved, and why; see `airlift.empty_collections`.
        chunks: in the order in which they are read.
    """

    model_config = ConfigDict(frozen=True)

    mapped: MappedCollection
    way: str
    appends: bool = False
    file_format: str
    rows: int
    deleted: int
    left_out: int
    keys_unique: bool = True
    repeated_keys: str = ""
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    since_field: str = ""
    since: int | str | None = None
    fingerprint_key: FingerprintKey = BEFORE_KEYS
    chunks: tuple[Chunk, ...]

    @property
    def name(self) -> str:
        """The target collection in one word, also its folder's in staging; see `full_name`."""
        return self.mapped.full_name

    @property
    def target_name(self) -> str:
        """The target collection's name within its database."""
        return self.mapped.target.name

    @property
    def leaves_present_rows_out(self) -> bool:
        """Whether rows stay out whose primary keys the target holds; an upsert writes over them."""
        return self.appends and self.way != "upsert" and not self.mapped.target.primary_key.auto_id

    def partition_of(self, chunk: Chunk) -> str:
        """The target partition in which a chunk's rows are found; "" for the default one.

        Rows with a partition key are in partitions of the server's own, which have no names here.
        """
        return "" if self.mapped.has_partition_key else self.mapped.partitions[chunk.partition]

    @property
    def own_partitions(self) -> set[str]:
        """The target partitions that rows are written to, as `partition_of` names them."""
        return {self.partition_of(chunk) for chunk in self.chunks}

    @property
    def chunk_refs(self) -> list[ChunkRef]:
        """The names of its chunks."""
        return [ChunkRef(collection=self.name, chunk=chunk.id) for chunk in self.chunks]

    @property
    def planned_rows(self) -> int:
        """Rows that the chunks hold."""
        return sum(chunk.rows for chunk in self.chunks)


class Plan(BaseModel):
    """The whole migration.

    Attributes:
        batches: chunks in groups; one task handles a group.
    """

    model_config = ConfigDict(frozen=True)

    migration_id: str
    collections: tuple[CollectionPlan, ...]
    batches: tuple[tuple[ChunkRef, ...], ...]

    def collection(self, name: str) -> CollectionPlan:
        """The plan of a target collection."""
        return next(one for one in self.collections if one.name == name)

    def batch(self, index: int) -> list[tuple[CollectionPlan, Chunk]]:
        """The chunks of a batch, with their collections."""
        return self.chunks(self.batches[index])

    def chunks(self, refs: Iterable[ChunkRef]) -> list[tuple[CollectionPlan, Chunk]]:
        """The chunks of these names, with their collections."""
        found = []
        for ref in refs:
            collection = self.collection(ref.collection)
            chunk = next(chunk for chunk in collection.chunks if chunk.id == ref.chunk)
            found.append((collection, chunk))
        return found


def group_chunks(
    collections: list[CollectionPlan], max_batches: int, batch_bytes: int
) -> tuple[tuple[ChunkRef, ...], ...]:
    """Groups chunks, in order, into at most `max_batches` batches of about equal bytes.

    A batch holds at least `batch_bytes` where there is so much, so that a task's own cost is small.
    """
    total = sum(chunk.bytes for one in collections for chunk in one.chunks)
    size = max(batch_bytes, -(-total // max_batches))
    batches: list[list[ChunkRef]] = []
    before = 0
    for one in collections:
        for chunk, ref in zip(one.chunks, one.chunk_refs, strict=True):
            # A chunk belongs where its first byte falls; one without bytes may fall behind the end.
            place = before // size
            if not batches or len(batches) <= min(place, max_batches - 1):
                batches.append([])
            batches[-1].append(ref)
            before += chunk.bytes
    return tuple(tuple(batch) for batch in batches)
