"""Pages of documents as record batches, and as bad rows with their reasons."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from airlift.errors import AirliftError
from airlift.json_text import lossless_text
from airlift.schema import DYNAMIC_FIELD
from airlift.sources.base import BATCH_BYTES, BadRows
from airlift.sources.elasticsearch.arrays import array_of, cut_array, missing
from airlift.sources.elasticsearch.columns import Column, whole_fields
from airlift.sources.elasticsearch.documents import Documents, Names, find, without
from airlift.sources.elasticsearch.lists import arrow_list, mask_array
from airlift.sources.elasticsearch.nested_rows import NestedRows
from airlift.sources.elasticsearch.outside_source import fetched
from airlift.sources.elasticsearch.pages import Page, source_of
from airlift.sources.elasticsearch.params import DOCUMENT_ID, OnMissingVector, OtherFields
from airlift.sources.elasticsearch.vectors import VectorCutter, can_cut

Hit = Mapping[str, Any]

_BAD = pa.schema([(name, pa.string()) for name in ("_index", "_id", "_source")])


class Layout(BaseModel):
    """How documents become rows.

    Attributes:
        columns: in the order of the collection's fields.
        known: the top-level fields that have a column, or are left out on purpose.
        dynamic: whether there is a dynamic field for the others.
        flat, constants: see `airlift.sources.elasticsearch.documents.Documents`.
        explode: the path of the nested objects that are rows; empty where documents are.
    """

    model_config = ConfigDict(frozen=True)

    columns: tuple[Column, ...]
    known: tuple[str, ...]
    dynamic: bool
    flat: tuple[str, ...] = ()
    constants: dict[str, dict[str, Any]] = {}
    explode: str = ""
    other_fields: OtherFields = OtherFields.DYNAMIC
    on_missing_vector: OnMissingVector = OnMissingVector.FAIL

    @property
    def schema(self) -> pa.Schema:
        """Of the batches."""
        fields = [column.field.arrow for column in self.columns]
        return pa.schema(
            [*fields, pa.field(DYNAMIC_FIELD, pa.string(), nullable=False)]
            if self.dynamic
            else fields
        )


class RowMaker:
    """Turns documents into rows.

    Args:
        layout: the columns to make.

    Attributes:
        cutters: what pages may be cut by before they are parsed.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._schema = layout.schema
        self._known = frozenset(layout.known)
        whole = whole_fields(layout.columns)
        self._documents = Documents(layout.known, layout.flat, whole, layout.constants)
        self._nested = (
            NestedRows(layout.explode, layout.known, layout.flat, whole) if layout.explode else None
        )
        # Inside fields that the mapping does not list: what is beside them stays a dynamic value.
        self._inside_others = [
            column.names
            for column in layout.columns
            if len(column.path) > 1 and column.path[0] not in self._known
        ]
        self._getters = [_getter(column) for column in layout.columns]
        self._cut_columns = {
            place: VectorCutter(column)
            for place, column in enumerate(layout.columns)
            if can_cut(column) and not self._nested
        }
        self.cutters = tuple(self._cut_columns.values())
        self._key = next(place for place, column in enumerate(layout.columns) if column.is_key)

    def batches(self, page: Page) -> Iterator[tuple[pa.RecordBatch, BadRows | None]]:
        """The rows of a page as `rows` gives them, in pieces where one document is several."""
        if self._nested is None:
            yield self.rows(page)
            return
        for rows in self._nested.batches(page.hits, BATCH_BYTES):
            yield self.rows(page._replace(hits=rows))

    def rows(self, page: Page) -> tuple[pa.RecordBatch, BadRows | None]:
        """The good rows of a page, and the bad ones. Each hit is one of them.

        Raises:
            AirliftError: a vector is missing, and the params say to fail.
        """
        batch, bad = self._rows(page)
        if page.texts and (batch is None or bad is not None):
            # Not all vectors are plain ones, or bad rows are to be shown with theirs.
            batch, bad = self._rows(page.whole())
        assert batch is not None  # noqa: S101 - only what is cut can be in vain
        return batch, bad

    def _rows(self, page: Page) -> tuple[pa.RecordBatch | None, BadRows | None]:
        """As `rows`; no batch when cutting the page was in vain."""
        hits = page.hits
        sources = [self._documents.normal(source_of(hit), hit["_index"]) for hit in hits]
        reasons: dict[int, str] = {}
        others = self._others(sources, reasons)
        cut = dict(zip(self._cut_columns, page.texts, strict=False))
        arrays = []
        keys: list[Any] = []
        for place, (column, get) in enumerate(
            zip(self._layout.columns, self._getters, strict=True)
        ):
            raw = get(hits, sources)
            if place == self._key:
                keys = raw
            if column.is_vector and not column.skipped:
                # To Elasticsearch an empty list is the same as nothing.
                raw = [None if value == [] else value for value in raw] if [] in raw else raw
                self._lack_vectors(column, hits, raw)
            if place in cut:
                array = cut_array(self._cut_columns[place], raw, cut[place])
                bad = {} if column.nullable else missing(raw)
            else:
                array, bad = array_of(column, raw)
            if array is None:
                return None, None
            arrays.append(array)
            for row, reason in bad.items():
                reasons.setdefault(row, f"field {column.name!r}: {reason}")
        if self._layout.dynamic:
            arrays.append(arrow_list(others, pa.string()))
        if not reasons:
            return pa.RecordBatch.from_arrays(arrays, schema=self._schema), None
        good = np.ones(len(hits), np.bool_)
        good[list(reasons)] = False
        mask = mask_array(good)
        batch = pa.RecordBatch.from_arrays(
            [array.filter(mask) for array in arrays], schema=self._schema
        )
        return batch, _bad_rows(hits, keys, reasons)

    def _others(self, sources: list[Any], reasons: dict[int, str]) -> list[str]:
        """The dynamic field's texts."""
        texts = ["{}"] * len(sources)
        for row, source in enumerate(sources):
            if self._known.issuperset(source):
                continue
            others = {
                key: value
                for key, value in source.items()
                # A null or an empty list says nothing, and gives a field no type in a mapping.
                if key not in self._known and value is not None and value != []
            }
            if self._inside_others:
                others = _rest(others, self._inside_others)
            if not others or self._layout.other_fields is OtherFields.LEAVE_OUT:
                continue
            if not self._layout.dynamic:
                reasons[row] = (
                    f"field {next(iter(others))!r}: the mapping of the index does not list it, and "
                    "there is no dynamic field for it; set other_fields to dynamic or leave_out, "
                    "let mapping have the dynamic field, or name the field there with a type"
                )
                continue
            texts[row] = lossless_text(others)
        return texts

    def _lack_vectors(self, column: Column, hits: Sequence[Hit], raw: Sequence[Any]) -> None:
        if None not in raw or self._layout.on_missing_vector is not OnMissingVector.FAIL:
            return
        hit = hits[raw.index(None)]
        raise AirliftError(
            f"document {hit['_id']!r} of {hit['_index']!r} has no vector {column.name!r}; mend it, "
            "leave such documents out by `query`, or set on_missing_vector to set_aside or null"
        )


