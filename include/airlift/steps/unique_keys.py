"""Refuses a collection whose rows share primary keys; a part of the step `create`."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from airlift.errors import Refused
from airlift.formats import FORMATS
from airlift.migration import Migration
from airlift.plan import CollectionPlan
from airlift.unique_keys import repeated, suspects

_BATCH_ROWS = 16_384


def refuse_repeated_keys(migration: Migration, collection: CollectionPlan) -> None:
    """Looks at the keys of every chunk, unless the source vouches for them.

    Raises:
        Refused: rows share a primary key; Milvus would keep both, and give one of them.
    """
    key = collection.mapped.target.primary_key
    if collection.keys_unique or key.auto_id:
        return
    staging = migration.staging
    folders = [staging.chunk_folder(collection.name, chunk.id) for chunk in collection.chunks]
    hashes = suspects(folders)
    if not len(hashes):
        return

    def keys() -> Iterator[pa.Array]:
        read = FORMATS[collection.file_format].read
        for folder in folders:
            for batch in read(folder, collection.mapped.target, _BATCH_ROWS):
                yield batch.column(key.name)

    count, examples = repeated(keys(), hashes)
    if count:
        raise Refused(
            [
                f"collection {collection.mapped.source!r}: {count:,} primary keys stand in several "
                f"rows, such as {examples}; mend that at the source, choose another primary key, "
                "or let the target make new ones with auto_id in mapping"
            ]
        )
