"""The param `mapping`: what becomes of collections and fields; see docs/mapping.md."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from airlift.datatypes import DataType

KEY_PREFIX = "$meta."
"""Begins the name of a key of the dynamic field, where a field could stand."""


def is_key(name: str) -> bool:
    """Whether the name is of a key of the dynamic field."""
    return name.startswith(KEY_PREFIX) and name != KEY_PREFIX


class FieldMapping(BaseModel):
    """Edits one field, or makes one of a constant (`value`, without a `source`).

    `source` and `target` may be `$meta.<key>`: a key of the dynamic field.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str = ""
    target: str = ""
    type: DataType | None = None
    element_type: DataType | None = None
    max_length: int | None = Field(default=None, ge=1, le=65535)
    max_capacity: int | None = Field(default=None, ge=1, le=4096)
    nullable: bool | None = None
    default: Any = None
    partition_key: bool | None = None
    value: Any = None
    description: str | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> FieldMapping:
        if bool(self.source) == (self.value is not None):
            raise ValueError("give source (a field, or $meta.<key>) or value (a constant)")
        if not self.source and not (self.target and self.type):
            raise ValueError("a constant needs target and type beside value")
        if not self.source and (self.default is not None or self.nullable):
            raise ValueError("a constant stands in every row: leave out default and nullable")
        if self.source_key and not self.type:
            raise ValueError(f"{self.source}: say the type that the field gets")
        return self

    @property
    def source_key(self) -> str:
        """The key of the dynamic field that the values come from; empty for another origin."""
        return self.source.removeprefix(KEY_PREFIX) if is_key(self.source) else ""

    @property
    def target_key(self) -> str:
        """The key of the dynamic field that the values go to; empty for a field."""
        return self.target.removeprefix(KEY_PREFIX) if is_key(self.target) else ""


class CollectionMapping(BaseModel):
    """Edits one collection. Fields that are not listed come along unchanged."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    target: str = ""
    database: str = ""
    fields: tuple[FieldMapping, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    auto_id: bool = False
    keep_key_as: str = ""
    dynamic_field: bool | None = None
    shards: int | None = Field(default=None, ge=1, le=64)
    partitions: tuple[str, ...] | None = None
    num_partitions: int | None = Field(default=None, ge=1, le=4096)
    consistency_level: str | None = Field(
        default=None, pattern="^(Strong|Session|Bounded|Eventually)$"
    )
    metric_type: str | None = None
    filter: str = ""
    aliases: tuple[str, ...] | None = None
    transform: str = ""

    def takes(self, field: str) -> bool:
        """Whether a field of the source is moved, by `include` and `exclude`."""
        return field not in self.exclude and (not self.include or field in self.include)

    @model_validator(mode="after")
    def _one_choice(self) -> CollectionMapping:
        if self.include and self.exclude:
            raise ValueError("give include or exclude, not both")
        if self.keep_key_as and not self.auto_id:
            raise ValueError("keep_key_as keeps the old keys beside new ones: it needs auto_id")
        sources = [edit.source for edit in self.fields if edit.source]
        if twice := sorted({name for name in sources if sources.count(name) > 1}):
            raise ValueError(f"fields lists {twice} more than once")
        return self
