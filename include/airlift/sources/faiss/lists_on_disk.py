"""Parses where inverted lists lie in a file of their own, beside the index (`OnDiskInvertedLists`).

The index then holds a section `ilod`: for each list its size, capacity and offset in that file, the
free slots, the file's path and its length. The section is untrusted: only the base name of its path
is used, and each number is compared with the others before it is used. The format is that of Faiss'
`OnDiskInvertedLists.cpp`: at a list's offset are the codes of its capacity, then as many ids.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from airlift.sources.faiss.cursor import Cursor

_ID_BYTES = 8
_LIST = np.dtype([("size", "<u8"), ("capacity", "<u8"), ("offset", "<u8")])
_SLOT_BYTES = 16
_MAX_PATH = 1 << 16
_MAX_NAME = 255
_MAX_CODE = 1 << 24
_MAX_FILE = 1 << 62


@dataclass(frozen=True)
class InvertedLists:
    """The lists that are not empty, in the order in which they lie in their file.

    Attributes:
        sizes: rows of each list.
        vectors_at, ids_at: offsets in the file, in bytes.
        file: base name of the file; "" where that is the index itself.
        file_bytes: the file's length; 0 where that is the index itself.
    """

    sizes: NDArray[np.int64]
    vectors_at: NDArray[np.int64]
    ids_at: NDArray[np.int64]
    file: str = ""
    file_bytes: int = 0


def parse_lists_on_disk(cursor: Cursor, nlist: int, code_size: int, rows: int) -> InvertedLists:
    """Parses the section.

    Args:
        cursor: behind the four characters `ilod`.
        nlist: lists that the index has.
        code_size: bytes of a vector in a list.
        rows: of the index.

    Raises:
        Damaged: the numbers don't agree, or the file's name is no plain name.
    """
    lists, codes = cursor.u64(), cursor.u64()
    if (lists, codes) != (nlist, code_size) or code_size > _MAX_CODE:
        cursor.damaged(
            f"{lists:,} lists of {codes:,} bytes a vector; expected {nlist:,} of {code_size:,}"
        )
    table = np.frombuffer(cursor.vector_bytes(_LIST.itemsize, nlist), _LIST)
    if len(table) != nlist:
        cursor.damaged(f"places of {len(table):,} lists; expected those of {nlist:,}")
    cursor.vector(_SLOT_BYTES)  # free space in the file
    name = _base_name(cursor)
    total = cursor.u64()
    if total >= _MAX_FILE:
        cursor.damaged(f"a file of lists of {total:,} bytes; expected less than {_MAX_FILE:,}")
    table = _checked(cursor, table, code_size, total)
    filled = table[table["size"] > 0]
    # Each fits into `total` by now, so neither these nor their sum can overflow.
    sizes, capacities, starts = (filled[field].astype(np.int64) for field in _LIST.names or ())
    held = int(sizes.sum())
    if held != rows:
        cursor.damaged(f"its lists hold {held:,} rows together, expected {rows:,}")
    return InvertedLists(sizes, starts, starts + capacities * code_size, name, total)


def _checked(
    cursor: Cursor, table: NDArray[np.void], code_size: int, total: int
) -> NDArray[np.void]:
    """The lists that have space in the file, by their offsets.

    Args:
        total: bytes of the file.

    Raises:
        Damaged: a list is longer than its space, beyond the file's end, or overlaps another.
    """
    row_bytes = code_size + _ID_BYTES
    full = np.flatnonzero(table["size"] > table["capacity"])
    if len(full):
        size, capacity = (int(table[name][full[0]]) for name in ("size", "capacity"))
        cursor.damaged(f"list {full[0]:,} has {size:,} rows in space for {capacity:,}")
    numbers = np.flatnonzero(table["capacity"] > 0)  # others have no place, and any offset
    table = table[numbers]
    # Capacities are compared before they are multiplied, which could overflow.
    outside = table["capacity"] > total // row_bytes
    outside |= table["offset"] > total
    ends = table["offset"] + table["capacity"] * np.uint64(row_bytes)
    outside |= ends > total
    if outside.any():
        first = int(np.argmax(outside))
        cursor.damaged(
            f"list {numbers[first]:,} (space for {table['capacity'][first]:,} rows at byte "
            f"{table['offset'][first]:,}) is not inside its file of {total:,} bytes"
        )
    order = np.argsort(table["offset"], kind="stable")
    overlap = table["offset"][order[1:]] < ends[order[:-1]]
    if overlap.any():
        first = int(np.argmax(overlap))
        cursor.damaged(
            f"the lists {numbers[order[first]]:,} and {numbers[order[first + 1]]:,} overlap in "
            "their file"
        )
    return table[order]


def _base_name(cursor: Cursor) -> str:
    """The last part of the path of the lists' file. Raises Damaged where it is no file name."""
    path = cursor.vector_bytes(1, _MAX_PATH)
    base = path.rpartition(b"/")[2]
    try:
        name = base.decode()
    except UnicodeDecodeError:
        name = ""
    if name in ("", ".", "..") or not name.isprintable() or len(base) > _MAX_NAME:
        cursor.damaged(f"the file of its lists is called {path[-_MAX_NAME:]!r}: no file name")
    return name
