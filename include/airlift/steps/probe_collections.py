"""Collections that are made on the target to find something out, and dropped again at once.

What a killed task leaves is dropped by the next one of the same migration: a folder in staging
says which collection there is, for as long as it is there.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from airlift.errors import AirliftError
from airlift.milvus.database import MilvusDatabase
from airlift.schema import CollectionSchema
from airlift.storage import Storage

_FOLDER = "probe-"
_DATABASE = "database.txt"


@dataclass(frozen=True)
class ProbeCollection:
    """A probe's own collection.

    Attributes:
        token: names it, and is in no other probe's name.
        name: of the collection.
        folder: of the probe in staging.
    """

    token: str
    name: str
    folder: Storage


@contextmanager
def probe_collection(
    database: MilvusDatabase, database_name: str, staging: Storage, schema: CollectionSchema
) -> Iterator[ProbeCollection]:
    """Makes a collection with such fields and settings, under a name of its own, for a block.

    Args:
        database: where it is made; `database_name` is "" for the connection's own.
        staging: the migration's folder.

    Raises:
        AirliftError: the target does not take the schema, or does not drop the collection again.
    """
    token = uuid.uuid4().hex[:12]
    probe = ProbeCollection(token, _collection_name(token), staging.folder(f"{_FOLDER}{token}"))
    probe.folder.write_bytes(_DATABASE, database_name.encode())
    try:
        database.create(schema.model_copy(update={"name": probe.name}))
    except AirliftError:
        _drop(database, token, staging)
        raise
    try:
        yield probe
    finally:
        _drop(database, token, staging)


def drop_left_probes(database_of: Callable[[str], MilvusDatabase], staging: Storage) -> None:
    """Drops what a killed task has left.

    Args:
        database_of: opens a database of the target by its name.
        staging: the migration's folder.
    """
    for path in sorted(staging.list()):
        if not path.startswith(_FOLDER):
            continue
        folder = staging.folder(path)
        if folder.exists(_DATABASE):
            database = database_of(folder.read_bytes(_DATABASE).decode())
            _drop(database, path.removeprefix(_FOLDER), staging)
        else:  # no collection was made yet
            staging.delete_folder(path)


def _drop(database: MilvusDatabase, token: str, staging: Storage) -> None:
    name = _collection_name(token)
    if database.exists(name):
        database.drop(name)
    staging.delete_folder(f"{_FOLDER}{token}")


def _collection_name(token: str) -> str:
    return f"airlift_probe_{token}"
