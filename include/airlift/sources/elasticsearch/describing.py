"""A collection's columns: from its mapping, from what its documents hold, and from the user."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from airlift.datatypes import TYPES, DataType
from airlift.mapping_params import CollectionMapping, FieldMapping
from airlift.sources.elasticsearch.choosing import Found
from airlift.sources.elasticsearch.columns import (
    NO_ARRAY,
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
from airlift.sources.elasticsearch.measuring import Measured
from airlift.sources.elasticsearch.params import (
    DOCUMENT_ID,
    INDEX_AND_ID,
    ElasticsearchParams,
    OnMissingVector,
    OtherFields,
)
from airlift.sources.elasticsearch.rows import Layout

# The largest doubles below it are this far apart: a maximum may be rounded by as much.
_SAFE_LONG = 2**63 - 2048


@dataclass
class Description:
    """A collection's columns as far as they are known.

    Attributes:
        known: top-level fields that the mapping lists and that are no others.
        others: those that it lists and that have no column.
        is_open: whether documents may hold fields that the mapping does not list.
    """

    columns: list[Column] = field(default_factory=list)
    known: set[str] = field(default_factory=set)
    others: list[str] = field(default_factory=list)
    is_open: bool = False
    notes: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


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
        self._metric = mapping.metric_type
        own = (edit for edit in mapping.fields if edit.source and not edit.source_key)
        self._edits = {edit.source: edit for edit in own}

    def from_mapping(self) -> Description:
        """What the mappings of the indices alone tell."""
        made = Description()
        for name, definitions in self._definitions().items():
            self._add(made, name, definitions)
        for name, edit in self._edits.items():
            if name not in made.known and edit.type and name not in (DOCUMENT_ID, "$meta"):
                # The user knows of a field that the mapping does not list.
                path = tuple(name.split("."))
                made.columns.append(Column(name=name, path=path, type=edit.type))
                made.known.add(path[0])
                made.others = [other for other in made.others if other != name]
        made.columns = [self._edited(made, self._with_metric(one)) for one in made.columns]
        for place, mapping in enumerate(self._found.mappings):
            self._look_at_source(made, place, mapping)
            made.is_open |= str(mapping.get("dynamic", "true")) in ("false", "runtime")
            if runtime := sorted(mapping.get("runtime") or {}):
                made.notes.append(f"runtime fields {runtime} are computed, and left out")
        made.notes = list(dict.fromkeys(made.notes))
        return made

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
        if (definitions[0].get("type") or "object") == "object":
            for definition in definitions:
                vectors |= dict(inner_vectors((name,), definition))
        ways = [column_of(name, (name,), one, self._params.dates) for one in definitions]
        column = ways[0]
        if any(way != column for way in ways) and name not in self._edits:
            kinds = sorted({str(one.get("type") or "object") for one in definitions})
            made.reasons.append(
                f"field {name!r} is {' and '.join(kinds)} (or of several sizes or formats) in the "
                "indices that become one collection; give it one type by mapping"
            )
        if isinstance(column, str) and column:
            made.notes.append(f"field {name!r} is left out: {column}")
        elif isinstance(column, str):
            made.known.discard(name)
            made.others.append(name)
        else:
            made.columns.append(
                column.model_copy(update={"without": tuple(path[1:] for path in vectors)})
            )
        if any(one.get("fields") for one in definitions):
            made.notes.append(f"multi-fields of {name!r} are other forms of it, and left out")
        for path, vector in vectors.items():
            inner = column_of(".".join(path), path, vector, self._params.dates)
            if isinstance(inner, Column):
                made.columns.append(inner)
        for one in [*definitions, *vectors.values()]:
            metric = unknown_metric(one)
            if metric and one.get("type") in VECTOR_KINDS and not self._metric:
                made.reasons.append(
                    f"field {name!r} is searched by {metric!r}, which no metric of Milvus does; "
                    "give mapping a metric_type"
                )

    def _with_metric(self, column: Column) -> Column:
        """The column with the metric that an OpenSearch index sets for all of its vectors."""
        settings = self._found.settings[0]
        if column.kind != "knn_vector" or column.metric_type or settings.get("index.knn") != "true":
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
        index = self._found.parts[place].index
        source = mapping.get("_source") or {}
        if source.get("enabled") is False:
            made.reasons.append(
                f"index {index!r} keeps no _source, so its documents can't be had back; reindex "
                "them from where they came"
            )
        cut = [*source.get("excludes", ()), *source.get("includes", ())]
        if cut:
            made.notes.append(
                f"index {index!r} keeps only a part of each _source ({', '.join(cut)}): what is "
                "not kept can't be moved"
            )
        self._look_at_vectors(made, place)
        mode = source.get("mode") or self._found.settings[place].get("index.mapping.source.mode")
        if mode == "synthetic":
            made.notes.append(
                f"index {index!r} has a synthetic _source: lists come sorted, as the server has "
                "made them"
            )

    def _look_at_vectors(self, made: Description, place: int) -> None:
        """Elasticsearch 9.2 and newer keep a vector as its direction and its length."""
        if self._found.settings[place].get("index.mapping.exclude_source_vectors") != "true":
            return
        turned = [
            one.name
            for one in made.columns
            if (one.kind, one.metric_type) == ("dense_vector", "COSINE")
        ]
        if turned:
            made.notes.append(
                f"vectors of {turned} are no longer held as they came: the server puts them "
                "together from direction and length, with a rounding in the last digit"
            )

    def measured(self, made: Description, found: Measured) -> Layout:
        """The columns as the documents need them. Adds notes and reasons to `made`."""
        columns = [self._measured(made, column, found) for column in made.columns]
        self._add_key(made, columns, found)
        seen = {key for one in found.sample for key in one if key not in made.known}
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
        return Layout(
            columns=tuple(columns),
            known=tuple(sorted(made.known)),
            dynamic=is_open and how is OtherFields.DYNAMIC,
            other_fields=how,
            on_missing_vector=self._params.on_missing_vector,
        )

    def _measured(self, made: Description, column: Column, found: Measured) -> Column:
        update: dict[str, Any] = {"nullable": self._nullable(column, found)}
        chosen = self._edits.get(column.name)
        if not (chosen and chosen.type):
            if column.name in found.several and column.kind not in NO_ARRAY:
                update |= {"type": DataType.ARRAY, "element_type": column.type}
            elif column.kind in SPARSE_KINDS and _numbered(found.values(column.path)):
                update |= {"type": DataType.SPARSE_FLOAT_VECTOR, "metric_type": "IP"}
            elif column.kind in SPARSE_KINDS:
                made.notes.append(
                    f"field {column.name!r} has words for dimensions, where Milvus has numbers: it "
                    "becomes JSON"
                )
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

    def _nullable(self, column: Column, found: Measured) -> bool:
        chosen = self._edits.get(column.name)
        if chosen and chosen.nullable is not None:
            return chosen.nullable
        missing = found.missing.get(column.name)
        if column.is_vector:
            may_be = self._params.on_missing_vector is OnMissingVector.NULL
            return may_be and missing != 0
        return missing != 0

    def _sized(self, made: Description, column: Column, found: Measured) -> Column:
        """A vector with its dimension, measured where the mapping has none."""
        if column.dim:
            return column
        per_item = 8 if column.type is DataType.BINARY_VECTOR else 1
        dims = {len(one) * per_item for one in found.values(column.path) if isinstance(one, list)}
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


def _numbered(values: list[Any]) -> bool:
    """Whether the weights stand by number."""
    keys = [key for one in values if isinstance(one, dict) for key in one]
    return bool(keys) and all(key.isascii() and key.isdigit() for key in keys)
