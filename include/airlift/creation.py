"""What a migration makes on the target, for the report: before, and after it is done."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from airlift.datatypes import DataType
from airlift.longest_values import measured
from airlift.migration import Migration
from airlift.plan import CollectionPlan
from airlift.schema import CollectionSchema, Field
from airlift.steps.index import definition


class CreatedIndex(BaseModel):
    """An index that the server builds; the metric is "" for a scalar field."""

    model_config = ConfigDict(frozen=True)

    field: str
    index_type: str
    metric_type: str = ""
    params: dict[str, Any] = {}


class Creation(BaseModel):
    """A collection as it will be, or was, made on the target.

    Attributes:
        database: "" for the connection's own.
        collection: its schema. A `max_length` or `max_capacity` of 0 is not known yet: the rows
            tell, once all are read.
        cutover_alias: the alias that is moved to it once all is verified; "" for none.
    """

    model_config = ConfigDict(frozen=True)

    database: str = ""
    collection: CollectionSchema
    indexes: tuple[CreatedIndex, ...] = ()
    cutover_alias: str = ""


def creation_of(
    migration: Migration,
    plan: CollectionPlan,
    longest: list[tuple[dict[str, int], dict[str, int]]] | None = None,
) -> Creation:
    """What is made for a collection.

    Args:
        longest: bytes and items of the longest values of each chunk, once all are converted.
    """
    schema = plan.mapped.target if longest is None else measured(plan.mapped.target, longest)
    # The index of a field is the source's; what is built here stands in `indexes`.
    fields = tuple(field.model_copy(update={"index": None}) for field in schema.fields)
    return Creation(
        database=plan.mapped.database,
        collection=schema.model_copy(update={"fields": fields}),
        indexes=tuple(_indexes(migration, plan.mapped.target)),
        cutover_alias=plan.mapped.alias,
    )


def _indexes(migration: Migration, schema: CollectionSchema) -> list[CreatedIndex]:
    found = [(field, definition(migration, field)) for field in schema.fields]
    return [
        CreatedIndex(
            field=field.name,
            index_type=index.index_type,
            metric_type=field.metric,
            params=index.params,
        )
        for field, index in found
        if index
    ]


def type_text(field: Field) -> str:
    """A field's type for people, such as `FLOAT_VECTOR(128)` or `ARRAY<VARCHAR(256)>`."""
    inner = f"({field.max_length:,})" if field.max_length else ""
    if field.type is DataType.ARRAY:
        size = f", at most {field.max_capacity:,}" if field.max_capacity else ""
        return f"{field.type}<{field.element_type}{inner}>{size}"
    return f"{field.type}({field.dim:,})" if field.dim else f"{field.type}{inner}"
