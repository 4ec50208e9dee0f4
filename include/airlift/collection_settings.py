"""Settings of a target collection beside its fields: those of the source, or of the mapping.

Every difference from the source is noted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airlift.mapping_params import CollectionMapping
from airlift.schema import CollectionSchema, SourceCollection

_SHARD_ROWS = 100_000_000
_MOST_SHARDS = 16  # proxy.maxShardNum, unless the server says otherwise


def mapped_settings(
    collection: SourceCollection,
    mapping: CollectionMapping,
    renamed: Mapping[str, str],
    partition_key: str,
    needs_dynamic_field: bool,
    reasons: list[str],
    notes: list[str],
) -> dict[str, Any]:
    """The settings of the target's `CollectionSchema`.

    Args:
        renamed: source -> target field name.
        partition_key: the target's field that is the partition key; "" for none.
        needs_dynamic_field: whether fields become keys of the dynamic field.
        reasons, notes: why it can't be, and what the user should know; added to.
    """
    schema = collection.collection_schema
    what = f"collection {schema.name!r}"
    if schema.makes_keys and not mapping.auto_id:
        notes.append(
            f"{what}: the source makes the primary keys itself (autoID). They are kept, so the "
            "target's key has no autoID, and later inserts must bring keys; with auto_id in "
            "mapping the target makes new keys for these rows and for later ones"
        )
    dynamic = mapping.dynamic_field is not False or needs_dynamic_field
    if dynamic and schema.dynamic_field is False and mapping.dynamic_field is None:
        notes.append(
            f"{what}: the source has no dynamic field, the target gets one, which takes values "
            "without a field of their own; dynamic_field false in mapping prevents it"
        )
    return {
        "num_partitions": _num_partitions(
            schema, mapping, renamed, partition_key, what, reasons, notes
        ),
        "dynamic_field": dynamic,
        "makes_keys": False,
        "shards": mapping.shards or _shards(collection, what, notes),
        "consistency_level": mapping.consistency_level or schema.consistency_level,
    }


def _num_partitions(
    schema: CollectionSchema,
    mapping: CollectionMapping,
    renamed: Mapping[str, str],
    partition_key: str,
    what: str,
    reasons: list[str],
    notes: list[str],
) -> int:
    """As many as the source has by the same key; the server's default for another one."""
    if mapping.num_partitions and not partition_key:
        reasons.append(
            f"{what}: mapping num_partitions is for a partition key, and no field is one; say "
            "partition_key true for a field, or leave num_partitions out"
        )
    if mapping.num_partitions or not schema.num_partitions:
        return mapping.num_partitions or 0
    own = next((field.name for field in schema.fields if field.partition_key), "")
    if partition_key and renamed.get(own) == partition_key:
        return schema.num_partitions
    if partition_key:
        notes.append(
            f"{what}: {partition_key!r} is another partition key than the source's {own!r}, so the "
            f"target has as many partitions as it makes by default, not {schema.num_partitions:,}; "
            "num_partitions in mapping says another number"
        )
    return 0


def _shards(collection: SourceCollection, what: str, notes: list[str]) -> int:
    """As many as at the source; one for each 100 million rows at least, which Milvus advises."""
    own = collection.collection_schema.shards
    needed = min(-(-collection.live // _SHARD_ROWS), _MOST_SHARDS)
    if needed > own:
        notes.append(
            f"{what}: the target gets {needed} shards, one for each {_SHARD_ROWS:,} rows; shards "
            "in mapping says another number"
        )
    return max(own, needed)
