"""Values that are not in `_source`, but in the mapping, in the index, or nowhere.

What is moved is `_source`. This module finds what searches see and `_source` does not hold: it is
filled in (constants), requested together with `_source` (vectors, and what the user's mapping
names), or noted (`airlift.sources.elasticsearch.notes`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airlift.datatypes import DataType
from airlift.sources.elasticsearch.columns import (
    OBJECT_KINDS,
    VECTOR_KINDS,
    Column,
    FetchedBy,
    Json,
)

# Where nothing else is said, these modes put `_source` together since 8.7 and 8.15.
_SYNTHETIC_MODES = ("time_series", "logsdb")

_NO_SOURCE = (
    "keeps no _source, so its documents can't be read back; index them again from their origin"
)

# k-NN answers null for a document without a vector only when asked for its size first.
_VECTOR_SCRIPT = "doc[params.field].size() == 0 ? null : doc[params.field].value"


@dataclass(frozen=True)
class Leaf:
    """A field of a mapping that is no object.

    Attributes:
        name: its full name.
        is_nested: whether it lies in nested documents, of which there may be many.
    """

    name: str
    definition: Json
    is_nested: bool = False


@dataclass(frozen=True)
class Beside:
    """A field whose values are not in `_source`: how to request them, and its definition."""

    by: FetchedBy
    definition: Json


def leaves(mapping: Json, above: str = "", is_nested: bool = False) -> Iterator[Leaf]:
    """The fields of a mapping, at any depth."""
    for key, definition in (mapping.get("properties") or {}).items():
        kind = definition.get("type") or "object"
        if kind in OBJECT_KINDS or kind == "nested":
            yield from leaves(definition, f"{above}{key}.", is_nested or kind == "nested")
        else:
            yield Leaf(f"{above}{key}", definition, is_nested)


def objects(mapping: Json, above: str = "") -> Iterator[tuple[str, str]]:
    """Full names of the objects and nested documents of a mapping, and their types."""
    for key, definition in (mapping.get("properties") or {}).items():
        kind = definition.get("type") or "object"
        if kind in OBJECT_KINDS or kind == "nested":
            yield f"{above}{key}", kind
            yield from objects(definition, f"{above}{key}.")


def flat_objects(mapping: Json, name: str = "") -> Iterator[str]:
    """Full names of the objects without subobjects; "" for the document itself."""
    properties = mapping.get("properties") or {}
    says_so = (
        str(mapping.get("subobjects", "")).lower() == "false"
        or str(mapping.get("disable_objects", "")).lower() == "true"
        or mapping.get("type") == "passthrough"
    )
    # `subobjects: auto` has dotted names too.
    if says_so or any("." in key for key in properties):
        yield name
    for key, definition in properties.items():
        if (definition.get("type") or "object") in (*OBJECT_KINDS, "nested"):
            yield from flat_objects(definition, f"{name}.{key}" if name else key)


def constants_of(mapping: Json) -> dict[str, Any]:
    """The values of `constant_keyword` fields: every document has them, few hold them."""
    return {
        leaf.name: leaf.definition["value"]
        for leaf in leaves(mapping)
        if leaf.definition.get("type") == "constant_keyword"
        and leaf.definition.get("value") is not None
        and not leaf.is_nested
    }


def fields_beside(mapping: Json) -> dict[str, Beside]:
    """Fields that no `_source` holds, and that the server gives when a search asks for them.

    Aliases, multi-fields, and what scripts compute; and what the mapping leaves out of `_source`.
    """
    plain = {leaf.name: leaf.definition for leaf in leaves(mapping) if not leaf.is_nested}
    lost, computed = set(not_kept(mapping)), computed_fields(mapping)
    beside: dict[str, Beside] = {}
    for name, definition in [*plain.items(), *computed.items()]:
        if "script" in definition:
            kind = {key: said for key, said in definition.items() if key != "script"}
            beside[name] = Beside(FetchedBy.FIELDS, kind)
        elif name in lost:
            beside[name] = Beside(_from_index(definition), definition)
        for key, inner in (definition.get("fields") or {}).items():
            # The server takes these, too, from what `_source` has of the field itself.
            by = _from_index(inner) if name in lost else FetchedBy.FIELDS
            beside[f"{name}.{key}"] = Beside(by, inner)
    for name, definition in plain.items():
        if definition.get("type") == "alias":
            path = str(definition.get("path"))
            runtime = (mapping.get("runtime") or {}).get(path)
            own = Beside(FetchedBy.FIELDS, plain.get(path) or runtime or {})
            beside[name] = beside.get(path, own)
    return beside


def _from_index(definition: Json) -> FetchedBy:
    is_stored = definition.get("store") in (True, "true")
    return FetchedBy.STORED if is_stored else FetchedBy.DOC_VALUES


def computed_fields(mapping: Json) -> dict[str, Json]:
    """Runtime fields (OpenSearch: derived fields) with a script."""
    return {
        name: definition
        for part in ("runtime", "derived")
        for name, definition in (mapping.get(part) or {}).items()
        if "script" in definition or definition.get("type") == "lookup"
    }


def unscripted(mapping: Json) -> list[str]:
    """Runtime fields without a script: their values stand in `_source`."""
    return sorted((mapping.get("runtime") or {}).keys() - computed_fields(mapping).keys())


def not_kept(mapping: Json) -> list[str]:
    """Fields that the mapping's `_source.excludes` and `includes` leave out of `_source`.

    Patterns are taken as widely as any server takes them.
    """
    source = mapping.get("_source") or {}
    includes, excludes = source.get("includes") or (), source.get("excludes") or ()
    if not includes and not excludes:
        return []
    kept, cut, constants = _matcher(includes), _matcher(excludes), constants_of(mapping)
    return [
        leaf.name
        for leaf in leaves(mapping)
        if leaf.name not in constants
        and ((includes and not kept(leaf.name)) or (excludes and cut(leaf.name)))
    ]


def _matcher(patterns: Iterable[str]) -> Any:
    """Whether a name, or that of an object around it, is one of the patterns."""
    ways = "|".join(re.escape(pattern).replace(r"\*", ".*") for pattern in patterns)
    return re.compile(rf"(?:{ways})(?:\..*)?").fullmatch


@dataclass
class Kept:
    """What `_source` keeps of a collection's columns.

    Attributes:
        columns: those that can be read, some of them from beside `_source`.
        lost: fields of which `_source` keeps nothing in any index, and that have no column.
        partly: fields of which it keeps nothing in some of the indices.
    """

    columns: list[Column]
    lost: set[str]
    partly: set[str]
    notes: list[str]
    reasons: list[str]


def kept_columns(columns: Sequence[Column], mappings: Sequence[Json]) -> Kept:
    """Looks for the columns that the mappings' `_source.excludes` and `includes` leave out.

    Args:
        mappings: of the collection's indices.
    """
    by_index = [set(not_kept(mapping)) for mapping in mappings]
    everywhere, anywhere = set.intersection(*by_index), set.union(*by_index)
    stored = set.intersection(*map(_stored, mappings)) & anywhere
    kept = Kept([], set(), anywhere - stored, [], [])
    for column in columns:
        if any(name.startswith(f"{column.name}.") for name in anywhere):
            kept.partly.add(column.name)
        if column.name in anywhere and column.kind in VECTOR_KINDS:
            kept.columns.append(_kept_vector(column, kept))
        elif column.name in stored:
            kept.notes.append(
                f"the values of {column.name!r} are left out of _source: they are moved as the "
                "index stores them (`store` of the mapping)"
            )
            kept.columns.append(column.model_copy(update={"fetched_by": FetchedBy.STORED}))
        elif column.name in everywhere:
            kept.lost.add(column.name)
        else:
            kept.columns.append(column)
    return kept


def _stored(mapping: Json) -> set[str]:
    fields = leaves(mapping)
    return {leaf.name for leaf in fields if _from_index(leaf.definition) is FetchedBy.STORED}


def _kept_vector(column: Column, kept: Kept) -> Column:
    """A vector that `_source` has not, from the index itself."""
    what = (
        f"the vectors {column.name!r} are left out of _source (by excludes or includes of the "
        "mapping)"
    )
    how = None
    if column.kind == "dense_vector":
        how = FetchedBy.DOC_VALUES
    elif column.type is DataType.FLOAT_VECTOR:
        how = FetchedBy.SCRIPT
    if how is None:
        kept.reasons.append(
            f"{what}, and no search returns them; index them again from their origin"
        )
    else:
        kept.notes.append(f"{what}: they are moved as the index holds them, in 32 bits")
    return column.model_copy(update={"fetched_by": how})


def search_parts(columns: Sequence[Column]) -> dict[str, Any]:
    """What a search has to ask for beside `_source`; see `fetched`."""
    parts: dict[str, Any] = {}
    for column in columns:
        if column.fetched_by is FetchedBy.SCRIPT:
            script = {"source": _VECTOR_SCRIPT, "params": {"field": column.name}}
            parts.setdefault(FetchedBy.SCRIPT.value, {})[column.name] = {"script": script}
            parts["_source"] = True  # left out otherwise, where scripts are asked for
        elif column.fetched_by is FetchedBy.STORED:
            parts.setdefault(FetchedBy.STORED.value, []).append(column.name)
            parts["_source"] = True  # here too
        elif column.fetched_by:
            parts.setdefault(column.fetched_by.value, []).append({"field": column.name})
    # Not to be read nor sent: attachments may be most of a document.
    if skipped := [column.name for column in columns if column.skipped]:
        parts["_source"] = {"excludes": skipped}
    return parts


def fetched(column: Column, hit: Mapping[str, Any]) -> Any:
    """The value beside a document's `_source`, as a document would hold it; None for none."""
    values = (hit.get("fields") or {}).get(column.name)
    if isinstance(values, list) and len(values) == 1 and not column.is_vector:
        return values[0]
    if column.is_vector and values and not isinstance(values[0], (int, float)):
        return values[0]  # a list of one vector
    return values


def has_synthetic_source(mapping: Json, settings: Json) -> bool:
    """Whether the server puts `_source` together from the index."""
    mode = _source_mode(mapping, settings)
    if not mode:
        return str(settings.get("index.mode")).lower() in _SYNTHETIC_MODES
    return mode == "synthetic"


def _source_mode(mapping: Json, settings: Json) -> str:
    if str(settings.get("index.derived_source.enabled")).lower() == "true":
        return "synthetic"  # OpenSearch's name for the same
    said = (mapping.get("_source") or {}).get("mode") or settings.get("index.mapping.source.mode")
    return str(said or "").lower()


def source_reasons(index: str, mapping: Json, settings: Json) -> list[str]:
    """Why the documents of an index can't be read at all."""
    off = (mapping.get("_source") or {}).get("enabled") in (False, "false")
    if off or _source_mode(mapping, settings) == "disabled":
        return [f"index {index!r} {_NO_SOURCE}"]
    return []


def has_no_numbers(settings: Json) -> bool:
    """Whether documents can't be searched by `_seq_no`; in columnar mode that is the default."""
    said = settings.get("index.disable_sequence_numbers")
    if said is None:
        return str(settings.get("index.mode")).lower() == "columnar"
    return str(said).lower() == "true"
