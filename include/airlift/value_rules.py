"""Rules for values that Milvus takes in general, but not this target, load method or chunk file.

What every Milvus refuses, or takes and changes, is found by `airlift.bad_rows`.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from airlift.fixed_width import bool_array
from airlift.sparse_vectors import pairs_of

Marks = npt.NDArray[np.bool_]


class ValueRule(StrEnum):
    """What a field's values must not be."""

    NO_EMPTY_LIST = "no_empty_list"
    NO_EMPTY_SPARSE = "no_empty_sparse"
    NO_ZERO_WEIGHT = "no_zero_weight"
    NO_NULL = "no_null"
    NO_PLAIN_JSON = "no_plain_json"
    ONLY_JSON_OBJECTS = "only_json_objects"

    @property
    def reason(self) -> str:
        """Why a row that breaks it is bad."""
        return _REASONS[self]


_REASONS = {
    ValueRule.NO_EMPTY_LIST: "the list is empty, and Milvus' import of Parquet files would store "
    "null; file_format auto or json keeps the empty list, allow_lossy accepts the null",
    ValueRule.NO_EMPTY_SPARSE: "the sparse vector is empty, which the target refuses",
    ValueRule.NO_ZERO_WEIGHT: "the sparse vector holds a zero, which the target does not keep",
    ValueRule.NO_NULL: "there is no value, and the field of the existing collection has a default, "
    "which Milvus would put in its place",
    ValueRule.NO_PLAIN_JSON: "the JSON is neither an object nor a list, and the target keeps no "
    "other",
    ValueRule.ONLY_JSON_OBJECTS: "the JSON is no object, and inserts into this version of Milvus "
    "take no other; with write_mode bulk_insert it does",
}


def _empty_list(column: pa.Array) -> Marks:
    return bool_array(pc.equal(pc.list_value_length(column), 0).fill_null(False))


def _empty_sparse(column: pa.Array) -> Marks:
    return bool_array(pc.equal(pc.binary_length(column), 0).fill_null(False))


def _zero_weight(column: pa.Array) -> Marks:
    pairs = pairs_of(column)
    marks = np.zeros(len(column), np.bool_)
    marks[np.repeat(np.arange(len(column)), pairs.counts)[pairs.values == 0]] = True
    return marks


def _null(column: pa.Array) -> Marks:
    return bool_array(column.is_null())


def _plain_json(column: pa.Array) -> Marks:
    return bool_array(pc.invert(pc.match_substring_regex(column, r"^\s*[{\[]")).fill_null(False))


def _no_json_object(column: pa.Array) -> Marks:
    return bool_array(pc.invert(pc.match_substring_regex(column, r"^\s*\{")).fill_null(False))


_BROKEN: dict[ValueRule, Callable[[pa.Array], Marks]] = {
    ValueRule.NO_EMPTY_LIST: _empty_list,
    ValueRule.NO_EMPTY_SPARSE: _empty_sparse,
    ValueRule.NO_ZERO_WEIGHT: _zero_weight,
    ValueRule.NO_NULL: _null,
    ValueRule.NO_PLAIN_JSON: _plain_json,
    ValueRule.ONLY_JSON_OBJECTS: _no_json_object,
}


def broken_rules(column: pa.Array, rules: tuple[ValueRule, ...]) -> dict[int, ValueRule]:
    """The rows whose values break a rule, and the first rule that each breaks."""
    broken: dict[int, ValueRule] = {}
    for rule in rules:
        for row in np.flatnonzero(_BROKEN[rule](column)):
            broken.setdefault(int(row), rule)
    return broken


def null_for_empty(column: pa.Array) -> pa.Array:
    """A column of lists with null in place of the empty ones."""
    empty = _empty_list(column)
    if not empty.any():
        return column
    return column.take(pa.array(np.arange(len(column)), mask=empty))
