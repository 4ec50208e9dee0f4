"""The param `explode`: a row of each nested object, with the fields of its document beside it.

Documents, mappings and pages are rewritten before anything else looks at them: the fields of the
nested object stand at the top of the document, by their full names (`chunks.text`), and what is
beside the path stays as it is. All other modules then see documents that hold one object each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from airlift.errors import AirliftError
from airlift.json_text import lossless_text
from airlift.sources.elasticsearch.choosing import Found
from airlift.sources.elasticsearch.columns import OBJECT_KINDS, VECTOR_KINDS, Json
from airlift.sources.elasticsearch.documents import Documents, Names, without
from airlift.sources.elasticsearch.pages import source_of
from airlift.sources.elasticsearch.spans import Slice, Span

MAX_ROWS = 8192
"""Rows of a batch, at most: each has the values of its document again."""

_SAMPLED = 2


def _vectors_in_nested(mapping: Json, above: str = "", around: str = "") -> Iterator[str]:
    """The nested paths of a mapping that hold a vector, for the message that there is none."""
    for key, definition in (mapping.get("properties") or {}).items():
        kind = definition.get("type") or "object"
        name = f"{above}{key}"
        if kind in VECTOR_KINDS and around:
            yield around
        elif kind in OBJECT_KINDS or kind == "nested":
            inner = name if kind == "nested" else around
            yield from _vectors_in_nested(definition, f"{name}.", inner)


def has_object(path: str) -> dict[str, Any]:
    """The query for documents that hold an object at a nested path."""
    return {"nested": {"path": path, "query": {"match_all": {}}}}


def reasons_against(found: Found, path: str) -> list[str]:
    """Why a collection's documents have no rows at that path."""
    reasons = []
    for part, mapping in zip(found.parts, found.mappings, strict=True):
        problem = _problem(mapping, path)
        if problem:
            there = sorted({name for name, _ in _nested_paths(mapping)})
            reasons.append(
                f"explode {path!r}: index {part.index!r} {problem}; it has "
                f"{f'the nested fields {there}' if there else 'no nested fields'}; correct "
                "explode, or choose among the indices by `collections`"
            )
    return reasons


def _problem(mapping: Json, path: str) -> str:
    definition: Json | None = mapping
    names = path.split(".")
    for depth, name in enumerate(names, 1):
        definition = (definition.get("properties") or {}).get(name) if definition else None
        if definition is None:
            return "has no such field"
        kind = definition.get("type") or "object"
        if depth < len(names) and kind == "nested":
            outer = ".".join(names[:depth])
            return (
                f"has it inside the nested objects {outer!r}, of which a row could hold one only "
                f"(explode {outer!r} makes a row of each of those, with what is inside as JSON)"
            )
        if depth < len(names) and kind not in OBJECT_KINDS:
            return f"has {'.'.join(names[:depth])!r} as {kind}, in which no objects are"
        if depth == len(names) and kind != "nested":
            return f"has it as {kind}, where nested is expected: the server can't count others"
    return ""


def _nested_paths(mapping: Json, above: str = "") -> Iterator[tuple[str, Json]]:
    for key, definition in (mapping.get("properties") or {}).items():
        kind = definition.get("type") or "object"
        if kind == "nested":
            yield f"{above}{key}", definition
        elif kind in OBJECT_KINDS:
            yield from _nested_paths(definition, f"{above}{key}.")


def exploded(found: Found, path: str) -> Found:
    """The collection as its rows are: of documents that have such objects, one object each.

    Args:
        path: that `reasons_against` has nothing against.
    """
    parts = [
        part.model_copy(update={"filters": (*part.filters, has_object(path))})
        for part in found.parts
    ]
    mappings = [_exploded_mapping(mapping, path) for mapping in found.mappings]
    return found.model_copy(
        update={"parts": tuple(parts), "mappings": tuple(mappings), "originals": found.mappings}
    )


def _exploded_mapping(mapping: Json, path: str) -> dict[str, Any]:
    names = path.split(".")
    rest, definition = _less(mapping, names)
    below = {
        f"{path}.{key}": _without_constants(inner)
        for key, inner in (definition.get("properties") or {}).items()
    }
    return {**rest, "properties": {**rest.get("properties", {}), **below}}


def _less(mapping: Json, names: Sequence[str]) -> tuple[dict[str, Any], Json]:
    """A mapping without one of its fields, nor objects that hold nothing else; and that field."""
    properties = dict(mapping["properties"])
    inner = properties.pop(names[0])
    if len(names) > 1:
        rest, inner = _less(inner, names[1:])
        if rest["properties"]:
            properties[names[0]] = rest
    return {**mapping, "properties": properties}, inner


