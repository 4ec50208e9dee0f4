"""The fingerprint of a multiset of rows: 122 bits, independent of order, proven.

Each row is hashed to h modulo p = 2**61 - 1, twice and independently, in two "lanes"
(`airlift.row_hash`). The fingerprint of rows is the product of r - h over all rows, at a point r
that is random for each lane: the polynomial whose roots are the rows' hashes, evaluated at r. Two
multisets of hashes have the same polynomial only if they are the same, and different polynomials of
degree n agree at no more than n points (Lipton: "Fingerprinting sets", 1989; Schwartz, Zippel). A
product of chunks' fingerprints is the fingerprint of all their rows; a doubled row is a double
root.

**Bound.** Let two different multisets of at most n rows each be chosen without knowing the key.
They have the same fingerprint with probability at most (2 n / p)**2 + n / 2**128. In each lane, a
row of one has the hash of a row of the other with probability at most n / p, and r is a point where
the polynomials agree with probability at most n / p; and digests of values of variable width may
collide. For a million rows that is 2**-80, for ten billion 2**-53. It supposes that SHAKE-256 and
keyed BLAKE2b-128 behave as random functions. It is no defence against somebody who reads the key in
the plan and makes rows to fit.

The products are kept separately for 1,024 buckets of the primary key's hash: the number of buckets
that differ tells about how many rows do.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from airlift.prime_field import PRIME, U64, bucket_products, multiply, product, reduce
from airlift.row_hash import BUCKETS, LANES, RowHasher, random_residues

CONSTRUCTION = "product of rows modulo 2^61-1, two lanes"
"""The name of what this module computes; change it together with the computation."""

_FOLD_ROWS = 1 << 16
"""Rows that wait to be multiplied together: so many that numpy's calls cost little."""


class FingerprintKey(BaseModel):
    """What a collection's fingerprints are made with; drawn once, and kept in the plan.

    Attributes:
        construction: how; fingerprints of another construction can't be compared.
        key: 32 random bytes in hex digits. It guards against accident, not against forgery, and is
            no secret.
    """

    model_config = ConfigDict(frozen=True)

    construction: str = CONSTRUCTION
    key: str

    @classmethod
    def draw(cls) -> Self:
        """A new random key."""
        return cls(key=secrets.token_hex(32))

    @property
    def id(self) -> str:
        """Tells this key from others, in 16 hex digits."""
        return hashlib.sha256(bytes.fromhex(self.key)).hexdigest()[:16]

    def fingerprinter(self, primary_key: str | None) -> Fingerprinter:
        """Computes fingerprints with this key; `primary_key` as of `RowHasher`."""
        return Fingerprinter(bytes.fromhex(self.key), primary_key)


BEFORE_KEYS = FingerprintKey(construction="64-bit sum", key="")
"""Of plans that were made before fingerprints had a key."""


class Fingerprint(NamedTuple):
    """Residues modulo 2**61 - 1, one a lane; (1, 1) is that of no rows."""

    first: int = 1
    second: int = 1

    def __str__(self) -> str:
        """32 hex digits, as manifests and reports show it."""
        return f"{self.first:016x}{self.second:016x}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The inverse of `str`; None for a text that is no such fingerprint."""
        if not re.fullmatch("[0-9a-f]{32}", text):
            return None
        first, second = int(text[:16], 16), int(text[16:], 16)
        return cls(first, second) if max(first, second) < PRIME else None

    def combined(self, *others: Fingerprint) -> Fingerprint:
        """The fingerprint of the rows of several multisets together."""
        first, second = self
        for other in others:
            first, second = first * other.first % PRIME, second * other.second % PRIME
        return Fingerprint(first, second)


class Fingerprinter:
    """Computes the fingerprint of rows, batch by batch.

    Args:
        key: 32 random bytes.
        primary_key: the column by which rows are put into buckets; None where the target makes the
            keys.

    Attributes:
        rows: how many were added.
    """

    def __init__(self, key: bytes, primary_key: str | None) -> None:
        self._hasher = RowHasher(key, primary_key)
        self._point = random_residues(key, "point", LANES)
        self._products = no_rows()
        self._roots: list[U64] = []
        self._buckets: list[npt.NDArray[np.uint16]] = []
        self._waiting = 0
        self.rows = 0

    def add(self, batch: pa.RecordBatch, partition: str = "") -> None:
        """Adds rows.

        Args:
            batch: with the same columns each time, in any order; see `RowHasher.hash`.
            partition: the target's, where the rows are; "" for the default one.
        """
        hashes = self._hasher.hash(batch, partition)
        roots = reduce(self._point[:, np.newaxis] + np.uint64(PRIME) - hashes.values)
        self._roots.append(roots)
        self._buckets.append(hashes.buckets)
        self.rows += batch.num_rows
        self._waiting += batch.num_rows
        if self._waiting >= _FOLD_ROWS:
            self._fold()

    def _fold(self) -> None:
        """Multiplies what waits into the products."""
        if not self._waiting:
            return
        roots, buckets = np.concatenate(self._roots, axis=1), np.concatenate(self._buckets)
        self._roots, self._buckets, self._waiting = [], [], 0
        self._products = multiply(self._products, bucket_products(roots, buckets, BUCKETS))

    @property
    def buckets(self) -> U64:
        """The fingerprints of each bucket's rows, shape (2, 1024)."""
        self._fold()
        return self._products

    @property
    def fingerprint(self) -> Fingerprint:
        """The fingerprint of all rows."""
        return of_buckets(self.buckets)


def no_rows() -> U64:
    """The fingerprints of empty buckets, shape (2, 1024)."""
    return np.ones((LANES, BUCKETS), np.uint64)


def of_buckets(buckets: U64) -> Fingerprint:
    """The fingerprint of the rows of all buckets.

    Args:
        buckets: residues, shape (2, 1024).
    """
    first, second = product(buckets[:, :, np.newaxis])[:, 0].tolist()
    return Fingerprint(first, second)
