"""Makes collections of the source readable, and leaves them as they were found."""

from __future__ import annotations

from collections.abc import Callable

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
        """Loads a collection; returns whether it was not loaded.

        Args:
            flat: the index for each vector field that has none.
        """
        database, name = self._database(schema.database), schema.plain_name
        if database.is_loaded(name):
            return False
        bare = [field for field in schema.vectors if field.name in flat]
        indexed = tuple(field.name for field in bare)
        record = Opened(database=schema.database, name=name, indexed=indexed)
        self._scratch.write_json(f"{_FOLDER}/{schema.name}", record.model_dump(mode="json"))
        for field in bare:
            database.create_index(name, field, flat[field.name])
        database.load(name)
        database.wait_loaded(name)
        return True

    def undo(self) -> None:
        """Releases what was loaded, and drops the indexes that were made for it."""
        for path in self._scratch.list(_FOLDER):
            record = Opened.model_validate(self._scratch.read_json(path))
            database = self._database(record.database)
            if database.exists(record.name):
                database.release(record.name)
                for field in record.indexed:
                    database.drop_index(record.name, field)
            self._scratch.delete_file(path)
