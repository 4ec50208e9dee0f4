"""Reads Faiss files through the source as a migration does, without a target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from airlift.errors import AirliftError, Refused
from airlift.schema import SourceCollection
from airlift.sources.faiss.params import FaissParams
from airlift.sources.faiss.source import FaissSource
from airlift.storage import open_storage


class NoConnections:
    """Nothing is looked up."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} was asked for")


def source_of(folder: Path, **params: Any) -> FaissSource:
    given = {"index_url": str(folder / "songs.index"), "staging_url": str(folder), **params}
    return FaissSource(FaissParams(**given), NoConnections(), open_storage(str(folder / "scratch")))


class Read:
    """All that a source gives of its one collection."""

    def __init__(self, source: FaissSource, chunk_bytes: int = 1 << 30) -> None:
        reasons = source.check()
        if reasons:
            raise Refused(reasons)
        [self.collection] = source.describe()
        self.chunks = source.cut(self.collection, chunk_bytes)
        batches = []
        for chunk in self.chunks:
            found = list(source.read(chunk))
            assert sum(batch.num_rows for batch in found) == chunk.rows
            batches += found
        assert sum(chunk.rows for chunk in self.chunks) == self.collection.live
        source.close()
        self.schema = self.collection.collection_schema
        self.table = pa.Table.from_batches(batches, schema=self.schema.arrow)
        self.ids = np.array(self.table.column(0).to_pylist(), np.int64)

    @property
    def notes(self) -> str:
        return "\n".join(self.collection.notes)

    def vectors(self, dtype: str = "<f4") -> np.ndarray:
        """The vectors' own bytes as numbers, in the order of the ids."""
        rows = []
        for chunk in self.table.column(1).chunks:
            if pa.types.is_fixed_size_list(chunk.type):
                rows.append(np.asarray(chunk.flatten()).reshape(len(chunk), -1))
            else:
                raw = b"".join(chunk.to_pylist())
                rows.append(np.frombuffer(raw, dtype).reshape(len(chunk), -1))
        return np.concatenate(rows)[np.argsort(self.ids, kind="stable")]

    def scalars(self) -> dict[str, list[Any]]:
        """The scalar columns, in the order of the ids."""
        ordered = self.table.take(pa.array(np.argsort(self.ids, kind="stable")))
        return {name: ordered.column(name).to_pylist() for name in self.table.column_names[2:]}


def described(source: FaissSource) -> SourceCollection:
    [collection] = source.describe()
    return collection


def outcome(folder: Path) -> str:
    """Reads an index to its end; the reason or error against it, or "" when all rows came."""
    source = source_of(folder, allow_lossy=True)
    try:
        if reasons := source.check():
            return reasons[0]
        Read(source)
    except AirliftError as error:
        return str(error)
    finally:
        source.close()
    return ""