Getter = Callable[[Sequence[Hit], Sequence[Any]], list[Any]]


def _getter(column: Column) -> Getter:
    if column.skipped:
        return lambda hits, _: [None] * len(hits)
    if column.fetched_by:
        return lambda hits, _: [fetched(column, hit) for hit in hits]
    if not column.path:
        if column.name == DOCUMENT_ID and column.kind != "_index/_id":
            return lambda hits, _: [hit["_id"] for hit in hits]
        return lambda hits, _: [f"{hit['_index']}/{hit['_id']}" for hit in hits]
    if len(column.path) == 1:
        [key] = column.path
        return lambda _, sources: [source.get(key) for source in sources]
    names = column.names
    return lambda _, sources: [find(source, names) for source in sources]


def _rest(others: dict[str, Any], fields: Sequence[Names]) -> dict[str, Any]:
    """The fields that have no column, less what has one inside them."""
    rest = without(others, fields)
    return {key: value for key, value in rest.items() if value == others[key] or _holds_any(value)}


def _holds_any(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_any, value.values()))
    if isinstance(value, list):
        return any(map(_holds_any, value))
    return True


def _bad_rows(hits: Sequence[Hit], keys: Sequence[Any], reasons: Mapping[int, str]) -> BadRows:
    at = sorted(reasons)
    columns = [
        [str(hits[row]["_index"]) for row in at],
        [str(hits[row]["_id"]) for row in at],
        [lossless_text(hits[row].get("_source")) for row in at],
    ]
    rows = pa.RecordBatch.from_arrays(
        [arrow_list(column, pa.string()) for column in columns], schema=_BAD
    )
    return BadRows(rows, [keys[row] for row in at], [reasons[row] for row in at])
