"""Notes on values that are not moved, or not as they were sent, from what a mapping says."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from airlift.sources.elasticsearch.columns import Json, similarity
from airlift.sources.elasticsearch.outside_source import (
    Leaf,
    computed_fields,
    has_no_numbers,
    has_synthetic_source,
    leaves,
    not_kept,
    objects,
    unscripted,
)

_MOST_NAMES = 20
"""Names in a note."""

_SYNTHETIC = (
    "the server rebuilds documents from its index, and these are moved: lists are sorted, those of "
    "keywords without repeats, a list of one value is that value, a list of objects is an object "
    "of lists, null and empty lists are left out (or are the null_value), values of flattened "
    "fields are text, and dates, IP addresses, geo points and numbers are as their types hold them"
)


_NO_NUMBERS = (
    "keeps no _seq_no (index.disable_sequence_numbers): its chunks are slices of one point in "
    "time. A run that failed can be resumed while the server keeps that: keep_alive_minutes after "
    "the last request, and until its node is restarted. When it is lost before every row is read, "
    "the run is refused, and another one with the same migration_id reads all documents anew"
)


def named(names: Sequence[str]) -> str:
    """Names for a message, not too many."""
    more = f" and {len(names) - _MOST_NAMES:,} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(map(repr, names[:_MOST_NAMES])) + more


def notes_of(index: str, mapping: Json, settings: Json, asked: Collection[str] = ()) -> list[str]:
    """What the user should know of an index's values; see docs/elasticsearch.md.

    Args:
        asked: fields that the user's mapping names. Those among them that no document holds come
            for that reason.
    """
    fields = [*leaves(mapping)]
    synthetic = has_synthetic_source(mapping, settings)
    return [
        *([f"index {index!r} {_NO_NUMBERS}"] if has_no_numbers(settings) else ()),
        *([f"index {index!r} has a synthetic _source: {_SYNTHETIC}"] if synthetic else ()),
        *_notes_of_patterns(index, mapping),
        *_notes_of_runtime_fields(mapping, fields, asked),
        *_notes_of_left_out(fields, asked),
        *_notes_of_copies(fields),
        *(() if synthetic else _notes_of_null_values(fields)),
        *_notes_of_kinds(fields),
        *_notes_of_passthrough_objects(mapping),
        *_notes_of_scaled_vectors(fields, settings),
        *_notes_of_lost_digits(fields, mapping, settings),
    ]


def _notes_of_patterns(index: str, mapping: Json) -> list[str]:
    source = mapping.get("_source") or {}
    patterns = [*(source.get("excludes") or ()), *(source.get("includes") or ())]
    if not patterns:
        return []
    lost = not_kept(mapping)
    return [
        f"index {index!r} keeps only a part of each _source ({', '.join(patterns)}): what is "
        "not kept can't be moved"
        + (f"; of the fields that its mapping lists: {named(lost)}" if lost else "")
    ]


def _notes_of_runtime_fields(
    mapping: Json, fields: Sequence[Leaf], asked: Collection[str]
) -> list[str]:
    notes = []
    if computed := sorted(computed_fields(mapping).keys() - set(asked)):
        notes.append(
            f"runtime fields {named(computed)} are computed by each search, and left out; name "
            "them in `fields` of mapping to move their present values"
        )
    if plain := unscripted(mapping):
        notes.append(
            f"runtime fields {named(plain)} have no script: their values are in _source, and "
            "are moved like fields that the mapping does not list (other_fields)"
        )
    hidden = sorted({leaf.name for leaf in fields} & (mapping.get("runtime") or {}).keys())
    if hidden:
        notes.append(
            f"searches see runtime fields in place of the documents' own fields {named(hidden)}: "
            "the documents' own values are moved"
        )
    return notes


def _notes_of_left_out(fields: Sequence[Leaf], asked: Collection[str]) -> list[str]:
    notes, others = [], []
    for leaf in fields:
        definition = leaf.definition
        if definition.get("type") == "alias" and leaf.name not in asked:
            notes.append(
                f"field {leaf.name!r} is left out: an alias of {definition.get('path')!r}, which "
                "is moved itself"
            )
        elif "script" in definition and leaf.name not in asked:
            notes.append(
                f"field {leaf.name!r} is left out: computed by a script when documents are "
                "indexed, and in no document; name it in `fields` of mapping to move its values"
            )
        if any(f"{leaf.name}.{key}" not in asked for key in definition.get("fields") or ()):
            others.append(leaf.name)
    if others:
        notes.append(f"multi-fields of {named(others)} are other forms of them, and left out")
    return notes


def _notes_of_copies(fields: Sequence[Leaf]) -> list[str]:
    copied: dict[str, list[str]] = {}
    for leaf in fields:
        to = leaf.definition.get("copy_to") or []
        for target in [to] if isinstance(to, str) else to:
            copied.setdefault(target, []).append(leaf.name)
    return [
        f"what copy_to copies into {target!r} from {named(sources)} is in no document: "
        f"{target!r} gets only what documents hold in it themselves"
        for target, sources in copied.items()
    ]


def _notes_of_null_values(fields: Sequence[Leaf]) -> list[str]:
    nulls = {
        leaf.name: leaf.definition["null_value"]
        for leaf in fields
        if leaf.definition.get("null_value") is not None
    }
    if not nulls:
        return []
    said = named([*nulls]) + " by " + ", ".join(map(repr, [*nulls.values()][:_MOST_NAMES]))
    return [
        f"searches find an explicit null by its null_value ({said}); it is moved as null, as "
        "_source holds it; a `default` in mapping puts a value in place of each null"
    ]


def _notes_of_kinds(fields: Sequence[Leaf]) -> list[str]:
    notes = []
    semantic = [leaf.name for leaf in fields if leaf.definition.get("type") == "semantic_text"]
    if semantic:
        notes.append(
            f"the embeddings of the semantic_text fields {named(semantic)} are not in _source "
            "(from 8.18 on), and are left out; their text is moved"
        )
    unset = [
        leaf.name
        for leaf in fields
        if leaf.definition.get("type") == "constant_keyword"
        and (leaf.is_nested or leaf.definition.get("value") is None)
    ]
    if unset:
        notes.append(
            f"the constants {named(unset)} have no value yet, or are in nested documents: they "
            "are moved as documents themselves hold them"
        )
    return notes


def _notes_of_passthrough_objects(mapping: Json) -> list[str]:
    names = [name for name, kind in objects(mapping) if kind == "passthrough"]
    if not names:
        return []
    return [
        f"searches find fields of the passthrough objects {named(names)} also without the name of "
        "the object; they are moved inside it only"
    ]


def _notes_of_scaled_vectors(fields: Sequence[Leaf], settings: Json) -> list[str]:
    """OpenSearch gives vectors back from its index, where Faiss' cosine has them scaled."""
    if str(settings.get("index.knn.derived_source.enabled")).lower() != "true":
        return []
    scaled = []
    for leaf in fields:
        space = similarity(leaf.definition) or settings.get("index.knn.space_type")
        engine = (leaf.definition.get("method") or {}).get("engine") or "faiss"
        is_vector = leaf.definition.get("type") == "knn_vector"
        if is_vector and (space, engine) == ("cosinesimil", "faiss"):
            scaled.append(leaf.name)
    if not scaled:
        return []
    return [
        f"the vectors of {named(scaled)} come from the index, not from documents "
        "(index.knn.derived_source), and for cosinesimil Faiss keeps them scaled to length 1"
    ]


