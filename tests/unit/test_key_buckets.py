"""Fingerprints by buckets: each chunk counts once, whatever was cut off or written anew."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from airlift.chunk import Chunk, Manifest
from airlift.fingerprint import Fingerprint
from airlift.key_buckets import BatchBuckets, buckets_of
from airlift.plan import CollectionPlan
from airlift.prime_field import U64
from airlift.staging import Staging
from airlift.storage import open_storage
from tests.unit.arrow_rows import EVERY_TYPE, KEY, batch_of

CHUNKS = ["a", "b", "c", "d"]


@pytest.fixture
def staging(tmp_path: Path) -> Staging:
    return Staging(open_storage(str(tmp_path / "m1")))


def buckets(*seeds: int) -> U64:
    rows = KEY.fingerprinter("id")
    for seed in seeds:
        rows.add(batch_of(EVERY_TYPE, 40, seed))
    return rows.buckets


def fingerprint(*seeds: int) -> Fingerprint:
    rows = KEY.fingerprinter("id")
    for seed in seeds:
        rows.add(batch_of(EVERY_TYPE, 40, seed))
    return rows.fingerprint


def manifest(chunk: str, seed: int) -> Manifest:
    return Manifest(
        chunk=chunk, rows_read=40, rows=40, bad_rows=0, bytes=1, files=(),
        fingerprint=str(fingerprint(seed)),
    )  # fmt: skip


def convert(staging: Staging, batch: int, chunk: str, seed: int, name: str = "c") -> None:
    found = manifest(chunk, seed)
    BatchBuckets(staging, batch).add(name, found, buckets(seed))
    staging.write(f"{name}/{chunk}/manifest.json", found)


def plan(*chunks: str, name: str = "c") -> CollectionPlan:
    return CollectionPlan.model_construct(
        mapped=type("Mapped", (), {"full_name": name})(),
        chunks=tuple(
            Chunk(id=one, collection=name, partition="", rows=40, bytes=1, read={})
            for one in chunks
        ),
    )


def test_chunks_of_several_batches_and_collections(staging):
    for seed, chunk in enumerate(CHUNKS):
        convert(staging, seed % 2, chunk, seed)
        convert(staging, seed % 2, chunk, seed + 10, name="other")
    found = buckets_of(staging, plan(*CHUNKS), fingerprint(0, 1, 2, 3))
    assert (found == buckets(0, 1, 2, 3)).all()
    found = buckets_of(staging, plan(*CHUNKS, name="other"), fingerprint(10, 11, 12, 13))
    assert (found == buckets(10, 11, 12, 13)).all()
    files = [path for path, size in staging.folder.list("buckets", recursive=True).items() if size]
    assert files == [f"buckets/00{n}/{name}.arrow" for n in (0, 1) for name in ("c", "other")]


@pytest.mark.parametrize("length", [240, 243, 249, 250, 255])
def test_names_as_long_as_a_folder_may_have(staging, length):
    names = ["n" * (length - 1) + end for end in "xy"]
    for seed, name in enumerate(names):
        convert(staging, 0, "a", seed, name)
    for seed, name in enumerate(names):
        found = buckets_of(staging, plan("a", name=name), fingerprint(seed))
        assert found is not None and (found == buckets(seed)).all()


@pytest.mark.parametrize("killed", range(4))
def test_a_chunk_that_was_cut_off_before_its_manifest_counts_once(staging, killed):
    for seed, chunk in enumerate(CHUNKS):
        if seed == killed:
            BatchBuckets(staging, 0).add("c", manifest(chunk, seed), buckets(seed))
            assert buckets_of(staging, plan(*CHUNKS[: seed + 1]), Fingerprint()) is None
        convert(staging, 0, chunk, seed)
    found = buckets_of(staging, plan(*CHUNKS), fingerprint(0, 1, 2, 3))
    assert (found == buckets(0, 1, 2, 3)).all()


@pytest.mark.parametrize("again", range(4))
def test_a_chunk_that_is_written_anew_with_the_same_rows_counts_once(staging, again):
    for seed, chunk in enumerate(CHUNKS):
        convert(staging, 0, chunk, seed)
    convert(staging, 0, CHUNKS[again], again)
    found = buckets_of(staging, plan(*CHUNKS), fingerprint(0, 1, 2, 3))
    assert (found == buckets(0, 1, 2, 3)).all()


@pytest.mark.parametrize("again", range(4))
def test_after_a_chunk_came_with_other_rows_nothing_is_said(staging, again):
    for seed, chunk in enumerate(CHUNKS):
        convert(staging, 0, chunk, seed)
    convert(staging, 0, CHUNKS[again], 77)
    seeds = [77 if seed == again else seed for seed in range(4)]
    found = buckets_of(staging, plan(*CHUNKS), fingerprint(*seeds))
    # The latest chunk stands alone, and is replaced; earlier ones can't be taken out.
    assert (found == buckets(*seeds)).all() if again == 3 else found is None


@pytest.mark.parametrize("chunks", [CHUNKS[:2], [*CHUNKS[:3], "e"], [*CHUNKS, "e"]])
def test_other_chunks_than_planned_say_nothing(staging, chunks):
    for seed, chunk in enumerate(CHUNKS[:3]):
        convert(staging, 0, chunk, seed)
    assert buckets_of(staging, plan(*chunks), fingerprint(0, 1, 2)) is None
    assert buckets_of(staging, plan(*CHUNKS[:3]), fingerprint(0, 1)) is None
    assert buckets_of(staging, plan(*CHUNKS[:3]), fingerprint(0, 1, 2)) is not None


@pytest.mark.parametrize("damage", ["empty", "cut", "garbage", "columns"])
def test_a_damaged_file_is_named_and_stops_nothing(staging, damage, caplog):
    convert(staging, 0, "a", 0)
    raw = staging.folder.read_bytes("buckets/000/c.arrow")
    other = pa.BufferOutputStream()
    with pa.ipc.new_file(other, pa.schema([("x", pa.int64())])):
        pass
    damaged = {
        "empty": b"",
        "cut": raw[: len(raw) // 2],
        "garbage": b"\xff" * 4000,
        "columns": other.getvalue().to_pybytes(),
    }
    staging.folder.write_bytes("buckets/000/c.arrow", damaged[damage])
    assert buckets_of(staging, plan("a"), fingerprint(0)) is None
    assert "buckets/000/c.arrow is damaged" in caplog.text
    convert(staging, 0, "b", 1)
    assert buckets_of(staging, plan("b"), fingerprint(1)) is not None


def test_flipped_bits_are_a_damage_or_other_fingerprints(staging):
    convert(staging, 0, "a", 0)
    raw = staging.folder.read_bytes("buckets/000/c.arrow")
    random = np.random.default_rng(0)
    for place in random.integers(0, len(raw), 200).tolist():
        damaged = bytearray(raw)
        damaged[place] ^= 1 << int(random.integers(8))
        staging.folder.write_bytes("buckets/000/c.arrow", bytes(damaged))
        found = buckets_of(staging, plan("a"), fingerprint(0))
        assert found is None or (found == buckets(0)).all()


def test_a_chunk_that_is_cut_off_in_one_batch_and_converted_in_another_counts_once(staging):
    convert(staging, 0, "a", 0)
    BatchBuckets(staging, 0).add("c", manifest("b", 1), buckets(1))
    convert(staging, 1, "b", 1)
    convert(staging, 2, "c", 2)
    found = buckets_of(staging, plan("a", "b", "c"), fingerprint(0, 1, 2))
    assert (found == buckets(0, 1, 2)).all()
