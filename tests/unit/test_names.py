"""Names that Milvus takes, and what becomes of others."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlift.names import MAX_LENGTH, collisions, is_valid, sanitized


@pytest.mark.parametrize("name", ["a", "_", "A_9", "_1", "x" * 255])
def test_taken(name):
    assert is_valid(name)
    assert sanitized(name) == name


@pytest.mark.parametrize(
    ("name", "becomes"),
    [
        ("", "_"),
        ("9lives", "_9lives"),
        ("my-table", "my_table"),
        ("a.b c/d", "a_b_c_d"),
        ("naïve", "na_ve"),
        ("a\n", "a_"),
        ("٣", "u0663"),  # a digit, but none of ours
        ("标题", "u6807_u9898"),
        ("内容", "u5185_u5bb9"),
        ("标_题", "u6807_u005f_u9898"),
        ("タイトル 1", "_____1"),
        ("😀", "u1f600"),
        ("--", "__"),
        ("x" * 256, "x" * 255),
        ("9" * 255, "_" + "9" * 254),
    ],
)
def test_refused_and_changed(name, becomes):
    assert not is_valid(name)
    assert sanitized(name) == becomes


@given(
    st.lists(
        st.text(st.characters(categories=("Lo",)), min_size=1, max_size=20), unique=True, max_size=9
    )
)
def test_names_without_ascii_stay_apart(names):
    assert len({sanitized(name) for name in names}) == len(names)


@given(st.text(max_size=300))
def test_what_is_made_is_always_taken(name):
    made = sanitized(name)
    assert is_valid(made)
    assert sanitized(made) == made
    assert is_valid(name) == (made == name)


@given(st.text(max_size=300))
def test_validity_is_what_milvus_says(name):
    expected = bool(re.match(r"\A[A-Za-z_][A-Za-z0-9_]*\Z", name)) and len(name) <= MAX_LENGTH
    assert is_valid(name) == expected


@given(st.dictionaries(st.text(max_size=3), st.sampled_from("abc")))
def test_collisions_are_all_told_once(pairs):
    told = dict(collisions(pairs.items()))
    for target in "abc":
        sources = [source for source, to in pairs.items() if to == target]
        assert told.get(target, []) == (sources if len(sources) > 1 else [])
