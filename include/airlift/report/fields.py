"""The table of a collection's fields in `report.html`: from where to where, and as what."""

from __future__ import annotations

from dataclasses import dataclass

from airlift.creation import Creation, type_text
from airlift.report.collection import CollectionReport
from airlift.report.style import value_text
from airlift.schema import Field


@dataclass(frozen=True)
class FieldRow:
    """A field: "" at the source for one that is made on the way.

    Attributes:
        changed: what is not as at the source: renamed, another type.
        roles: what else it is: primary key, nullable, ….
        index: what is built on it.
    """

    source: str
    source_type: str
    target: str
    target_type: str
    changed: list[str]
    roles: list[str]
    index: str


def field_rows(report: CollectionReport) -> list[FieldRow]:
    """The fields in the target's order; those that are not fields there come last."""
    created = report.created
    if created is None:
        return [_row(report, source, target, None, "") for source, target in report.fields.items()]
    source_of = {target: source for source, target in report.fields.items()}
    indexes = {one.field: _index_text(created, one.field) for one in created.indexes}
    made = [
        _row(report, source_of.get(field.name, ""), field.name, field, indexes.get(field.name, ""))
        for field in created.collection.fields
    ]
    names = {field.name for field in created.collection.fields}
    rest = [
        _row(report, source, target, None, "")
        for source, target in report.fields.items()
        if target not in names
    ]
    return made + rest


def _row(
    report: CollectionReport, source: str, target: str, field: Field | None, index: str
) -> FieldRow:
    source_type = report.types.get(source, "")
    changed = ["renamed"] if source and source != target else []
    if field and source_type and source_type != field.type.value:
        changed.append("another type")
    return FieldRow(
        source=source,
        source_type=source_type,
        target=target,
        target_type=type_text(field) if field else "",
        changed=changed,
        roles=_roles(field) if field else [],
        index=index,
    )


def _roles(field: Field) -> list[str]:
    told = {
        "primary key": field.primary_key,
        "made by the target": field.auto_id or field.is_function_output,
        "partition key": field.partition_key,
        "clustering key": field.clustering_key,
        "nullable": field.nullable,
        "length told by the rows": field.holds_text and not field.max_length,
    }
    roles = [name for name, is_so in told.items() if is_so]
    if field.default is not None:
        roles.append(f"default {value_text(field.default)}")
    return roles


def _index_text(created: Creation, field: str) -> str:
    index = next(one for one in created.indexes if one.field == field)
    params = ", ".join(f"{name} {value_text(value)}" for name, value in index.params.items())
    parts = [index.index_type, index.metric_type, params]
    return " · ".join(part for part in parts if part)
