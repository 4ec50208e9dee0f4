"""A universal hash of rows: 122 bits over the partition and every field.

A row is a sequence of 16-bit words x_i: those of its fixed-width values, the keyed BLAKE2b-128
digest of each value of variable width, and one word for each field that says whether the value is
null. Its hash is the multilinear form

    h = c + a_1 x_1 + a_2 x_2 + ...  modulo 2**61 - 1

computed twice ("in two lanes"), with independent coefficients (Carter, Wegman: "New hash functions
and their use in authentication and set equality", 1981; Lemire, Kaser: "Strongly universal string
hashing is fast", 2014). For coefficients drawn at random, two different rows have the same hash
with probability (2**61 - 1)**-2: where a word differs, exactly one of the 2**61 - 1 values of its
coefficient makes the two sums equal. Different values of variable width are different words
unless their digests collide. The coefficients are expanded from a random key with SHAKE-256.

The sums are computed by BLAS: a coefficient is split into three limbs of at most 21 bits, and a
word times a limb has 37 bits, so that 2**16 of them add up to less than 2**53, which is exact in a
double.
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from airlift.errors import AirliftError
from airlift.fixed_width import fixed_bytes
from airlift.prime_field import PRIME, U64, reduce, shift

LANES = 2
BUCKETS = 1024

_BUCKET_SHIFT = np.uint64(61 - 10)
_LIMBS = 3
_LIMB_BITS = 21
_MAX_WORDS = 1 << 16
"""Words whose products are summed by BLAS."""
# OpenBLAS starts threads for larger products, which cost more than they save here.
_BLOCK = 250_000 // (LANES * _LIMBS)  # doubles

Bytes = npt.NDArray[np.uint8]


class RowHashes(NamedTuple):
    """Hashes of n rows.

    Attributes:
        values: shape (2, n), residues modulo 2**61 - 1.
        buckets: shape (n,), below 1,024: the top bits of the primary key's own hash.
    """

    values: U64
    buckets: npt.NDArray[np.uint16]


class RowHasher:
    """Hashes the rows of record batches.

    Args:
        key: 32 random bytes.
        primary_key: the column by which rows are put into buckets; None where the target makes the
            keys, and the row's hash decides.
    """

    def __init__(self, key: bytes, primary_key: str | None) -> None:
        _ensure_exact_products()
        self._key = key
        self._primary_key = primary_key
        self._coefficients: dict[str, npt.NDArray[np.float64]] = {}
        self._constants: dict[str, U64] = {}

    def hash(self, batch: pa.RecordBatch, partition: str) -> RowHashes:
        """The hashes of a batch's rows, over all its columns in any order.

        Raises:
            AirliftError: a vector holds a null, which no bits stand for.

        Args:
            batch: of fixed-width values, texts, bytes and lists.
            partition: where the rows are; "" for the default partition.
        """
        if batch.num_rows == 0:
            return RowHashes(np.empty((LANES, 0), np.uint64), np.empty(0, np.uint16))
        sums = np.zeros((LANES * _LIMBS, batch.num_rows), np.uint64)
        buckets = None
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            own = self._field_sums(name, column)
            if name == self._primary_key:
                buckets = residues(own[:_LIMBS])[0]
            sums += own
        values = residues(sums)
        if buckets is None:
            buckets = values[0]
        constants = self._partition_constants(partition)
        return RowHashes(
            reduce(values + constants[:, np.newaxis]), (buckets >> _BUCKET_SHIFT).astype(np.uint16)
        )

    def _partition_constants(self, partition: str) -> U64:
        if partition not in self._constants:
            self._constants[partition] = random_residues(self._key, f"partition {partition}", LANES)
        return self._constants[partition]

    def _field_sums(self, name: str, column: pa.Array) -> U64:
        """The limb sums of a field's words, shape (6, n)."""
        valid = column.is_valid().to_numpy(zero_copy_only=False) if column.null_count else None
        _ensure_no_null_inside(name, column, valid)
        raw = fixed_bytes(column)
        if raw is None:
            raw = _digests(column, self._key)
        elif valid is not None:
            raw = np.where(valid[:, np.newaxis], raw, np.uint8(0))  # there may be anything
        coefficients = self._of_field(name, -(-raw.shape[1] // 2))
        sums = _products(_words(raw), coefficients[:, 1:])
        if valid is not None:
            sums += coefficients[:, :1].astype(np.uint64) * np.logical_not(valid)
        return sums

    def _of_field(self, name: str, words: int) -> npt.NDArray[np.float64]:
        """A field's coefficients, in limbs, shape (6, 1 + words); the first is of its null."""
        known = self._coefficients.get(name)
        if known is None or known.shape[1] != 1 + words:
            drawn = random_residues(self._key, f"field {words} {name}", LANES * (1 + words))
            known = _limbs(drawn.reshape(LANES, 1 + words))
            self._coefficients[name] = known
        return known


def _ensure_no_null_inside(
    name: str, column: pa.Array, valid: npt.NDArray[np.bool_] | None
) -> None:
    if not pa.types.is_fixed_size_list(column.type):
        return
    size = column.type.list_size
    items = column.values.slice(column.offset * size, len(column) * size)
    if not items.null_count:
        return
    nulls = items.is_null().to_numpy(zero_copy_only=False).reshape(len(column), size).any(axis=1)
    if (nulls if valid is None else nulls & valid).any():
        raise AirliftError(f"the field {name!r} has a vector with a null inside")


def random_residues(key: bytes, purpose: str, count: int) -> U64:
    """Residues modulo 2**61 - 1 that SHAKE-256 makes of the key, other ones for each purpose.

    Each is 61 bits of its output. The one value of 2**61 that is no residue is drawn again, so that
    all residues are equally likely.
    """
    raw = hashlib.shake_256(key + purpose.encode(errors="surrogatepass")).digest(8 * count)
    drawn = np.frombuffer(raw, "<u8") & np.uint64(PRIME)
    too_large = drawn == np.uint64(PRIME)
    if too_large.any():
        drawn[too_large] = random_residues(key, f"again {purpose}", int(too_large.sum()))
    return drawn


def residues(sums: U64) -> U64:
    """Limb sums, shape (3 lanes, n), as residues, shape (lanes, n)."""
    low, middle, high = (reduce(sums[limb::_LIMBS]) for limb in range(_LIMBS))
    return reduce(low + shift(middle, _LIMB_BITS) + shift(high, 2 * _LIMB_BITS))


def _limbs(coefficients: U64) -> npt.NDArray[np.float64]:
    """Coefficients of shape (lanes, words) in limbs, shape (6, words): lane by lane, low first."""
    shifts = np.arange(_LIMBS, dtype=np.uint64)[:, np.newaxis] * np.uint64(_LIMB_BITS)
    limbs = coefficients[:, np.newaxis] >> shifts & np.uint64((1 << _LIMB_BITS) - 1)
    return limbs.reshape(LANES * _LIMBS, -1).astype(np.float64)


def _words(raw: Bytes) -> npt.NDArray[np.uint16]:
    """Rows of bytes as rows of 16-bit words, filled up with a zero byte where they are odd."""
    if raw.shape[1] % 2:
        raw = np.pad(raw, ((0, 0), (0, 1)))
    return raw.view("<u2")


def _products(words: npt.NDArray[np.uint16], coefficients: npt.NDArray[np.float64]) -> U64:
    """Limbs, shape (6, k), times words, shape (n, k), exactly: shape (6, n)."""
    rows, width = words.shape
    if width > _MAX_WORDS:
        first, rest = slice(0, _MAX_WORDS), slice(_MAX_WORDS, width)
        return _products(words[:, first], coefficients[:, first]) + _products(
            words[:, rest], coefficients[:, rest]
        )
    result = np.empty((len(coefficients), rows), np.float64)
    step = max(1, _BLOCK // width)
    block = np.empty((min(step, rows), width), np.float64)
    for start in range(0, rows, step):
        part = words[start : start + step]
        doubles = block[: len(part)]
        np.copyto(doubles, part)
        np.matmul(coefficients, doubles.T, out=result[:, start : start + len(part)])
    return result.astype(np.uint64)


@cache
def _ensure_exact_products() -> None:
    """Raises AirliftError where BLAS computes wrong products, as old ones on new processors do."""
    random = np.random.default_rng(0)
    words = random.integers(0, 1 << 16, (5, 777), dtype=np.uint16)
    drawn = random.integers(0, PRIME, (LANES, 777), dtype=np.uint64)
    found = residues(_products(words, _limbs(drawn)))
    for row, lane in np.ndindex(5, LANES):
        pairs = zip(words[row].tolist(), drawn[lane].tolist(), strict=True)
        if int(found[lane, row]) != sum(word * by for word, by in pairs) % PRIME:
            raise AirliftError(
                "numpy multiplies matrices wrongly on this machine, so rows can't be compared: "
                "install another numpy, or choose a kernel with OPENBLAS_CORETYPE (e.g. Haswell)"
            )


def _digests(column: pa.Array, key: bytes) -> Bytes:
    """The keyed BLAKE2b-128 of each value, shape (n, 16); zeros for a null."""
    keyed = hashlib.blake2b(digest_size=16, key=key)
    nothing = bytes(16)
    digests = []
    for value in _encoded(column):
        if value is None:
            digests.append(nothing)
        else:
            state = keyed.copy()
            state.update(value)
            digests.append(state.digest())
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 16)


def _encoded(column: pa.Array) -> list[bytes | None]:
    """Each value of a column of variable width as bytes that no other value of its type has."""
    if not pa.types.is_list(column.type):
        encoded: list[bytes | None] = column.cast(pa.binary()).to_pylist()
        return encoded
    raw = fixed_bytes(column.flatten())
    if raw is None:
        return [None if items is None else _framed(items) for items in column.to_pylist()]
    return _counted(column, raw)


def _counted(column: pa.Array, raw: Bytes) -> list[bytes | None]:
    """Lists of fixed-width items: their number, their bytes, and which of them are null, if any."""
    valid = column.flatten().is_valid().to_numpy(zero_copy_only=False)
    width, data = raw.shape[1], np.where(valid[:, np.newaxis], raw, np.uint8(0)).tobytes()
    counts = column.value_lengths().to_pylist()
    result: list[bytes | None] = []
    start = 0
    for count in counts:
        if count is None:
            result.append(None)
            continue
        stop = start + count
        value = count.to_bytes(8, "little") + data[start * width : stop * width]
        own = valid[start:stop]
        result.append(value if own.all() else value + own.tobytes())
        start = stop
    return result


def _framed(texts: list[str | None]) -> bytes:
    """A list's texts, each after its length in bytes."""
    encoded = [None if text is None else text.encode() for text in texts]
    return b"".join(b"-" if text is None else b"%d:%b" % (len(text), text) for text in encoded)
