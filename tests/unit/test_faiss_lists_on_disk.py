"""Indexes whose inverted lists lie in a file beside them, made by Faiss' OnDiskInvertedLists."""

from __future__ import annotations

import os
import shutil
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import faiss
import numpy as np
import pytest
from faiss.contrib.ondisk import merge_ondisk
from hypothesis import given, settings
from hypothesis import strategies as st

from airlift.errors import AirliftError
from airlift.sources.faiss.index_file import IndexFile
from airlift.sources.faiss.places import FileRef, Places
from airlift.sources.unchanged import FileChanged
from airlift.storage import Storage, open_storage
from tests.unit.faiss_reading import Read, described, outcome, source_of

DIM, ROWS, LISTS = 16, 600, 8
DATA = "songs.ivfdata"
KINDS = ["Flat", "SQfp16", "SQ8", "PQ4x4"]


def floats(rows: int = ROWS) -> np.ndarray:
    vectors = np.random.default_rng(5).standard_normal((rows, DIM), dtype=np.float32)
    return vectors.astype(np.float16).astype(np.float32)  # what SQfp16 holds exactly


def trained(factory: str) -> faiss.Index:
    index = faiss.index_factory(DIM, factory)
    if "fp16" in factory:
        index.by_residual = False
    index.train(floats())
    return index


def put_on_disk(ivf: faiss.IndexIVF, file: Path) -> faiss.OnDiskInvertedLists:
    lists = faiss.OnDiskInvertedLists(ivf.nlist, ivf.code_size, str(file))
    ivf.replace_invlists(lists, True)
    lists.this.disown()
    return lists


def grown(folder: Path, index: faiss.Index, vectors: np.ndarray, ids: np.ndarray) -> None:
    """Added bit by bit, so that lists have moved and have more space than rows."""
    lists = put_on_disk(faiss.extract_index_ivf(index), folder / DATA)
    for start in range(0, len(ids), 70):
        index.add_with_ids(vectors[start : start + 70], ids[start : start + 70])
    bytes_of_rows = lists.compute_ntotal() * (lists.code_size + 8)
    assert lists.totsize > 1.1 * bytes_of_rows
    faiss.write_index(index, str(folder / "songs.index"))


def merged(folder: Path, index: faiss.Index, vectors: np.ndarray, ids: np.ndarray) -> None:
    """Of three shards, as the documentation of Faiss has it."""
    parts = []
    for number, rows in enumerate(np.array_split(np.arange(len(ids)), 3)):
        shard = faiss.clone_index(index)
        shard.add_with_ids(vectors[rows], ids[rows])
        parts.append(str(folder / f"shard{number}"))
        faiss.write_index(shard, parts[-1])
    merge_ondisk(index, parts, str(folder / DATA))
    faiss.write_index(index, str(folder / "songs.index"))


def truth(folder: Path, ids: np.ndarray) -> np.ndarray:
    """The vectors by id, as Faiss itself gives them, in the order of the ids."""
    index = faiss.read_index(str(folder / "songs.index"), faiss.IO_FLAG_ONDISK_SAME_DIR)
    faiss.extract_index_ivf(index).set_direct_map_type(faiss.DirectMap.Hashtable)
    return np.array([index.reconstruct(int(one)) for one in np.sort(ids)])


def moved(folder: Path) -> Path:
    """The two files alone, in another folder than the one that the index names."""
    target = folder.with_name(folder.name + "-moved")
    target.mkdir()
    for name in ("songs.index", DATA):
        (folder / name).rename(target / name)
    return target


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "made").mkdir()
    return tmp_path / "made"


