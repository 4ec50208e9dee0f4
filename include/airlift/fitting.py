"""Fits a mapped collection to what the target can hold, without changing a value.

Two things are done: a vector type that the target has not becomes a wider one, and a field without
a value in some rows goes into the dynamic field (where a missing key is what null is elsewhere).
"""

from __future__ import annotations

from airlift.datatypes import TYPES
from airlift.errors import Refused
from airlift.field_mapping import with_dynamic_last
from airlift.mapping import MappedCollection
from airlift.mapping_params import CollectionMapping
from airlift.milvus.capabilities import Capabilities
from airlift.schema import Field


def fit_collections(
    mapped: list[MappedCollection],
    mapping: dict[str, CollectionMapping],
    can: Capabilities,
    target_name: str,
) -> list[MappedCollection]:
    """Fits every collection.

    Args:
        mapping: the user's, by source collection.
        target_name: what the target says it is, for messages.

    Raises:
        Refused: with every reason why it can't be done without changing values.
    """
    reasons: list[str] = []
    fitted = []
    for one in mapped:
        asked = mapping.get(one.source, CollectionMapping())
        fitted.append(_Fitting(one, asked, can, target_name, reasons).fitted())
    if reasons:
        raise Refused(reasons)
    return fitted


class _Fitting:
    """One collection; appends to `reasons`."""

    def __init__(
        self,
        mapped: MappedCollection,
        asked: CollectionMapping,
        can: Capabilities,
        target_name: str,
        reasons: list[str],
    ) -> None:
        self._mapped = mapped
        self._asked = asked
        self._can = can
        self._target = target_name
        self._reasons = reasons
        self._notes: list[str] = []
        self._into_dynamic: dict[str, Field] = {}

    def fitted(self) -> MappedCollection:
        """The collection as the target can hold it."""
        target = self._mapped.target
        self._fit_functions()
        source_of = {name: source for source, name in self._mapped.fields.items()}
        fields = []
        for field in target.fields:
            fit = self._fit_options(self._fit_type(field))
            if self._fits_null(fit):
                fields.append(fit)
            else:
                self._into_dynamic[source_of[field.name]] = fit
        if self._into_dynamic:
            names = sorted(field.name for field in self._into_dynamic.values())
            self._notes.append(
                f"collection {self._mapped.source!r}: the fields {names} have no value in some "
                f"rows, and {self._target} has no nullable fields: they are kept in the dynamic "
                "field, where filters find them by the same names"
            )
        return self._mapped.model_copy(
            update={
                "target": target.model_copy(
                    update={
                        "fields": tuple(with_dynamic_last(fields, bool(self._into_dynamic))),
                        "dynamic_field": self._fit_dynamic(fields),
                    }
                ),
                "fields": {
                    source: name
                    for source, name in self._mapped.fields.items()
                    if source not in self._into_dynamic
                },
                "into_dynamic": {**self._mapped.into_dynamic, **self._into_dynamic},
                "notes": (*self._mapped.notes, *self._notes),
            }
        )

    def _fit_dynamic(self, fields: list[Field]) -> bool:
        """Whether the target gets a dynamic field; reasons tell when it needs one in vain."""
        needed = bool(self._into_dynamic) or any(field.is_dynamic for field in fields)
        if needed and not self._can.dynamic_field:
            self._reasons.append(
                f"collection {self._mapped.source!r}: rows have values that need the dynamic "
                f"field, which {self._target} has not; leave them out with mapping exclude"
            )
        wanted = bool(self._mapped.target.dynamic_field)
        if wanted and not needed and not self._can.dynamic_field:
            self._notes.append(
                f"collection {self._mapped.source!r}: {self._target} has no dynamic field: later "
                "inserts can't bring values beyond its fields"
            )
        return needed or (wanted and self._can.dynamic_field)

    def _fit_functions(self) -> None:
        for one in self._mapped.target.functions:
            if one.type not in self._can.functions:
                self._reasons.append(
                    f"collection {self._mapped.source!r}: {self._target} has no {one.type} "
                    f"functions; leave out what {one.name!r} makes: exclude {list(one.outputs)}"
                )

    def _fit_type(self, field: Field) -> Field:
        """The field with a type that the target has, if there is one."""
        if field.type in self._can.data_types or field.is_function_output:
            return field
        # What the mapping asks for is not carried as something else.
        was_asked = any(
            name == field.name and self._mapped.types.get(source) is not field.type
            for source, name in self._mapped.fields.items()
        )
        wider = None if was_asked else TYPES[field.type].wider
        what = f"collection {self._mapped.source!r}, field {field.name!r}"
        if wider is None or wider not in self._can.data_types:
            self._reasons.append(
                f"{what}: {self._target} has no {field.type} fields; "
                + ("give it another type" if was_asked else "leave it out with mapping exclude")
            )
            return field
        self._notes.append(
            f"{what}: {self._target} has no {field.type}; carried as {wider}, with the same values"
        )
        return field.model_copy(update={"type": wider})

    def _fit_options(self, field: Field) -> Field:
        """The field with what the target knows beside its type."""
        what = f"collection {self._mapped.source!r}, field {field.name!r}"
        if field.partition_key and not self._can.partition_keys:
            self._reasons.append(
                f"{what}: {self._target} has no partition keys; say partition_key false"
            )
        known = {key: value for key, value in field.params.items() if key in self._can.field_params}
        update: dict[str, object] = {"params": known}
        if lost := sorted(field.params.keys() - known):
            self._notes.append(f"{what}: {self._target} does not know {lost}: left out")
        if field.clustering_key and not self._can.clustering_keys:
            update["clustering_key"] = False
            self._notes.append(
                f"{what}: {self._target} has no clustering keys: it is a plain field"
            )
        index = field.index["index_type"] if field.index and not field.is_vector else ""
        if index and index not in self._can.scalar_indexes:
            update["index"] = None
            self._notes.append(f"{what}: {self._target} has no {index} index: it gets none")
        if field.metric_type and field.metric_type not in self._can.metrics:
            self._reasons.append(
                f"{what}: {self._target} has no metric {field.metric_type}; choose another with "
                "mapping metric_type (for vectors of length 1, IP orders as COSINE does)"
            )
        if field.default is not None and not self._can.defaults:
            update["default"] = None
            self._notes.append(
                f"{what}: {self._target} has no default values: rows that are moved now get "
                f"{field.default!r} where they have no value, later rows must bring one"
            )
        return field.model_copy(update=update)

    def _fits_null(self, field: Field) -> bool:
        """Whether the field can stay a field; reasons tell when it can't go anywhere."""
        if not field.nullable:
            return True
        what = f"collection {self._mapped.source!r}, field {field.name!r}"
        if field.is_vector:
            if not self._can.nullable_vectors:
                self._reasons.append(
                    f"{what}: {self._target} has no vector fields without a value; set such rows "
                    "aside, or mend them at the source"
                )
            return True
        if self._can.nullable:
            return True
        if self._asked.dynamic_field is False:
            self._reasons.append(
                f"{what} has no value in some rows; {self._target} has no nullable fields, and "
                "mapping turns the dynamic field off: allow it, exclude the field, or say "
                "nullable false to have such rows refused"
            )
            return True
        return False
