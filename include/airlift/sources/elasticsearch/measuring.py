"""What the documents themselves tell of their fields: counts by the server, and a sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airlift.json_text import lossless_text
from airlift.sources.elasticsearch.answers import (
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
from airlift.sources.elasticsearch.outside_source import fetched, search_parts
from airlift.sources.elasticsearch.pages import complete, page_of, source_of
from airlift.sources.elasticsearch.reading import SEQ_NO, IndexPart, Reader
from airlift.sources.elasticsearch.refusals import ServerError

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
        total: how many there are.
        missing: by field, how many lack it; no entry where that can't be known.
        several: fields of which a document has several values.
        largest: by field of unsigned_long, the largest value.
        sample: some documents, with what stands beside them.
        ignored: how many have a value that the index has ignored.
        ignored_in: in which fields, as far as that is known.
        routed: how many were put to a shard by hand, so that an `_id` may stand in two shards.
    """

    total: int = 0
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
    reader: Reader, found: Found, columns: Sequence[Column], documents: Documents
) -> Measured:
    """Looks at the documents of a collection's indices.

    Raises:
        ServerError: also where the server can't give what is asked for beside `_source`.
    """
    measured = Measured()
    unknown: set[str] = set()
    beside = search_parts(columns)
    for part, mapping in zip(found.parts, found.mappings, strict=True):
        searchable = [one for one in columns if one.path and _is_searchable(one, mapping)]
        unknown |= {one.name for one in columns} - {one.name for one in searchable}
        _count(reader, part, searchable, measured)
        for order in ("asc", "desc"):
            body = {"size": _SAMPLE, "sort": [{SEQ_NO: order}], **beside}
            hits = page_of(reader.search(part, None, [], body), f"index {part.index!r}").hits
            measured.sample += [
                documents.normal(source_of(hit), part.index)
                | {column.name: fetched(column, hit) for column in columns if column.fetched_by}
                for hit in hits
            ]
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


def _count(reader: Reader, part: IndexPart, columns: Sequence[Column], measured: Measured) -> None:
    lacks: dict[str, Any] = {
        one.name: {"bool": {"must_not": {"exists": {"field": one.name}}}} for one in columns
    }
    lacks["_routing"] = {"exists": {"field": "_routing"}}
    lacks["_ignored"] = {"exists": {"field": "_ignored"}}
    counted = [one for one in columns if one.kind in _COUNTED]
    values = {f"values {one.name}": {"value_count": {"field": one.name}} for one in counted}
    largest = {
        f"largest {one.name}": {"max": {"field": one.name}}
        for one in columns
        if one.kind == "unsigned_long"
    }
    aggs = {"missing": {"filters": {"filters": lacks}}}
    body = {"size": 0, "track_total_hits": True}
    try:
        answer = reader.search(part, None, [], {**body, "aggs": {**aggs, **values, **largest}})
    except ServerError as error:
        if error.status != 400:
            raise
        # A field without doc values among them, such as by `doc_values: false` on a multi-field.
        answer = reader.search(part, None, [], {**body, "aggs": aggs})
    what = f"index {part.index!r}"
    found = complete(parsed(answer, what), what)
    measured.total += found.total
    metrics = dict(found.aggregations)
    buckets = understood(metrics.pop("missing", None), NAMED_BUCKETS, what).buckets
    numbers = understood(metrics, VALUES, what)
    missing = {name: part_of(buckets, name, what).doc_count for name in lacks}
    measured.routed += missing.pop("_routing")
    if ignored := missing.pop("_ignored"):
        measured.ignored += ignored
        _sample_ignored(reader, part, measured)
    for one in columns:
        lacking = missing[one.name]
        measured.missing[one.name] = measured.missing.get(one.name, 0) + lacking
        values_there = numbers.get(f"values {one.name}", Value()).value or 0
        if values_there > found.total - lacking:
            measured.several.add(one.name)
        top = numbers.get(f"largest {one.name}", Value()).value
        if top is not None:
            measured.largest[one.name] = max(top, measured.largest.get(one.name, 0))


def _sample_ignored(reader: Reader, part: IndexPart, measured: Measured) -> None:
    """Names the fields of which values were ignored, in some of those documents."""
    body = {"size": _SAMPLE, "_source": False, "sort": [{SEQ_NO: "asc"}]}
    answer = reader.search(part, None, [{"exists": {"field": "_ignored"}}], body)
    hits = page_of(answer, f"index {part.index!r}").hits
    names = {str(name) for hit in hits for name in hit.get("_ignored") or ()}
    measured.ignored_in = sorted(names | set(measured.ignored_in))
