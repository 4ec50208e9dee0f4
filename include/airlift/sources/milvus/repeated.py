"""Rows of a collection that share a primary key: Milvus takes them, and gives one of them."""

from __future__ import annotations

from airlift.chunk import Chunk
from airlift.datatypes import DataType
from airlift.errors import Refused
from airlift.mapping_params import CollectionMapping
from airlift.params import OnDuplicateId
from airlift.schema import CollectionSchema, SourceCollection
from airlift.sources.milvus.params import MilvusParams


def tell_repeated_keys(
    collection: SourceCollection, chunks: list[Chunk], params: MilvusParams
) -> None:
    """Compares what can be read by key with what `count(*)` says, and puts it into `collection`.

    Raises:
        Refused: rows share a primary key, and the params don't say which to keep.
    """
    read = dict.fromkeys(["", *collection.collection_schema.partitions], 0)
    for chunk in chunks:
        read[chunk.partition] += chunk.rows
    collection.partition_rows = read
    given = sum(read.values())
    if given > collection.rows:
        collection.notes.append(
            f"collection {collection.name!r}: {given - collection.rows:,} rows came in between "
            "counting the rows and reading their keys; they are migrated too"
        )
        collection.rows = given
    collection.left_out = collection.rows - given
    if not collection.left_out:
        return
    key = collection.collection_schema.primary_key
    odd = " (or have the key 2^63-1, which some versions never give)"
    told = (
        f"collection {collection.name!r}: {collection.left_out:,} of {collection.rows:,} rows "
        f"share their primary key with another row of their partition"
        f"{odd if key.type is DataType.INT64 else ''}; Milvus gives one row for each key"
    )
    if params.on_duplicate_id is OnDuplicateId.FAIL:
        raise Refused([f"{told}; mend them at the source, or set on_duplicate_id to keep_one"])
    _refuse_mixed_up_arrays(collection.collection_schema, params, told)
    collection.notes.append(f"{told}: the others are left out, as on_duplicate_id asks")


def _refuse_mixed_up_arrays(schema: CollectionSchema, params: MilvusParams, told: str) -> None:
    """Milvus 2.3.5 gives array values of other rows where it drops one of two with a key.

    Other versions could not be tried, so they are not trusted either.
    """
    mapping = params.mapping.get(schema.name, CollectionMapping())
    arrays = [
        field.name
        for field in schema.fields
        if field.type is DataType.ARRAY and mapping.takes(field.name)
    ]
    if arrays:
        raise Refused(
            [
                f"{told}. While such rows are there, Milvus mixes up the values of ARRAY "
                f"fields when it is asked for rows: mend the rows at the source, or leave the "
                f"fields {arrays} out with mapping exclude"
            ]
        )
