"""What a verification found: `verification.json` in staging, and a part of the report."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from airlift.params import Verify


class PartitionCounts(BaseModel):
    """Rows of one partition at each step; "" is the default partition.

    Attributes:
        planned: live rows of the source that must arrive.
        read: rows that the source gave.
        set_aside: bad rows that were kept apart, as `on_bad_row` allows.
        present: rows left out since the target held their primary keys before.
        converted: rows in the chunk files.
        imported: rows that the target said it took.
        before: rows that were there before (`if_exists: append`).
        replaced: those of them that were written over (`write_mode: upsert`).
        counted: `count(*)` on the target.
    """

    model_config = ConfigDict(frozen=True)

    planned: int = 0
    read: int = 0
    set_aside: int = 0
    present: int = 0
    converted: int = 0
    imported: int = 0
    before: int = 0
    replaced: int = 0
    counted: int = 0

    @property
    def agrees(self) -> bool:
        """Whether the numbers are as they must be; see `RowCounts.equalities`."""
        counts = RowCounts(source=self.planned, deleted=0, left_out=0, **self.model_dump())
        return not counts.problems()


class Equality(NamedTuple):
    """A number of rows that must be as expected."""

    name: str
    number: int
    expected: int


class RowCounts(BaseModel):
    """Rows of a collection at each step, as of `PartitionCounts`, over all its partitions.

    Attributes:
        source: rows that the source holds, live and deleted.
        left_out: live rows that the params leave out.
        counted: None before the target was asked.
    """

    model_config = ConfigDict(frozen=True)

    source: int
    deleted: int
    left_out: int
    planned: int
    read: int = 0
    set_aside: int = 0
    present: int = 0
    replaced: int = 0
    converted: int = 0
    imported: int = 0
    before: int = 0
    counted: int | None = None

    def equalities(self) -> tuple[Equality, ...]:
        """What must be equal once all is done; the verdict of `verify`, publish and report."""
        counted = (
            ()
            if self.counted is None
            else (Equality("counted", self.counted, self.before - self.replaced + self.imported),)
        )
        return (
            Equality("planned", self.planned, self.source - self.deleted - self.left_out),
            Equality("read", self.read, self.planned),
            Equality("converted", self.converted, self.planned - self.set_aside - self.present),
            Equality("imported", self.imported, self.converted),
            *counted,
        )

    def problems(self) -> list[str]:
        """The equalities that do not hold."""
        return [
            f"{equality.number:,} rows {equality.name}, expected {equality.expected:,}"
            for equality in self.equalities()
            if equality.number != equality.expected
        ]


class SearchCheck(BaseModel):
    """A search for a sampled vector.

    Attributes:
        key: the row's primary key; "" where the target makes the keys.
        rank: the row's own place among what was found, from 1 on; None where it is not among it,
            or has no key to recognise it by.
        distance: of the first hit, or its score; None where there is no hit.
        effort: results asked for, which is also the least effort of the search.
        found: whether the row was the first hit, or the first hit is as near.
    """

    model_config = ConfigDict(frozen=True)

    field: str
    key: str
    rank: int | None
    distance: float | None
    effort: int
    found: bool


class Verification(BaseModel):
    """What was compared for one collection, and how it came out.

    Attributes:
        problems: every difference found; empty when source and target agree.
        sampled, searched: rows compared field by field, and vectors searched for.
        found_first: those of them that were found first, or with the first's distance;
            `found_at_once` with the least effort, the others with more.
        searches: each search, as it came out in the end.
        compared: rows that were read back for the fingerprint (`full`).
        buckets_differing: how many of the 1,024 buckets of the primary key's hash hold other rows
            than at the source; None where it is not known.
    """

    model_config = ConfigDict(frozen=True)

    collection: str
    level: Verify
    counted: int
    partitions: dict[str, PartitionCounts]
    sampled: int = 0
    searched: int = 0
    found_at_once: int = 0
    found_first: int = 0
    searches: tuple[SearchCheck, ...] = ()
    compared: int = 0
    fingerprint_source: str = ""
    fingerprint_target: str = ""
    buckets_differing: int | None = None
    problems: tuple[str, ...] = ()


class Verifications(BaseModel):
    """`verification.json`."""

    model_config = ConfigDict(frozen=True)

    collections: tuple[Verification, ...] = ()


def rows_before(partitions: dict[str, PartitionCounts]) -> int:
    """Rows that the collection held before this migration."""
    return sum(counts.before for counts in partitions.values())
