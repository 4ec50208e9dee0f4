"""Arithmetic modulo 2**61 - 1, against Python's own whole numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlift.prime_field import PRIME, bucket_products, multiply, product, reduce, shift

EXTREME = [0, 1, 2, 2**30 - 1, 2**30, 2**31 - 1, 2**31, 2**60, PRIME - 2, PRIME - 1]
residue = st.one_of(st.sampled_from(EXTREME), st.integers(0, PRIME - 1))
residues = st.lists(residue, min_size=1, max_size=40)


def u64(values: object) -> np.ndarray:
    return np.array(values, np.uint64)


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1))
def test_reduce(values):
    assert reduce(u64(values)).tolist() == [value % PRIME for value in values]


@given(residues, st.data())
def test_multiply(left, data):
    right = data.draw(st.lists(residue, min_size=len(left), max_size=len(left)))
    expected = [a * b % PRIME for a, b in zip(left, right, strict=True)]
    assert multiply(u64(left), u64(right)).tolist() == expected


def test_multiply_extremes_with_each_other():
    left, right = np.meshgrid(u64(EXTREME), u64(EXTREME))
    expected = [[a * b % PRIME for a in EXTREME] for b in EXTREME]
    assert multiply(left, right).tolist() == expected


@given(residues, st.integers(1, 60))
def test_shift(values, bits):
    # A rotation may give the prime itself for 0: they are the same residue.
    assert [n % PRIME for n in shift(u64(values), bits).tolist()] == [
        value * 2**bits % PRIME for value in values
    ]


@given(st.integers(1, 300), st.integers(1, 5), st.integers(0, 2**32))
def test_product(rows, columns, seed):
    values = np.random.default_rng(seed).integers(0, PRIME, (2, rows, columns), dtype=np.uint64)
    expected = [
        [math.prod(values[lane, :, column].tolist()) % PRIME for column in range(columns)]
        for lane in range(2)
    ]
    assert product(values).tolist() == expected


@pytest.mark.parametrize(
    ("rows", "count", "skew"),
    [
        (0, 16, 1),
        (1, 16, 1),
        (7, 1024, 1),
        (5_000, 16, 1),
        (5_000, 16, 9),  # nearly all in a few buckets
        (3_000, 1024, 60),
        (9_000, 8, 1),
        (2_000, 1, 1),
    ],
)
def test_bucket_products(rows, count, skew):
    random = np.random.default_rng(rows)
    values = random.integers(0, PRIME, (2, rows), dtype=np.uint64)
    buckets = (random.random(rows) ** skew * count).astype(np.uint16)
    expected = [[1] * count for _ in range(2)]
    for lane, row in np.ndindex(values.shape):
        bucket = int(buckets[row])
        expected[lane][bucket] = expected[lane][bucket] * int(values[lane, row]) % PRIME
    assert bucket_products(values, buckets, count).tolist() == expected
