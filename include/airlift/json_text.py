"""JSON texts in one canonical form, so that equal values are equal texts.

Servers keep a JSON value, not its text: spaces and the order of keys come back as they please.
"""

from __future__ import annotations

from typing import Any

import orjson
import pyarrow as pa

_CANONICAL = orjson.OPT_SORT_KEYS


def canonical(value: Any) -> str:
    """The canonical text of a value: keys sorted, no spaces."""
    return orjson.dumps(value, option=_CANONICAL).decode()


def canonical_column(column: pa.Array) -> pa.Array:
    """Brings a column of JSON texts into canonical form; nulls stay.

    Args:
        column: strings or binaries.

    Raises:
        ValueError: a text is no JSON; it tells the row.
    """
    texts: list[str | None] = []
    for row, text in enumerate(column.to_pylist()):
        try:
            texts.append(None if text is None else canonical(orjson.loads(text)))
        except orjson.JSONDecodeError as error:
            raise ValueError(f"row {row}: {str(text)[:80]!r} is no JSON: {error}") from error
    return pa.array(texts, pa.string())


def canonical_or_null(column: pa.Array) -> pa.Array:
    """Brings a column of JSON texts into canonical form; what is no JSON becomes null."""
    return pa.array([_canonical_text(text) for text in column.to_pylist()], pa.string())


def _canonical_text(text: str | None) -> str | None:
    try:
        return None if text is None else canonical(orjson.loads(text))
    except orjson.JSONDecodeError:
        return None
