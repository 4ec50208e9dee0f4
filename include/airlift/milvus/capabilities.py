"""What a target can do, by what it says it is. Data only: nobody branches on a version.

Sources: Milvus' release notes and `FACTS` measured on 2.3.5 and Milvus Lite 3.2.
"""

from __future__ import annotations

from dataclasses import dataclass

from airlift.datatypes import DataType
from airlift.milvus.client import ServerVersion
from airlift.params import IndexParams, WriteMode

_TYPES_2_6 = frozenset(DataType)
_TYPES_2_4 = _TYPES_2_6 - {DataType.INT8_VECTOR}
_TYPES_2_3 = _TYPES_2_4 - {
    DataType.FLOAT16_VECTOR,
    DataType.BFLOAT16_VECTOR,
    DataType.SPARSE_FLOAT_VECTOR,
}
_TYPES_2_2_9 = _TYPES_2_3 - {DataType.ARRAY}
_TYPES_2_2 = _TYPES_2_2_9 - {DataType.JSON}


@dataclass(frozen=True)
class Capabilities:
    """What a target can do.

    Attributes:
        ways: ways for rows to get in, the preferred one first; keys of `airlift.targets.ways`.
        data_types: the field types that it holds.
        nullable: whether a scalar field may have no value in a row.
        nullable_vectors: whether a vector field may.
        defaults: whether a scalar field may have a default value.
        partition_keys: whether a field may be the partition key.
        upserts_partition_keys: whether an upsert puts rows where their partition key belongs.
        most_vectors: vector fields that a collection may have.
        databases: whether it has databases.
        counts_partitions: whether `count(*)` without an expression heeds partition names.
        ordered_pages: whether a query with a limit gives the smallest primary keys.
        default_index: the index for vector types that AUTOINDEX does not do well there.
    """

    ways: tuple[str, ...]
    data_types: frozenset[DataType]
    nullable: bool = False
    nullable_vectors: bool = False
    defaults: bool = False
    partition_keys: bool = True
    upserts_partition_keys: bool = True
    most_vectors: int = 10  # 4 unless proxy.maxVectorFieldNum says more
    databases: bool = True
    counts_partitions: bool = True
    ordered_pages: bool = True
    default_index: tuple[tuple[DataType, IndexParams], ...] = ()

    def autoindex(self, data_type: DataType) -> IndexParams:
        """The index to build on such a field when the params name none."""
        return dict(self.default_index).get(data_type, IndexParams(index_type="AUTOINDEX"))


_TYPES_LITE = _TYPES_2_3 - {DataType.BINARY_VECTOR} | {DataType.SPARSE_FLOAT_VECTOR}

# Milvus 2.3.5 crashes (SIGSEGV in Retrieve) when binary vectors under AUTOINDEX are read back.
_BINARY_INDEX = (
    (
        DataType.BINARY_VECTOR,
        IndexParams(index_type="BIN_IVF_FLAT", params={"nlist": 128}),
    ),
)

_SPARSE_INDEX = ((DataType.SPARSE_FLOAT_VECTOR, IndexParams(index_type="SPARSE_INVERTED_INDEX")),)

_LITE = Capabilities(
    ("insert", "upsert"),
    _TYPES_LITE,
    nullable=True,
    defaults=True,
    # It takes vector fields without a value, but keeps zeros for them (3.2.2).
    nullable_vectors=False,
    counts_partitions=False,
    ordered_pages=False,
    default_index=_SPARSE_INDEX,
)
_REST_WAYS = ("rest_import", "insert", "upsert")
_ZILLIZ = Capabilities(_REST_WAYS, _TYPES_2_6, nullable=True, defaults=True, nullable_vectors=True)
_MILVUS: tuple[tuple[tuple[int, ...], Capabilities], ...] = (
    (
        (3, 0),
        Capabilities(_REST_WAYS, _TYPES_2_6, nullable=True, defaults=True, nullable_vectors=True),
    ),
    ((2, 6), Capabilities(_REST_WAYS, _TYPES_2_6, nullable=True, defaults=True)),
    ((2, 5), Capabilities(_REST_WAYS, _TYPES_2_4, nullable=True, defaults=True)),
    ((2, 4), Capabilities(_REST_WAYS, _TYPES_2_4)),
    (
        (2, 3),
        Capabilities(
            ("grpc_bulk_insert", "insert", "upsert"),
            _TYPES_2_3,
            most_vectors=1,
            # 2.3.5 takes another field for the key, so filters miss the rows; see
            # https://github.com/milvus-io/milvus/pull/30772 (February 2024).
            upserts_partition_keys=False,
            default_index=_BINARY_INDEX,
        ),
    ),
    (
        (2, 2, 9),
        Capabilities(
            ("grpc_bulk_insert", "insert"),
            _TYPES_2_2_9,
            most_vectors=1,
            default_index=_BINARY_INDEX,
        ),
    ),
    (
        (2, 2),
        Capabilities(
            ("grpc_bulk_insert", "insert"),
            _TYPES_2_2,
            most_vectors=1,
            databases=False,
            partition_keys=False,
            default_index=_BINARY_INDEX,
        ),
    ),
)

WAYS_OF_MODE: dict[WriteMode, tuple[str, ...]] = {
    WriteMode.BULK_INSERT: ("grpc_bulk_insert", "rest_import"),
    WriteMode.INSERT: ("insert",),
    WriteMode.UPSERT: ("upsert",),
}
"""The ways that each `write_mode` stands for; `auto` is the target's own order."""


def capabilities_of(version: ServerVersion) -> Capabilities | None:
    """What a server of that version can do; None when it is too old."""
    if version.kind == "lite":
        return _LITE
    if version.kind == "zilliz":
        return _ZILLIZ
    return next((can for since, can in _MILVUS if version.number >= since), None)
