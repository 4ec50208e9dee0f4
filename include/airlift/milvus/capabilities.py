"""What a target can do, by what it says it is. Data only: nobody branches on a version.

Sources: Milvus' release notes and `FACTS` measured on 2.3.5 and Milvus Lite 3.2.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from airlift.datatypes import TYPES, DataType
from airlift.milvus.client import ServerVersion
from airlift.milvus.index_types import ALL_INDEX_TYPES, IndexTypes, index_types
from airlift.milvus.limits import DEFAULT_LIMITS, UNLIMITED, Limits
from airlift.params import IndexParams, WriteMode
from airlift.value_rules import ValueRule

_TYPES_2_6 = frozenset(DataType)
_TYPES_2_4 = _TYPES_2_6 - {DataType.INT8_VECTOR}
_TYPES_2_3 = _TYPES_2_4 - {
    DataType.FLOAT16_VECTOR,
    DataType.BFLOAT16_VECTOR,
    DataType.SPARSE_FLOAT_VECTOR,
}
_TYPES_2_2_9 = _TYPES_2_3 - {DataType.ARRAY}
_TYPES_2_2 = _TYPES_2_2_9 - {DataType.JSON}

_SCALAR_INDEXES_2_2 = frozenset({"STL_SORT", "Trie", "marisa-trie"})
_SCALAR_INDEXES_2_4 = _SCALAR_INDEXES_2_2 | {"INVERTED", "AUTOINDEX"}
_SCALAR_INDEXES_2_5 = _SCALAR_INDEXES_2_4 | {"BITMAP"}
_SCALAR_INDEXES_2_6 = _SCALAR_INDEXES_2_5 | {"NGRAM"}

_METRICS = frozenset(metric for facts in TYPES.values() for metric in facts.metric_types)
_METRICS_2_2 = _METRICS - {"COSINE"}
_ANALYZER = frozenset({"enable_analyzer", "analyzer_params", "enable_match"})


_FILTER_WORDS = frozenset({"and", "or", "not", "in", "like", "exists", "true", "false"})


@dataclass(frozen=True)
class ValueLimit:
    """Values of a type that a target does not take, or does not keep as they are.

    Attributes:
        ways: the ways in that it holds for; empty for all.
    """

    type: DataType
    rule: ValueRule
    ways: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Capabilities:
    """What a target can do.

    Attributes:
        ways: ways for rows to get in, the preferred one first; keys of `airlift.targets.ways`.
        own_files_way: the way in for a backup's own logs; "" for none.
        data_types: the field types that it holds.
        metrics: the metrics that vectors are searched by.
        nullable: whether a scalar field may have no value in a row.
        nullable_vectors: whether a vector field may.
        defaults: whether a scalar field may have a default value.
        dynamic_field: whether rows may have values without a field of their own.
        functions: the kinds of functions that make fields of others.
        scalar_indexes: the index types for scalar fields.
        clustering_keys: whether a field may be the clustering key.
        field_params: of `Field.params`, those that it knows.
        partition_keys: whether a field may be the partition key.
        upserts_partition_keys: whether an upsert puts rows where their partition key belongs.
        limits: how much it takes by default.
        reserved_names: names that no field may have.
        filter_words: of its filter expressions, in small letters: with such a name for the primary
            key, rows can be written and not be asked for. Milvus' grammar has them in small and
            in capital letters, Milvus Lite's in any (3.2.2 was asked).
        index_types: the index types for vector fields, by name.
        newer_index_types: whether it may have index types that are not known here.
        databases: whether it has databases.
        access_way: the way for users, roles and grants; a key of `airlift.targets.access`, "" for
            none.
        privilege_groups: whether roles may be granted groups of privileges with names of their own.
        counts: whether it has `count(*)`; where not, the keys that it gives are counted.
        counts_without_expression: whether `count(*)` needs none, and heeds partition names then.
        ordered_pages: whether a query with a limit gives the smallest primary keys.
        value_limits: the values that it does not take or keep.
        rounded_items: chunk file formats (`airlift.formats`), and the types of ARRAY items whose
            values its import of such files rounds.
        unkept: what it does not keep as it was asked to (see `airlift.schema_facts`): what it has
            instead is noted; all else that differs is refused.
        default_index: the index for vector types that AUTOINDEX does not do well there.
    """

    ways: tuple[str, ...]
    data_types: frozenset[DataType]
    metrics: frozenset[str] = _METRICS
    own_files_way: str = ""
    nullable: bool = False
    nullable_vectors: bool = False
    defaults: bool = False
    dynamic_field: bool = True
    functions: frozenset[str] = frozenset()
    scalar_indexes: frozenset[str] = _SCALAR_INDEXES_2_2
    clustering_keys: bool = True
    field_params: frozenset[str] = frozenset()
    partition_keys: bool = True
    upserts_partition_keys: bool = True
    limits: Limits = DEFAULT_LIMITS
    reserved_names: frozenset[str] = frozenset({"RowID", "Timestamp"})
    filter_words: frozenset[str] = _FILTER_WORDS
    index_types: IndexTypes = field(default_factory=lambda: index_types(2, 4))
    newer_index_types: bool = False
    databases: bool = True
    access_way: str = ""
    privilege_groups: bool = False
    counts: bool = True
    counts_without_expression: bool = True
    ordered_pages: bool = True
    value_limits: tuple[ValueLimit, ...] = ()
    rounded_items: frozenset[tuple[str, DataType]] = frozenset()
    unkept: frozenset[str] = frozenset()
    default_index: tuple[tuple[DataType, IndexParams], ...] = ()

    def autoindex(self, data_type: DataType) -> IndexParams:
        """The index to build on such a field when the params name none."""
        return dict(self.default_index).get(data_type, IndexParams(index_type="AUTOINDEX"))

    def may_index(self, data_type: DataType, index_type: str) -> bool:
        """Whether such an index may be for such vectors; what is not known may be."""
        known = self.index_types.get(index_type)
        return known is None or data_type in known.data_types

    def index_types_for(self, data_type: DataType) -> list[str]:
        """The names of the index types that it has for such vectors."""
        return sorted(
            name for name, kind in self.index_types.items() if data_type in kind.data_types
        )


_TYPES_LITE = _TYPES_2_3 - {DataType.BINARY_VECTOR} | {DataType.SPARSE_FLOAT_VECTOR}

# Milvus 2.3.5 crashes (SIGSEGV in Retrieve) when binary vectors under AUTOINDEX are read back.
_BINARY_INDEX = (
    (
        DataType.BINARY_VECTOR,
        IndexParams(index_type="BIN_IVF_FLAT", params={"nlist": 128}),
    ),
)

_SPARSE_INDEX = ((DataType.SPARSE_FLOAT_VECTOR, IndexParams(index_type="SPARSE_INVERTED_INDEX")),)

_NO_EMPTY_SPARSE = ValueLimit(DataType.SPARSE_FLOAT_VECTOR, ValueRule.NO_EMPTY_SPARSE)
# Each of its values is unmarshalled into a map (2.3.5: "json: cannot unmarshal array …").
_JSON_OBJECTS = ValueLimit(
    DataType.JSON, ValueRule.ONLY_JSON_OBJECTS, frozenset({"insert", "upsert"})
)

_LITE = Capabilities(
    ("insert", "upsert"),
    _TYPES_LITE,
    nullable=True,
    defaults=True,
    # It takes vector fields without a value, but keeps zeros for them (3.2.2).
    nullable_vectors=False,
    functions=frozenset({"BM25"}),
    scalar_indexes=frozenset(),
    limits=UNLIMITED,
    filter_words=_FILTER_WORDS | {"is", "null"},
    reserved_names=frozenset({"_partition", "_seq", "INTERVAL", "interval", "ISO", "iso"}),
    index_types=ALL_INDEX_TYPES,
    field_params=_ANALYZER,
    clustering_keys=False,
    counts_without_expression=False,
    ordered_pages=False,
    # It leaves zeros out, and then refuses a vector of which nothing is left (3.2.2). It refuses
    # numbers, booleans and null as JSON, and gives back a text without its quotation marks: `"{}"`
    # has become an object.
    value_limits=(
        _NO_EMPTY_SPARSE,
        ValueLimit(DataType.SPARSE_FLOAT_VECTOR, ValueRule.NO_ZERO_WEIGHT),
        ValueLimit(DataType.JSON, ValueRule.NO_PLAIN_JSON),
    ),
    # One process without shards, always strongly consistent (3.2.2).
    unkept=frozenset(
        (
            *("shards", "consistency_level", "description", "num_partitions"),
            *("item_max_length", "index_params"),
        )
    ),
    default_index=_SPARSE_INDEX,
)
_REST_WAYS = ("rest_import", "insert", "upsert")
_2_4 = Capabilities(
    _REST_WAYS,
    _TYPES_2_4,
    scalar_indexes=_SCALAR_INDEXES_2_4,
    field_params=frozenset({"mmap_enabled"}),
    own_files_way="rest_backup_import",
    access_way="calls",
    value_limits=(_NO_EMPTY_SPARSE,),
)
_2_4_10 = replace(_2_4, access_way="restore")
# https://github.com/milvus-io/milvus/pull/36061; its import did not follow before 2.5.7, see
# https://github.com/milvus-io/milvus/issues/40584 (March 2025).
_2_4_12 = replace(
    _2_4_10, value_limits=(replace(_NO_EMPTY_SPARSE, ways=frozenset({"rest_import"})),)
)
_2_5 = replace(
    _2_4_12,
    privilege_groups=True,
    nullable=True,
    defaults=True,
    functions=frozenset({"BM25"}),
    scalar_indexes=_SCALAR_INDEXES_2_5,
    index_types=index_types(2, 5),
    field_params=_ANALYZER | {"mmap_enabled"},
)
_2_5_7 = replace(_2_5, value_limits=())
_2_6 = replace(
    _2_5_7,
    data_types=_TYPES_2_6,
    functions=frozenset({"BM25", "TEXTEMBEDDING"}),
    scalar_indexes=_SCALAR_INDEXES_2_6,
    index_types=index_types(2, 6),
    field_params=_ANALYZER | {"mmap_enabled", "multi_analyzer_params", "warmup"},
)
_2_6_18 = replace(_2_6, nullable_vectors=True)
_3_0 = replace(
    _2_6_18,
    functions=_2_6.functions | {"MINHASH"},
    index_types=index_types(3, 0),
    newer_index_types=True,
)
# Its reference has no import of logs and no RestoreRBAC; users are made in its console.
# It decides on shards, partitions and storage by itself, and has an index of its own (AUTOINDEX).
_ZILLIZ = replace(
    _3_0,
    own_files_way="",
    access_way="",
    privilege_groups=False,
    unkept=frozenset(
        (
            *("shards", "consistency_level", "num_partitions", "properties", "params"),
            *("index_type", "index_params"),
        )
    ),
)
_LIMITS_2_3 = Limits(vectors=1, binary_dim=32_768, partitions=4096)
_MILVUS: tuple[tuple[tuple[int, ...], Capabilities], ...] = (
    ((3, 0), _3_0),
    ((2, 6, 18), _2_6_18),
    ((2, 6), _2_6),
    ((2, 5, 7), _2_5_7),
    ((2, 5), _2_5),
    ((2, 4, 12), _2_4_12),
    ((2, 4, 10), _2_4_10),
    ((2, 4), _2_4),
    (
        (2, 3),
        Capabilities(
            ("grpc_bulk_insert", "insert", "upsert"),
            _TYPES_2_3,
            own_files_way="grpc_backup_import",
            access_way="calls",
            limits=_LIMITS_2_3,
            index_types=index_types(2, 3),
            clustering_keys=False,
            # 2.3.5 takes another field for the key, so filters miss the rows; see
            # https://github.com/milvus-io/milvus/pull/30772 (February 2024).
            upserts_partition_keys=False,
            # 2.3.5 parses them as float32, and fails where one is too large for that.
            rounded_items=frozenset({("json", DataType.DOUBLE)}),
            value_limits=(_JSON_OBJECTS,),
            default_index=_BINARY_INDEX,
        ),
    ),
    (
        (2, 2, 9),
        Capabilities(
            ("insert",),  # its bulk insert takes no Parquet files
            _TYPES_2_2_9,
            _METRICS_2_2,
            counts=False,
            limits=_LIMITS_2_3,
            index_types=index_types(2, 2),
            clustering_keys=False,
            default_index=_BINARY_INDEX,
        ),
    ),
    (
        (2, 2),
        Capabilities(
            ("insert",),  # its bulk insert takes no Parquet files
            _TYPES_2_2,
            _METRICS_2_2,
            counts=False,
            limits=_LIMITS_2_3,
            index_types=index_types(2, 2),
            dynamic_field=False,
            clustering_keys=False,
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
