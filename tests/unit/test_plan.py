"""Grouping chunks into batches."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from airlift import plan as plans
from airlift.chunk import Chunk, chunk_id
from airlift.mapping import MappedCollection
from airlift.plan import CollectionPlan, Plan, group_chunks
from airlift.sources.base import FILE_BATCH_BYTES as BATCH_BYTES
from tests.unit.arrow_rows import EVERY_TYPE


def planned(name: str, sizes: list[int]) -> CollectionPlan:
    chunks = tuple(
        Chunk(id=f"{n:06d}-x", collection=name, partition="", rows=n, bytes=size, read={})
        for n, size in enumerate(sizes)
    )
    target = EVERY_TYPE.model_copy(update={"name": name})
    mapped = MappedCollection(source=name, target=target, fields={}, partitions={"": ""})
    return CollectionPlan(
        mapped=mapped,
        way="insert",
        file_format="numpy",
        rows=9,
        deleted=0,
        left_out=0,
        chunks=chunks,
    )


@given(
    st.lists(st.lists(st.integers(0, 20 << 30), max_size=20), max_size=5),
    st.integers(1, 30),
)
def test_every_chunk_once_in_order_in_at_most_so_many_batches(sizes, most):
    collections = [planned(f"c{n}", chunks) for n, chunks in enumerate(sizes)]
    batches = group_chunks(collections, most, BATCH_BYTES)
    assert [ref for batch in batches for ref in batch] == [
        plans.ChunkRef(collection=one.name, chunk=chunk.id)
        for one in collections
        for chunk in one.chunks
    ]
    assert len(batches) <= most
    assert all(batches)


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=200), st.integers(1, 50))
def test_batches_are_of_about_equal_bytes(sizes, most):
    batches = group_chunks([planned("c", sizes)], most, 1)
    wanted = -(-sum(sizes) // most)
    by_id = {f"{n:06d}-x": size for n, size in enumerate(sizes)}
    totals = [sum(by_id[ref.chunk] for ref in batch) for batch in batches]
    assert max(totals) <= wanted + max(sizes)


def test_small_migrations_are_one_batch_and_none_is_no_batch():
    assert len(group_chunks([planned("a", [BATCH_BYTES // 4] * 3)], 64, BATCH_BYTES)) == 1
    assert len(group_chunks([planned("a", [BATCH_BYTES] * 3)], 64, BATCH_BYTES)) == 3
    assert (
        group_chunks([planned("a", [])], 64, BATCH_BYTES) == () == group_chunks([], 64, BATCH_BYTES)
    )


def test_a_plan_finds_its_chunks():
    one, two = planned("a", [BATCH_BYTES, 1]), planned("b", [1])
    batches = group_chunks([one, two], 9, BATCH_BYTES)
    plan = Plan(migration_id="m", collections=(one, two), batches=batches)
    again = Plan.model_validate_json(plan.model_dump_json())
    assert again == plan
    assert again.batch(0) == [(one, one.chunks[0])]
    assert again.batch(1) == [(one, one.chunks[1]), (two, two.chunks[0])]
    assert again.collection("b").planned_rows == 0 and one.planned_rows == 1


def test_chunk_ids_say_place_and_content():
    assert chunk_id(3, "a", {"x": 1, "y": 2}) == chunk_id(3, "a", {"y": 2, "x": 1})
    assert chunk_id(3, "a").startswith("000003-")
    assert len({chunk_id(3, "a"), chunk_id(4, "a"), chunk_id(3, "b"), chunk_id(3, "a", "")}) == 4


def test_chunk_ids_never_change_silently():
    """A migration that is under way finds its chunks by them."""
    assert chunk_id(1, "songs", "", {"dim": 64}) == "000001-4993375aa5f7"
