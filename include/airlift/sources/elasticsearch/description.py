"""What is known of a collection's columns, while its mappings and documents are looked at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from airlift.sources.elasticsearch.columns import Column, whole_fields
from airlift.sources.elasticsearch.documents import Documents
from airlift.sources.elasticsearch.nested_rows import NestedRows


@dataclass
class Description:
    """A collection's columns as far as they are known.

    Attributes:
        known: top-level fields that the mapping lists and that are no others.
        others: those that it lists and that have no column.
        is_open: whether documents may hold fields that the mapping does not list.
        flat: objects that have no subobjects; see `Documents`.
        constants: values that stand in the mappings; see `Documents`.
        partly: fields that `_source` keeps in some of the indices only.
        explode: as of the params.
    """

    columns: list[Column] = field(default_factory=list)
    known: set[str] = field(default_factory=set)
    others: list[str] = field(default_factory=list)
    is_open: bool = False
    flat: set[str] = field(default_factory=set)
    constants: dict[str, dict[str, Any]] = field(default_factory=dict)
    partly: set[str] = field(default_factory=set)
    explode: str = ""
    notes: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    def documents(self) -> Documents:
        """What reads the keys of the collection's documents."""
        return Documents(self.known, self.flat, whole_fields(self.columns), self.constants)

    def rows(self) -> NestedRows | None:
        """What makes rows of the collection's documents; None where each is one."""
        if not self.explode:
            return None
        return NestedRows(self.explode, self.known, self.flat, whole_fields(self.columns))

    def is_below(self, name: str) -> bool:
        """Whether a field lies in the nested objects of which rows are made."""
        return bool(self.explode) and name.startswith(f"{self.explode}.")
