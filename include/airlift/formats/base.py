"""What a chunk file format must offer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Protocol

import pyarrow as pa

from airlift.chunk import ChunkFile
from airlift.schema import CollectionSchema
from airlift.storage import Storage

MAX_FILE_BYTES = 16 << 30
"""Milvus imports no larger file; see `dataNode.import.maxImportFileSizeInGB`."""


class ChunkWriter(Protocol):
    """Writes one chunk's rows into its folder.

    Batches must own their memory: a writer may keep them until `close`.
    """

    def write(self, batch: pa.RecordBatch) -> None:
        """Appends rows."""
        ...

    def close(self) -> list[ChunkFile]:
        """Ends and publishes the files; returns them, in the order that an import names them."""
        ...

    def abandon(self) -> None:
        """Removes what was written so far, after a failure."""
        ...


class ChunkFormat(Protocol):
    """A file format that Milvus imports.

    Attributes:
        name: as the param `file_format` spells it.
        needs_row_count: whether the number of rows must be known before the first is written.
    """

    name: ClassVar[str]
    needs_row_count: ClassVar[bool]

    @staticmethod
    def unfit(schema: CollectionSchema) -> str | None:
        """Why the format can't hold such rows; None when it can."""
        ...

    @staticmethod
    def empty_becomes_null(schema: CollectionSchema) -> list[str]:
        """The fields whose empty lists become null when a target imports such files."""
        ...

    @staticmethod
    def max_chunk_bytes(schema: CollectionSchema) -> int:
        """Bytes of rows that a chunk may have, so that no file is larger than Milvus imports."""
        ...

    @staticmethod
    def files(schema: CollectionSchema) -> list[str]:
        """The names of a chunk's data files."""
        ...

    @staticmethod
    def size(schema: CollectionSchema, rows: int) -> int | None:
        """Bytes of a chunk's files; None where only the rows tell."""
        ...

    @staticmethod
    def writer(folder: Storage, schema: CollectionSchema, rows: int) -> ChunkWriter:
        """Starts a chunk of `rows` rows in its folder."""
        ...

    @staticmethod
    def read(
        folder: Storage, schema: CollectionSchema, batch_rows: int
    ) -> Iterator[pa.RecordBatch]:
        """Reads a written chunk back."""
        ...


class OneFileFormat:
    """What formats have in common that put all fields of a chunk into one file, row by row.

    Attributes:
        file_name: of a chunk's file.
    """

    needs_row_count: ClassVar[bool] = False
    file_name: ClassVar[str]

    @staticmethod
    def unfit(schema: CollectionSchema) -> str | None:
        """None: every field fits."""
        return None

    @classmethod
    def files(cls, schema: CollectionSchema) -> list[str]:
        """One for all fields."""
        return [cls.file_name]

    @staticmethod
    def size(schema: CollectionSchema, rows: int) -> None:
        """None: only the rows show how large the file is."""
        return None