def _without_constants(definition: Json) -> Json:
    """A nested object has the constants that it holds itself; see `outside_source.constants_of`."""
    if definition.get("type") == "constant_keyword":
        return {key: value for key, value in definition.items() if key != "value"}
    if "properties" not in definition:
        return definition
    inner = {key: _without_constants(value) for key, value in definition["properties"].items()}
    return {**definition, "properties": inner}


class NestedRows:
    """Makes documents of one nested object each of whole documents.

    Args:
        path: of the nested objects.
        known, flat, whole: as of `Documents`; names below the path begin with it.
    """

    def __init__(
        self, path: str, known: Iterable[str], flat: Iterable[str], whole: Iterable[str]
    ) -> None:
        known, flat, whole = set(known), set(flat), set(whole)
        self.path = path
        self._names: Names = tuple(path.split("."))
        start = f"{path}."
        outside = {name for name in known if not name.startswith(start)}
        self._outer = Documents({*outside, self._names[0]}, flat, whole)
        self._inner = Documents(
            (name.removeprefix(start) for name in known - outside),
            {"" if name == path else name.removeprefix(start) for name in flat if _in(name, path)},
            {name.removeprefix(start) for name in whole if name.startswith(start)},
        )

    def of(self, hit: Mapping[str, Any], source: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The hits that a document's hit becomes, in the order of the objects.

        Args:
            source: its `_source`.
        """
        document = self._outer.normal(source)
        rest = {
            key: value
            for key, value in without(document, [self._names]).items()
            if key != self._names[0] or not _is_empty(value)
        }
        for position, value in enumerate(_values(document, self._names)):
            if value is None:
                continue  # to the server it is no object
            fields = self._inner.normal(value) if isinstance(value, dict) else None
            below = (
                {self.path: value}
                if fields is None
                else {f"{self.path}.{key}": inner for key, inner in fields.items()}
            )
            yield {**hit, "_id": f"{hit['_id']}#{position}", "_source": {**rest, **below}}

    def some(self, hits: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        """Some of the hits that a page becomes: the first and the last few of each document."""
        for hit in hits:
            rows = [*self.of(hit, source_of(hit))]
            yield from rows[:_SAMPLED] + rows[_SAMPLED:][-_SAMPLED:]

    def batches(
        self, hits: Iterable[Mapping[str, Any]], max_bytes: int
    ) -> Iterator[list[dict[str, Any]]]:
        """The hits that a page becomes, in lists of bounded size: each repeats its document.

        Args:
            hits: of documents, with their `_source`.
            max_bytes: about how much JSON a list may hold.
        """
        held: list[dict[str, Any]] = []
        size = 0
        for hit in hits:
            for row in self.of(hit, source_of(hit)):
                held.append(row)
                size += len(lossless_text(row["_source"]))
                if size >= max_bytes or len(held) >= MAX_ROWS:
                    yield held
                    held, size = [], 0
        if held:
            yield held


def _in(name: str, path: str) -> bool:
    return name == path or name.startswith(f"{path}.")


def _values(value: Any, names: Names) -> Iterator[Any]:
    """What stands at a path, in the order of the document; lists in lists are one list."""
    if isinstance(value, list):
        for item in value:
            yield from _values(item, names)
    elif not names:
        yield value
    elif isinstance(value, dict):
        for length in range(1, len(names) + 1):
            key = ".".join(names[:length])
            if key in value:
                yield from _values(value[key], names[length:])


def _is_empty(value: Any) -> bool:
    """Whether nothing is left of the objects around the nested ones."""
    if isinstance(value, list):
        return all(map(_is_empty, value))
    return value is None or value == {}


def vectors_inside(found: Found) -> str:
    """Where vectors are that are no fields, and how they become such."""
    paths = dict.fromkeys(
        path for mapping in found.mappings for path in _vectors_in_nested(mapping)
    )
    if not paths:
        return ""
    named = ", ".join(map(repr, paths))
    return (
        f"the vectors of its documents are in the nested objects {named}: set explode to "
        f"{next(iter(paths))!r}, which makes a row of each of those"
    )


def check_rows(span: Span | Slice, made: int, explode: str) -> None:
    """Refuses documents that give other rows than were counted."""
    if made != span.rows_made:
        raise AirliftError(
            f"{span.label}: the server counts {span.rows_made:,} "
            f"objects in {explode!r} of {span.rows:,} documents, but their _source holds {made:,}; "
            "the index or the user's rights (field-level security) hide some of them: use a user "
            "who sees all fields, or index the documents again"
        )
