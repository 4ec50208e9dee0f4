"""Turns a source's record batches into the target's: choose, rename, retype, fill, make `$meta`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

import orjson
import pyarrow as pa

from airlift.datatypes import DataType
from airlift.errors import AirliftError
from airlift.json_text import canonical, canonical_column
from airlift.json_values import column_of
from airlift.mapping import MappedCollection
from airlift.mapping_params import KEY_PREFIX, is_key
from airlift.retyping import RETYPES
from airlift.schema import DYNAMIC_FIELD, Field
from airlift.user_transforms import UserTransform
from airlift.value_rules import broken_rules, null_for_empty

Unfit = dict[int, str]
"""Rows that can't be taken, and why."""

_SHOWN = 80
_NO_VALUES = "{}"


class _Rows:
    """A batch of the source, its dynamic field as dicts, and what is found to be unfit."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        self.batch = batch
        self.unfit: Unfit = {}

    def tell(self, row: int, reason: str) -> None:
        """Says why a row can't be taken; the first reason is kept."""
        self.unfit.setdefault(row, reason)

    @cached_property
    def dynamic(self) -> list[dict[str, Any]]:
        """The dynamic values of each row; keys that become fields are taken out of it."""
        if DYNAMIC_FIELD not in self.batch.schema.names:
            return [{} for _ in range(self.batch.num_rows)]
        texts = self.json(DYNAMIC_FIELD, self.batch.column(DYNAMIC_FIELD)).to_pylist()
        return [
            {} if row in self.unfit else self._object(row, text) for row, text in enumerate(texts)
        ]

    def _object(self, row: int, text: str | None) -> dict[str, Any]:
        found = orjson.loads(text) if text else {}
        if isinstance(found, dict):
            return found
        self.tell(row, f"field {DYNAMIC_FIELD!r}: {_shown(text)} is no JSON object")
        return {}

    def json(self, source: str, given: pa.Array) -> pa.Array:
        """A column of JSON in canonical form; says which values JSON can't hold exactly."""
        texts, reasons = canonical_column(given)
        for row, reason in reasons.items():
            self.tell(row, f"field {source!r}: the value {_shown(texts[row].as_py())} {reason}")
        return texts

    def take(self, key: str) -> list[Any]:
        """Takes a key out of every row's dynamic values; None where a row has none."""
        return [values.pop(key, None) for values in self.dynamic]

    def tell_lost(self, source: str, field: Field, given: Iterable[Any], made: pa.Array) -> None:
        """Says which values have become null because they don't fit the field's type."""
        kind = f"{field.type} of {field.element_type}" if field.element_type else field.type
        nulls = made.is_null().to_pylist()
        for row, (value, is_null) in enumerate(zip(given, nulls, strict=True)):
            if is_null and value is not None:
                self.tell(row, f"field {source!r}: the value {_shown(value)} does not fit {kind}")


