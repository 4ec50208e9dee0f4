"""Makes `report.html` from a report: one page without scripts, to be read, sent and printed.

Here is worked out what is to be said: the verdict, which numbers agree, when tasks ran. The
template `page.html` and its parts say how it looks. Every name in a report may come from
a database and is escaped, and the page's Content-Security-Policy allows nothing but its own style
sheet.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from airlift.params import Verify
from airlift.report.collection import CollectionReport
from airlift.report.fields import field_rows
from airlift.report.plots import charts, rank_plot
from airlift.report.report import Report
from airlift.report.style import (
    Timeline,
    duration_text,
    figure_text,
    moment_text,
    size_text,
    value_text,
)
from airlift.row_hash import BUCKETS
from airlift.verification import Equality, Verification

OVERVIEW_FROM = 4
"""From so many collections on, a table of all of them comes first."""

_MOST_SEARCHES = 40
_MOST_TABLES = 20
"""Searches that are told one by one, and up to how many collections they are told at all."""


def render(report: Report) -> str:
    """Returns the report as a self-contained HTML page."""
    few = len(report.collections) <= _MOST_TABLES
    state = "planned" if report.dry_run else report.state
    views = [CollectionView(one, state, few) for one in report.collections]
    return _template().render(
        report=report,
        views=views,
        overview=len(views) >= OVERVIEW_FROM,
        differing=[(n, view.report.source) for n, view in enumerate(views, 1) if view.differs],
        verdict=make_verdict(report, views),
        total=Totals(views),
        timeline=Timeline(report.steps),
        charts=charts(report.throughput),
        verified=any(view.report.verification for view in views),
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("airlift.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": lambda value: f"{value:,}",
        "size": size_text,
        "duration": duration_text,
        "moment": moment_text,
        "value": value_text,
        "figure": figure_text,
    }
    return environment.get_template("page.html")


@dataclass(frozen=True)
class Link:
    """A number in the row of counts.

    Attributes:
        sign: what stands before it: nothing, "-", "+" or "=".
        off_by: after "=", how far it is from what the numbers before it make; 0 is right.
        known: whether it was counted at all.
        pending: whether what is missing is only not done yet.
    """

    sign: str
    label: str
    number: int
    off_by: int = 0
    known: bool = True
    pending: bool = False


@dataclass(frozen=True)
class Evidence:
    """Something that was compared.

    Attributes:
        agrees: None where the problems must be read to know.
        prints: two fingerprints that must be the same.
        unproven: what None means where there are no problems.
    """

    what: str
    found: str
    agrees: bool | None
    prints: tuple[str, str] | None = None
    unproven: str = "not compared"


class CollectionView:
    """What the page says of one collection beyond the report's own numbers.

    Args:
        state: the whole report's; `planned` also for a dry run that was refused.
        tell_searches: whether there is room for a table of them.
    """

    def __init__(self, report: CollectionReport, state: str, tell_searches: bool) -> None:
        self.report = report
        self._state = state
        checked = report.verification
        self.problems = checked.problems if checked else ()
        self.before = report.rows_before
        self.links = self._links()
        self.evidence = _evidence(checked) if checked else []
        self.fields = field_rows(report)
        searches = checked.searches if checked else ()
        self.ranks = rank_plot(searches)
        self.searches = searches[:_MOST_SEARCHES] if tell_searches else ()
        self.renamed = sum(source != target for source, target in report.fields.items())

    @property
    def unequal(self) -> int:
        """How many of the things compared here are not as they must be."""
        return sum(link.off_by != 0 and not link.pending for link in self.links) + sum(
            one.agrees is False for one in self.evidence
        )

    @property
    def differs(self) -> bool:
        """Whether anything tells that source and target are not the same."""
        return bool(self.problems or self.unequal)

    def _equal(self, equality: Equality) -> Link:
        """A number that must be as expected, or will be once the migration is done."""
        off_by = equality.number - equality.expected
        pending = self._state == "failed" and not self.report.verification and off_by < 0
        return Link("=", equality.name, equality.number, off_by, pending=pending)

    def _links(self) -> list[Link]:
        one = self.report
        equal = {found.name: self._equal(found) for found in one.row_counts.equalities()}
        links = [
            Link("", "at the source", one.rows_source),
            Link("-", "deleted", one.rows_deleted),
            *([Link("-", "left out", one.rows_left_out)] if one.rows_left_out else []),
            equal["planned"],
        ]
        if self._state == "planned":
            return links
        links += [
            equal["read"],
            Link("-", "set aside", one.rows_set_aside),
            *([Link("-", "there already", one.rows_present)] if one.rows_present else []),
            equal["converted"],
            equal["imported"],
        ]
        if self.before:
            links.append(Link("+", "there before", self.before))
            links.append(Link("-", "of them written over", one.rows_replaced))
        return [*links, equal.get("counted", Link("=", "counted", 0, known=False))]


def _evidence(one: Verification) -> list[Evidence]:
    agree, parts = sum(part.agrees for part in one.partitions.values()), len(one.partitions)
    where = "every partition" if agree == parts else f"{agree:,} of {parts:,} partitions"
    read = f"the target counts {one.counted:,} rows; the numbers agree in {where}"
    evidence = [Evidence("Row counts", read, agree == parts)]
    said = None if one.problems else True
    if one.sampled:
        read = f"{one.sampled:,} rows read back by primary key and compared bit for bit"
        evidence.append(Evidence("Sampled rows", read, said))
    elif one.level is not Verify.COUNTS:
        read = "none: the rows got new primary keys on the target, or there are none"
        evidence.append(Evidence("Sampled rows", read, None))
    if one.searched:
        first = f"{one.found_first:,} of {one.searched:,} sampled vectors find themselves first"
        # What an approximate index overlooks says nothing against values that are right.
        all_found = True if one.found_first == one.searched else None
        evidence.append(Evidence("Searches", first, all_found, unproven="recall of the index"))
    if one.compared or one.fingerprint_source:
        prints = (one.fingerprint_source, one.fingerprint_target)
        read = f"{one.compared:,} rows read back; the fingerprints of all values compared"
        if one.buckets_differing is not None:
            read += f"; they differ in {one.buckets_differing:,} of {BUCKETS:,} buckets of keys"
        evidence.append(Evidence("Every row", read, prints[0] == prints[1], prints))
    return evidence


class Totals:
    """The numbers of all collections together."""

    def __init__(self, views: list[CollectionView]) -> None:
        collections = [view.report for view in views]

        def add(name: str) -> int:
            return sum(getattr(one, name) or 0 for one in collections)

        self.source, self.deleted = add("rows_source"), add("rows_deleted")
        self.left_out = add("rows_left_out")
        self.planned, self.set_aside = add("rows_planned"), add("rows_set_aside")
        self.converted, self.imported = add("rows_converted"), add("rows_imported")
        self.counted, self.bytes, self.chunks = add("rows_counted"), add("bytes"), add("chunks")
        self.files = add("files")
        self.before = sum(view.before for view in views)
        self.notes = sum(len(one.notes) for one in collections)
        self.convert_seconds = sum(one.convert_seconds for one in collections)
        self.fingerprint_seconds = sum(one.fingerprint_seconds for one in collections)

    @property
    def rows_a_second(self) -> float:
        """Rows that one task converted in a second."""
        return self.converted / self.convert_seconds if self.convert_seconds else 0.0

    @property
    def bytes_a_second(self) -> float:
        """Bytes that one task converted in a second."""
        return self.bytes / self.convert_seconds if self.convert_seconds else 0.0


@dataclass(frozen=True)
class Verdict:
    """The headline; `tone` is one of good, warn, bad, plan; `reasons` are why it was refused."""

    tone: str
    mark: str
    headline: str
    reasons: int = 0


def make_verdict(report: Report, views: list[CollectionView]) -> Verdict:
    """Says in a line how it came out, never better than the numbers are."""
    if report.state == "planned":
        return Verdict("plan", "i", "Dry run: nothing was written to the target")
    if any(view.differs for view in views):
        return Verdict("bad", "✗", "Source and target differ")
    if report.state == "failed":
        return _failed(report)
    if report.state != "done":
        return Verdict("warn", "!", f"Not finished: {report.state}")
    if not views:
        return Verdict("warn", "!", "There was nothing to move")
    unchecked = sum(view.report.verification is None for view in views)
    if unchecked:
        return Verdict("warn", "!", f"Not verified: {unchecked:,} of {len(views):,} collections")
    if report.warnings:
        return Verdict("warn", "!", "No row was moved")
    aside = sum(view.report.rows_set_aside for view in views)
    if aside:
        return Verdict("warn", "!", f"Every row arrived but {aside:,} that were set aside")
    return Verdict("good", "✓", "Every row arrived")


def _failed(report: Report) -> Verdict:
    """What the first failure was, or how many reasons there are against a dry run."""
    if report.dry_run and report.failures:
        reasons = sum(len(one.reasons) for one in report.failures)
        many = "1 reason" if reasons == 1 else f"{reasons:,} reasons"
        return Verdict("bad", "✗", f"Can't be done as asked, for {many}", reasons)
    if not report.failures:
        return Verdict("bad", "✗", "Stopped before it was done")
    return Verdict("bad", "✗", f"Failed in the step {report.failures[0].step}")
