"""Fits a mapped collection to what the target can hold, without changing a value.

Two things are done: a vector type that the target has not becomes a wider one, and a field without
a value in some rows goes into the dynamic field (where a missing key is what null is elsewhere).
"""

from __future__ import annotations

from airlift.datatypes import TYPES, DataType
from airlift.errors import Refused
from airlift.mapping import MappedCollection
from airlift.milvus.capabilities import Capabilities
from airlift.params import CollectionMapping
from airlift.schema import DYNAMIC_FIELD, Field


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
        self._into_dynamic: dict[str, str] = {}

    def fitted(self) -> MappedCollection:
        """The collection as the target can hold it."""
        target = self._mapped.target
        self._count_vectors()
        source_of = {name: source for source, name in self._mapped.fields.items()}
        fields = []
        for field in target.fields:
            fit = self._fit_type(field)
            if self._fits_null(fit):
                fields.append(fit)
            else:
                self._into_dynamic[source_of[field.name]] = field.name
        if self._into_dynamic:
            names = sorted(self._into_dynamic.values())
            self._notes.append(
                f"collection {self._mapped.source!r}: the fields {names} have no value in some "
                f"rows, and {self._target} has no nullable fields: they are kept in the dynamic "
                "field, where filters find them by the same names"
            )
            if not any(field.is_dynamic for field in fields):
                fields.append(Field(name=DYNAMIC_FIELD, type=DataType.JSON))
        return self._mapped.model_copy(
            update={
                "target": target.model_copy(
                    update={
                        "fields": tuple(fields),
                        "dynamic_field": target.dynamic_field or bool(self._into_dynamic),
                    }
                ),
                "fields": {
                    source: name
                    for source, name in self._mapped.fields.items()
                    if source not in self._into_dynamic
                },
                "into_dynamic": self._into_dynamic,
                "notes": (*self._mapped.notes, *self._notes),
            }
        )

    def _count_vectors(self) -> None:
        names = [field.name for field in self._mapped.target.vectors]
        if len(names) > self._can.most_vectors:
            self._reasons.append(
                f"collection {self._mapped.source!r} has {len(names)} vector fields {names}, "
                f"{self._target} holds at most {self._can.most_vectors} in a collection; choose "
                "with mapping exclude, and move the others with another migration"
            )

    def _fit_type(self, field: Field) -> Field:
        """The field with a type that the target has, if there is one."""
        wider = TYPES[field.type].wider
        if field.type in self._can.data_types:
            return field
        what = f"collection {self._mapped.source!r}, field {field.name!r}"
        if wider is None or wider not in self._can.data_types:
            self._reasons.append(
                f"{what}: {self._target} has no {field.type} fields; leave it out with mapping "
                "exclude"
            )
            return field
        self._notes.append(
            f"{what}: {self._target} has no {field.type}; carried as {wider}, with the same values"
        )
        return field.model_copy(update={"type": wider})

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