class Transform:
    """Applies a collection's mapping to record batches.

    Args:
        mapped: which source field becomes which target field.
    """

    def __init__(self, mapped: MappedCollection) -> None:
        self._mapped = mapped
        self.schema = mapped.target.arrow
        written = {field.name: field for field in mapped.target.written}
        self._own_names = {field.name for field in mapped.target.fields}
        self._keeps_dynamic = DYNAMIC_FIELD in mapped.fields
        self._makers = [
            (source, written[name], self._maker(source, written[name]))
            for source, name in mapped.fields.items()
            if not written[name].is_dynamic
        ]
        self._into_dynamic = [
            (source, field, self._maker(source, field))
            for source, field in mapped.into_dynamic.items()
        ]
        self._constants = {
            name: pa.scalar(value, written[name].arrow.type)
            for name, value in mapped.constants.items()
        }
        self._user = (
            UserTransform(mapped.source, mapped.transform, mapped.key) if mapped.transform else None
        )

    def apply(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, Unfit]:
        """The batch with the target's columns, in the target's order and types.

        Returns:
            All rows, and those among them that hold a value which does not fit: they can't be
            taken.

        Raises:
            AirliftError: the source gave columns of other types than it said.
        """
        rows = _Rows(self._user.apply(batch) if self._user else batch)
        columns = {field.name: make(rows) for _, field, make in self._makers}
        columns |= {name: pa.repeat(one, batch.num_rows) for name, one in self._constants.items()}
        if DYNAMIC_FIELD in self._own_names:
            columns[DYNAMIC_FIELD] = self._dynamic(rows)
        for name, rules in self._mapped.value_rules.items():
            for row, rule in broken_rules(columns[name], rules).items():
                rows.tell(row, f"field {name!r}: {rule.reason}")
        columns |= {name: null_for_empty(columns[name]) for name in self._mapped.null_for_empty}
        arrays = [columns[name] for name in self.schema.names]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema), rows.unfit

    def _maker(self, source: str, field: Field) -> Callable[[_Rows], pa.Array]:
        """What makes the column of a field; unfit values are told."""
        make = self._promoted(source, field) if is_key(source) else self._converted(source, field)
        default = self._mapped.defaults.get(field.name)
        if default is None:
            return make
        filling = pa.scalar(default, field.arrow.type)
        return lambda rows: make(rows).fill_null(filling)

    def _promoted(self, source: str, field: Field) -> Callable[[_Rows], pa.Array]:
        key = source.removeprefix(KEY_PREFIX)

        def make(rows: _Rows) -> pa.Array:
            given = rows.take(key)
            made = column_of(given, field)
            rows.tell_lost(source, field, given, made)
            return made

        return make

    def _converted(self, source: str, field: Field) -> Callable[[_Rows], pa.Array]:
        if field.type is DataType.JSON and self._mapped.types[source] is DataType.JSON:
            return lambda rows: rows.json(source, rows.batch.column(source))
        convert = self._converter(source, field)

        def make(rows: _Rows) -> pa.Array:
            given = rows.batch.column(source)
            made = convert(given, field)
            if made is not given and made.null_count != given.null_count:
                rows.tell_lost(source, field, given.to_pylist(), made)
            return made

        return make

    def _converter(self, source: str, field: Field) -> Callable[[pa.Array, Field], pa.Array]:
        before = self._mapped.types[source]
        if before is not field.type:
            return RETYPES[before, field.type].convert
        kind = field.arrow.type
        return lambda column, _: self._as(source, column, kind)

    def _as(self, source: str, column: pa.Array, kind: pa.DataType) -> pa.Array:
        """The column in the Arrow type that its Milvus type has here."""
        if column.type == kind:
            return column
        try:
            return column.cast(kind)
        except pa.ArrowInvalid as error:
            raise AirliftError(
                f"collection {self._mapped.source!r}: a value of the field {source!r} does not fit "
                f"{kind}: {error}"
            ) from error

    def _dynamic(self, rows: _Rows) -> pa.Array:
        """The dynamic field: what the source has in its own, and the fields that go into it."""
        added = [
            (source, field, make(rows).to_pylist()) for source, field, make in self._into_dynamic
        ]
        values = rows.dynamic if self._keeps_dynamic else [{} for _ in range(rows.batch.num_rows)]
        names = self._own_names | {field.name for _, field, _ in added}
        for at, row in enumerate(values):
            if not names.isdisjoint(row):
                rows.tell(
                    at,
                    f"field {DYNAMIC_FIELD!r}: it has values named {sorted(names & row.keys())}, "
                    "and fields of the target have these names; give the fields other target names "
                    "in mapping",
                )
        for source, field, column in added:
            for at, value in enumerate(column):
                if value is None or (field.type is DataType.JSON and at in rows.unfit):
                    continue
                if _is_no_json(value):
                    rows.tell(
                        at,
                        f"field {source!r}: it goes into the dynamic field, which is JSON and "
                        f"can't hold {_shown(value)}",
                    )
                    continue
                values[at][field.name] = (
                    orjson.loads(value) if field.type is DataType.JSON else value
                )
        return pa.array([_dynamic_text(rows, *row) for row in enumerate(values)], pa.string())


def _dynamic_text(rows: _Rows, at: int, values: dict[str, Any]) -> str:
    try:
        return canonical(values)
    except ValueError as error:  # a value of JSON is one level deeper here
        rows.tell(at, f"field {DYNAMIC_FIELD!r}: {error}")
        return _NO_VALUES


def _is_no_json(value: Any) -> bool:
    items = value if isinstance(value, list) else [value]
    return any(isinstance(item, float) and not math.isfinite(item) for item in items)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