@pytest.mark.parametrize("fill", [grown, merged])
@pytest.mark.parametrize("kind", [*KINDS, "RR16,Flat"])
def test_every_row_comes_from_the_file_beside_the_index(
    folder: Path, kind: str, fill: Callable[..., None]
) -> None:
    transform, _, codes = kind.rpartition(",")
    factory = f"{transform}{',' if transform else ''}IVF{LISTS},{codes}"
    ids, vectors = np.arange(ROWS, dtype=np.int64) * 7 - 900, floats()
    fill(folder, trained(factory), vectors, ids)
    folder = moved(folder)
    expected = truth(folder, ids) if codes in ("SQ8", "PQ4x4") else vectors
    before = (folder / DATA).read_bytes()
    got = Read(
        source_of(folder, allow_lossy=True), chunk_bytes=15_000 if "fp16" in kind else 25_000
    )
    assert len(got.chunks) > 1
    assert sorted(got.ids.tolist()) == ids.tolist()
    held = got.vectors("<f2" if "fp16" in kind else "<f4").astype(np.float32)
    if transform:
        assert np.allclose(held, expected, atol=1e-5)
    else:
        assert held.tobytes() == expected.tobytes()
    assert (folder / DATA).read_bytes() == before


def test_lists_that_were_emptied_and_shrunk_give_what_is_left(folder: Path) -> None:
    ids, vectors = np.arange(ROWS, dtype=np.int64), floats()
    index = trained(f"IVF{LISTS},Flat")
    lists = put_on_disk(index, folder / DATA)
    index.add_with_ids(vectors, ids)
    sizes = [lists.list_size(number) for number in range(LISTS)]
    ends = {0: 0, 1: sizes[1] // 3, 2: sizes[2] - 1}
    kept = np.concatenate(
        [
            faiss.rev_swig_ptr(lists.get_ids(number), size)[: ends.get(number, size)].copy()
            for number, size in enumerate(sizes)
            if ends.get(number, size)
        ]
    )
    for number, size in ends.items():
        lists.resize(number, size)
    index.ntotal = len(kept)
    faiss.write_index(index, str(folder / "songs.index"))
    got = Read(source_of(moved(folder)), chunk_bytes=9_000)
    assert sorted(got.ids.tolist()) == sorted(kept.tolist())
    assert got.vectors().tobytes() == vectors[np.sort(kept)].tobytes()


def test_removed_ids_are_not_read(folder: Path) -> None:
    ids, vectors = np.arange(ROWS, dtype=np.int64), floats()
    index = trained(f"IVF{LISTS},Flat")
    put_on_disk(index, folder / DATA)
    index.add_with_ids(vectors, ids)
    index.remove_ids(ids[::3].copy())
    faiss.write_index(index, str(folder / "songs.index"))
    got = Read(source_of(moved(folder)))
    kept = np.flatnonzero(ids % 3)
    assert got.vectors().tobytes() == vectors[kept].tobytes()


def test_an_id_map_around_lists_on_disk_gives_its_ids(folder: Path) -> None:
    vectors = floats()
    inner = trained(f"IVF{LISTS},Flat")
    put_on_disk(inner, folder / DATA)
    index = faiss.IndexIDMap(inner)
    index.add_with_ids(vectors, np.arange(ROWS)[::-1].copy() * 5)
    faiss.write_index(index, str(folder / "songs.index"))
    got = Read(source_of(moved(folder)), chunk_bytes=10_000)
    assert sorted(got.ids.tolist()) == list(range(0, ROWS * 5, 5))
    assert got.vectors().tobytes() == vectors[::-1].tobytes()


def test_binary_vectors_are_read_from_lists_on_disk(folder: Path) -> None:
    bits = np.random.default_rng(2).integers(0, 256, (ROWS, DIM), dtype=np.uint8)
    index = faiss.index_binary_factory(8 * DIM, f"BIVF{LISTS}")
    index.train(bits)
    lists = faiss.OnDiskInvertedLists(LISTS, index.code_size, str(folder / DATA))
    index.replace_invlists(lists, True)
    lists.this.disown()
    index.add(bits)
    faiss.write_index_binary(index, str(folder / "songs.index"))
    assert Read(source_of(moved(folder))).vectors("u1").tobytes() == bits.tobytes()


def test_an_index_with_fewer_bits_than_rows_is_read(folder: Path) -> None:
    rows = 40_000
    vectors = np.arange(rows * 2, dtype=np.float32).reshape(rows, 2)
    index = faiss.index_factory(2, "IVF1,Flat")
    index.train(vectors[:100])
    put_on_disk(index, folder / DATA)
    index.add(vectors)
    faiss.write_index(index, str(folder / "songs.index"))
    assert (folder / "songs.index").stat().st_size * 8 < rows
    assert Read(source_of(moved(folder))).vectors().tobytes() == vectors.tobytes()


@pytest.mark.parametrize("kind", ["RQ2x4", "PQ4x4,RFlat"])
def test_other_kinds_are_refused_by_name_or_read_without_their_lists(
    folder: Path, kind: str
) -> None:
    index = faiss.index_factory(DIM, f"IVF{LISTS},{kind}")
    index.train(floats())
    ivf = faiss.downcast_index(index.base_index) if "RFlat" in kind else index
    put_on_disk(ivf, folder / DATA)
    index.add(floats())
    faiss.write_index(index, str(folder / "songs.index"))
    folder = moved(folder)
    if "RFlat" in kind:
        assert Read(source_of(folder)).vectors().tobytes() == floats().tobytes()
        return
    with pytest.raises(AirliftError, match="which is read for IVF,Flat, IVF,SQ and IVF,PQ only"):
        Read(source_of(folder, allow_lossy=True))


def test_the_code_in_the_documentation_writes_an_index_that_is_read(folder: Path) -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "faiss.md"
    grown(folder, trained(f"IVF{LISTS},Flat"), floats(), np.arange(ROWS) - 40)
    code = page.read_text().split("```python\n")[1].split("```")[0]
    assert "faiss.read_index" in code
    here = os.getcwd()
    os.chdir(folder)
    try:
        exec(code, {})
    finally:
        os.chdir(here)
    (folder / DATA).unlink()
    (folder / "whole.index").rename(folder / "songs.index")
    got = Read(source_of(folder))
    assert (sorted(got.ids), got.vectors().tobytes()) == (
        list(range(-40, ROWS - 40)),
        floats().tobytes(),
    )


# --- files that are described, copied and watched -------------------------------------------------


@pytest.fixture
def made(folder: Path, request: pytest.FixtureRequest) -> Path:
    """The two files; of vectors, or of the codes that a test's parameter names."""
    codes = getattr(request, "param", "Flat")
    merged(folder, trained(f"IVF{LISTS},{codes}"), floats(), np.arange(ROWS))
    return moved(folder)


both_ways = pytest.mark.parametrize("made", ["Flat", "PQ4x4"], indirect=True)
decoded = pytest.mark.parametrize("made", ["PQ4x4"], indirect=True)


@both_ways
def test_the_file_is_described_and_copied_with_the_index(made: Path) -> None:
    source = source_of(made, allow_lossy=True)
    collection = described(source)
    names = {Path(file.path).name: file.size for file in source.files([collection])}
    assert names == {name: (made / name).stat().st_size for name in ("songs.index", DATA)}
    assert {Path(file.path).name for file in source.described_files(collection)} == set(names)
    for chunk in source.cut(collection, 10_000):
        assert {Path(file.path).name for file in source.files_of(chunk)} == set(names)
    source.close()


class Bucket(Storage):
    """A disk that is read as buckets are: by ranges, and not by Faiss."""

    is_local = False  # type: ignore[assignment]

    def __init__(self, folder: Path) -> None:
        disk = open_storage(str(folder))
        super().__init__(disk.url, disk.store, disk.root)
        self.requests: list[tuple[int, int]] = []

    def open_input(self, relative: str) -> Any:
        stream = super().open_input(relative)
        if relative == DATA:
            read_at = stream.read_at
            stream = SimpleNamespace(
                read_at=lambda *given: self.requests.append(given) or read_at(*given),
                read=stream.read,
                close=stream.close,
            )
        return stream


@pytest.mark.parametrize("fill", [grown, merged])
def test_lists_in_a_bucket_are_read_in_few_requests(
    folder: Path, fill: Callable[..., None]
) -> None:
    vectors = floats()
    fill(folder, trained(f"IVF{LISTS},Flat"), vectors, np.arange(ROWS))
    bucket = Bucket(folder)
    places = Places(lambda _: bucket)
    size = (folder / "songs.index").stat().st_size
    index = FileRef(root="s3://x", path="songs.index", size=size, changed=0)
    file = IndexFile(bucket, index, places.lists_beside)
    for block in (ROWS, 90, 7):
        bucket.requests.clear()
        blocks = list(file.rows(0, ROWS, 0, block))
        ids = np.concatenate([rows.ids for rows in blocks])
        held = np.concatenate([rows.vectors for rows in blocks]).view("<f4")
        assert held[np.argsort(ids)].tobytes() == vectors.tobytes()
        size = sum(size for size, _ in bucket.requests)
        assert ROWS * (4 * DIM + 8) <= size <= 2 * ROWS * (4 * DIM + 8)
        if block == ROWS:
            assert len(bucket.requests) <= (LISTS if fill is grown else 1)
    file.close()


def change(file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])
    os.utime(file, ns=(1, 1))


