"""Reads the metadata of Milvus 0.9-1.x: which collections, partitions and segments are live.

Three forms, one answer: the `meta.json` that the old milvus-migration tool exports, the server's
own `meta.sqlite` (with its write-ahead log), and the same two tables in MySQL. All of it is
untrusted: names become paths, and numbers become sizes.

The tables are those of Milvus 1.x, `core/src/db/meta/MySQLMetaImpl.cpp`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from airlift.errors import Refused

METRICS = {
    1: "L2",
    2: "IP",
    3: "HAMMING",
    4: "JACCARD",
    5: "TANIMOTO",
    6: "SUBSTRUCTURE",
    7: "SUPERSTRUCTURE",
}
BINARY_METRICS = frozenset(METRICS.values()) - {"L2", "IP"}

INDEX_FILE_TYPE = 3
DEFAULT_PARTITION = "_default"  # in 1.x another name of the collection's own rows
_MOST_REASONS = 50
_MAYBE_PARTITION = (
    "its name is a number, so it may be a partition of another collection; a meta.json does not "
    "tell: give the meta.sqlite or the MySQL connection to have it as a partition"
)


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment: the folder `<table_id>/<segment>` below `tables`.

    Attributes:
        rows: the row count in the metadata: with or without the deleted rows, by version.
        order: its place among all segments; a larger one is newer.
    """

    table_id: str
    segment: str
    rows: int
    order: int


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition and its live segments, oldest first; the tag "" is the collection's own."""

    tag: str
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A live collection; its first partition is the default one."""

    name: str
    dim: int
    metric: str
    partitions: tuple[Partition, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Meta:
    """All live collections by name, and what the user should know of the metadata."""

    tables: dict[str, Table]
    notes: tuple[str, ...] = ()


def _safe_name(name: str) -> str:
    if name in (".", "..") or any(sign in "/\\" or ord(sign) < 32 for sign in name):
        raise ValueError("expected a plain folder name, without /, \\ and control characters")
    return name


def _metric(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool) and value in METRICS:
        return METRICS[value]
    if isinstance(value, str):
        if value.isdecimal() and int(value) in METRICS:
            return METRICS[int(value)]
        if value.upper() in METRICS.values():
            return value.upper()
    known = ", ".join(f"{code} {name}" for code, name in METRICS.items())
    raise ValueError(f"expected one of {known}")


# A file name has at most 255 bytes on every file system that Milvus 1.x ran on.
_Name = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_safe_name)]
_Metric = Annotated[str, BeforeValidator(_metric)]
_Dim = Annotated[int, Field(ge=0, lt=1 << 31)]
# Row offsets are int32 in deleted_docs, so no segment can hold more rows.
_Rows = Annotated[int, Field(ge=0, lt=1 << 31)]


class _Row(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class TableRow(_Row):
    """A live row of `Tables`."""

    id: int
    table_id: _Name
    dimension: _Dim
    metric_type: _Metric
    owner_table: Annotated[str, Field(max_length=255)] | None
    partition_tag: Annotated[str, Field(max_length=255)] | None


class FileRow(_Row):
    """A live raw segment's row of `TableFiles`."""

    id: int
    table_id: _Name
    segment_id: _Name
    row_count: _Rows


class _JsonSegment(_Row):
    collection: _Name | None = None
    segment: _Name
    dim: _Dim | None = None
    rows: _Rows


class _JsonCollection(_Row):
    collection: _Name
    metric: _Metric
    dim: _Dim
    rows: Annotated[int, Field(ge=0, lt=1 << 63)] | None = None
    # The old tool writes null for a collection without segments.
    segments: list[Any] | None


_Model = TypeVar("_Model", bound=BaseModel)


def refuse(where: str, reasons: list[str]) -> None:
    """Raises Refused with the reasons, if there are any; a broken file does not flood the page."""
    if not reasons:
        return
    shown = [f"{where}: {reason}" for reason in reasons[:_MOST_REASONS]]
    if len(reasons) > len(shown):
        shown.append(f"{where}: and {len(reasons) - len(shown):,} more reasons")
    raise Refused(shown)


