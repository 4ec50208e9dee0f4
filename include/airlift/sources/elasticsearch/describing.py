"""A collection's columns: from its mapping, from what its documents hold, and from the user."""

from __future__ import annotations

from typing import Any

from airlift.datatypes import TYPES, DataType
from airlift.mapping_params import CollectionMapping, FieldMapping
from airlift.sources.elasticsearch.choosing import Found
from airlift.sources.elasticsearch.columns import (
    NO_ARRAY,
    OBJECT_KINDS,
    SPARSE_KINDS,
    VECTOR_KINDS,
    Column,
    Json,
    column_of,
    inner_vectors,
    metric_of,
    unknown_metric,
)
from airlift.sources.elasticsearch.dates import DEFAULT_FORMATS
from airlift.sources.elasticsearch.description import Description
from airlift.sources.elasticsearch.indexes import quantisation
from airlift.sources.elasticsearch.measuring import Measured
from airlift.sources.elasticsearch.notes import named, notes_of
from airlift.sources.elasticsearch.outside_source import (
    Beside,
    constants_of,
    fields_beside,
    flat_objects,
    kept_columns,
    source_reasons,
    unscripted,
)
from airlift.sources.elasticsearch.params import (
    DOCUMENT_ID,
    INDEX_AND_ID,
    ElasticsearchParams,
    OnMissingVector,
    OtherFields,
)
from airlift.sources.elasticsearch.rows import Layout

# `dynamic` of mappings whose documents may hold fields that they do not list.
_OPEN = ("false", "runtime", "false_allow_templates")

# The largest doubles below it are this far apart: a maximum may be rounded by as much.
_SAFE_LONG = 2**63 - 2048