@pytest.mark.parametrize("how", [change, Path.unlink, lambda file: os.truncate(file, 9)])
def test_a_change_is_noticed_before_the_cut_and_before_the_rows(
    made: Path, how: Callable[[Path], None]
) -> None:
    source = source_of(made, allow_lossy=True)
    collection = described(source)
    [first, *_] = source.cut(collection, 10_000)
    how(made / DATA)
    with pytest.raises(FileChanged, match=DATA):
        source.cut(collection, 10_000)
    with pytest.raises(FileChanged, match=DATA):
        list(source.read(first))
    source.close()


def test_a_missing_file_is_named_and_the_stored_path_is_not_read(folder: Path) -> None:
    merged(folder, trained(f"IVF{LISTS},Flat"), floats(), np.arange(ROWS))
    elsewhere = folder.with_name("elsewhere")
    elsewhere.mkdir()
    (folder / "songs.index").rename(elsewhere / "songs.index")
    assert (folder / DATA).exists()  # where the index says
    assert f"expected {elsewhere / DATA} beside it, which is not there" in outcome(elsewhere)


@both_ways
@pytest.mark.parametrize("length", [0, 1, 1000, -1, 1 << 20])
def test_a_file_of_another_length_is_refused(made: Path, length: int) -> None:
    size = (made / DATA).stat().st_size
    os.truncate(made / DATA, length if length >= 0 else size + length)
    assert f"expects {size:,}: it is truncated, of another index" in outcome(made)


