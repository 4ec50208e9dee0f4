"""Pieces of an index that are read: ranges of `_seq_no`, or slices of a point in time.

Every document has a `_seq_no` that it keeps until it is changed, so a range of them means the same
in every point in time. An index that keeps none (`index.disable_sequence_numbers`) is cut by what
the server itself offers: slices of one point in time, in the order of `_shard_doc`. A
slice, and that order, mean something in that point in time only.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from itertools import pairwise
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

SEQ_NO, SHARD_DOC = "_seq_no", "_shard_doc"


class ReadBy(StrEnum):
    """What an index is cut by."""

    RANGES = "ranges"
    SLICES = "slices"


class IndexPart(BaseModel):
    """An index, and which of its documents are moved.

    Attributes:
        filters: queries of the search API that all of these documents match.
        read_by: what it is cut by. `ranges` is left out of the JSON, as it was before there were
            slices, so that the ids of such chunks stay the same.
    """

    model_config = ConfigDict(frozen=True)

    index: str
    uuid: str
    shards: int
    filters: tuple[dict[str, Any], ...] = ()
    read_by: ReadBy = Field(ReadBy.RANGES, exclude_if=lambda way: way is ReadBy.RANGES)

    @property
    def order(self) -> str:
        """What its documents can be sorted by, each with a value of its own in a shard."""
        return SHARD_DOC if self.read_by is ReadBy.SLICES else SEQ_NO


class PageRequest(NamedTuple):
    """How to ask for the next documents of a piece.

    Attributes:
        shard: the only one to search; None for all.
        filters: queries on top of the index's own.
        body: the rest of the request.
    """

    shard: int | None
    filters: tuple[dict[str, Any], ...]
    body: dict[str, Any]


class _Piece(BaseModel):
    """What ranges and slices have in common.

    Attributes:
        rows: documents in it.
        objects: nested objects in them, where each of these becomes a row (`explode`); else None.
    """

    model_config = ConfigDict(frozen=True)

    index: str
    rows: int
    objects: int | None = None

    @property
    def rows_made(self) -> int:
        """Rows of the collection that it gives."""
        return self.rows if self.objects is None else self.objects


class Span(_Piece):
    """The documents of one shard whose `_seq_no` lies from `start` to before `stop`.

    Every change of a document gives it a new number, above all others in its shard. So a range
    below the highest number can lose documents, but never get one: when it has as many as before,
    they are the same.
    """

    shard: int
    start: int
    stop: int

    @property
    def label(self) -> str:
        """Its index and shard, for messages."""
        return f"index {self.index!r}, shard {self.shard}"

    def request(self, after: int | None) -> PageRequest:
        """Asks for the documents after a `_seq_no`; from the first one on where that is None."""
        wanted = {"range": {SEQ_NO: {"gte": self._from(after), "lt": self.stop}}}
        return PageRequest(self.shard, (wanted,), {"sort": [{SEQ_NO: "asc"}]})

    def order_problem(self, numbers: Sequence[int], after: int | None) -> str:
        """Why a page has other documents than `request` asked for; "" where it has not.

        Counting alone is not enough: a document that comes twice would hide one that is missing.

        Args:
            numbers: the values that the page's documents are sorted by, in its order.
            after: as given to `request`.
        """
        start = self._from(after)
        if not numbers or (_is_rising(numbers) and start <= numbers[0] and numbers[-1] < self.stop):
            return ""
        return f"expected documents in the order of {SEQ_NO}, from {start} to below {self.stop}"

    def shortage(self, found: int) -> str:
        """The message for `found` documents, other than were counted: why, and what to do."""
        return (
            f"{self.label}: {self.rows - found:,} of {self.rows:,} "
            "documents were changed or deleted since the migration was planned, and the server "
            "has lost the point in time that held them as they were (it restarted, or has "
            "none); stop writing to the index, then run again with a new migration_id"
        )

    def _from(self, after: int | None) -> int:
        return self.start if after is None else after + 1


class Slice(_Piece):
    """A slice of an index in one point in time, as the server cuts it.

    Where there are as many slices as shards, or a multiple of that, each lies in one shard.

    Attributes:
        point: the point in time that it is a slice of, by its `Snapshot.digest`.
        number: which slice it is, from 0.
        of: how many slices there are.
    """

    point: str
    number: int
    of: int

    @property
    def label(self) -> str:
        """Its index and number, for messages."""
        return f"index {self.index!r}, slice {self.number} of {self.of}"

    def request(self, after: int | None) -> PageRequest:
        """Asks for the documents after a `_shard_doc`; from the first one on where that is None."""
        body: dict[str, Any] = {"sort": [{SHARD_DOC: "asc"}], **slice_clause(self.number, self.of)}
        if after is not None:
            body["search_after"] = [after]
        return PageRequest(None, (), body)

    def order_problem(self, numbers: Sequence[int], after: int | None) -> str:
        """Why a page has other documents than `request` asked for; "" where it has not.

        Counting alone is not enough: a document that comes twice would hide one that is missing.

        Args:
            numbers: the values that the page's documents are sorted by, in its order.
            after: as given to `request`.
        """
        above = -1 if after is None else after
        if not numbers or (_is_rising(numbers) and above < numbers[0]):
            return ""
        return f"expected documents in the order of {SHARD_DOC}, above {above}"

    def shortage(self, found: int) -> str:
        """The message for `found` documents, other than were counted: why, and what to do."""
        return (
            f"{self.label}: the server counted {self.rows:,} documents in its point in time and "
            f"gave {found:,} of the same one; look at the server's log, then clear the task"
        )


def slice_clause(number: int, of: int) -> dict[str, Any]:
    """What asks for one slice in a search's body; servers refuse a `max` of 1, which is all."""
    return {"slice": {"id": number, "max": of}} if of > 1 else {}


def _is_rising(numbers: Sequence[int]) -> bool:
    return all(left < right for left, right in pairwise(numbers))
