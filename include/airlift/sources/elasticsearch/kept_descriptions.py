"""Descriptions of collections that can't be described again, since their point in time is closed.

When every row was read, the point in time of an index without `_seq_no` is closed. A run that goes
on after that reads nothing more; it needs the description as it was, by which it knows its chunks.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from airlift.chunk import chunk_id
from airlift.mapping_params import CollectionMapping
from airlift.schema import SourceCollection
from airlift.sources.elasticsearch.choosing import Found
from airlift.sources.elasticsearch.params import ElasticsearchParams
from airlift.sources.elasticsearch.sliced_points import SlicedPoints
from airlift.storage import Storage


class _Kept(BaseModel):
    """A scratch file: a description, and the digest of each index' point in time, by its name."""

    model_config = ConfigDict(frozen=True)

    points: dict[str, str]
    collection: SourceCollection


class KeptDescriptions:
    """Keeps descriptions in the scratch folder.

    Args:
        scratch: that folder.
        params: what a description depends on besides the index.
        points: knows in which points in time every row was read.
    """

    def __init__(self, scratch: Storage, params: ElasticsearchParams, points: SlicedPoints) -> None:
        self._scratch = scratch
        self._params = params
        self._points = points

    def find(self, found: Found) -> SourceCollection | None:
        """The description of a collection whose rows were all read; None for any other."""
        path = self._path(found)
        if not self._scratch.exists(path):
            return None
        kept = _Kept.model_validate(self._scratch.read_json(path))
        if all(self._points.is_fully_read(point) for point in kept.points.values()):
            return kept.collection
        return None

    def keep(self, found: Found, collection: SourceCollection, points: dict[str, str]) -> None:
        """Keeps a description until every row is read."""
        kept = _Kept(points=points, collection=collection)
        self._scratch.write_json(self._path(found), kept.model_dump(mode="json"))

    def _path(self, found: Found) -> str:
        params = self._params
        mapping = params.mapping.get(found.name, CollectionMapping())
        shaped_by: list[Any] = [part.model_dump(mode="json") for part in found.parts]
        shaped_by += [mapping.model_dump(mode="json"), params.primary_key, params.explode]
        shaped_by += [params.dates, params.other_fields, params.on_missing_vector]
        shaped_by.append(str(params.index))
        return f"descriptions/{chunk_id(0, found.name, shaped_by)}.json"