def test_the_file_of_lists_is_refused_as_an_index(made: Path) -> None:
    [reason] = source_of(made, index_url=str(made / "songs.i*")).check()
    assert "leave it out of index_url, it is found beside its index" in reason


# --- hostile indexes -----------------------------------------------------------------------------


def section(data: bytes) -> int:
    return data.rindex(b"ilod") + 4


def with_path(data: bytes, path: bytes) -> bytes:
    """The index with another path of its lists."""
    at = data.rindex(DATA.encode()) + len(DATA)
    start = data.rindex(b"/", 0, at)
    while struct.unpack_from("<Q", data, start - 8)[0] != at - start:
        start -= 1
    return data[: start - 8] + struct.pack("<Q", len(path)) + path + data[at:]


@pytest.mark.parametrize(
    "path", [b"", b"/", b"..", b"a/..", b"../.", b"x\0y", b"x\ny", b"\xff", b"a" * 256]
)
def test_a_path_without_a_file_name_is_refused(made: Path, path: bytes) -> None:
    (made / "songs.index").write_bytes(with_path((made / "songs.index").read_bytes(), path))
    assert "is damaged" in outcome(made) and "no file name" in outcome(made)


@pytest.mark.parametrize("path", [b"../../secret", b"/etc/../secret", b"secret", b"./a/b/secret"])
def test_only_the_base_name_of_the_path_is_used(made: Path, path: bytes) -> None:
    index = made / "songs.index"
    index.write_bytes(with_path(index.read_bytes(), path))
    (made.parent / "secret").write_bytes((made / DATA).read_bytes())
    assert f"expected {made / 'secret'} beside it" in outcome(made)
    (made / DATA).rename(made / "secret")
    assert outcome(made) == ""


@decoded
@pytest.mark.parametrize("name", ["index", ".airlift-lock"])
def test_lists_may_have_the_names_of_our_own_files(made: Path, name: str) -> None:
    index = made / "songs.index"
    index.write_bytes(with_path(index.read_bytes(), b"/x/" + name.encode()))
    (made / DATA).rename(made / name)
    assert outcome(made) == ""


