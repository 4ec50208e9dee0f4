"""Repeated keys against a plain dictionary: in memory, spilled, and with one key without end."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airlift.repeated_keys import RepeatedKeys
from airlift.storage import open_storage

SMALL = 1  # bytes of budget: the least that it takes, 4,096 keys at once


def run(folder: Path, parts: list[np.ndarray], keep_last: bool, budget: int = 64 << 20):
    """The finder's whole answer, read back from its files."""
    storage = open_storage(str(folder))
    with RepeatedKeys(keep_last, budget) as finder:
        for part, keys in enumerate(parts):
            finder.add(part, np.arange(len(keys)), keys)
        finder.finish()
        finder.save_keys(storage, "keys.npy")
        losers = {}
        for part, rows in finder.losers.items():
            finder.save_losers(part, storage, f"{part}.npy")
            losers[part] = np.load(folder / f"{part}.npy", allow_pickle=False)
            assert len(losers[part]) == rows
        return finder, np.load(folder / "keys.npy", allow_pickle=False), losers


def expected(parts: list[np.ndarray]):
    counts = Counter(int(key) for keys in parts for key in keys)
    repeated = sorted(key for key, count in counts.items() if count > 1)
    last = {int(k): (p, n) for p, keys in enumerate(parts) for n, k in enumerate(keys)}
    losers: dict[int, list[int]] = {}
    for p, keys in enumerate(parts):
        for n, key in enumerate(keys):
            if last[int(key)] != (p, n):
                losers.setdefault(p, []).append(n)
    return repeated, sum(counts[key] - 1 for key in repeated), losers


def compare(folder: Path, parts: list[np.ndarray], budget: int) -> None:
    repeated, extra, losers = expected(parts)
    for keep_last in (False, True):
        finder, keys, found = run(folder, parts, keep_last, budget)
        assert (finder.keys, finder.extra) == (len(repeated), extra)
        assert keys.dtype == np.int64 and keys.tolist() == repeated
        assert finder.examples == repeated[:5]
        wanted = losers if keep_last else {}
        assert {part: rows.tolist() for part, rows in found.items()} == wanted


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(-5, 40) | st.integers(-(2**63), 2**63 - 1)), max_size=6))
def test_few_keys(tmp_path_factory: pytest.TempPathFactory, parts: list[list[int]]) -> None:
    folder = tmp_path_factory.mktemp("few")
    compare(folder, [np.array(part, np.int64) for part in parts], 64 << 20)


@pytest.mark.parametrize("distinct", [1, 2, 3_000, 60_000, 2**40])
def test_spilled(tmp_path: Path, distinct: int) -> None:
    random = np.random.default_rng(distinct)
    parts = [random.integers(0, distinct, rows) for rows in (30_000, 0, 1, 9_000, 12_345)]
    compare(tmp_path, parts, SMALL)


def test_spilled_extremes_and_sorted_input(tmp_path: Path) -> None:
    ends = np.array([-(2**63), 2**63 - 1, 0, -1], np.int64)
    parts = [np.arange(20_000), ends, np.arange(19_990, 40_000), ends]
    compare(tmp_path, parts, SMALL)


def test_nothing_at_all(tmp_path: Path) -> None:
    compare(tmp_path, [], SMALL)


def test_leaves_no_temporary_files(tmp_path: Path) -> None:
    with pytest.raises(KeyError), RepeatedKeys(True, SMALL, tmp_path) as finder:
        finder.add(0, np.arange(20_000), np.zeros(20_000, np.int64))
        assert list(tmp_path.iterdir())
        raise KeyError
    assert not list(tmp_path.iterdir())


def test_none_of_a_million_keys_is_repeated() -> None:
    keys = np.random.default_rng(0).permutation(1_000_000)
    with RepeatedKeys(keep_last=False) as finder:
        finder.add(0, np.arange(len(keys)), keys)
        finder.finish()
    assert finder.keys == 0
