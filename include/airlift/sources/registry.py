"""Finds sources and their params by name, through entry points.

Two groups, so that a DAG file can read a path's params without importing the source itself:
`airlift.sources` (the class) and `airlift.params` (the pydantic model).
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from airlift.errors import AirliftError

if TYPE_CHECKING:
    from airlift.params import MigrationParams
    from airlift.sources.base import Source


def source_class(name: str) -> type[Source]:
    """The source of that name. Raises AirliftError when no distribution declares it."""
    found: type[Source] = _load("airlift.sources", name)
    return found


def params_class(name: str) -> type[MigrationParams]:
    """The params of that source. Raises AirliftError when no distribution declares them."""
    found: type[MigrationParams] = _load("airlift.params", name)
    return found


def sources() -> set[str]:
    """The names of all sources whose params are declared."""
    return {entry.name for entry in entry_points(group="airlift.params")}


@cache
def _load(group: str, name: str) -> Any:
    for entry in entry_points(group=group):
        if entry.name == name:
            return entry.load()
    raise AirliftError(
        f"no source named {name!r} is installed: run `make env`, or install the distribution that "
        f"declares it in the entry-point group {group}"
    )