def test_an_index_that_names_itself_is_refused(made: Path) -> None:
    index = made / "songs.index"
    index.write_bytes(with_path(index.read_bytes(), b"/x/songs.index"))
    assert "which is the index itself" in outcome(made)


def put(data: bytes, at: int, value: int) -> bytes:
    return data[:at] + struct.pack("<Q", value) + data[at + 8 :]


@both_ways
def test_hostile_numbers_are_refused_without_allocating(made: Path) -> None:
    index = made / "songs.index"
    data = index.read_bytes()
    at = section(data)
    size, capacity, offset = (at + 24 + 24 + 8 * number for number in range(3))  # of list 1
    rows, _, start = struct.unpack_from("<QQQ", data, size)
    total = (made / DATA).stat().st_size
    cases = {
        "rows in space for": [(size, rows + 1), (size, 1 << 63), (capacity, rows - 1)],
        "is not inside its file": [
            (offset, total),
            (offset, (1 << 64) - 1),
            (offset, (1 << 64) - start),
            (capacity, 1 << 61),
            (capacity, (1 << 64) - 1),
            (len(data) - 8, total - 1),
        ],
        "overlap": [(offset, 0), (offset, start - 1), (offset, start + 1), (capacity, rows + 1)],
        "rows together": [(size, rows - 1), (size, 0)],
        "bytes a vector": [(at, LISTS + 1), (at, 1 << 62), (at + 8, 1), (at + 8, (1 << 64) - 8)],
        "places of": [(at + 16, LISTS - 1), (at + 16, 0)],
        "is damaged": [(at + 16, 1 << 60), (at + 16, LISTS + 1), (len(data) - 8, 1 << 62)],
        "expects": [(len(data) - 8, total + 1)],
    }
    tracemalloc.start()
    try:
        for expected, changes in cases.items():
            for place, value in changes:
                index.write_bytes(put(data, place, value))
                assert expected in outcome(made), (expected, place - at, value)
        assert tracemalloc.get_traced_memory()[1] < 50 << 20
    finally:
        tracemalloc.stop()


def test_bytes_changed_anywhere_end_in_rows_or_in_an_error(folder: Path) -> None:
    merged(folder, trained(f"IVF{LISTS},Flat"), floats(), np.arange(ROWS))
    index = folder / "songs.index"
    data = index.read_bytes()
    at = section(data)

    @settings(max_examples=60)
    @given(st.integers(at, len(data) - 8), st.binary(min_size=1, max_size=8))
    def changed(place: int, new: bytes) -> None:
        index.write_bytes(data[:place] + new + data[place + len(new) :])
        outcome(folder)

    changed()


@both_ways
@pytest.mark.parametrize("cut", [1, 8, 9, 60])
def test_a_truncated_index_is_refused(made: Path, cut: int) -> None:
    index = made / "songs.index"
    index.write_bytes(index.read_bytes()[:-cut])
    assert "truncated" in outcome(made)


@pytest.mark.parametrize("mapped", [True, False])
def test_two_indexes_with_one_file_of_lists_are_refused(tmp_path: Path, mapped: bool) -> None:
    """Files of one name and, as Faiss doubles them, of one length; the second came last."""
    together = tmp_path / "together"
    together.mkdir()
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        index: faiss.Index = trained(f"IVF{LISTS},Flat")
        if mapped:
            index.own_fields = False
            index = faiss.IndexIDMap(index)
        grown(folder, index, floats() + number, np.arange(ROWS, dtype=np.int64) + number * ROWS)
        shutil.copy(folder / "songs.index", together / f"songs{number}.index")
        shutil.copy(folder / DATA, together / DATA)
    [reason] = source_of(together, index_url=str(together / "*.index")).check()
    assert "songs0.index and " in reason
    assert "songs1.index both have their inverted lists in 'songs.ivfdata'" in reason
    # As the message says to do.
    urls = ",".join(str(tmp_path / str(number) / "songs.index") for number in range(2))
    read = Read(source_of(together, index_url=urls))
    assert sorted(read.ids) == list(range(2 * ROWS))
    assert np.array_equal(read.vectors(), np.concatenate([floats(), floats() + 1]))
