"""A source that gives what a test puts into it: for what the spine does with any source's rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import orjson
import pyarrow as pa

from airlift.chunk import Chunk, chunk_id
from airlift.migration import Migration
from airlift.params import MigrationParams
from airlift.run import run
from airlift.schema import CollectionSchema, SourceCollection
from airlift.sources.base import BadRows, StillSource
from tests.paths.place import Place

Given = pa.RecordBatch | BadRows


@dataclass
class ArrowSource(StillSource):
    """One collection; each list of `chunks` is what one chunk gives. See `sources.base.Source`.

    Attributes:
        partitions: of each chunk; empty for the default partition.
    """

    schema: CollectionSchema
    chunks: Sequence[Sequence[Given]]
    keys_unique: bool = True
    planned: int | None = None
    partitions: Sequence[str] = ()
    calls: list[str] = field(default_factory=list)
    batch_bytes: ClassVar[int] = 1

    def check(self) -> list[str]:
        return []

    def describe(self) -> list[SourceCollection]:
        rows = sum(map(self._rows, self.chunks))
        return [
            SourceCollection(collection_schema=self.schema, rows=rows, keys_unique=self.keys_unique)
        ]

    def files(self, collections: list[SourceCollection]) -> list[Any]:
        return []

    def folder(self) -> None:
        return None

    def address(self) -> str:
        return "memory"

    def cut(self, collection: SourceCollection, chunk_bytes: int) -> list[Chunk]:
        return [
            Chunk(
                id=chunk_id(n, n),
                collection=self.schema.name,
                partition=self.partitions[n] if self.partitions else "",
                rows=self._rows(given) if self.planned is None else self.planned,
                bytes=1000,
                read={"chunk": n},
            )
            for n, given in enumerate(self.chunks)
        ]

    def read(self, chunk: Chunk) -> Iterator[Given]:
        self.calls.append(f"read {chunk.read['chunk']}")
        yield from self.chunks[chunk.read["chunk"]]

    def close(self) -> None:
        self.calls.append("close")

    def finish(self) -> None:
        self.calls.append("finish")

    @staticmethod
    def _rows(given: Sequence[Given]) -> int:
        batches = [one.rows if isinstance(one, BadRows) else one for one in given]
        return sum(one.num_rows for one in batches if isinstance(one, pa.RecordBatch))


class ArrowMigration(Migration):
    """A migration from an ArrowSource."""

    given: ArrowSource

    def original_source(self) -> Any:
        return self.given


def migration_of(place: Place, source: ArrowSource, **params: Any) -> ArrowMigration:
    """The migration of a source into a place."""
    given = {**place.defaults, **params}
    migration_id = given.pop("migration_id", place.migration_id)
    one = ArrowMigration("memory", MigrationParams(**given), migration_id, place.connections)
    one.given = source
    return one


def run_from(place: Place, source: ArrowSource, **params: Any) -> dict[str, Any]:
    """Runs a migration to its end; returns what stands in its report.json."""
    with migration_of(place, source, **params) as migration:
        run(migration)
        report = migration.staging.folder.read_bytes("report.json")
    read: dict[str, Any] = orjson.loads(report)
    return read
