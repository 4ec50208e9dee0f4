"""Functions of the user that change a source's rows before the mapping is applied.

A distribution of the user's own declares them in the entry-point group `airlift.transforms`. A
function takes a record batch and gives one with the same columns and rows; values may differ, but
for those of the primary key.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points

import pyarrow as pa

from airlift.errors import AirliftError

GROUP = "airlift.transforms"

Function = Callable[[pa.RecordBatch], pa.RecordBatch]


def found(name: str) -> EntryPoint:
    """The entry point of that name. Raises AirliftError when no distribution declares it."""
    installed = entry_points(group=GROUP)
    if name not in installed.names:
        raise AirliftError(
            f"no transform named {name!r} is installed; there are {sorted(installed.names)}; "
            f"install the distribution that declares it in the entry-point group {GROUP}, in "
            "every worker"
        )
    return installed[name]


def loaded(name: str) -> Function:
    """The function of that name. Raises AirliftError when there is none, or it can't be loaded."""
    entry = found(name)
    try:
        function: Function = entry.load()
    except Exception as error:
        raise AirliftError(
            f"the transform {name!r} ({entry.value}) can't be loaded: {error}"
        ) from (error)
    if not callable(function):
        raise AirliftError(f"the transform {name!r} ({entry.value}) is no function")
    return function


def version_of(name: str) -> str:
    """Name and version of the distribution that declares it."""
    distribution = found(name).dist
    return f"{distribution.name} {distribution.version}" if distribution else "unknown"


class UserTransform:
    """Applies one function, and sees that no row comes or goes unnoticed.

    Args:
        collection: the source collection's name, for messages.
        name: the function's.
        key: the field of the primary key.
    """

    def __init__(self, collection: str, name: str, key: str) -> None:
        self._what = f"collection {collection!r}: the transform {name!r}"
        self._function = loaded(name)
        self._key = key

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch as the function has changed it.

        Raises:
            AirliftError: it failed, or did not give the same columns, rows and keys.
        """
        try:
            made = self._function(batch)
        except Exception as error:
            raise AirliftError(f"{self._what} failed: {type(error).__name__}: {error}") from error
        if not isinstance(made, pa.RecordBatch):
            raise AirliftError(
                f"{self._what} must give a pyarrow.RecordBatch, it gave a {type(made).__name__}"
            )
        if not made.schema.equals(batch.schema):
            raise AirliftError(
                f"{self._what} must keep the columns: {_told(batch)} became {_told(made)}"
            )
        if made.num_rows != batch.num_rows:
            raise AirliftError(
                f"{self._what} must keep the rows: {batch.num_rows:,} became {made.num_rows:,}; "
                "leave rows out at the source"
            )
        if self._key in batch.schema.names and not made.column(self._key).equals(
            batch.column(self._key)
        ):
            raise AirliftError(
                f"{self._what} must keep the rows in order and the primary key {self._key!r} as it "
                "is: it has changed"
            )
        return made


def _told(batch: pa.RecordBatch) -> str:
    return "{" + ", ".join(f"{field.name}: {field.type}" for field in batch.schema) + "}"
