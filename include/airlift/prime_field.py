"""Vectorised arithmetic modulo the prime 2**61 - 1, on numpy arrays of uint64.

The prime is a Mersenne prime, so that a product is reduced by shifts and additions. numpy has no
128-bit integers: `multiply` splits each factor at bit 31, after Carter and Wegman, "Universal
classes of hash functions" (1979), who use such a prime for the same purpose.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

U64 = npt.NDArray[np.uint64]

BITS = 61
PRIME = (1 << BITS) - 1

_CACHED = 8192
"""Elements of a lane that are multiplied at a time."""

_P = np.uint64(PRIME)
_BITS = np.uint64(BITS)
_LOW31, _LOW30 = np.uint64((1 << 31) - 1), np.uint64((1 << 30) - 1)
_30, _31, _1 = np.uint64(30), np.uint64(31), np.uint64(1)


def reduce(values: U64) -> U64:
    """The residues of any uint64 values, below the prime."""
    folded = (values & _P) + (values >> _BITS)
    # Below the prime, the subtraction wraps around to a larger number.
    return np.minimum(folded, folded - _P)


def multiply(a: U64, b: U64) -> U64:
    """The product of residues, element by element; both below 2**61."""
    a_high, a_low = a >> _31, a & _LOW31
    b_high, b_low = b >> _31, b & _LOW31
    middle = a_high * b_low
    middle += a_low * b_high  # times 2**31; below 2**62
    product = a_high * b_high
    product <<= _1  # 2**62 is 2
    product += middle >> _30  # 2**61 is 1
    middle &= _LOW30
    middle <<= _31
    product += middle
    a_low *= b_low
    product += a_low
    return reduce(product)


def shift(values: U64, bits: int) -> U64:
    """Residues times 2**bits, for 0 < bits < 61: a rotation of 61 bits."""
    high = values >> np.uint64(BITS - bits)
    return ((values << np.uint64(bits)) & _P) | high


def bucket_products(values: U64, buckets: npt.NDArray[np.uint16], count: int) -> U64:
    """The product of each bucket's residues; 1 for an empty bucket.

    Args:
        values: shape (lanes, n).
        buckets: of each of them, shape (n,), below `count`.
        count: how many buckets there are.

    Returns:
        Shape (lanes, count).
    """
    order = np.argsort(buckets, kind="stable")
    sizes = np.bincount(buckets, minlength=count)
    largest = int(sizes.max(initial=0))
    if largest * count > 4 * len(buckets):  # a table would be nearly empty
        return _run_products(values[:, order], sizes)
    cells = np.empty(len(order), np.int64)
    cells[order] = (np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)) * count
    cells += buckets
    table = np.ones((values.shape[0], largest * count), np.uint64)
    for lane, residues in enumerate(values):
        table[lane][cells] = residues
    return product(table.reshape(values.shape[0], largest, count))


def product(values: U64) -> U64:
    """The product along the axis 1: shape (lanes, n, m) becomes (lanes, m)."""
    lanes, rows, columns = values.shape
    # So many rows at a time that what `multiply` needs stays in the processor's cache.
    height = max(1, min(rows, _CACHED // columns))
    result = np.ones((lanes, height, columns), np.uint64)
    for start in range(0, rows, height):
        part = values[:, start : start + height]
        result[:, : part.shape[1]] = multiply(result[:, : part.shape[1]], part)
    while height > 1:
        half = height // 2
        result[:, :half] = multiply(result[:, :half], result[:, height - half : height])
        height -= half
    return result[:, 0]


def _run_products(values: U64, sizes: npt.NDArray[np.int64]) -> U64:
    """The product of each run of residues, where runs differ much in length.

    Neighbours are multiplied in pairs until one residue a run is left.

    Args:
        values: shape (lanes, n), run after run.
        sizes: length of each run.
    """
    lengths = sizes[sizes > 0]
    while len(lengths) and lengths.max() > 1:
        starts = np.cumsum(lengths) - lengths
        place = np.arange(values.shape[1]) - np.repeat(starts, lengths)
        left = np.flatnonzero(place % 2 == 0)
        paired = left[place[left] + 1 < np.repeat(lengths, -(-lengths // 2))]
        products = values.copy()
        products[:, paired] = multiply(values[:, paired], values[:, paired + 1])
        values, lengths = products[:, left], -(-lengths // 2)
    result = np.ones((values.shape[0], len(sizes)), np.uint64)
    result[:, sizes > 0] = values
    return result
