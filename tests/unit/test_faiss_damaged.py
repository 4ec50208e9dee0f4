"""Files that are broken or hostile: an error with a message, at once, in little memory."""

from __future__ import annotations

import os
import struct
import tracemalloc
from pathlib import Path

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airlift.errors import AirliftError
from airlift.sources.faiss import decoder
from airlift.sources.faiss.decoder import Decoder
from airlift.sources.faiss.layout import Layout
from samples.faiss_indexes import write_index
from tests.unit import faiss_reading

DIM, ROWS = 8, 60
FACTORIES = {
    "flat": "Flat",
    "ivf": "IVF4,Flat",
    "sparse": "IVF50,Flat",
    "hnsw": "HNSW4,Flat",
    "idmap": "IDMap,Flat",
    "rotated": "RR8,Flat",
    "refined": "SQ8,RFlat",
    "halves": "SQfp16",
}
BINARY = {"bits": "BFlat", "binary ivf": "BIVF4", "binary hnsw": "BHNSW4"}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("whole")
    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((ROWS, DIM), dtype=np.float32)
    made = {}
    for name, factory in FACTORIES.items():
        ids = np.arange(ROWS) * 3 if "IDMap" in factory else None
        # Few of the many lists are filled: their sizes are written otherwise.
        some = vectors[:10] if name == "sparse" else vectors
        index = faiss.index_factory(DIM, factory)
        index.train(vectors)
        index.add_with_ids(some, ids) if ids is not None else index.add(some)
        faiss.write_index(index, str(folder / "x"))
        made[name] = (folder / "x").read_bytes()
    for name, factory in BINARY.items():
        bits = rng.integers(0, 256, (ROWS, DIM), dtype=np.uint8)
        write_index(folder / "x", bits, factory, "HAMMING")
        made[name] = (folder / "x").read_bytes()
    for name, factory in {"codes": "SQ8", "ivf codes": "IVF4,SQ8", "products": "PQ2x4"}.items():
        write_index(folder / "x", vectors, factory)
        made[name] = (folder / "x").read_bytes()
    return made


def outcome(folder: Path, data: bytes) -> str:
    """As `faiss_reading.outcome`, of an index with these bytes."""
    (folder / "songs.index").write_bytes(data)
    return faiss_reading.outcome(folder)


WALKED = [*FACTORIES, *BINARY]


def test_the_whole_files_are_fine(files, tmp_path) -> None:
    for name, data in files.items():
        assert outcome(tmp_path, data) == "", name


@pytest.mark.parametrize("name", WALKED)
def test_truncated_anywhere(files, tmp_path_factory, name) -> None:
    data, folder = files[name], tmp_path_factory.mktemp("cut")

    @settings(max_examples=60)
    @given(st.integers(0, len(data) - 1))
    def cut(length: int) -> None:
        assert "truncated" in outcome(folder, data[:length])

    cut()


@pytest.mark.parametrize("name", WALKED)
def test_something_more_at_the_end(files, tmp_path, name) -> None:
    assert outcome(tmp_path, files[name] + b"more")


@pytest.mark.parametrize("name", WALKED)
def test_any_bytes_changed_end_in_rows_or_in_an_error(files, tmp_path_factory, name) -> None:
    data, folder = files[name], tmp_path_factory.mktemp("changed")

    @settings(max_examples=60)
    @given(st.integers(0, len(data) - 8), st.binary(min_size=1, max_size=8))
    def change(at: int, new: bytes) -> None:
        outcome(folder, data[:at] + new + data[at + len(new) :])

    change()


