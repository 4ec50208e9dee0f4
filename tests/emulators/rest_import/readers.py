"""Reads one file group (a set of .npy, one .parquet, one .json or .csv) as a server's version does.

What a version takes and refuses is `versions`' data; the oddities of all of them are kept: extra
.npy files are ignored without a word, a .npy in Fortran order is read as if it were in C order,
bytes strings ("S") are not checked against max_length, NaN in a Parquet vector is taken, and an
empty list in a nullable array of a Parquet file becomes null.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pyarrow as pa

from .contract import import_refused
from .json_reader import read_csv, read_json
from .npy_reader import read_npy
from .parquet_reader import read_parquet
from .schema import Schema
from .storage import MissingFile, Storage
from .versions import Behaviour

_READERS: dict[str, Callable[[pa.Buffer, Schema, Behaviour], pa.Table]] = {
    "parquet": read_parquet,
    "json": read_json,
    "csv": read_csv,
}
_NAMES = {".json": "JSON", ".parquet": "Parquet", ".csv": "CSV"}


def file_type(paths: list[str]) -> str:
    """One of json, csv, npy and parquet; refuses at once what the proxy refuses at once."""
    kinds = [os.path.splitext(path)[1] for path in paths]
    kind = kinds[0]
    for path, other in zip(paths, kinds, strict=True):
        if other != kind:
            raise import_refused(f"inconsistency in file types, ({paths[0]}) vs ({path})")
    if kind in _NAMES and len(paths) != 1:
        raise import_refused(f"for {_NAMES[kind]} import, accepts only one file")
    if kind not in _NAMES and kind != ".npy":
        raise import_refused(f"unexpected file type, files=[{' '.join(paths)}]")
    return kind[1:]


def read_group(
    storage: Storage, paths: list[str], schema: Schema, behaviour: Behaviour
) -> pa.Table:
    """The rows of one file group, in the columns of Lite's engine (without an auto-id)."""
    kind = file_type(paths)

    def read(path: str) -> pa.Buffer:
        try:
            return storage.read(path)
        except MissingFile as err:
            raise behaviour.fail(f"missing_{storage.words}_{kind}", key=path) from err
        except IsADirectoryError as err:
            raise behaviour.fail("parquet_folder", key=path) from err

    if kind == "npy":
        return read_npy(read, paths, schema, behaviour)
    return _READERS[kind](read(paths[0]), schema, behaviour)
