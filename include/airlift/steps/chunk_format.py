"""Chooses the format of a collection's chunk files, and says what they can't carry."""

from __future__ import annotations

from typing import Any

from airlift.errors import Refused
from airlift.formats import CHOICES, FORMATS
from airlift.formats.base import ChunkFormat
from airlift.mapping import MappedCollection
from airlift.milvus.capabilities import Capabilities
from airlift.params import FileFormat, MigrationParams
from airlift.schema import CollectionSchema
from airlift.targets.ways import IMPORT_WAYS
from airlift.value_rules import ValueRule


def as_it_is_there(schema: CollectionSchema, described: dict[str, Any]) -> CollectionSchema:
    """The fields as an existing collection has them: nullable or not, and their defaults.

    Args:
        described: as pymilvus describes the collection.
    """
    there = {field["name"]: field for field in described["fields"]}
    fields = []
    for field in schema.fields:
        known = there.get(field.name, {})
        default = field.default if field.default is not None else known.get("default_value")
        nullable = field.nullable or bool(known.get("nullable"))
        fields.append(field.model_copy(update={"nullable": nullable, "default": default}))
    return schema.model_copy(update={"fields": tuple(fields)})


def choose_format(
    params: MigrationParams,
    can: Capabilities,
    schema: CollectionSchema,
    way: str,
    leaves_out: bool,
) -> tuple[str, list[str]]:
    """The chunk files' format.

    Args:
        can: what the target can do.
        schema: of the target collection, as it will be or is there.
        way: how the rows get into the target: files that it does not import lose nothing.
        leaves_out: whether rows may stay out that the target holds already.

    Returns:
        A key of `airlift.formats.FORMATS`, and what the user should know of the choice.

    Raises:
        Refused: the format that was asked for can't hold the rows.
    """
    if params.file_format is not FileFormat.AUTO:
        asked = FORMATS[params.file_format.value]
        unfit = _unfit(asked, can, schema, way)
        if leaves_out and asked.needs_row_count:
            unfit = (
                f"{asked.name} files need the number of rows before the first one is written, and "
                "it is not known how many are on the target already and are left out"
            )
        if unfit:
            raise Refused([f"collection {schema.name!r}: {unfit}; use file_format auto"])
        return asked.name, []
    rows_may_go = params.sets_rows_aside or leaves_out
    return _best_format(can, schema, way, rows_may_go)


def _best_format(
    can: Capabilities, schema: CollectionSchema, way: str, rows_may_go: bool
) -> tuple[str, list[str]]:
    """The fastest format that loses nothing; see `choose_format`.

    Args:
        rows_may_go: whether a chunk may get fewer rows than the source has.
    """
    fit = [
        choice
        for choice in CHOICES
        if not _unfit(choice, can, schema, way) and not (rows_may_go and choice.needs_row_count)
    ]
    is_import = way in IMPORT_WAYS
    exact = [choice for choice in fit if not is_import or not choice.empty_becomes_null(schema)]
    if not exact:
        lost = fit[0].empty_becomes_null(schema)
        raise Refused(
            [
                f"collection {schema.name!r}: no format of chunk files carries every value of "
                f"{lost} into the target; use write_mode insert"
            ]
        )
    notes = []
    if exact[0] is not fit[0]:
        notes.append(
            f"collection {schema.name!r}: the format of its chunk files is {exact[0].name}, "
            f"because Milvus' import of {fit[0].name} files stores null for an empty list in "
            f"{fit[0].empty_becomes_null(schema)}. Such files are larger, and are imported more "
            f"slowly: where no list is empty, file_format {fit[0].name} is faster"
        )
    return exact[0].name, notes


def _unfit(
    chunk_format: type[ChunkFormat], can: Capabilities, schema: CollectionSchema, way: str
) -> str | None:
    """Why a format can't hold such rows, or the target would not read them as they are."""
    rounded = [
        field.name
        for field in schema.written
        if (chunk_format.name, field.element_type) in can.rounded_items
    ]
    if way in IMPORT_WAYS and rounded:
        return f"the target's import of {chunk_format.name} files rounds the items of {rounded}"
    return chunk_format.unfit(schema)


def with_value_rules(
    mapped: MappedCollection,
    schema: CollectionSchema,
    way: str,
    file_format: str,
    can: Capabilities,
    params: MigrationParams,
) -> MappedCollection:
    """The collection with the rules for values that its files or its target can't carry.

    Args:
        schema: of the target collection, as it will be or is there.
    """
    rules: dict[str, tuple[ValueRule, ...]] = {}
    for field, there in zip(mapped.target.fields, schema.fields, strict=True):
        if field.nullable and field.default is None and there.default is not None:
            rules[field.name] = (ValueRule.NO_NULL,)
    for limit in can.value_limits:
        if not limit.ways or way in limit.ways:
            for field in schema.written:
                if field.type is limit.type:
                    rules[field.name] = (*rules.get(field.name, ()), limit.rule)
    what = f"collection {mapped.source!r}"
    notes = []
    lost = FORMATS[file_format].empty_becomes_null(schema) if way in IMPORT_WAYS else []
    if lost and params.allow_lossy:
        notes.append(
            f"{what}: an empty list in {lost} arrives as null, as Milvus' import of Parquet files "
            "stores it (allow_lossy); file_format auto or json keeps it"
        )
    elif lost:
        rules |= {name: (*rules.get(name, ()), ValueRule.NO_EMPTY_LIST) for name in lost}
        notes.append(
            f"{what}: a row with an empty list in {lost} is a bad row, because Milvus' import of "
            "Parquet files would store null; file_format auto or json keeps the list"
        )
    return mapped.model_copy(
        update={
            "value_rules": rules,
            "null_for_empty": tuple(lost) if params.allow_lossy else (),
            "notes": (*mapped.notes, *notes),
        }
    )