def _checked(model: type[_Model], value: object, what: str, reasons: list[str]) -> _Model | None:
    """The value as a model, or None and the reasons why not."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        for problem in error.errors():
            place = ".".join(str(step) for step in problem["loc"]) or "value"
            found = "nothing" if problem["type"] == "missing" else repr(problem["input"])[:80]
            reasons.append(f"{what}: {place}: {problem['msg']}; found {found}")
        return None


def meta_from_rows(
    tables: Iterable[Mapping[str, Any]],
    files: Iterable[Mapping[str, Any]],
    where: str,
    odd_tables: Iterable[Mapping[str, Any]] = (),
    other_files: Iterable[Mapping[str, Any]] = (),
) -> Meta:
    """Puts the live rows of `Tables` and `TableFiles` together.

    Args:
        files: raw segments, ordered by id, so that a segment's place says how new it is.
        where: the metadata's address, for messages.
        odd_tables: rows of `Tables` that are neither live nor dropped: left out, they would take
            their rows with them.
        other_files: files that are neither raw nor known to hold no rows; indexes among them.

    Raises:
        Refused: a value of a live row is not what it must be.
    """
    reasons: list[str] = []
    rows = [
        row
        for raw in tables
        if (row := _checked(TableRow, raw, f"Tables row {raw.get('id')}", reasons))
    ]
    segments: dict[str, list[Segment]] = {row.table_id: [] for row in rows}
    seen: set[tuple[str, str]] = set()
    for raw in files:
        # Files of dropped collections stay in the table until they are cleaned up.
        if raw.get("table_id") not in segments:
            continue
        file = _checked(FileRow, raw, f"TableFiles row {raw.get('id')}", reasons)
        if file is None:
            continue
        if (key := (file.table_id, file.segment_id)) in seen:
            reasons.append(
                f"TableFiles: the segment {file.segment_id!r} of {file.table_id!r} stands there "
                "twice; expected once; its rows would be doubled"
            )
        seen.add(key)
        segments[file.table_id].append(
            Segment(file.table_id, file.segment_id, file.row_count, order=file.id)
        )
    reasons += _not_understood(odd_tables, other_files, segments, seen)
    meta = _with_partitions(rows, segments, reasons)
    refuse(where, reasons)
    return meta


def _not_understood(
    odd_tables: Iterable[Mapping[str, Any]],
    other_files: Iterable[Mapping[str, Any]],
    live: Mapping[str, Any],
    raw: set[tuple[str, str]],
) -> Iterator[str]:
    """Why rows may be missing from what is understood.

    Args:
        live: the live collections and partitions, by `table_id`.
        raw: `table_id` and `segment_id` of the raw segments.
    """
    for row in odd_tables:
        yield (
            f"Tables row {row.get('id')}: {row.get('table_id')!r} has the state "
            f"{row.get('state')}; expected 0 (live) or 1 (dropped); correct the metadata"
        )
    for file in other_files:
        table_id, segment_id, kind = (file.get(n) for n in ("table_id", "segment_id", "file_type"))
        what = f"TableFiles row {file.get('id')}: the segment {segment_id!r} of {table_id!r}"
        if table_id not in live:
            continue
        if kind != INDEX_FILE_TYPE:
            yield (
                f"{what} has the file_type {kind}, which is not known: expected 0 to 7; its rows "
                "would be left out; correct the metadata"
            )
        elif (table_id, segment_id) not in raw:
            yield (
                f"{what} has an index, and no raw file (file_type 1, 2 or 7): its rows would be "
                "left out; drop the index in Milvus 1.x, which brings the raw file back, and copy "
                "the metadata again"
            )


def _with_partitions(
    rows: list[TableRow], segments: dict[str, list[Segment]], reasons: list[str]
) -> Meta:
    owners = {row.table_id: row for row in rows if not row.owner_table}
    if len(owners) < sum(not row.owner_table for row in rows):
        reasons.append("Tables: a table_id stands there twice; expected once")
    tags: dict[str, dict[str, list[Segment]]] = {
        name: {"": list(segments[name])} for name in owners
    }
    orphans: list[str] = []
    for row in rows:
        if not row.owner_table:
            continue
        if row.owner_table not in owners:
            orphans.append(f"{row.table_id} (of {row.owner_table})")
            continue
        what = f"Tables row {row.id}: the partition {row.partition_tag!r} of {row.owner_table!r}"
        owner = owners[row.owner_table]
        if (row.dimension, row.metric_type) != (owner.dimension, owner.metric_type):
            reasons.append(
                f"{what} has dimension {row.dimension} and metric {row.metric_type}; expected the "
                f"collection's, {owner.dimension} and {owner.metric_type}"
            )
        found = tags[row.owner_table]
        tag = "" if row.partition_tag == DEFAULT_PARTITION else row.partition_tag
        if tag is None or (tag == "" and row.partition_tag != DEFAULT_PARTITION):
            reasons.append(f"{what} has no partition_tag")
        elif tag and tag in found:
            reasons.append(f"{what} stands there twice; expected once")
        else:
            found.setdefault(tag, []).extend(segments[row.table_id])
    return Meta(
        {
            name: Table(name, row.dimension, row.metric_type, _partitions(tags[name]))
            for name, row in owners.items()
        },
        _orphan_note(orphans),
    )


def _partitions(tags: dict[str, list[Segment]]) -> tuple[Partition, ...]:
    return tuple(
        Partition(tag, tuple(sorted(found, key=lambda segment: segment.order)))
        for tag, found in tags.items()
    )


def _orphan_note(orphans: list[str]) -> tuple[str, ...]:
    if not orphans:
        return ()
    return (
        f"{len(orphans)} partitions belong to collections that are dropped, and are left out: "
        + ", ".join(orphans[:10]),
    )


def meta_from_json(value: object, where: str) -> Meta:
    """Reads a `meta.json` of the old tool; see the module.

    It does not say which of its collections are partitions of others, and its order of segments is
    taken as their age.

    Raises:
        Refused: it is not such a file, or a value is not what it must be.
    """
    if not isinstance(value, dict) or not isinstance(value.get("collections"), list):
        raise Refused(
            [f'{where} is no meta.json of milvus-migration: expected {{"collections": [...]}}']
        )
    reasons: list[str] = []
    tables: dict[str, Table] = {}
    order = 0
    for n, raw in enumerate(value["collections"]):
        found = _checked(_JsonCollection, raw, f"collections[{n}]", reasons)
        if found is None:
            continue
        segments = tuple(_json_segments(found, order, f"collections[{n}]", reasons))
        order += len(segments)
        if found.collection in tables:
            reasons.append(f"the collection {found.collection!r} stands there twice; expected once")
        # 1.x gives partitions a number for a name.
        notes = (_MAYBE_PARTITION,) if found.collection.isdecimal() else ()
        tables[found.collection] = Table(
            found.collection, found.dim, found.metric, (Partition("", segments),), notes
        )
    rows = sum(at.rows for one in tables.values() for p in one.partitions for at in p.segments)
    if not reasons and value.get("rows") not in (None, rows):
        reasons.append(
            f"rows: expected the sum of its collections, {rows:,}; found {value['rows']}; export "
            "the meta.json again"
        )
    refuse(where, reasons)
    return Meta(tables)


def _json_segments(
    of: _JsonCollection, order: int, what: str, reasons: list[str]
) -> Iterator[Segment]:
    seen: set[tuple[str, str]] = set()
    rows = 0
    for n, raw in enumerate(of.segments or []):
        found = _checked(_JsonSegment, raw, f"{what}.segments[{n}]", reasons)
        if found is None:
            return
        table_id = found.collection or of.collection
        if found.dim not in (None, of.dim):
            reasons.append(
                f"{what}.segments[{n}]: dim: expected the collection's {of.dim}, found {found.dim}"
            )
        if (table_id, found.segment) in seen:
            reasons.append(
                f"{what}: the segment {found.segment!r} stands there twice; expected once; its "
                "rows would be doubled"
            )
        seen.add((table_id, found.segment))
        rows += found.rows
        yield Segment(table_id, found.segment, found.rows, order + n)
    if of.rows not in (None, rows):
        reasons.append(
            f"{what} ({of.collection}): rows: expected the sum of its segments, {rows:,}; "
            f"found {of.rows:,}"
        )
