"""Makes collections of the source readable, and leaves them as they were found."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from pydantic import BaseModel, ConfigDict

from airlift.milvus.database import MilvusDatabase
from airlift.params import IndexParams
from airlift.schema import CollectionSchema
from airlift.storage import Storage

_FOLDER = "opened"


class Opened(BaseModel):
    """What was done to a collection so that it can be read.

    Attributes:
        indexed: the vector fields that got an index, without which Milvus loads nothing.
    """

    model_config = ConfigDict(frozen=True)

    database: str
    name: str
    indexed: tuple[str, ...]


class CollectionOpener:
    """Loads collections that are not loaded, and undoes it in the end.

    Args:
        database: gives the connection to a database of the source.
        scratch: where it is written down, before it is done.
    """

    def __init__(self, database: Callable[[str], MilvusDatabase], scratch: Storage) -> None:
        self._database = database
        self._scratch = scratch

    def open(self, schema: CollectionSchema, flat: dict[str, IndexParams]) -> bool:
        """Loads a collection; returns whether it was not loaded, before this or an earlier attempt.

        Args:
            flat: the index for each vector field that has none.
        """
        database, name = self._database(schema.database), schema.plain_name
        if database.is_loaded(name):
            return self._path(schema) in self._opened
        bare = [field for field in schema.vectors if field.name in flat]
        indexed = tuple(field.name for field in bare)
        record = Opened(database=schema.database, name=name, indexed=indexed)
        self._scratch.write_json(self._path(schema), record.model_dump(mode="json"))
        self._opened[self._path(schema)] = record
        for field in bare:
            database.create_index(name, field, flat[field.name])
        database.load(name)
        database.wait_loaded(name)
        return True

    def as_found(self, schema: CollectionSchema) -> CollectionSchema:
        """A collection's schema without the indexes that an earlier attempt has made."""
        opened = self._opened.get(self._path(schema))
        if opened is None:
            return schema
        ours = set(opened.indexed)
        bare = {"index": None, "metric_type": None}
        fields = (one.model_copy(update=bare) if one.name in ours else one for one in schema.fields)
        return schema.model_copy(update={"fields": tuple(fields)})

    def _path(self, schema: CollectionSchema) -> str:
        return f"{_FOLDER}/{schema.name}"

    @cached_property
    def _opened(self) -> dict[str, Opened]:
        """What this and earlier attempts have opened, by path: one listing for all collections."""
        paths = self._scratch.list(_FOLDER)
        return {path: Opened.model_validate(self._scratch.read_json(path)) for path in paths}

    def undo(self) -> None:
        """Releases what was loaded, and drops the indexes that were made for it."""
        for path, record in list(self._opened.items()):
            database = self._database(record.database)
            if database.exists(record.name):
                database.release(record.name)
                for field in record.indexed:
                    database.drop_index(record.name, field)
            self._scratch.delete_file(path)
            del self._opened[path]
