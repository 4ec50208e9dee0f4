"""Chunks whose rows the target reads from the source's own files: nothing is written for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pyarrow as pa

from airlift.chunk import ChunkFile
from airlift.errors import AirliftError
from airlift.formats.base import MAX_FILE_BYTES
from airlift.schema import CollectionSchema
from airlift.storage import Storage


class _NothingWritten:
    def write(self, batch: pa.RecordBatch) -> None:
        """The rows are read to be counted, checked and compared only."""

    def close(self) -> list[ChunkFile]:
        """No files."""
        return []

    def abandon(self) -> None:
        """Nothing is to be removed."""


class OwnFilesFormat:
    """The format of the source's own files; see `airlift.formats.base.ChunkFormat`."""

    name: ClassVar[str] = "own files"
    needs_row_count: ClassVar[bool] = False

    @staticmethod
    def unfit(schema: CollectionSchema) -> str | None:
        """None: it is chosen where it fits only."""
        return None

    @staticmethod
    def empty_becomes_null(schema: CollectionSchema) -> list[str]:
        """None: they are the server's own."""
        return []

    @staticmethod
    def max_chunk_bytes(schema: CollectionSchema) -> int:
        """The files are as large as they are."""
        return MAX_FILE_BYTES

    @staticmethod
    def files(schema: CollectionSchema) -> list[str]:
        """None are written."""
        return []

    @staticmethod
    def size(schema: CollectionSchema, rows: int) -> int:
        """Nothing is written."""
        return 0

    @staticmethod
    def writer(folder: Storage, schema: CollectionSchema, rows: int) -> _NothingWritten:
        """Writes nothing."""
        return _NothingWritten()

    @staticmethod
    def read(
        folder: Storage, schema: CollectionSchema, batch_rows: int
    ) -> Iterator[pa.RecordBatch]:
        """Raises AirliftError: there is nothing to read back."""
        raise AirliftError(
            f"collection {schema.name!r}: rows may share primary keys, which can't be looked into "
            "when the target imports the source's own files; set backup_way to decode"
        )
