"""Makes collections of the source readable, and leaves them as they were found."""

from __future__ import annotations

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

    name: str
    indexed: tuple[str, ...]


class CollectionOpener:
    """Loads collections that are not loaded, and undoes it in the end.

    Args:
        scratch: where it is written down, before it is done.
    """

    def __init__(self, database: MilvusDatabase, scratch: Storage) -> None:
        self._database = database
        self._scratch = scratch

    def open(self, schema: CollectionSchema, flat: dict[str, IndexParams]) -> bool:
        """Loads a collection; returns whether it was not loaded.

        Args:
            flat: the index for each vector field that has none.
        """
        name = schema.name
        if self._database.is_loaded(name):
            return False
        bare = [field for field in schema.vectors if field.name in flat]
        record = Opened(name=name, indexed=tuple(field.name for field in bare))
        self._scratch.write_json(f"{_FOLDER}/{name}", record.model_dump(mode="json"))
        for field in bare:
            self._database.create_index(name, field, flat[field.name])
        self._database.load(name)
        self._database.wait_loaded(name)
        return True

    def undo(self) -> None:
        """Releases what was loaded, and drops the indexes that were made for it."""
        for path in self._scratch.list(_FOLDER):
            record = Opened.model_validate(self._scratch.read_json(path))
            if self._database.exists(record.name):
                self._database.release(record.name)
                for field in record.indexed:
                    self._database.drop_index(record.name, field)
            self._scratch.delete_file(path)
