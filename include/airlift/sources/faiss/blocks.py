"""Rows of a scalars file in blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pyarrow as pa

BLOCK_ROWS = 65_536


class Block(NamedTuple):
    """Some rows of a file.

    Attributes:
        rows: the columns.
        bad: by row, why the file has no value for a field that its column holds exactly.
    """

    rows: pa.RecordBatch
    bad: dict[int, str]


Rows = tuple[pa.Schema, Callable[[], Iterator[Block]]]
"""The columns, and what yields them in blocks of at most BLOCK_ROWS."""
