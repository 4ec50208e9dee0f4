"""High-water marks: what runs that move only what is new have moved already.

A path with the params `since_field` or `since_pk` remembers, once all is verified, the largest
value that was moved; the next run with the same source and target begins there. The marks lie in
`<staging_url>/high_water_marks/`, beside the migrations, a file for each pair of source and target.
"""

from __future__ import annotations

import hashlib
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from airlift.errors import AirliftError
from airlift.migration import Migration
from airlift.milvus.client import address
from airlift.names import without_database
from airlift.storage import Storage

_FOLDER = "high_water_marks"


class HighWaterMark(BaseModel):
    """How far one source collection was moved.

    Attributes:
        field: whose values tell what is new.
        value: the largest of them that was moved.
        target: the collection that it was moved to, with its database.
        collection_id: of the target; one that was dropped and made anew has another, and the mark
            does not count for it.
        migration_id: of the run that moved it.
    """

    model_config = ConfigDict(frozen=True)

    field: str
    value: Any
    target: str
    database: str
    collection_id: str
    migration_id: str

    @property
    def target_name(self) -> str:
        """The target collection's name within its database."""
        return without_database(self.database, self.target)


class _Marks(BaseModel):
    marks: dict[str, HighWaterMark] = {}


def read_marks(migration: Migration) -> dict[str, HighWaterMark]:
    """The marks of this source and target that still hold, by source collection."""
    folder, name = _file(migration)
    marks = _read(folder, name).marks
    return {source: mark for source, mark in marks.items() if _holds(migration, mark)}


def write_marks(migration: Migration, marks: dict[str, HighWaterMark]) -> None:
    """Keeps marks; those of other collections stay as they are."""
    folder, name = _file(migration)
    kept = _Marks(marks={**_read(folder, name).marks, **marks})
    folder.write_bytes(name, kept.model_dump_json(indent=2).encode())


def _file(migration: Migration) -> tuple[Storage, str]:
    source = (migration.source_name, migration.original_source().address())
    target = (address(migration.server.connection), migration.server.database)
    params = migration.params
    names = {source: [one.database, one.target] for source, one in params.mapping.items()}
    content = [source, target, params.target_database, names, params.incremental_by]
    digest = hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS))
    return migration.staging_root.folder(_FOLDER), f"{digest.hexdigest()[:16]}.json"


def _read(folder: Storage, name: str) -> _Marks:
    if not folder.exists(name):
        return _Marks()
    try:
        return _Marks.model_validate_json(folder.read_bytes(name))
    except ValidationError as error:
        raise AirliftError(
            f"{folder.address(name)} holds no high-water marks ({error}); restore it, or delete it "
            "to move all rows again"
        ) from error


def _holds(migration: Migration, mark: HighWaterMark) -> bool:
    """Whether the collection that the rows were moved to is still the same one."""
    if not migration.database_exists(mark.database):
        return False
    target = migration.target(mark)
    return target.exists(mark.target_name) and (
        target.collection_id(mark.target_name) == mark.collection_id
    )
