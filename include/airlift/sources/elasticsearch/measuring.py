"""What the documents themselves tell of their fields: counts by the server, and a sample."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airlift.json_text import lossless_text
from airlift.sources.elasticsearch.answers import (
    COUNTED,
    NAMED_BUCKETS,
    VALUES,
    Value,
    parsed,
    part_of,
    understood,
)
from airlift.sources.elasticsearch.choosing import Found
from airlift.sources.elasticsearch.columns import Column
from airlift.sources.elasticsearch.documents import Documents, find
from airlift.sources.elasticsearch.nested_rows import NestedRows, has_object
from airlift.sources.elasticsearch.outside_source import fetched, search_parts
from airlift.sources.elasticsearch.pages import complete, page_of, source_of
from airlift.sources.elasticsearch.reading import Reader
from airlift.sources.elasticsearch.refusals import ServerError
from airlift.sources.elasticsearch.rows import Layout
from airlift.sources.elasticsearch.spans import IndexPart

_SAMPLE = 500
"""Documents to look at from either end of an index."""

_INTEGERS = ("byte", "short", "integer", "long", "unsigned_long")
_FLOATS = ("half_float", "float", "double", "scaled_float")
_COUNTED = frozenset(
    ("keyword", "ip", "version", "boolean", "date", "date_nanos", *_INTEGERS, *_FLOATS)
)
"""Kinds whose values the server can count."""


@dataclass
class Measured:
    """What was found in the documents of a collection.

    Attributes:
        total: how many there are: documents, or nested objects where `explode` makes rows of them.
        documents: how many documents there are.
        missing: by field, how many lack it; no entry where that can't be known.
        several: fields of which a document has several values.
        largest: by field of unsigned_long, the largest value.
        sample: some of them, with what stands beside them.
        page_bytes: bytes of an average document of the sample, as JSON.
        ignored: how many have a value that the index has ignored.
        ignored_in: in which fields, as far as that is known.
        routed: how many were put to a shard by hand, so that an `_id` may stand in two shards.
    """

    total: int = 0
    documents: int = 0
    page_bytes: int = 0
    missing: dict[str, int] = field(default_factory=dict)
    several: set[str] = field(default_factory=set)
    largest: dict[str, float] = field(default_factory=dict)
    sample: list[dict[str, Any]] = field(default_factory=list)
    ignored: int = 0
    ignored_in: list[str] = field(default_factory=list)
    routed: int = 0

    @property
    def sample_bytes(self) -> int:
        """Bytes of an average document of the sample, as JSON."""
        if not self.sample:
            return 0
        return sum(len(lossless_text(one)) for one in self.sample) // len(self.sample)

    def values(self, column: Column) -> list[Any]:
        """The sample's values of a field, those that are there."""
        names = column.names or tuple(column.name.split("."))
        found = (find(document, names) for document in self.sample)
        return [value for value in found if value is not None and value != []]


def measure(
    reader: Reader,
    found: Found,
    columns: Sequence[Column],
    documents: Documents,
    nested: NestedRows | None = None,
) -> Measured:
    """Looks at the documents of a collection's indices.

    Args:
        nested: makes rows of nested objects; None where documents are rows.

    Raises:
        ServerError: also where the server can't give what is asked for beside `_source`.
    """
    measured = Measured()
    unknown: set[str] = set()
    beside = search_parts(columns)
    sizes: list[int] = []
    for part, mapping in zip(found.parts, found.mappings, strict=True):
        searchable = [one for one in columns if one.path and _is_searchable(one, mapping)]
        unknown |= {one.name for one in columns} - {one.name for one in searchable}
        _count(reader, part, searchable, measured, nested.path if nested else "")
        for order in ("asc", "desc"):
            body = {"size": _SAMPLE, "sort": [{part.order: order}], **beside}
            answer, _ = reader.documents(part, None, [], body)
            hits = page_of(answer, f"index {part.index!r}").hits
            sizes += [len(lossless_text(source_of(hit))) for hit in hits] if nested else []
            measured.sample += [
                documents.normal(source_of(row), part.index)
                | {column.name: fetched(column, row) for column in columns if column.fetched_by}
                for row in (nested.some(hits) if nested else hits)
            ]
    measured.page_bytes = sum(sizes) // len(sizes) if sizes else measured.sample_bytes
    for name in unknown:
        measured.missing.pop(name, None)
    for column in columns:
        if any(isinstance(one, list) and len(one) > 1 for one in measured.values(column)):
            measured.several.add(column.name)
    return measured


def _definition(mapping: Mapping[str, Any], path: Sequence[str]) -> Mapping[str, Any] | None:
    found: Mapping[str, Any] | None = mapping
    for key in path:
        found = (found.get("properties") or {}).get(key) if found else None
    return found


def _is_searchable(column: Column, mapping: Mapping[str, Any]) -> bool:
    """Whether a search for documents that have the field finds just those that hold a value."""
    definition = _definition(mapping, column.path)
    if definition is None:
        return False
    if {"null_value", "copy_to", "script"} & definition.keys():
        return False
    if definition.get("type") == "constant_keyword" or definition.get("enabled") is False:
        return False
    hidden = definition.get("index") is False and definition.get("doc_values") is False
    return not hidden and column.name not in _copied_to(mapping)


