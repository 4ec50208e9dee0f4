"""A 64-bit fingerprint of a set of rows that does not depend on their order.

Each field of a row is hashed together with the field's name, the hashes of a row are added and
mixed, and the mixed values of all rows are added modulo 2**64. So the fingerprint of a collection
is the sum of its chunks' fingerprints, and equal counts and equal fingerprints mean equal data
(save for an accident of about 2**-64; it is no defence against forgery).

Fixed-width values are hashed multilinearly (Lemire, Kaser: "Strongly universal string hashing is
fast", 2013): words times fixed random multipliers, summed. Each word is folded first (x ^ x >> 32),
since a plain product loses flips of two sign bits. Mixing each row before the sum is what makes a
swap of values between two rows visible.
"""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from airlift.fixed_width import fixed_bytes

U64 = npt.NDArray[np.uint64]

_MASK = (1 << 64) - 1
# Rows hashed at a time: small enough that the folded words stay in the processor's cache.
_BLOCK_BYTES = 1 << 18


@cache
def _multipliers(words: int) -> U64:
    """Fixed random odd multipliers; the first n are the same whatever `words` is."""
    size = 1 << max(words - 1, 1).bit_length()
    # PCG64 with a fixed seed is specified to give the same stream on every platform.
    drawn = np.random.Generator(np.random.PCG64(0x41524C49465431)).integers(
        0, 1 << 64, size=size, dtype=np.uint64
    )
    return (drawn | np.uint64(1))[:words]


@cache
def _salt(text: str) -> np.uint64:
    return np.uint64(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()))


def _mix(hashes: U64) -> U64:
    """Steele and Vigna's finalizer of splitmix64: every input bit reaches every output bit."""
    hashes = hashes.copy()
    hashes ^= hashes >> np.uint64(30)
    hashes *= np.uint64(0xBF58476D1CE4E5B9)
    hashes ^= hashes >> np.uint64(27)
    hashes *= np.uint64(0x94D049BB133111EB)
    hashes ^= hashes >> np.uint64(31)
    return hashes


def _hash_fixed(values: npt.NDArray[np.uint8]) -> U64:
    """Hashes the rows of a (rows, bytes) array."""
    rows, width = values.shape
    words = -(-width // 8)
    multipliers = _multipliers(words)
    hashes = np.empty(rows, dtype=np.uint64)
    step = max(1, _BLOCK_BYTES // (words * 8))
    folded = np.zeros((min(step, rows), words), dtype=np.uint64)
    for start in range(0, rows, step):
        block = values[start : start + step]
        work = folded[: len(block)]
        if width % 8:
            work.view(np.uint8)[:, :width] = block
            work.view(np.uint8)[:, width:] = 0
            source = work.copy()
        else:
            source = block.view(np.uint64)
        np.right_shift(source, np.uint64(32), out=work)
        np.bitwise_xor(work, source, out=work)
        np.matmul(work, multipliers, out=hashes[start : start + len(block)])
    return hashes


def _hash_variable(column: pa.Array) -> U64:
    """Hashes values of different lengths one by one."""
    if pa.types.is_list(column.type):
        values = [orjson.dumps(items) for items in column.to_pylist()]
    else:
        values = column.cast(pa.binary()).to_pylist()
    digests = (hashlib.blake2b(value, digest_size=8).digest() for value in values)
    return np.frombuffer(b"".join(digests), dtype=np.uint64)


def _field_hashes(name: str, column: pa.Array) -> U64:
    if len(column) == 0:
        return np.empty(0, dtype=np.uint64)
    if column.null_count:
        # The others are hashed without them: a value's hash must not depend on its neighbours.
        hashes = np.full(len(column), _salt(name + "\0null"), dtype=np.uint64)
        valid = column.is_valid().to_numpy(zero_copy_only=False)
        hashes[valid] = _field_hashes(name, column.drop_null())
        return hashes
    fixed = fixed_bytes(column)
    hashes = _hash_variable(column) if fixed is None else _hash_fixed(fixed)
    with np.errstate(over="ignore"):
        return _mix(hashes + _salt(name))


def value_hashes(column: pa.Array) -> U64:
    """A 64-bit hash of each value of a column; equal values have equal hashes."""
    return _field_hashes("", column)


def fingerprint(batch: pa.RecordBatch) -> int:
    """The fingerprint of a record batch's rows, over all its columns in any order.

    Args:
        batch: rows; fixed-size lists must hold no null inside.

    Returns:
        A number below 2**64; add those of several batches modulo 2**64 (see `combined`).
    """
    total = np.zeros(batch.num_rows, dtype=np.uint64)
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        total += _field_hashes(name, column)
    return int(_mix(total).sum(dtype=np.uint64))


def combined(*fingerprints: int) -> int:
    """The fingerprint of the rows of several batches together."""
    return sum(fingerprints) & _MASK


def to_text(value: int) -> str:
    """A fingerprint as 16 hex digits, as manifests and reports show it."""
    return f"{value:016x}"


def from_text(text: str) -> int:
    """The inverse of `to_text`."""
    return int(text, 16)
