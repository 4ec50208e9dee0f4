"""The frame of a binlog: which bytes of the file are Parquet, and what they are said to hold.

    magic, descriptor event, then insert or delete events; each event is a header, two timestamps
    and a Parquet file. All little-endian; see Milvus, `internal/storage/event_header.go`.

Only headers are read here, and no length is believed before it is compared with the file's own.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import orjson
import pyarrow as pa

from airlift.errors import AirliftError

MAGIC = struct.pack("<i", 0xFFFABC)
PARQUET = b"PAR1"

_HEADER = struct.Struct("<Qbii")  # timestamp, type, bytes of the event, place of the next
_FIXED = struct.Struct("<qqqqQQi")  # collection, partition, segment, field, start, end, data type
_TIMES = struct.Struct("<QQ")
_LENGTH = struct.Struct("<i")
_DESCRIPTOR, INSERT, DELETE = 0, 1, 2
_POST_HEADERS = 8
_EXTRA_LIMIT = 1 << 20
_MOST_EVENTS = 4096


@dataclass(frozen=True)
class Frame:
    """What stands in a log file.

    Attributes:
        field_id: whose values they are; None for plain Parquet.
        payloads: offset and length of each Parquet file in it.
    """

    payloads: tuple[tuple[int, int], ...]
    field_id: int | None = None


class _Damaged(Exception):
    """The frame is not as it must be."""


def read_frame(stream: pa.NativeFile, address: str, size: int, event: int) -> Frame:
    """The frame of an open log file.

    Args:
        size: its bytes when the backup was looked at.
        event: the type of the events that it must hold.

    Raises:
        AirliftError: it is damaged, encrypted, or of a kind that is not known.
    """
    if (found := stream.size()) != size:
        raise AirliftError(
            f"{address} has {found:,} bytes, {size:,} were expected: it was changed since the "
            "migration was planned; run again with a new migration_id"
        )
    try:
        magic = _at(stream, 0, 4, size)
        if magic == PARQUET:
            return Frame(((0, size),))
        if magic != MAGIC:
            raise _Damaged(f"it begins with the bytes {magic.hex()}, expected {MAGIC.hex()}")
        return _events(stream, size, event)
    except _Damaged as error:
        raise AirliftError(
            f"{address} is damaged or no binlog: {error}; copy the backup again"
        ) from error


def _events(stream: pa.NativeFile, size: int, event: int) -> Frame:
    kind, end = _event(stream, 4, size)
    start = 4 + _HEADER.size
    if kind != _DESCRIPTOR:
        raise _Damaged(f"its first event is of type {kind}, expected {_DESCRIPTOR} (descriptor)")
    fixed = _FIXED.unpack(_at(stream, start, _FIXED.size, end))
    at = start + _FIXED.size + _POST_HEADERS
    (length,) = _LENGTH.unpack(_at(stream, at, _LENGTH.size, end))
    if not 0 <= length <= min(end - at - _LENGTH.size, _EXTRA_LIMIT):
        raise _Damaged(
            f"at byte {at}: {length:,} bytes of JSON can't be in an event that ends at byte {end:,}"
        )
    text = _at(stream, at + _LENGTH.size, length, end)
    try:
        extras = orjson.loads(text) if text else {}
    except orjson.JSONDecodeError as error:
        raise _Damaged(f"its descriptor is no JSON: {error}") from error
    if not isinstance(extras, dict):
        raise _Damaged("its descriptor is no JSON object")
    if "edek" in extras:
        raise _Damaged("it is encrypted, and only the Milvus that wrote it has the key")
    payloads = []
    at = end
    while at < size:
        kind, end = _event(stream, at, size)
        if kind != event:
            raise _Damaged(f"at byte {at:,}: an event of type {kind}, expected {event}")
        first = at + _HEADER.size + _TIMES.size
        if end <= first:
            raise _Damaged(f"at byte {at:,}: an event of {end - at} bytes is too short")
        payloads.append((first, end - first))
        if len(payloads) > _MOST_EVENTS:
            raise _Damaged(f"it holds more than {_MOST_EVENTS:,} events")
        at = end
    return Frame(tuple(payloads), fixed[3])


def _event(stream: pa.NativeFile, at: int, size: int) -> tuple[int, int]:
    """The type of the event that begins at a place, and where it ends."""
    _, kind, length, _ = _HEADER.unpack(_at(stream, at, _HEADER.size, size))
    # The place of the next event is not set by all versions; the length is.
    if not _HEADER.size <= length <= size - at:
        raise _Damaged(
            f"at byte {at:,}: an event of {length:,} bytes can't be in a file of {size:,} bytes"
        )
    return kind, at + length


def _at(stream: pa.NativeFile, at: int, length: int, end: int) -> bytes:
    if at + length > end:
        raise _Damaged(f"it ends at byte {end:,}, where {length} more bytes from {at:,} must be")
    data: bytes = stream.read_at(length, at)
    if len(data) != length:
        raise _Damaged(f"at byte {at:,}: {len(data)} of {length} bytes can be read")
    return data
