"""What stands beside the index: ids in an `.npy`, and scalar fields."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from airlift.datatypes import DataType
from airlift.errors import AirliftError, Refused
from airlift.fixed_width import int64_array
from airlift.schema import Field
from airlift.sources.faiss.npy import NpyFile, as_int64, ids_file, texts
from airlift.sources.faiss.params import FaissParams, OnMissingScalars
from airlift.sources.faiss.places import FileRef, Places, place_of
from airlift.sources.faiss.scalars import Scalars
from airlift.sources.faiss.vectors import Ids
from airlift.sources.stray_files import is_stray

_KEY_TYPES = {
    DataType.VARCHAR: DataType.VARCHAR,
    **dict.fromkeys(
        (DataType.INT8, DataType.INT16, DataType.INT32, DataType.INT64), DataType.INT64
    ),
}


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
            self._ids = ids_file(NpyFile(places.folder(ref.root), ref.path))
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
            url = params.scalars_url
            if _is_folder_of_arrays(places, url):
                place = place_of(url)
                url = f"{place.root.rstrip('/')}/{place.path}/*.npy"
            scalars = places.find(url)
            roots = sorted({ref.root for ref in scalars})
            if len(roots) > 1:
                raise Refused([f"scalars_url {url} names files in {roots}; put them into one"])
            found += scalars
        return tuple(found)

    @property
    def fields(self) -> tuple[Field, ...]:
        """The scalar fields, without the one that is the key; nullable where values are missing."""
        may_be_null = self._params.on_missing_scalars is OnMissingScalars.NULL
        update = {"nullable": True} if may_be_null else {}
        return tuple(
            field.model_copy(update=update)
            for field in self._all_fields
            if field.name != self._params.primary_key
        )

    @property
    def _all_fields(self) -> tuple[Field, ...]:
        return self._scalars.fields if self._scalars else ()

    @property
    def key_field(self) -> Field:
        """The primary key: of whole numbers, or of texts.

        Raises:
            Refused: the column that it comes from is no key.
        """
        name = self._params.primary_key
        key = Field(name=name, type=DataType.INT64, primary_key=True)
        column = self._key_column
        if column is None:
            is_text = self._ids is not None and self._ids.dtype.kind in "US"
            return key.model_copy(update={"type": DataType.VARCHAR}) if is_text else key
        reasons = []
        if self._ids is not None:
            reasons.append(
                f"primary_key {name!r} is a column of the scalars, and ids_url gives keys too; "
                "leave one of them out, or give the column another name by primary_key"
            )
        if column.type not in _KEY_TYPES:
            reasons.append(f"primary_key {name!r} holds {column.type}; expected texts or integers")
        if column.nullable or self._params.on_missing_scalars is OnMissingScalars.NULL:
            reasons.append(
                f"primary_key {name!r}: each row needs a value, and some have none (or may have "
                "none, with on_missing_scalars null)"
            )
        if reasons:
            raise Refused(reasons)
        return key.model_copy(update={"type": _KEY_TYPES[column.type]})

    @property
    def _key_column(self) -> Field | None:
        """The field of the scalars that is the key."""
        name = self._params.primary_key
        return next((field for field in self._all_fields if field.name == name), None)

    @property
    def key_notes(self) -> list[str]:
        """Where keys come from, if not from the index or `ids_url`."""
        if self._key_column is None:
            return []
        return [f"the primary keys are the column {self._params.primary_key!r} of the scalars"]

    @property
    def keys_are_ids(self) -> bool:
        """Whether the keys are whole numbers of the index or of `ids_url`."""
        is_text = self._ids is not None and self._ids.dtype.kind in "US"
        return not is_text and self._key_column is None

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

    def ids(self, numbers: Ids, ids: Ids) -> Ids:
        """The ids of rows by which scalars are joined: of `ids_url`, or the index's own."""
        if self._ids is None or self._ids.dtype.kind in "US":
            return ids
        return as_int64(self._ids.take(numbers), self._ids.address)

    def missing(self, keys: Ids) -> Ids:
        """The keys that the scalars don't have."""
        if self._scalars is None or not self.joins:
            return keys[:0]
        return keys[self._scalars.places(keys) < 0]

    def columns(self, numbers: Ids, ids: Ids) -> tuple[pa.Array, list[pa.Array], pa.Array]:
        """The keys of rows, their scalar fields, and why a row is a bad one (null for the good).

        Args:
            ids: as `ids` gives them.

        Raises:
            AirliftError: a row has no scalar fields and must.
        """
        key: pa.Array = int64_array(ids)
        if self._ids is not None and self._ids.dtype.kind in "US":
            key = texts(self._ids.take(numbers), self._ids.address)
        if self._scalars is None:
            return key, [], pa.nulls(len(ids), pa.string())
        places = self._scalars.places(ids) if self.joins else numbers
        if self.missing_fails and len(places):
            lost = np.flatnonzero(places < 0)
            if len(lost):
                raise AirliftError(f"{self._scalars.address} has no row for the id {ids[lost[0]]}")
        *columns, reasons = self._scalars.take(places)
        if (column := self._key_column) is not None:
            key = columns.pop(self._all_fields.index(column)).cast(self.key_field.arrow.type)
        return key, columns, reasons

    def close(self) -> None:
        """Removes temporary files."""
        if self._scalars is not None:
            self._scalars.close()


def _is_folder_of_arrays(places: Places, url: str) -> bool:
    place = place_of(url)
    folder = places.original(place.root)
    if folder.exists(place.path):
        return False
    return any(name.endswith(".npy") and not is_stray(name) for name in folder.list(place.path))
