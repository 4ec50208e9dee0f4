"""Expressions as Milvus reads them: ranges of primary keys, and lists of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from airlift.datatypes import DataType
from airlift.schema import Field

# Milvus reads a negative literal as the negation of a positive one, so it can't read this one.
_INT64_MIN = -(1 << 63)


@dataclass(frozen=True)
class KeyRange:
    """Rows by their primary key; the default is all of them.

    Attributes:
        after: the keys are greater than this.
        until: the keys are not greater than this.
        condition: an expression that the rows fulfil as well; "" for none.
        rows: how many there are, where that is known.
    """

    after: int | str | None = None
    until: int | str | None = None
    condition: str = ""
    rows: int | None = None

    def expression(self, key: Field, after: int | str | None) -> str:
        """The rows of the range behind the key `after`, as Milvus reads it."""
        after = self.after if after is None else after
        parts = [every_key(key.name, key.type) if after is None else _beyond(key.name, after)]
        if self.until is not None:
            parts.append(_up_to(key.name, self.until))
        if self.condition:
            parts.append(f"({self.condition})")
        return " and ".join(parts)


EVERY_KEY = KeyRange()


def every_key(key: str, kind: DataType) -> str:
    """The expression for all rows, by the primary key's name and type."""
    return f"({key} >= 0 or {key} < 0)" if kind is DataType.INT64 else f'{key} >= ""'


def _beyond(key: str, value: int | str) -> str:
    return f"{key} >= {value + 1}" if value == _INT64_MIN else f"{key} > {literal(value)}"


def _up_to(key: str, value: int | str) -> str:
    return f"{key} < {value + 1}" if value == _INT64_MIN else f"{key} <= {literal(value)}"


_ESCAPES = {
    ord("\\"): "\\\\",
    ord('"'): '\\"',
    ord("\n"): "\\n",
    ord("\r"): "\\r",
    ord("\t"): "\\t",
}


def literal(value: int | str) -> str:
    """A value as Milvus' expressions have it."""
    if isinstance(value, int):
        return str(value)
    return f'"{value.translate(_ESCAPES)}"'


def is_one_of(key: Field, keys: Sequence[Any]) -> str:
    """The expression for the rows with those primary keys."""
    literals = ", ".join(literal(value) for value in keys if value != _INT64_MIN)
    expression = f"{key.name} in [{literals}]"
    return f"{expression} or {key.name} < {_INT64_MIN + 1}" if _INT64_MIN in keys else expression
