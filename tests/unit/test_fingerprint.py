"""The fingerprint: it must not depend on order or batches, and must show every change."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airlift.fingerprint import Fingerprint, FingerprintKey, of_buckets
from airlift.prime_field import PRIME
from airlift.row_hash import RowHasher, random_residues
from tests.unit.arrow_rows import EVERY_TYPE, KEY, batch_of, fingerprint_of, slices

ROWS = 12


def vectors(rows: np.ndarray) -> pa.RecordBatch:
    """Rows with the keys 0, 1, … and these vectors, shape (rows, dim) of float32."""
    flat = pa.array(np.ascontiguousarray(rows, np.float32).reshape(-1))
    column = pa.FixedSizeListArray.from_arrays(flat, rows.shape[1])
    return pa.record_batch({"id": pa.array(np.arange(len(rows))), "v": column})


def random_rows(dim: int, rows: int = ROWS, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, dim)).astype(np.float32)


# --- what it does not depend on --------------------------------------------------------------


@given(slices(EVERY_TYPE), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_it_is_the_same_however_rows_are_ordered_and_split(batches, random):
    table = pa.Table.from_batches(batches, schema=EVERY_TYPE.arrow).combine_chunks()
    order = list(range(table.num_rows))
    random.shuffle(order)
    shuffled = table.take(pa.array(order, pa.int64())).combine_chunks().to_batches()
    expected = fingerprint_of(*batches)
    assert fingerprint_of(*table.to_batches()) == fingerprint_of(*shuffled) == expected
    assert Fingerprint().combined(*map(fingerprint_of, batches)) == expected


@given(slices(EVERY_TYPE))
@settings(deadline=None)
def test_it_is_the_same_however_columns_are_ordered(batches):
    names = EVERY_TYPE.arrow.names
    for batch in batches:
        assert fingerprint_of(batch) == fingerprint_of(batch.select(names[::-1]))


@given(st.integers(1, 200), st.integers(0, 2**32), st.data())
@settings(max_examples=50, deadline=None)
def test_vectors_of_any_length_in_any_slice(dim, seed, data):
    random = np.random.default_rng(seed)
    flat = random.standard_normal(7 * dim).astype(np.float32)
    floats = pa.FixedSizeListArray.from_arrays(pa.array(flat), dim)
    bits = pa.array([random.bytes(dim) for _ in range(7)], pa.binary(dim))
    start = data.draw(st.integers(0, 6))
    stop = data.draw(st.integers(start + 1, 7))
    for column in (floats, bits):
        part = column.slice(start, stop - start)
        copied = pa.array(part.to_pylist(), part.type)
        batch = pa.record_batch({"v": part})
        assert fingerprint_of(batch) == fingerprint_of(pa.record_batch({"v": copied}))
        assert fingerprint_of(*(batch.slice(n, 1) for n in range(len(part)))) == (
            fingerprint_of(batch)
        )


def test_many_rows_are_multiplied_in_several_parts():
    batch = batch_of(EVERY_TYPE, 70_000)
    parts = [batch.slice(n, 999) for n in range(0, 70_000, 999)]
    assert fingerprint_of(*parts) == fingerprint_of(batch)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (pa.int64(), [5, None, 0, None, -7]),
        (pa.int8(), [5, None, 0, None, -7]),
        (pa.float64(), [5.0, None, 0.0, None, -7.5]),
        (pa.bool_(), [True, None, False, None, True]),
        (pa.string(), ["a", None, "", None, "漢"]),
        (pa.binary(3), [b"abc", None, b"\0\0\0", None, b"xyz"]),
        (pa.list_(pa.float32(), 2), [[1, 2], None, [0, 0], None, [3, 4]]),
        (pa.list_(pa.int32()), [[1, 2], None, [], None, [0]]),
        (pa.list_(pa.string()), [["", ""], None, [], None, [""]]),
    ],
    ids=str,
)
def test_nulls_have_a_place_of_their_own_and_depend_on_no_batch(kind, values):
    batch = pa.record_batch({"f": pa.array(values, kind)})
    one_by_one = [batch.slice(n, 1) for n in range(5)]
    assert fingerprint_of(*one_by_one) == fingerprint_of(batch)
    assert fingerprint_of(batch.slice(1, 3), batch.slice(0, 1), batch.slice(4)) == (
        fingerprint_of(batch)
    )
    each = [fingerprint_of(row) for row in one_by_one]
    assert each[1] == each[3]  # both null
    # A null is no zero and no empty text.
    assert len(set(each)) == len({repr(value) for value in values})


@pytest.mark.parametrize(
    "lists",
    [
        [[1], [1, 0], [0, 1], [256], [0]],
        [[None], [0], [None, 0], [0, None], [0, 0]],
        [["ab"], ["a", "b"], ["", "ab"], ["ab", ""], [None, "ab"]],
        [["1:a"], ["1", "a"], ["a:1"], ["1:", "a"], ["-", "a"]],
        [[True], [False], [True, False], [False, True], [None]],
    ],
)
def test_no_two_lists_are_taken_for_one_another(lists):
    first = next(item for items in lists for item in items if item is not None)
    kinds = {str: pa.string(), bool: pa.bool_(), int: pa.int64()}
    column = pa.array(lists, pa.list_(kinds[type(first)]))
    batch = pa.record_batch({"f": column})
    assert len({fingerprint_of(batch.slice(n, 1)) for n in range(len(lists))}) == len(lists)
    assert fingerprint_of(*(batch.slice(n, 1) for n in range(5))) == fingerprint_of(batch)


# --- what it shows: differences that cancelled in sums of folded words ---------------------------

DIMS = [1, 2, 3, 4, 8, 16, 64, 100, 128, 768, 1536]


@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("rows", [1, 2, 4, ROWS])
def test_negated_vectors_show(dim, rows):
    """At every dimension divisible by 4 the sign bits of a row once cancelled each other."""
    before = random_rows(dim)
    after = before.copy()
    after[:rows] *= -1
    assert fingerprint_of(vectors(before)) != fingerprint_of(vectors(after))


@pytest.mark.parametrize("dim", [4, 8, 128, 768])
@pytest.mark.parametrize("flipped", [1, 2, 3, 4, 8])
def test_components_with_flipped_signs_show(dim, flipped):
    before = random_rows(dim)
    random = np.random.default_rng(flipped)
    for _ in range(20):
        after = before.copy()
        after[random.integers(ROWS), random.permutation(dim)[:flipped]] *= -1
        assert fingerprint_of(vectors(before)) != fingerprint_of(vectors(after))


@pytest.mark.parametrize("places", [(31, 63), (0,), (31,), (63,), (15, 47), (0, 1, 2, 3), (62, 63)])
@pytest.mark.parametrize("words", [1, 2, 4])
def test_the_same_bits_flipped_in_several_words_show(places, words):
    mask = np.uint64(sum(1 << bit for bit in places))
    before = np.random.default_rng(1).integers(0, 1 << 64, (4, 8), dtype=np.uint64)
    after = before.copy()
    after[0, :words] ^= mask
    prints = []
    for values in (before, after):
        raw = pa.py_buffer(values.tobytes())
        column = pa.Array.from_buffers(pa.binary(64), 4, [None, raw])
        prints.append(fingerprint_of(pa.record_batch({"v": column})))
    assert prints[0] != prints[1]


@given(st.integers(0, 2**32), st.sampled_from([1, 2, 4]))
@settings(deadline=None, max_examples=200)
def test_any_flipped_bits_show(seed, count):
    random = np.random.default_rng(seed)
    before = random.integers(0, 256, (6, 32), dtype=np.uint8)
    after = before.copy()
    for bit in random.permutation(before.size * 8)[:count]:
        after.reshape(-1)[bit // 8] ^= 1 << bit % 8
    prints = [
        fingerprint_of(
            pa.record_batch({"v": pa.array([row.tobytes() for row in rows], pa.binary(32))})
        )
        for rows in (before, after)
    ]
    assert prints[0] != prints[1]


def bits(pattern: int) -> np.ndarray:
    return np.array([pattern], "<u4").view("<f4")


SPECIAL = [
    ("zero", [0.0], [-0.0]),
    ("zeros", [0.0, -0.0], [-0.0, 0.0]),
    ("NaN payload", bits(0x7FC00000), bits(0x7FC00001)),
    ("NaN sign", bits(0x7FC00000), bits(0xFFC00000)),
    ("infinity", [np.inf], [-np.inf]),
    ("denormal", [1e-45], [0.0]),
]


@pytest.mark.parametrize(
    ("before", "after"), [pair[1:] for pair in SPECIAL], ids=[pair[0] for pair in SPECIAL]
)
def test_bits_of_numbers_that_are_equal_or_not_show(before, after):
    one, two = (vectors(np.array([values], np.float32)) for values in (before, after))
    assert fingerprint_of(one) != fingerprint_of(two)


@pytest.mark.parametrize("dim", [2, 4, 128])
def test_permuted_components_show(dim):
    before = random_rows(dim)
    for seed in range(20):
        after = before.copy()
        row = seed % ROWS
        after[row] = np.random.default_rng(seed).permutation(after[row])
        same = (after == before).all()
        assert (fingerprint_of(vectors(before)) == fingerprint_of(vectors(after))) == same


@given(st.sampled_from(EVERY_TYPE.arrow.names), st.integers(0, 2**32))
@settings(deadline=None)
def test_any_changed_value_of_any_type_shows(name, seed):
    batch, other = batch_of(EVERY_TYPE, 5, seed), batch_of(EVERY_TYPE, 5, seed + 1)
    at = batch.schema.names.index(name)
    mixed = batch.set_column(at, batch.schema.field(at), other.column(at))
    # 0.0 and -0.0 are equal to Python, and other bits.
    same = [repr(a) for a in batch.column(at)] == [repr(a) for a in other.column(at)]
    assert (fingerprint_of(mixed) == fingerprint_of(batch)) == same


# --- what it shows: values in other places -------------------------------------------------------


@given(st.integers(0, 2**32), st.sampled_from(EVERY_TYPE.arrow.names[1:]))
@settings(deadline=None)
def test_values_swapped_between_rows_show(seed, name):
    """Nothing linear survives the product: a sum of row hashes would be the same."""
    batch = batch_of(EVERY_TYPE, 2, seed)
    at = batch.schema.names.index(name)
    column = batch.column(at)
    swapped = batch.set_column(at, batch.schema.field(at), column.take(pa.array([1, 0])))
    same = repr(column[0]) == repr(column[1])
    assert (fingerprint_of(swapped) == fingerprint_of(batch)) == same


def test_values_swapped_crosswise_between_four_rows_show():
    """The sum of any linear hash is the same for both."""
    pairs = list(itertools.product([1, 2], [3, 4]))
    before = pa.record_batch({"a": [a for a, _ in pairs[:2]], "b": [b for _, b in pairs[:2]]})
    rows = [pairs, [*pairs[2:], *pairs[:2]], [(1, 3), (1, 3), (2, 4), (2, 4)]]
    prints = [
        fingerprint_of(pa.record_batch({"a": [a for a, _ in r], "b": [b for _, b in r]}))
        for r in rows
    ]
    assert prints[0] == prints[1] != prints[2]
    assert fingerprint_of(before) not in prints


def test_values_swapped_between_fields_show():
    one = pa.record_batch({"a": pa.array([1, 3]), "b": pa.array([2, 4])})
    two = pa.record_batch({"a": pa.array([2, 3]), "b": pa.array([1, 4])})
    assert fingerprint_of(one) != fingerprint_of(two)


@pytest.mark.parametrize("name", ["bool", "varchar", "float_vector", "array_varchar", "id"])
def test_a_renamed_field_shows(name):
    batch = batch_of(EVERY_TYPE, 10)
    names = [known + "_" if known == name else known for known in batch.schema.names]
    assert fingerprint_of(batch.rename_columns(names)) != fingerprint_of(batch)


def test_rows_in_other_partitions_show():
    batch = batch_of(EVERY_TYPE, 6)
    one, two = batch.slice(0, 3), batch.slice(3)

    def placed(**partitions: pa.RecordBatch) -> Fingerprint:
        prints = (fingerprint_of(rows, partition=name) for name, rows in partitions.items())
        return Fingerprint().combined(*prints)

    expected = placed(p=one, q=two)
    assert placed(p=two, q=one) != expected  # each other's
    assert placed(p=batch) != expected
    assert Fingerprint().combined(fingerprint_of(one), placed(q=two)) != expected
    swapped = placed(p=batch.take(pa.array([0, 1, 3])), q=batch.take(pa.array([2, 4, 5])))
    assert swapped != expected
    assert placed(q=two, p=one) == expected


@pytest.mark.parametrize("times", [0, 2, 3, 4, 64])
def test_missing_and_doubled_rows_show(times):
    """An exclusive or would lose pairs of equal rows."""
    batch = batch_of(EVERY_TYPE, 10)
    rows = [*range(9), *[9] * times]
    assert fingerprint_of(batch.take(pa.array(rows, pa.int64()))) != fingerprint_of(batch)
    assert fingerprint_of(batch, batch) != fingerprint_of(batch)
    only = batch.slice(9)
    assert fingerprint_of(*[only] * times) == Fingerprint(
        *(pow(value, times, PRIME) for value in fingerprint_of(only))
    )


# --- the construction ----------------------------------------------------------------------------


def test_it_is_the_product_of_the_rows_roots():
    batch = batch_of(EVERY_TYPE, 50)
    raw = bytes.fromhex(KEY.key)
    hashes, points = RowHasher(raw, None).hash(batch, "p").values, random_residues(raw, "point", 2)
    expected = [
        math.prod(int(points[lane]) - value for value in hashes[lane].tolist()) % PRIME
        for lane in range(2)
    ]
    assert list(fingerprint_of(batch, partition="p")) == expected


def test_buckets_multiply_to_the_whole_and_show_where_rows_differ():
    batch = batch_of(EVERY_TYPE, 3_000)
    rows, other = KEY.fingerprinter("id"), KEY.fingerprinter("id")
    rows.add(batch)
    changed = batch.set_column(1, "bool", pa.array([not v for v in batch["bool"].to_pylist()]))
    other.add(batch.slice(5))
    other.add(changed.slice(0, 5))
    assert of_buckets(rows.buckets) == rows.fingerprint
    differing = (rows.buckets != other.buckets).any(axis=0)
    own = RowHasher(bytes.fromhex(KEY.key), "id").hash(batch.slice(0, 5), "").buckets
    assert np.flatnonzero(differing).tolist() == sorted(set(own.tolist()))
    assert rows.rows == other.rows == 3_000


def test_no_accident_among_many_similar_rows():
    ids = np.arange(5_000, dtype=np.int64)
    found = {
        fingerprint_of(pa.record_batch({"id": ids[n : n + 1], "v": np.zeros(1, np.float32)}))
        for n in range(5_000)
    }
    assert len(found) == 5_000


SMALL: list[Callable[[np.ndarray], None]] = [
    lambda rows: rows.__setitem__((0, 0), rows[0, 0] ^ 1),
    lambda rows: rows.__setitem__((0, slice(None)), rows[0] ^ 0x80000000),
    lambda rows: rows.__setitem__((slice(None), 0), rows[:, 0] ^ 0x80000000),
    lambda rows: rows.__setitem__((0, slice(0, 2)), rows[0, 1::-1]),
    lambda rows: rows.__setitem__((slice(0, 2), 0), rows[1::-1, 0]),
    lambda rows: rows.__setitem__(1, rows[0]),
]


@pytest.mark.parametrize("change", SMALL, ids=range(len(SMALL)))
def test_over_random_keys_small_differences_look_random(change):
    """Each key is a trial: the low byte of the two fingerprints agrees in one of 256 of them."""
    before = np.random.default_rng(7).integers(0, 1 << 32, (3, 4), dtype=np.uint32)
    after = before.copy()
    change(after)
    assert (before != after).any()
    trials, hits = 1_024, [0] * 4
    for trial in range(trials):
        key = FingerprintKey(key=trial.to_bytes(32, "little").hex())
        one, two = (
            fingerprint_of(vectors(rows.view(np.float32)), key=key) for rows in (before, after)
        )
        assert one != two
        for place, (a, b) in enumerate(zip(one, two, strict=True)):
            hits[2 * place] += a % 256 == b % 256
            hits[2 * place + 1] += a >> 53 == b >> 53
    # 4 are expected; more than 17 happen to a random function less than once in 10**6 times.
    assert max(hits) <= 17


# --- how it is written down ----------------------------------------------------------------------


@given(st.integers(0, PRIME - 1), st.integers(0, PRIME - 1))
def test_text_and_back(first, second):
    fingerprint = Fingerprint(first, second)
    assert Fingerprint.parse(str(fingerprint)) == fingerprint
    assert len(str(fingerprint)) == 32


def test_no_rows_change_nothing():
    assert fingerprint_of(batch_of(EVERY_TYPE, 0)) == Fingerprint() == Fingerprint().combined()


def test_keys_differ_and_are_known_by_their_ids():
    one, two = FingerprintKey.draw(), FingerprintKey.draw()
    assert one.key != two.key and one.id != two.id and len(one.key) == 64
    batch = batch_of(EVERY_TYPE, 3)
    assert fingerprint_of(batch, key=one) != fingerprint_of(batch, key=two)
    assert FingerprintKey.model_validate_json(one.model_dump_json()) == one


def test_known_answers():
    """Manifests of migrations that are under way hold such: they must never change."""
    batch = pa.record_batch(
        {
            "id": pa.array([10, 11, 12]),
            "text": pa.array(["", "漢", None]),
            "vector": pa.array([[1, -2], [0, -0.0], [0.5, 1e30]], pa.list_(pa.float32(), 2)),
            "list": pa.array([[1], [], None], pa.list_(pa.int16())),
        }
    )
    assert str(fingerprint_of(batch, partition="p", primary_key="id")) == KNOWN


KNOWN = "1e17d11fe09111a81f1fabbd256a2b37"