class Describer:
    """Describes one collection.

    Args:
        found: its indices.
        params: the migration's.
    """

    def __init__(self, found: Found, params: ElasticsearchParams) -> None:
        self._found = found
        self._params = params
        mapping = params.mapping.get(found.name, CollectionMapping())
        self._mapping = mapping
        self._metric = mapping.metric_type
        self._bars_dynamic = mapping.dynamic_field is False
        own = (edit for edit in mapping.fields if edit.source and not edit.source_key)
        self._edits = {edit.source: edit for edit in own}

    def from_mapping(self) -> Description:
        """What the mappings of the indices alone tell."""
        made = Description(explode=self._params.explode)
        for mapping in self._found.originals or self._found.mappings:
            made.flat |= set(flat_objects(mapping))
        for part, mapping in zip(self._found.parts, self._found.mappings, strict=True):
            made.constants[part.index] = constants_of(mapping)
        for name, definitions in self._definitions().items():
            self._add(made, name, definitions)
        self._keep_what_source_keeps(made)
        self._add_asked(made)
        made.columns = [self._edited(made, self._with_metric(one)) for one in made.columns]
        made.columns = [self._unless_left_out(made, one) for one in made.columns]
        for place, mapping in enumerate(self._found.mappings):
            self._look_at_source(made, place, mapping)
            made.is_open |= self._is_open(place, mapping)
        made.notes = list(dict.fromkeys(made.notes))
        return made

    def _is_open(self, place: int, mapping: Json) -> bool:
        beyond = "index.mapping.total_fields.ignore_dynamic_beyond_limit"
        return (
            str(mapping.get("dynamic", "true")).lower() in _OPEN
            or mapping.get("enabled") is False
            or bool(unscripted(mapping))
            or str(self._found.settings[place].get(beyond)).lower() == "true"
        )

    def _add_asked(self, made: Description) -> None:
        """The fields that have a column because the user's mapping names them."""
        beside: dict[str, Beside] = {}
        for mapping in reversed(self._found.mappings):
            beside |= fields_beside(mapping)
        there = {column.name for column in made.columns}
        for name, edit in self._edits.items():
            if name in there or name in (DOCUMENT_ID, "$meta"):
                continue
            if name == made.explode:
                made.reasons.append(
                    f"mapping names {name!r}, of whose objects explode makes rows; name the fields "
                    f"below it, such as {f'{name}.text'!r}"
                )
                continue
            if name in beside:
                self._add_beside(made, name, beside[name], edit)
            elif edit.type and name not in made.known:
                # The user knows of a field that the mapping does not list.
                path = self._path_of(made, name)
                made.columns.append(Column(name=name, path=path, type=edit.type))
                made.others = [other for other in made.others if other != name]
                if len(path) == 1:
                    made.known.add(name)

    def _path_of(self, made: Description, name: str) -> tuple[str, ...]:
        """The keys that lead to a field that the mapping does not list."""
        if "" in made.flat:
            return (name,)
        if made.is_below(name):
            first, *others = name.removeprefix(f"{made.explode}.").split(".")
            return (f"{made.explode}.{first}", *others)
        return tuple(name.split("."))

    def _add_beside(self, made: Description, name: str, beside: Beside, edit: FieldMapping) -> None:
        """A field whose values no document holds: the server is asked for them."""
        if made.is_below(name):
            made.reasons.append(
                f"field {name!r}: no document holds it, and the server gives such values by the "
                f"document, not by each object of {made.explode!r}; leave it out of mapping"
            )
            return
        column = column_of(name, (), beside.definition, self._params.dates)
        if not isinstance(column, Column):
            if edit.type is None:
                made.reasons.append(
                    f"field {name!r}: the index does not tell its type; give it one in mapping"
                )
                return
            column = Column(name=name, type=edit.type)
        made.columns.append(column.model_copy(update={"fetched_by": beside.by}))

    def _keep_what_source_keeps(self, made: Description) -> None:
        kept = kept_columns(made.columns, self._found.mappings)
        made.reasons += [
            f"the values of {column.name!r} are left out of _source, and the server gives them by "
            f"the document, not by each object of {made.explode!r}; index the documents again with "
            "whole _source, or leave the field out by `exclude` of mapping"
            for column in kept.columns
            if column.fetched_by and made.is_below(column.name)
        ]
        made.columns, made.partly = kept.columns, kept.partly
        # What stands there against all expectation becomes a dynamic value, or a bad row.
        made.known -= kept.lost
        made.notes += kept.notes
        made.reasons += kept.reasons

    def _definitions(self) -> dict[str, list[dict[str, Any]]]:
        """Field -> its definitions; in several indices they may differ."""
        found: dict[str, list[dict[str, Any]]] = {}
        for mapping in self._found.mappings:
            for name, definition in (mapping.get("properties") or {}).items():
                found.setdefault(name, []).append(definition)
        return found

    def _add(self, made: Description, name: str, definitions: list[dict[str, Any]]) -> None:
        made.known.add(name)
        vectors: dict[tuple[str, ...], Json] = {}
        if (definitions[0].get("type") or "object") in OBJECT_KINDS:
            for definition in definitions:
                vectors |= dict(inner_vectors((name,), definition))
        ways = [column_of(name, (name,), one, self._params.dates) for one in definitions]
        column = ways[0]
        if any(_differ(way, column) for way in ways) and name not in self._edits:
            kinds = sorted({str(one.get("type") or "object") for one in definitions})
            made.reasons.append(
                f"field {name!r} is {' and '.join(kinds)} (or of several sizes or formats) in the "
                "indices that become one collection; give it one type by mapping"
            )
        if isinstance(column, Column):
            inside = tuple(tuple(".".join(path[1:]).split(".")) for path in vectors)
            made.columns.append(column.model_copy(update={"without": inside}))
        elif not column:
            made.known.discard(name)
            made.others.append(name)
        for path, vector in vectors.items():
            inner = column_of(".".join(path), path, vector, self._params.dates)
            if isinstance(inner, Column):
                made.columns.append(inner)
        for one in [*definitions, *vectors.values()]:
            if self._params.index == "source" and (kept := quantisation(one)):
                made.notes.append(
                    f"field {name!r}: its index searches numbers that are rounded ({kept}); the "
                    "index on the target searches the vectors as they are"
                )
            metric = unknown_metric(one)
            if metric and one.get("type") in VECTOR_KINDS and not self._metric:
                made.reasons.append(
                    f"field {name!r} is searched by {metric!r}, which no metric of Milvus does; "
                    "give mapping a metric_type"
                )

    def _unless_left_out(self, made: Description, column: Column) -> Column:
        """The column, not to be asked for where the user's mapping leaves it out.

        Whole fields at the top of documents only: an object without some of its fields may come as
        another value. A transform may read what is left out afterwards.
        """
        name = column.name
        is_read = (
            self._mapping.takes(name)
            or self._mapping.transform
            or name == self._params.primary_key
            or "" in made.flat
            or "." in name
            or any(sign in name for sign in "*\\")
            or any(other.name.startswith(f"{name}.") for other in made.columns)
        )
        if is_read:
            return column
        dim = column.dim or 8  # not known of each vector field, and of no use
        update: dict[str, Any] = {"skipped": True, "nullable": True, "path": (), "dim": dim}
        update |= {"fetched_by": None, "without": ()}
        return column.model_copy(update=update if column.is_vector else {**update, "dim": 0})

    def _with_metric(self, column: Column) -> Column:
        """The column with what an OpenSearch index sets for all of its vectors."""
        settings = self._found.settings[0]
        if column.kind != "knn_vector":
            return column
        if settings.get("index.knn") != "true":  # they are not indexed
            return column.model_copy(update={"index": None, "unlike_index": ""})
        if column.metric_type:
            return column
        space = str(settings.get("index.knn.space_type") or "l2")
        return column.model_copy(update={"metric_type": metric_of(space)})

    def _edited(self, made: Description, column: Column) -> Column:
        """The column as the user's mapping has it."""
        edit = self._edits.get(column.name)
        if edit is None or edit.type in (None, column.type):
            return self._item_type(column, edit)
        update: dict[str, Any] = {"type": edit.type, "formats": "", "without": ()}
        if edit.type is DataType.JSON:
            update["without"] = column.without
        if edit.type is DataType.ARRAY:
            update["element_type"] = edit.element_type or column.type
        item = update.get("element_type") or edit.type
        if column.kind == "date" and item is DataType.INT64:
            update["formats"] = column.formats or DEFAULT_FORMATS
        if TYPES[edit.type].is_vector:
            update["dim"] = column.dim
            if column.metric_type not in TYPES[edit.type].metric_types:
                update["metric_type"] = None
        if update.get("element_type") in (DataType.ARRAY, DataType.JSON) or (
            edit.type is DataType.ARRAY and TYPES[update["element_type"]].is_vector
        ):
            made.reasons.append(f"field {column.name!r}: an ARRAY holds scalars; see element_type")
        return column.model_copy(update=update)

    @staticmethod
    def _item_type(column: Column, edit: FieldMapping | None) -> Column:
        if edit and edit.element_type and column.type is DataType.ARRAY:
            return column.model_copy(update={"element_type": edit.element_type})
        return column

    def _look_at_source(self, made: Description, place: int, mapping: dict[str, Any]) -> None:
        """What the mapping says of `_source`, which is what is read."""
        index, settings = self._found.parts[place].index, self._found.settings[place]
        made.reasons += source_reasons(index, mapping, settings)
        made.notes += notes_of(index, mapping, settings, self._edits)

    def measured(self, made: Description, found: Measured) -> Layout:
        """The columns as the documents need them. Adds notes and reasons to `made`."""
        columns = [self._measured(made, column, found) for column in made.columns]
        self._add_key(made, columns, found)
        known = made.known | {column.name for column in columns}
        seen = {key for document in found.sample for key in document if key not in known}
        is_open = made.is_open or bool(made.others) or bool(seen)
        how = self._params.other_fields
        if made.others and how is OtherFields.REFUSE:
            made.reasons.append(
                f"the fields {made.others} are of types that are not known here; set other_fields "
                "to dynamic or leave_out, or give them a type by mapping"
            )
        if is_open and how is OtherFields.LEAVE_OUT:
            made.notes.append(
                f"fields that have no column, such as {sorted(seen | set(made.others))}, are left "
                "out, as other_fields asks"
            )
        # A mapping that is closed now may have been open when documents were indexed, or may have
        # let fields beyond a limit pass: only the user can rule that out.
        may_hold_others = is_open or not self._bars_dynamic
        self._note_ignored(made, found)
        return Layout(
            columns=tuple(columns),
            known=tuple(sorted(made.known)),
            flat=tuple(sorted(made.flat)),
            constants=made.constants,
            explode=made.explode,
            dynamic=may_hold_others and how is OtherFields.DYNAMIC,
            other_fields=how,
            on_missing_vector=self._params.on_missing_vector,
        )

    @staticmethod
    def _note_ignored(made: Description, found: Measured) -> None:
        of_all = f"of {found.documents:,} documents have"
        if found.ignored:
            made.notes.append(
                f"{found.ignored:,} {of_all} values that the index ignores: malformed ones, too "
                f"long ones, or beyond the limit of fields (in {named(found.ignored_in)}). No "
                "search finds them, and they are moved as _source holds them; one that its column "
                "can't hold makes a bad row, unless its type in mapping is VARCHAR or JSON"
            )
        if found.routed:
            made.notes.append(
                f"{found.routed:,} {of_all} a _routing, which is not a part of _source and is not "
                "moved"
            )

    def _measured(self, made: Description, column: Column, found: Measured) -> Column:
        if column.skipped:
            return column
        update: dict[str, Any] = {"nullable": self._nullable(made, column, found)}
        chosen = self._edits.get(column.name)
        if not (chosen and chosen.type):
            if column.name in found.several and column.kind not in NO_ARRAY:
                update |= {"type": DataType.ARRAY, "element_type": column.type}
            elif column.kind in SPARSE_KINDS and _numbered(found.values(column)):
                update |= {"type": DataType.SPARSE_FLOAT_VECTOR, "metric_type": "IP"}
            elif column.kind in SPARSE_KINDS:
                made.notes.append(
                    f"field {column.name!r} has words for dimensions, where Milvus has numbers: it "
                    "becomes JSON"
                )
            elif column.kind == "semantic_text" and any(
                isinstance(value, dict) for value in found.values(column)
            ):
                # Before 8.18 documents hold the text together with its embeddings.
                update["type"] = DataType.JSON
            elif column.kind == "unsigned_long":
                top = found.largest.get(column.name)
                if top is not None and top < _SAFE_LONG:
                    update["type"] = DataType.INT64
        if column.kind == "date" and column.type is DataType.VARCHAR:
            made.notes.append(f"the dates of {column.name!r} come as text")
        measured = column.model_copy(update=update)
        if measured.is_vector and measured.type is not DataType.SPARSE_FLOAT_VECTOR:
            return self._sized(made, measured, found)
        return measured

    def _nullable(self, made: Description, column: Column, found: Measured) -> bool:
        chosen = self._edits.get(column.name)
        if chosen and chosen.nullable is not None:
            return chosen.nullable
        missing = found.missing.get(column.name)
        if column.is_vector:
            may_be = self._params.on_missing_vector is OnMissingVector.NULL
            return may_be and missing != 0
        if all(column.name in constants for constants in made.constants.values()):
            return False
        return missing != 0 or column.name in made.partly

    def _sized(self, made: Description, column: Column, found: Measured) -> Column:
        """A vector with its dimension, measured where the mapping has none."""
        if column.dim:
            return column
        per_item = 8 if column.type is DataType.BINARY_VECTOR else 1
        dims = {len(one) * per_item for one in found.values(column) if isinstance(one, list)}
        if len(dims) == 1:
            return column.model_copy(update={"dim": dims.pop()})
        made.reasons.append(
            f"field {column.name!r}: its vectors were expected to have one dimension; those of the "
            f"first and last documents have {sorted(dims) or 'none'}; leave others out by `query`"
        )
        return column

    def _add_key(self, made: Description, columns: list[Column], found: Measured) -> None:
        """Puts the primary key first."""
        wanted = self._params.primary_key
        document_id = Column(name=DOCUMENT_ID, type=DataType.VARCHAR, nullable=False)
        if wanted in (DOCUMENT_ID, INDEX_AND_ID):
            columns.insert(0, document_id.model_copy(update={"is_key": True, "kind": wanted}))
            return
        if made.explode and not made.is_below(wanted):
            made.reasons.append(
                f"primary_key {wanted!r} is the same in all rows of a document; with explode use "
                f"_id (each row gets <_id>#<n>), _index/_id, or a field below {made.explode!r}"
            )
        place = next((at for at, one in enumerate(columns) if one.name == wanted), None)
        if place is None:
            made.reasons.append(
                f"primary_key {wanted!r} is no field; there are {self._names(made)}"
            )
            columns.insert(0, document_id.model_copy(update={"is_key": True}))
            return
        key = columns.pop(place)
        if key.type not in (DataType.INT8, DataType.INT16, DataType.INT32, DataType.INT64):
            allowed = key.type is DataType.VARCHAR
            kind = DataType.VARCHAR
        else:
            allowed, kind = True, DataType.INT64
        if not allowed:
            made.reasons.append(
                f"primary_key {wanted!r} is {key.type}; expected one text or integer a document"
            )
        if missing := found.missing.get(wanted):
            made.reasons.append(f"primary_key {wanted!r} is missing in {missing:,} documents")
        columns.insert(0, key.model_copy(update={"type": kind, "nullable": False, "is_key": True}))
        columns.insert(1, document_id)

    @staticmethod
    def _names(made: Description) -> list[str]:
        return [one.name for one in made.columns]


def _differ(one: Column | str, other: Column | str) -> bool:
    """Whether two definitions make different columns; how they are indexed does not count."""
    plain = [
        column.model_copy(update={"index": None, "unlike_index": ""})
        if isinstance(column, Column)
        else column
        for column in (one, other)
    ]
    return plain[0] != plain[1]


def _numbered(values: list[Any]) -> bool:
    """Whether the weights stand by number."""
    keys = [key for one in values if isinstance(one, dict) for key in one]
    return bool(keys) and all(key.isascii() and key.isdigit() for key in keys)
