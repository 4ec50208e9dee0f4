"""Makes collections of the source readable, and leaves them as they were found."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from pydantic import BaseModel, ConfigDict

from airlift.errors import AirliftError
from airlift.milvus.database import MilvusDatabase
from airlift.milvus.descriptions import DEFAULT_PARTITION
from airlift.milvus.errors import Unavailable
from airlift.params import IndexParams
from airlift.schema import CollectionSchema
from airlift.storage import Storage

_FOLDER = "opened"


class Opened(BaseModel):
    """What was done to a collection so that it can be read.

    Attributes:
        indexed: the vector fields that got an index, without which Milvus loads nothing.
        partitions: those that were loaded beside others; empty where the collection was.
    """

    model_config = ConfigDict(frozen=True)

    database: str
    name: str
    indexed: tuple[str, ...] = ()
    partitions: tuple[str, ...] = ()


class CollectionOpener:
    """Loads collections that are not loaded, and undoes it in the end.

    Args:
        database: gives the connection to a database of the source.
        scratch: where it is written down, before it is done.
    """

    def __init__(self, database: Callable[[str], MilvusDatabase], scratch: Storage) -> None:
        self._database = database
        self._scratch = scratch

    def open(self, schema: CollectionSchema, flat: dict[str, IndexParams]) -> str:
        """Loads what is not loaded of a collection.

        Args:
            flat: the index for each vector field that has none.

        Returns:
            What this or an earlier attempt has loaded, for the user; "" for nothing.

        Raises:
            AirliftError: this version can't load partitions beside others.
        """
        database, name = self._database(schema.database), schema.plain_name
        if not database.is_loaded(name):
            self._load_collection(database, schema, flat)
        elif schema.partitions:
            self._load_partitions(database, schema)
        opened = self._opened.get(self._path(schema))
        if opened is None:
            return ""
        what = f"its partitions {list(opened.partitions)} were" if opened.partitions else "it was"
        return f"{what} not loaded: loaded to be read, and released afterwards"

    def _load_collection(
        self, database: MilvusDatabase, schema: CollectionSchema, flat: dict[str, IndexParams]
    ) -> None:
        bare = [field for field in schema.vectors if field.name in flat]
        self._record(schema, indexed=tuple(field.name for field in bare))
        for field in bare:
            database.create_index(schema.plain_name, field, flat[field.name])
        database.load(schema.plain_name)
        database.wait_loaded(schema.plain_name)

    def _load_partitions(self, database: MilvusDatabase, schema: CollectionSchema) -> None:
        """Loads the partitions that are not loaded: a count and a query leave their rows out."""
        name = schema.plain_name
        unloaded = database.unloaded_partitions(name, (DEFAULT_PARTITION, *schema.partitions))
        if not unloaded:
            return
        earlier = self._opened.get(self._path(schema))
        if earlier is None or earlier.partitions:
            ours = {*unloaded, *(earlier.partitions if earlier else ())}
            self._record(schema, partitions=tuple(sorted(ours)))
        try:
            database.load_partitions(name, unloaded)
        except Unavailable:
            raise
        except AirliftError as error:
            raise AirliftError(
                f"collection {schema.name!r}: the partitions {unloaded} are not loaded, others "
                f"are, and {database.version().name} does not load them beside these ({error}); "
                "load the whole collection, or release it: then it is loaded to be read"
            ) from error

    def _record(self, schema: CollectionSchema, **what: tuple[str, ...]) -> None:
        """Writes down what is about to be done."""
        record = Opened(database=schema.database, name=schema.plain_name, **what)
        self._scratch.write_json(self._path(schema), record.model_dump(mode="json"))
        self._opened[self._path(schema)] = record

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
                if record.partitions:
                    database.release_partitions(record.name, list(record.partitions))
                else:
                    database.release(record.name)
                for field in record.indexed:
                    database.drop_index(record.name, field)
            self._scratch.delete_file(path)
            del self._opened[path]
