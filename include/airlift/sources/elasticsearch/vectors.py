"""Float vectors straight from an answer's text into numpy, without a Python float for each number.

Nearly all of an answer are the numbers of its vectors, and nearly all of the time went into making
objects of them. So the text of each vector is cut out and replaced by a mark, what remains is
parsed as ever, and the numbers of all vectors are parsed in one go.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from airlift.datatypes import DataType
from airlift.sources.elasticsearch.columns import Column

_SPACE = b" \t\r\n"
_NOT_PLAIN = (b'"', b"[", b"{")

Floats = npt.NDArray[np.float32]


class VectorCutter:
    """Cuts one column's vectors out of answers.

    Args:
        column: of float vectors, at the top of the documents; see `can_cut`.
    """

    def __init__(self, column: Column) -> None:
        self.column = column
        self._parser = _NumberParser()
        self._key = orjson.dumps(column.path[0])
        # No document can hold it by chance or on purpose.
        self.mark = uuid.uuid4().hex
        self._placed = b'"' + self.mark.encode() + b'"'

    def cut(self, answer: bytes) -> tuple[bytes, list[bytes]]:
        """The answer with marks for vectors, and the texts between their brackets.

        Whatever is a list behind the key is cut, at any depth: `floats` finds out.
        """
        pieces: list[bytes] = []
        texts: list[bytes] = []
        key, length = self._key, len(self._key)
        kept = at = 0
        while (at := answer.find(key, at)) >= 0:
            at += length
            begin = _list_behind(answer, at)
            if begin < 0:  # the same word as a value, or another kind of value behind the key
                continue
            end = answer.find(b"]", begin)
            if end < 0:
                break
            pieces.append(answer[kept : begin - 1])
            texts.append(answer[begin:end])
            at = kept = end + 1
        pieces.append(answer[kept:])
        if any(sign in text for text in texts for sign in _NOT_PLAIN):
            return answer, []  # the first bracket need not be the one that closes the list
        return self._placed.join(pieces), texts

    def floats(self, raw: Sequence[Any], texts: Sequence[bytes]) -> Floats | None:
        """The vectors of the rows that have one, in order.

        Args:
            raw: what stands at the column's place in each document: the mark, or None.
            texts: what was cut out.

        Returns:
            None when it has to be done the slow way: not all that was cut out stood there, or is
            as many plain, finite numbers as the column has.
        """
        marked = raw.count(self.mark)
        if marked != len(texts) or marked + raw.count(None) != len(raw):
            return None
        commas = self.column.dim - 1
        if any(text.count(b",") != commas for text in texts):
            return None
        if not texts:
            return np.empty((0, self.column.dim), np.float32)
        found = self._parser.floats(b"[" + b",".join(texts) + b"]")
        if found is None or len(found) != len(texts) * self.column.dim:
            return None
        return found.reshape(-1, self.column.dim) if np.isfinite(found).all() else None


def _list_behind(answer: bytes, at: int) -> int:
    """Where the list behind a key begins, after its bracket; -1 when no list follows."""
    if answer[at : at + 2] == b":[":
        return at + 2
    for sign in b":[":
        while at < len(answer) and answer[at] in _SPACE:
            at += 1
        if at >= len(answer) or answer[at] != sign:
            return -1
        at += 1
    return at


def can_cut(column: Column) -> bool:
    """Whether a column's vectors can be cut out of answers."""
    return (
        column.type is DataType.FLOAT_VECTOR
        and len(column.path) == 1
        and column.fetched_by is None
        # No wheel for this Python yet? Then the slow way does the same.
        and find_spec("simdjson") is not None
    )


class _NumberParser:
    """Parses JSON lists of nothing but numbers, one after the other."""

    def __init__(self) -> None:
        import simdjson

        # Used again for every page: a new one each would take fresh memory from the system.
        self._parser = simdjson.Parser()

    def floats(self, text: bytes) -> Floats | None:
        """The numbers, rounded to 32 bits; None where there is anything else."""
        try:
            parsed: Any = self._parser.parse(text)
            numbers = np.frombuffer(parsed.as_buffer(of_type="d"), np.float64)
        except (ValueError, TypeError, RuntimeError, AttributeError):
            return None
        with np.errstate(over="ignore"):
            return numbers.astype(np.float32)
