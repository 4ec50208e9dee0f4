"""Rows that share a primary key are found, wherever they stand."""

from __future__ import annotations

import tempfile
from collections import Counter

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from airlift.storage import open_storage
from airlift.unique_keys import KeyHashes, repeated, suspects

keys = st.text('ab"\\\n', max_size=3)


@given(st.lists(st.lists(st.lists(keys, max_size=8), max_size=3), max_size=4))
@settings(max_examples=60, deadline=None)
def test_repeated_keys_of_all_chunks(chunks):
    with tempfile.TemporaryDirectory() as at:
        folders = []
        for number, batches in enumerate(chunks):
            hashes = KeyHashes()
            for batch in batches:
                hashes.add(pa.array(batch, pa.string()))
            folders.append(open_storage(f"{at}/{number}"))
            hashes.write(folders[-1])
        found = suspects(folders)
    columns = [pa.array(batch, pa.string()) for batches in chunks for batch in batches]
    counted = Counter(key for column in columns for key in column.to_pylist())
    twice = sorted(key for key, count in counted.items() if count > 1)
    assert len(found) == len(twice)
    if twice:
        assert repeated(iter(columns), found) == (len(twice), twice[:5])


def test_keys_with_the_same_hash_are_no_repeated_keys():
    column = pa.array(["a", "b"])
    hashes = KeyHashes()
    hashes.add(column)
    with tempfile.TemporaryDirectory() as at:
        folder = open_storage(at)
        hashes.write(folder)
        assert len(suspects([folder, folder])) == 2
    assert repeated(iter([column]), suspected := _all(column)) == (0, []) and len(suspected) == 2


def _all(column: pa.Array):
    from airlift.unique_keys import value_hashes

    return value_hashes(column).view("int64")
