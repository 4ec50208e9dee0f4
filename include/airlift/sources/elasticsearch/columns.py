"""What becomes of the fields of a mapping: one column each, or the dynamic field, or nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from airlift.datatypes import TYPES, DataType
from airlift.schema import Field
from airlift.sources.elasticsearch import dates
from airlift.sources.elasticsearch.documents import Names
from airlift.sources.elasticsearch.indexes import index_of
from airlift.sources.elasticsearch.params import Dates

Json = Mapping[str, Any]

OBJECT_KINDS = ("object", "passthrough")


class FetchedBy(StrEnum):
    """Parts of a search that give values beside `_source`."""

    FIELDS = "fields"
    DOC_VALUES = "docvalue_fields"
    SCRIPT = "script_fields"
    STORED = "stored_fields"


class Column(BaseModel):
    """A column that is read from documents.

    Attributes:
        name: the field's name; dots where it lies inside objects.
        path: the keys that lead to it in `_source`; empty for what is beside it (`_id`).
        type, element_type, dim: as in `airlift.schema.Field`.
        kind: its type in the mapping; empty when the user's mapping alone names it.
        formats: of a date that is read as milliseconds.
        nullable: whether documents may lack it.
        many: whether some documents have several values.
        without: fields inside it that are columns of their own (an object's vectors).
        fetched_by: the part of a search that asks for its values, where `_source` does not hold
            them; see `airlift.sources.elasticsearch.outside_source`.
        metric_type: that it is searched by.
        index, unlike_index: as in `airlift.schema.Field`.
        skipped: whether `mapping` leaves it out, so that it is not asked for: null in every row.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    path: tuple[str, ...] = ()
    type: DataType
    element_type: DataType | None = None
    dim: int = 0
    kind: str = ""
    formats: str = ""
    nullable: bool = True
    without: tuple[Names, ...] = ()
    fetched_by: FetchedBy | None = None
    metric_type: str | None = None
    index: dict[str, Any] | None = None
    unlike_index: str = ""
    is_key: bool = False
    skipped: bool = False

    @property
    def names(self) -> Names:
        """The parts of the field's full name; a key of the path may have several."""
        return tuple(part for key in self.path for part in key.split("."))

    @property
    def is_vector(self) -> bool:
        """Whether it holds vectors."""
        return TYPES[self.type].is_vector

    @property
    def scalar(self) -> DataType:
        """The type of one value: of an array's items, or its own."""
        return self.element_type or self.type

    @property
    def field(self) -> Field:
        """The field of the collection; lengths are measured while converting."""
        return Field(
            name=self.name,
            type=self.type,
            element_type=self.element_type,
            dim=self.dim,
            nullable=self.nullable,
            primary_key=self.is_key,
            metric_type=self.metric_type,
            index=self.index if self.is_vector else None,
            unlike_index=self.unlike_index if self.is_vector else "",
        )


def whole_fields(columns: Iterable[Column]) -> set[str]:
    """The fields at the top of documents whose values may be objects; see `Documents`."""
    objects = (DataType.JSON, DataType.SPARSE_FLOAT_VECTOR)
    return {column.path[0] for column in columns if column.path and column.type in objects}


_TEXTS = (
    "keyword text constant_keyword wildcard match_only_text search_as_you_type annotated_text "
    "ip version binary icu_collation_keyword semantic_text"
)
_JSONS = (
    "object nested flattened flat_object geo_point geo_shape point shape xy_point xy_shape "
    "integer_range float_range long_range double_range date_range ip_range histogram "
    "aggregate_metric_double join percolator completion passthrough rank_vectors"
)
_SCALARS: dict[str, DataType] = (
    dict.fromkeys(_TEXTS.split(), DataType.VARCHAR)
    | dict.fromkeys(_JSONS.split(), DataType.JSON)
    | {
        "byte": DataType.INT8,
        "short": DataType.INT16,
        "integer": DataType.INT32,
        "token_count": DataType.INT32,
        "long": DataType.INT64,
        "unsigned_long": DataType.VARCHAR,
        "half_float": DataType.FLOAT,
        "float": DataType.FLOAT,
        "double": DataType.DOUBLE,
        "scaled_float": DataType.DOUBLE,
        "rank_feature": DataType.DOUBLE,
        "boolean": DataType.BOOL,
        "date_nanos": DataType.VARCHAR,
        "sparse_vector": DataType.JSON,
        "rank_features": DataType.JSON,
    }
)
SPARSE_KINDS = ("sparse_vector", "rank_features")
VECTOR_KINDS = ("dense_vector", "knn_vector")
# Kinds of which one document's several values make an ARRAY rather than several rows.
NO_ARRAY = {*_JSONS.split(), *SPARSE_KINDS, *VECTOR_KINDS, "semantic_text"}

_METRICS = {
    "cosine": "COSINE",
    "dot_product": "IP",
    "max_inner_product": "IP",
    "l2_norm": "L2",
    "l2": "L2",
    "cosinesimil": "COSINE",
    "innerproduct": "IP",
    "hamming": "HAMMING",
    "hammingbit": "HAMMING",
}


LEFT_OUT = "left out"
"""Stands for the column of a field that has no values of its own in documents."""


def column_of(name: str, path: tuple[str, ...], definition: Json, how: Dates) -> Column | str:
    """The column that a field of the mapping becomes; else LEFT_OUT, or "" for an unknown type."""
    kind = str(definition.get("type") or "object")
    if kind == "alias" or "script" in definition:
        return LEFT_OUT
    if kind in VECTOR_KINDS:
        return _vector(name, path, kind, definition)
    if kind == "date":
        return _date(name, path, definition, how)
    if kind not in _SCALARS:
        return ""
    return Column(name=name, path=path, kind=kind, type=_SCALARS[kind])


def _date(name: str, path: tuple[str, ...], definition: Json, how: Dates) -> Column:
    formats = str(definition.get("format") or dates.DEFAULT_FORMATS)
    if how is Dates.TEXT or dates.reader(formats) is None:
        return Column(name=name, path=path, kind="date", type=DataType.VARCHAR)
    return Column(name=name, path=path, kind="date", type=DataType.INT64, formats=formats)


def _vector(name: str, path: tuple[str, ...], kind: str, definition: Json) -> Column:
    said = definition.get("element_type") or definition.get("data_type") or "float"
    vector = {
        "byte": DataType.INT8_VECTOR,
        "bit": DataType.BINARY_VECTOR,
        "binary": DataType.BINARY_VECTOR,
    }.get(str(said).lower(), DataType.FLOAT_VECTOR)  # OpenSearch may say BYTE
    metric = _METRICS.get(similarity(definition))
    if vector is DataType.BINARY_VECTOR:
        metric = "HAMMING"
    index, unlike = index_of(definition, vector)
    return Column(
        name=name,
        path=path,
        kind=kind,
        type=vector,
        # OpenSearch says -1 where a model of its own decides.
        dim=max(int(definition.get("dims") or definition.get("dimension") or 0), 0),
        metric_type=metric,
        index=index,
        unlike_index=unlike,
    )


def metric_of(name: str) -> str | None:
    """The metric of Milvus that a similarity or space type is; None where it has none."""
    return _METRICS.get(name)


def similarity(definition: Json) -> str:
    """What a vector field says it is searched by; empty when it does not say."""
    method = definition.get("method") or {}
    return str(
        definition.get("similarity")
        or definition.get("space_type")
        or method.get("space_type")
        or ""
    )


def unknown_metric(definition: Json) -> str:
    """The similarity that no metric of Milvus is; empty when there is none such."""
    found = similarity(definition)
    return found if found and found not in _METRICS else ""


def inner_vectors(
    path: tuple[str, ...], definition: Json
) -> Iterator[tuple[tuple[str, ...], Json]]:
    """The vectors inside an object (not inside nested documents: there may be many of those)."""
    for key, inner in (definition.get("properties") or {}).items():
        kind = inner.get("type") or "object"
        if kind in VECTOR_KINDS:
            yield (*path, key), inner
        elif kind in OBJECT_KINDS:
            yield from inner_vectors((*path, key), inner)
