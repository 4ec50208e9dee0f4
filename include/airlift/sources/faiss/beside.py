"""What stands beside the index: ids in an `.npy`, and scalar fields."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from airlift.errors import AirliftError, Refused
from airlift.schema import Field
from airlift.sources.faiss.npy import NpyFile, as_int64, whole_numbers
from airlift.sources.faiss.params import FaissParams, OnMissingScalars
from airlift.sources.faiss.places import FileRef, Places, place_of
from airlift.sources.faiss.scalars import Scalars
from airlift.sources.faiss.vectors import Ids


class Beside:
    """Gives ids and scalar fields to the rows of the index.

    Args:
        params: which say what there is.
        found: the files, as `find` found them.
        takes: whether a scalar field is moved.
    """

    def __init__(
        self,
        params: FaissParams,
        places: Places,
        found: tuple[FileRef, ...],
        takes: Callable[[str], bool],
    ) -> None:
        refs = list(found)
        self._params = params
        self._ids: NpyFile | None = None
        if params.ids_url:
            ref = refs.pop(0)
            self._ids = whole_numbers(NpyFile(places.folder(ref.root), ref.path))
        self._scalars: Scalars | None = None
        if refs:
            folder, paths = places.folder(refs[0].root), [ref.path for ref in refs]
            self._scalars = Scalars(folder, paths, params.scalars_id_column, takes)

    @staticmethod
    def find(params: FaissParams, places: Places) -> tuple[FileRef, ...]:
        """The files: that of the ids first. Raises Refused."""
        found: list[FileRef] = []
        if params.ids_url:
            found += places.find(params.ids_url)
            if len(found) != 1:
                raise Refused([f"ids_url {params.ids_url} names {len(found)} files, expected one"])
        if params.scalars_url:
            arrays = _is_folder_of_arrays(places, params.scalars_url)
            url = params.scalars_url.rstrip("/") + ("/*.npy" if arrays else "")
            scalars = places.find(url)
            if len(scalars) > 1 and not arrays:
                raise Refused([f"scalars_url {url} names {len(scalars)} files, expected one"])
            found += scalars
        return tuple(found)

    @property
    def fields(self) -> tuple[Field, ...]:
        """The scalar fields; nullable where values are missing."""
        if self._scalars is None:
            return ()
        if self._params.on_missing_scalars is OnMissingScalars.NULL:
            return tuple(
                field.model_copy(update={"nullable": True}) for field in self._scalars.fields
            )
        return self._scalars.fields

    @property
    def by_number(self) -> str:
        """What finds its rows by the order in which vectors were added: the params; or ""."""
        by_place = self._scalars is not None and not self._params.scalars_id_column
        named = ["ids_url"] * (self._ids is not None) + ["scalars_url"] * by_place
        return " and ".join(named)

    @property
    def joins(self) -> bool:
        """Whether scalars are found by id."""
        return self._scalars is not None and bool(self._params.scalars_id_column)

    @property
    def missing_fails(self) -> bool:
        """Whether a vector without scalars stops the migration."""
        return self._params.on_missing_scalars is OnMissingScalars.FAIL

    @property
    def has_ids(self) -> bool:
        """Whether ids come from `ids_url`."""
        return self._ids is not None

    @property
    def joined_rows(self) -> int:
        """Rows of the scalars."""
        return self._scalars.rows if self._scalars else 0

    def must_have(self, rows: int) -> None:
        """Raises Refused when ids or scalars are not one for each of the index's rows."""
        reasons = []
        if self._ids is not None and self._ids.rows != rows:
            reasons.append(
                f"{self._ids.address} holds {self._ids.rows:,} ids, the index {rows:,} rows"
            )
        if self._scalars is not None and not self.joins and self._scalars.rows != rows:
            reasons.append(
                f"{self._scalars.address} holds {self._scalars.rows:,} rows, the index {rows:,}; "
                "join them by id with scalars_id_column, or give one row for each vector"
            )
        if reasons:
            raise Refused(reasons)

    def keys(self, numbers: Ids, ids: Ids) -> Ids:
        """The primary keys of rows."""
        if self._ids is None:
            return ids
        return as_int64(self._ids.take(numbers), self._ids.address)

    def missing(self, keys: Ids) -> Ids:
        """The keys that the scalars don't have."""
        if self._scalars is None or not self.joins:
            return keys[:0]
        return keys[self._scalars.places(keys) < 0]

    def columns(self, numbers: Ids, keys: Ids) -> tuple[list[pa.Array], pa.Array]:
        """The scalar fields of rows, and why a row is a bad one; null for the good.

        Raises:
            AirliftError: a row has no scalar fields and must.
        """
        if self._scalars is None:
            return [], pa.nulls(len(keys), pa.string())
        places = self._scalars.places(keys) if self.joins else numbers
        if self.missing_fails and len(places):
            lost = np.flatnonzero(places < 0)
            if len(lost):
                raise AirliftError(f"{self._scalars.address} has no row for the id {keys[lost[0]]}")
        *columns, reasons = self._scalars.take(places)
        return columns, reasons

    def close(self) -> None:
        """Removes temporary files."""
        if self._scalars is not None:
            self._scalars.close()


def _is_folder_of_arrays(places: Places, url: str) -> bool:
    place = place_of(url)
    folder = places.original(place.root)
    if folder.exists(place.path):
        return False
    return any(name.endswith(".npy") for name in folder.list(place.path))
