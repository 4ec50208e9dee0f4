"""Pieces of an index that are read: ranges of `_seq_no`, or slices of a point in time.

Every document has a `_seq_no` that it keeps until it is changed, so a range of them means the same
in every point in time. An index that keeps none (`index.disable_sequence_numbers`) is cut by what
the server itself offers: slices of one point in time, in the order of `_shard_doc`. Both mean
something in that point in time only.
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
        filters: queries that they all fulfil.
        read_by: what it is cut by. Ranges are not written down: so chunks keep the ids that they
            had before there were others.
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


class Span(BaseModel):
    """The documents of one shard whose `_seq_no` lies from `start` to before `stop`.

    Every change of a document gives it a new number, above all others in its shard. So a range
    below the highest number can lose documents, but never get one: when it has as many as before,
    they are the same.

    Attributes:
        rows: documents in it.
        objects: nested objects in them, where these are what becomes rows (`explode`).
    """

    model_config = ConfigDict(frozen=True)

    index: str
    shard: int
    start: int
    stop: int
    rows: int
    objects: int | None = None

    @property
    def rows_made(self) -> int:
        """Rows of the collection that it gives."""
        return self.rows if self.objects is None else self.objects

    @property
    def what(self) -> str:
        """For messages."""
        return f"index {self.index!r}, shard {self.shard}"

    def request(self, after: int | None) -> PageRequest:
        """Asks for those after a number; for the first ones where that is None."""
        wanted = {"range": {SEQ_NO: {"gte": self._from(after), "lt": self.stop}}}
        return PageRequest(self.shard, (wanted,), {"sort": [{SEQ_NO: "asc"}]})

    def misplaced(self, numbers: Sequence[int], after: int | None) -> str:
        """Whether documents are others than it was asked for, as a message; "" where they fit.

        One that comes twice would hide one that lacks.

        Args:
            numbers: by which they are sorted.
        """
        start = self._from(after)
        if not numbers or (_is_rising(numbers) and start <= numbers[0] and numbers[-1] < self.stop):
            return ""
        return f"expected documents in the order of {SEQ_NO}, from {start} to below {self.stop}"

    def shortage(self, found: int) -> str:
        """Why another number of documents came than was counted, and what to do."""
        return (
            f"{self.what}: {self.rows - found:,} of {self.rows:,} "
            "documents were changed or deleted since the migration was planned, and the server "
            "has lost the point in time that held them as they were (it restarted, or has "
            "none); stop writing to the index, then run again with a new migration_id"
        )

    def _from(self, after: int | None) -> int:
        return self.start if after is None else after + 1


class Slice(BaseModel):
    """A slice of an index in one point in time, as the server cuts it.

    Where there are as many slices as shards, or a multiple of that, each lies in one shard.

    Attributes:
        point: of which point in time: `Snapshot.digest`.
        number, of: which of how many slices.
        rows: documents in it.
        objects: as of `Span`.
    """

    model_config = ConfigDict(frozen=True)

    index: str
    point: str
    number: int
    of: int
    rows: int
    objects: int | None = None

    @property
    def rows_made(self) -> int:
        """Rows of the collection that it gives."""
        return self.rows if self.objects is None else self.objects

    @property
    def what(self) -> str:
        """For messages."""
        return f"index {self.index!r}, slice {self.number} of {self.of}"

    def request(self, after: int | None) -> PageRequest:
        """Asks for those after a value of `_shard_doc`; for the first ones where that is None."""
        body: dict[str, Any] = {"sort": [{SHARD_DOC: "asc"}], **slice_clause(self.number, self.of)}
        if after is not None:
            body["search_after"] = [after]
        return PageRequest(None, (), body)

    def misplaced(self, numbers: Sequence[int], after: int | None) -> str:
        """Whether documents are others than it was asked for, as a message; "" where they fit.

        One that comes twice would hide one that lacks.

        Args:
            numbers: by which they are sorted.
        """
        above = -1 if after is None else after
        if not numbers or (_is_rising(numbers) and above < numbers[0]):
            return ""
        return f"expected documents in the order of {SHARD_DOC}, above {above}"

    def shortage(self, found: int) -> str:
        """Why another number of documents came than was counted, and what to do."""
        return (
            f"{self.what}: the server counted {self.rows:,} documents in its point in time and "
            f"gave {found:,} of the same one; look at the server's log, then clear the task"
        )


def slice_clause(number: int, of: int) -> dict[str, Any]:
    """The part of a search's body that asks for one slice; servers have no first of one."""
    return {"slice": {"id": number, "max": of}} if of > 1 else {}


def _is_rising(numbers: Sequence[int]) -> bool:
    return all(left < right for left, right in pairwise(numbers))
