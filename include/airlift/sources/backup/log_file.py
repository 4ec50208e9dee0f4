"""A log file's columns, batch by batch, in bounded memory at any size of the file."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from airlift.errors import AirliftError
from airlift.memory_limit import memory_limit, within_limit
from airlift.sources.backup.binlog import INSERT, Frame, read_frame
from airlift.storage import Storage

# A file up to this is read at once: one request in a bucket. A larger one bit by bit.
_WHOLE_LOCAL = 1 << 20
_WHOLE_REMOTE = 16 << 20
_BIT_LOCAL = 1 << 20
_BIT_REMOTE = 8 << 20
# Long texts that repeat are short in the file, and as long as ever once they are decoded.
_TEXT_ROWS = 4096
_THRIFT_LIMIT = 16 << 20
_FIELD_ID = b"PARQUET:field_id"


@contextmanager
def reading(address: str) -> Iterator[None]:
    """Turns whatever a damaged file makes a library raise into an AirliftError that names it."""
    try:
        yield
    except AirliftError:
        raise
    except FileNotFoundError as error:
        raise AirliftError(f"{address} does not exist; copy the backup again") from error
    except (
        pa.ArrowException,
        OSError,
        ValueError,
        LookupError,
        TypeError,
        ArithmeticError,
    ) as error:
        raise AirliftError(
            f"{address} is damaged or holds what is not known here: {error}; copy the backup "
            "again, or leave the collection out by `collections`"
        ) from error
    except MemoryError as error:
        raise AirliftError(
            f"{address} is damaged: it asks for more memory than there is; copy the backup again"
        ) from error


class _Range(io.RawIOBase):
    """A part of a file as a file of its own."""

    def __init__(self, stream: pa.NativeFile, start: int, length: int) -> None:
        self._stream, self._start, self._length = stream, start, length
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._length}[whence]
        self._at = min(max(base + offset, 0), self._length)
        return self._at

    def read(self, size: int = -1) -> bytes:
        left = self._length - self._at
        size = left if size is None or size < 0 else min(size, left)
        data: bytes = self._stream.read_at(size, self._start + self._at)
        self._at += len(data)
        return data


class LogFile:
    """The columns of one log file; close it after use.

    Args:
        size: its bytes when the backup was looked at.
        event: the type of its events.

    Attributes:
        address: for messages.
        rows: as its Parquet footers say.
    """

    def __init__(self, storage: Storage, path: str, size: int, event: int = INSERT) -> None:
        self.address = storage.address(path)
        self._held = ExitStack()
        try:
            with reading(self.address), memory_limit(self.address):
                stream = self._held.enter_context(storage.open_input(path))
                self.frame: Frame = read_frame(stream, self.address, size, event)
                self._files = [
                    self._parquet(stream, start, length, storage.is_local)
                    for start, length in self.frame.payloads
                ]
        except BaseException:
            self._held.close()
            raise
        self.rows = sum(one.metadata.num_rows for one in self._files)

    def _parquet(self, stream: Any, start: int, length: int, local: bool) -> pq.ParquetFile:
        if length <= (_WHOLE_LOCAL if local else _WHOLE_REMOTE):
            source: Any = pa.BufferReader(stream.read_at(length, start))
        else:
            source = pa.PythonFile(_Range(stream, start, length), mode="r")
        return self._held.enter_context(
            pq.ParquetFile(
                source,
                buffer_size=_BIT_LOCAL if local else _BIT_REMOTE,
                pre_buffer=False,
                thrift_string_size_limit=_THRIFT_LIMIT,
                thrift_container_size_limit=_THRIFT_LIMIT,
            )
        )

    @property
    def schema(self) -> pa.Schema:
        """The columns of its Parquet; empty where it holds no events."""
        return self._files[0].schema_arrow if self._files else pa.schema([])

    @property
    def _has_fixed_width(self) -> bool:
        """Whether its rows are as large as its file says, however often a value repeats."""
        return all(
            pa.types.is_primitive(kind) or pa.types.is_fixed_size_binary(kind)
            for kind in self.schema.types
        )

    def field_ids(self) -> dict[int, str]:
        """Field id -> column, of a file that holds several fields (storage v2)."""
        return {
            int(one.metadata[_FIELD_ID]): one.name
            for one in self.schema
            if one.metadata and _FIELD_ID in one.metadata
        }

    def batches(self, rows: int, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yields batches of exactly `rows` rows, and a last one of what is left."""
        held: list[pa.RecordBatch] = []
        count = 0
        with reading(self.address):
            for one in self._files:
                at_once = rows if self._has_fixed_width else min(rows, _TEXT_ROWS)
                decoded = one.iter_batches(at_once, columns=columns, use_threads=False)
                for batch in within_limit(self.address, decoded):
                    while batch.num_rows:
                        part = batch.slice(0, rows - count)
                        batch = batch.slice(part.num_rows)
                        held.append(part)
                        count += part.num_rows
                        if count == rows:
                            yield _joined(held)
                            held, count = [], 0
            if held:
                yield _joined(held)

    def close(self) -> None:
        """Closes the file."""
        self._held.close()


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)
