"""How much a Milvus takes, by default: its operator can raise most of these limits."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The limits of a target, as its version has them by default.

    See https://milvus.io/docs/limitations.md; 2.2.16 and 2.3.5 were asked.

    Attributes:
        fields: of a collection, without the dynamic field (`proxy.maxFieldNum`).
        vectors: vector fields of a collection (`proxy.maxVectorFieldNum`).
        dim: dimension of a vector (`proxy.maxDimension`).
        binary_dim: bits of a binary vector.
        shards: of a collection (`proxy.maxShardNum`).
        partitions: of a collection, `_default` among them (`rootCoord.maxPartitionNum`).
    """

    fields: int = 64
    vectors: int = 4
    dim: int = 32_768
    binary_dim: int = 262_144
    shards: int = 16
    partitions: int = 1024


DEFAULT_LIMITS = Limits()
"""Those of Milvus 2.4 and later."""

_ANY = 1 << 62
UNLIMITED = Limits(_ANY, _ANY, _ANY, _ANY, _ANY, _ANY)
"""Milvus Lite 3.2.2 refuses nothing of this."""