@pytest.mark.parametrize("name", ["codes", "ivf codes", "products"])
def test_what_faiss_decodes_truncated(files, tmp_path, name) -> None:
    data = files[name]
    # One byte less shows in the last page: mapped into memory, Faiss would not notice.
    for length in (len(data) - 1, len(data) // 2, 60, 20, 3):
        told = outcome(tmp_path, data[:length])
        assert "Faiss can't read its vectors" in told or "is damaged" in told, length


def changed(data: bytes, at: int, kind: str, value: int) -> bytes:
    new = struct.pack(f"<{kind}", value)
    return data[:at] + new + data[at + len(new) :]


HUGE = (1 << 62, (1 << 63) - 1, 1 << 40)


@pytest.mark.parametrize("name", ["flat", "ivf", "hnsw", "idmap", "rotated", "refined", "codes"])
def test_hostile_headers_cost_nothing(files, tmp_path, name) -> None:
    data = files[name]
    tracemalloc.start()
    try:
        for rows in (*HUGE, -1, -(1 << 63), ROWS + 1, ROWS - 1):
            assert outcome(tmp_path, changed(data, 8, "q", rows)), rows
        for dim in (0, -1, -(1 << 31), (1 << 31) - 1, 40_000, DIM + 1, DIM - 1):
            assert outcome(tmp_path, changed(data, 4, "i", dim)), dim
        assert tracemalloc.get_traced_memory()[1] < 50 << 20
    finally:
        tracemalloc.stop()


def test_rows_and_dimension_that_fit_together_otherwise(files, tmp_path) -> None:
    """Half the dimension and twice the rows make as many bytes; no file can tell."""
    data = changed(changed(files["flat"], 4, "i", DIM // 2), 8, "q", ROWS * 2)
    assert outcome(tmp_path, data) == ""


def test_hostile_lists(files, tmp_path) -> None:
    data = files["ivf"]
    at = data.index(b"ilar") + 4
    tracemalloc.start()
    try:
        for value in (0, 5, 1 << 27, 1 << 40, (1 << 64) - 1):
            assert outcome(tmp_path, changed(data, at, "Q", value)), value
            assert outcome(tmp_path, changed(data, 37, "Q", value)), value
            assert outcome(tmp_path, changed(data, at + 8, "Q", value)), value
            assert outcome(tmp_path, changed(data, at + 20, "Q", value)), value
        assert tracemalloc.get_traced_memory()[1] < 50 << 20
    finally:
        tracemalloc.stop()
    # Sizes that only in 64 bits make the sum that is expected.
    first = struct.unpack_from("<Q", data, at + 28)[0]
    second = struct.unpack_from("<Q", data, at + 36)[0]
    wrapped = changed(data, at + 28, "Q", (1 << 63) + first)
    wrapped = changed(wrapped, at + 36, "Q", (1 << 63) + second)
    assert "do not hold 60 rows together" in outcome(tmp_path, wrapped)


def test_hostile_sparse_lists(files, tmp_path) -> None:
    data = files["sparse"]
    at = data.index(b"sprs") + 12
    for change in [(at, "Q", 1 << 40), (at, "Q", 50), (at + 8, "Q", 1 << 60), (at - 8, "Q", 3)]:
        assert outcome(tmp_path, changed(data, *change)), change


def test_an_id_map_that_points_nowhere(tmp_path) -> None:
    vectors = np.zeros((ROWS, DIM), np.float32)
    inner = faiss.index_factory(DIM, "IVF4,Flat")
    inner.train(np.random.default_rng(1).random((ROWS, DIM), dtype=np.float32))
    inner.add_with_ids(vectors, np.arange(ROWS) + 7)
    index = faiss.IndexIDMap(faiss.IndexFlatL2(DIM))
    index.add_with_ids(vectors, np.arange(ROWS))
    index.index = inner
    faiss.write_index(index, str(tmp_path / "x"))
    assert "rows that its IDMap does not have" in outcome(tmp_path, (tmp_path / "x").read_bytes())


def test_no_index_at_all(tmp_path) -> None:
    for data in (b"", b"I", b"PAR1" * 40, bytes(500), b"IxF2"):
        assert "no Faiss index" in outcome(tmp_path, data)


# --- the child process ----------------------------------------------------------------------------


def opaque(rows: int, dim: int, lists: bool = False) -> Layout:
    return Layout("IndexOfTest", dim, rows, "L2", False, dim, None, lossy=True, lists=lists)


def decode(path: Path, layout: Layout, memory: int | None = None) -> list[bytes]:
    found = Decoder(str(path), "the file", layout, memory).blocks(0, layout.rows, 32)
    return [block.vectors.tobytes() for block in found]


def test_the_child_leaves_no_bytecode_behind(tmp_path, monkeypatch) -> None:
    """It may write small files only, and Python takes no notice when its bytecode is cut off."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "sitecustomize.py").write_text("RAN = True\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "code"))
    vectors = np.random.default_rng(1).standard_normal((100, 16), dtype=np.float32)
    write_index(tmp_path / "x", vectors, "SQ8")
    assert decode(tmp_path / "x", opaque(100, 16))
    assert [path.name for path in (tmp_path / "code").iterdir()] == ["sitecustomize.py"]


def test_a_crash_of_faiss_is_an_error_here(tmp_path) -> None:
    """A real one: Faiss 1.15 can't reconstruct these from a file, and ends by SIGSEGV."""
    vectors = np.random.default_rng(1).standard_normal((300, 16), dtype=np.float32)
    write_index(tmp_path / "x", vectors, "IVF4,PQ4x4fs")
    with pytest.raises(AirliftError, match="its process was ended by SIGSEGV"):
        decode(tmp_path / "x", opaque(300, 16, lists=True))


def test_memory_is_limited(files, tmp_path) -> None:
    (tmp_path / "x").write_bytes(files["codes"])
    with pytest.raises(AirliftError, match="Faiss can't read its vectors"):
        decode(tmp_path / "x", opaque(ROWS, DIM), memory=300 << 20)


def test_silence_is_not_waited_for_without_end(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(decoder, "_SILENCE", 1.5)
    os.mkfifo(tmp_path / "x")
    with pytest.raises(AirliftError, match="no answer for 2 s; it was ended"):
        decode(tmp_path / "x", opaque(ROWS, DIM))


def test_it_must_find_what_the_header_says(files, tmp_path) -> None:
    (tmp_path / "x").write_bytes(files["codes"])
    for layout in (opaque(ROWS + 1, DIM), opaque(ROWS, DIM + 1)):
        with pytest.raises(AirliftError, match="the file says"):
            decode(tmp_path / "x", layout)


@pytest.mark.parametrize("name", ["codes", "ivf codes", "products"])
def test_bytes_changed_in_what_faiss_decodes(
    files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    data, folder = files[name], tmp_path_factory.mktemp("changed")

    @settings(max_examples=6)
    @given(st.integers(37, 200), st.binary(min_size=4, max_size=8))
    def change(at: int, new: bytes) -> None:
        outcome(folder, data[:at] + new + data[at + len(new) :])

    change()


def test_nothing_is_left_running(files, tmp_path) -> None:
    (tmp_path / "x").write_bytes(files["codes"])
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    others = set(children.read_text().split())  # servers of other tests
    found = Decoder(str(tmp_path / "x"), "the file", opaque(ROWS, DIM)).blocks(0, ROWS, 8)
    next(found)
    running = set(children.read_text().split()) - others
    assert running
    found.close()
    assert not running & set(children.read_text().split())