def _notes_of_lost_digits(fields: Sequence[Leaf], mapping: Json, settings: Json) -> list[str]:
    """What an index holds of vectors, where it and not `_source` gives them back.

    Elasticsearch keeps a vector that is searched by its angle as direction and length, and a
    sparse weight as the 9 first bits of its digits (tried on 8.19 and 9.5).
    """
    is_new = str(settings.get("index.mapping.exclude_source_vectors")).lower() == "true"
    synthetic = has_synthetic_source(mapping, settings)
    lost = set(not_kept(mapping))
    turned, shortened = [], []
    for leaf in fields:
        kind, definition = leaf.definition.get("type"), leaf.definition
        if kind == "dense_vector" and similarity(definition) == "cosine":
            is_float = definition.get("element_type", "float") not in ("byte", "bit")
            if is_float and (is_new or synthetic or leaf.name in lost):
                turned.append(leaf.name)
        if kind == "sparse_vector" and (is_new or (synthetic and definition.get("store"))):
            shortened.append(leaf.name)
    notes = []
    if turned:
        notes.append(
            f"the index does not keep the vectors of {turned} as they were sent: the server "
            "computes them from direction and length, rounded in the last digit"
        )
    if shortened:
        notes.append(
            f"the index does not keep the weights of the sparse vectors {shortened} as they were "
            "sent: about three digits of each are left, such as 0.12329 of 0.123456"
        )
    return notes