def _copied_to(mapping: Mapping[str, Any]) -> set[str]:
    """Fields that are filled from others: they are in the index, and in no document."""
    found: set[str] = set()
    for definition in (mapping.get("properties") or {}).values():
        to = definition.get("copy_to") or []
        found |= {to} if isinstance(to, str) else set(to)
        found |= _copied_to(definition)
    return found


def _count(
    reader: Reader, part: IndexPart, columns: Sequence[Column], measured: Measured, explode: str
) -> None:
    below = [one for one in columns if explode and one.name.startswith(f"{explode}.")]
    lacks, metrics = _requests([one for one in columns if one not in below])
    lacks["_routing"] = {"exists": {"field": "_routing"}}
    lacks["_ignored"] = {"exists": {"field": "_ignored"}}
    aggs: dict[str, Any] = {"missing": {"filters": {"filters": lacks}}}
    inner: dict[str, Any] = {}
    if explode:
        inner_lacks, inner_metrics = _requests(below)
        inner = {"missing": {"filters": {"filters": inner_lacks}}} if below else {}
        aggs["objects"] = {"nested": {"path": explode}, "aggs": inner}
        metrics["objects"] = {**aggs["objects"], "aggs": {**inner, **inner_metrics}}
    body = {"size": 0, "track_total_hits": True}
    try:
        answer = reader.search(part, None, [], {**body, "aggs": {**aggs, **metrics}})
    except ServerError as error:
        if error.status != 400:
            raise
        # A field without doc values among them, such as by `doc_values: false` on a multi-field.
        answer = reader.search(part, None, [], {**body, "aggs": aggs})
    what = f"index {part.index!r}"
    found = complete(parsed(answer, what), what)
    there = dict(found.aggregations)
    objects = there.pop("objects", None)
    missing = _missing(there.pop("missing", None), lacks, what)
    measured.documents += found.total
    measured.routed += missing.pop("_routing")
    if ignored := missing.pop("_ignored"):
        measured.ignored += ignored
        _sample_ignored(reader, part, measured)
    _add(measured, [one for one in columns if one not in below], found.total, missing, there, what)
    if not explode:
        measured.total += found.total
        return
    total = understood(objects, COUNTED, what).doc_count
    measured.total += total
    if below:
        there = {name: value for name, value in objects.items() if name.startswith(_METRICS)}
        missing = _missing(objects.get("missing"), inner["missing"]["filters"]["filters"], what)
        _add(measured, below, total, missing, there, what)


_METRICS = ("values ", "largest ")


def _requests(columns: Sequence[Column]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What finds those that lack a field; and what counts and compares values."""
    lacks = {one.name: {"bool": {"must_not": {"exists": {"field": one.name}}}} for one in columns}
    values = {
        f"values {one.name}": {"value_count": {"field": one.name}}
        for one in columns
        if one.kind in _COUNTED
    }
    largest = {
        f"largest {one.name}": {"max": {"field": one.name}}
        for one in columns
        if one.kind == "unsigned_long"
    }
    return lacks, {**values, **largest}


def _missing(found: Any, names: Iterable[str], what: str) -> dict[str, int]:
    buckets = understood(found, NAMED_BUCKETS, what).buckets
    return {name: part_of(buckets, name, what).doc_count for name in names}


def _add(
    measured: Measured,
    columns: Sequence[Column],
    total: int,
    missing: Mapping[str, int],
    metrics: Mapping[str, Any],
    what: str,
) -> None:
    numbers = understood(metrics, VALUES, what)
    for one in columns:
        lacking = missing[one.name]
        measured.missing[one.name] = measured.missing.get(one.name, 0) + lacking
        values_there = numbers.get(f"values {one.name}", Value()).value or 0
        if values_there > total - lacking:
            measured.several.add(one.name)
        top = numbers.get(f"largest {one.name}", Value()).value
        if top is not None:
            measured.largest[one.name] = max(top, measured.largest.get(one.name, 0))


def documents_without_objects(reader: Reader, found: Found, explode: str) -> int:
    """How many of a collection's documents have no nested object at a path.

    Args:
        found: the collection as it was before `nested_rows.exploded`.
    """
    lacking = {"bool": {"must_not": [has_object(explode)]}}
    count = 0
    for part in found.parts:
        answer = reader.search(part, None, [lacking], {"size": 0, "track_total_hits": True})
        what = f"index {part.index!r}"
        count += complete(parsed(answer, what), what).total
    return count


def _sample_ignored(reader: Reader, part: IndexPart, measured: Measured) -> None:
    """Names the fields of which values were ignored, in some of those documents."""
    body = {"size": _SAMPLE, "_source": False, "sort": [{part.order: "asc"}]}
    answer, _ = reader.documents(part, None, [{"exists": {"field": "_ignored"}}], body)
    hits = page_of(answer, f"index {part.index!r}").hits
    names = {str(name) for hit in hits for name in hit.get("_ignored") or ()}
    measured.ignored_in = sorted(names | set(measured.ignored_in))


def row_bytes(layout: Layout, measured: Measured) -> int:
    """Bytes of a converted row: vectors by their width, the rest as in the sample's JSON."""
    size = 0
    beside = measured.sample_bytes
    for column in layout.columns:
        if column.skipped:
            continue
        width = column.field.model_copy(update={"nullable": False}).width
        if column.is_vector and width:
            size += width
            values = measured.values(column)
            if values:
                beside -= sum(len(lossless_text(one)) for one in values) // len(measured.sample)
    return size + max(beside, 0)
