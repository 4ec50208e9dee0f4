"""One segment's files: what is read, and every way in which they can be bad."""

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airlift.errors import AirliftError
from airlift.sources.milvus1x.dead_rows import DeadRows
from airlift.sources.milvus1x.meta import Segment
from airlift.sources.milvus1x.segment import SegmentFiles, look_at_segments
from airlift.sources.milvus1x.segment_reader import SegmentReader, VectorKind, read_deleted
from airlift.storage import Storage, open_storage

KIND = VectorKind.of(4, binary=False)
RV, UID, DELETED = "c/s/s.rv", "c/s/s.uid", "c/s/deleted_docs"


def put(folder: Path, path: str, values: np.ndarray) -> None:
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(struct.pack("<Q", values.nbytes) + values.tobytes())


def make(folder: Path, rows: int = 10, deleted: tuple[int, ...] = ()) -> Storage:
    put(folder, RV, np.arange(rows * 4, dtype="<f4"))
    put(folder, UID, np.arange(rows, dtype="<i8") * 7)
    put(folder, DELETED, np.array(deleted, "<i4"))
    return open_storage(str(folder))


def look(storage: Storage, rows: int = 10, kind: VectorKind = KIND) -> tuple[list, list[str]]:
    return look_at_segments(storage, [Segment("c", "s", rows, 1)], kind)


def test_whole(tmp_path: Path) -> None:
    [files], reasons = look(make(tmp_path, 10, (9, 0, 9, 3)))
    assert not reasons
    assert (files.rows, files.deleted) == (10, 3)
    assert files.sizes == (168, 88, 24)
    assert all(files.changed)
    assert SegmentFiles.model_validate_json(files.model_dump_json()) == files


@pytest.mark.parametrize("counted", [10, 7, 6])
def test_counts_with_and_without_deleted_rows(tmp_path: Path, counted: int) -> None:
    [files], _ = look(make(tmp_path, 10, (9, 0, 9, 3)), counted)
    assert files.rows == 10


@pytest.mark.parametrize("counted", [0, 5, 8, 9, 11])
def test_other_counts_are_refused(tmp_path: Path, counted: int) -> None:
    _, [reason] = look(make(tmp_path, 10, (9, 0, 9, 3)), counted)
    assert f"10 rows, 3 of them deleted; the metadata says {counted}; expected 10 or 7" in reason


def test_missing_folder(tmp_path: Path) -> None:
    _, [reason] = look(open_storage(str(tmp_path)))
    assert f"the segment folder {tmp_path}/c/s is missing or empty" in reason
    assert "10 rows" in reason


@pytest.mark.parametrize("path", [RV, UID, DELETED])
def test_a_missing_file(tmp_path: Path, path: str) -> None:
    storage = make(tmp_path)
    (tmp_path / path).unlink()
    _, [reason] = look(storage)
    assert reason.startswith(f"{tmp_path}/{path} is missing")


def test_two_missing_files_are_two_reasons(tmp_path: Path) -> None:
    storage = make(tmp_path)
    (tmp_path / RV).unlink()
    (tmp_path / DELETED).unlink()
    assert len(look(storage)[1]) == 2


@pytest.mark.parametrize("path", [RV, UID, DELETED])
@pytest.mark.parametrize(("cut", "said"), [(-1, "truncated"), (-8, "truncated"), (8, "over-long")])
def test_truncated_and_over_long_files(tmp_path: Path, path: str, cut: int, said: str) -> None:
    storage = make(tmp_path, 10, (1, 2, 3, 4))
    data = (tmp_path / path).read_bytes()
    (tmp_path / path).write_bytes(data[:cut] if cut < 0 else data + bytes(cut))
    _, [reason] = look(storage)
    assert f"{path} is {said}: its header says" in reason


@pytest.mark.parametrize("path", [RV, UID, DELETED])
def test_a_file_shorter_than_its_header(tmp_path: Path, path: str) -> None:
    storage = make(tmp_path)
    (tmp_path / path).write_bytes(b"\1\2\3")
    _, [reason] = look(storage)
    assert f"{path} is truncated: it has 3 bytes" in reason


@pytest.mark.parametrize("path", [RV, UID, DELETED])
def test_a_huge_length_in_the_header(tmp_path: Path, path: str) -> None:
    storage = make(tmp_path)
    data = (tmp_path / path).read_bytes()
    (tmp_path / path).write_bytes(b"\xff" * 8 + data[8:])
    _, [reason] = look(storage)
    assert f"{path} is truncated" in reason


@pytest.mark.parametrize(("path", "width"), [(RV, 16), (UID, 8), (DELETED, 4)])
def test_parts_of_values(tmp_path: Path, path: str, width: int) -> None:
    storage = make(tmp_path)
    put(tmp_path, path, np.zeros(3, np.uint8))
    _, reasons = look(storage)
    assert f"3 bytes of values; expected a multiple of {width} bytes" in reasons[0]


def test_rows_that_differ(tmp_path: Path) -> None:
    storage = make(tmp_path)
    put(tmp_path, UID, np.arange(9, dtype="<i8"))
    _, [reason] = look(storage)
    assert "holds 10 vectors" in reason and "holds 9 ids" in reason


def test_wrong_dimension(tmp_path: Path) -> None:
    _, [reason] = look(make(tmp_path), kind=VectorKind.of(8, binary=False))
    assert "holds 5 vectors" in reason


@pytest.mark.parametrize("bad", [-1, 10, 2**31 - 1, -(2**31)])
def test_offsets_out_of_range(tmp_path: Path, bad: int) -> None:
    _, [reason] = look(make(tmp_path, 10, (3, bad, 4)))
    assert f"deleted_docs holds 1 offsets out of range, such as {bad}; expected 0 to 9" in reason


def test_every_segment_is_looked_at(tmp_path: Path) -> None:
    segments = [Segment("c", name, 1, n) for n, name in enumerate("ab")]
    _, reasons = look_at_segments(open_storage(str(tmp_path)), segments, KIND)
    assert len(reasons) == 2


def test_files_of_no_bytes_hold_no_rows(tmp_path: Path) -> None:
    for path in (RV, UID, DELETED):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"")
    [files], reasons = look(open_storage(str(tmp_path)), 0)
    assert files.rows == 0 and not reasons
    assert "the metadata says 5" in look(open_storage(str(tmp_path)), 5)[1][0]


def test_a_name_cannot_leave_the_folder(tmp_path: Path) -> None:
    with pytest.raises(AirliftError, match="would leave"):
        look_at_segments(open_storage(str(tmp_path)), [Segment("..", "s", 1, 1)], KIND)


def test_many_repeated_offsets_need_no_memory(tmp_path: Path) -> None:
    storage = make(tmp_path, 10)
    put(tmp_path, DELETED, np.tile(np.arange(5, dtype="<i4"), 500_000))
    [files], _ = look(storage)
    assert files.deleted == 5


def test_a_file_that_shrinks_while_it_is_read(tmp_path: Path) -> None:
    storage = make(tmp_path)
    (tmp_path / RV).write_bytes(bytes(100))
    reader = SegmentReader(storage, "c", "s", KIND, DeadRows(10))
    with pytest.raises(AirliftError, match=r"s\.rv became shorter"):
        list(reader.rows(0, 10, 3))


def test_views_where_nothing_is_dead(tmp_path: Path) -> None:
    reader = SegmentReader(make(tmp_path), "c", "s", KIND, DeadRows(10))
    for ids, vectors in reader.rows(0, 10, 4):
        assert ids.base is not None and vectors.base is not None
        assert vectors.flags.c_contiguous


class FarStorage(Storage):
    """A disk that is read as a bucket is."""

    @property
    def is_local(self) -> bool:
        return False


def test_a_reader_that_stops_early_leaves_nothing_running(tmp_path: Path) -> None:
    near = make(tmp_path, 1000)
    far = FarStorage(near.url, near.store, near.root)
    rows = SegmentReader(far, "c", "s", KIND, DeadRows(1000)).rows(0, 1000, 10)
    next(rows)
    rows.close()


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("segment")
    binary = data.draw(st.booleans())
    dim = data.draw(st.integers(1, 5)) * 8
    kind = VectorKind.of(dim, binary)
    rows = data.draw(st.integers(0, 60))
    place = st.integers(0, max(rows - 1, 0))
    offsets = data.draw(st.lists(place, max_size=80 if rows else 0))
    random = np.random.default_rng(rows)
    vectors = random.integers(0, 256, (rows, kind.width), np.uint8).view(kind.dtype)
    ids = random.integers(-(2**63), 2**63 - 1, rows)
    put(folder, RV, vectors)
    put(folder, UID, ids)
    put(folder, DELETED, np.array(offsets, "<i4"))
    storage = open_storage(str(folder))
    if data.draw(st.booleans()):
        storage = FarStorage(storage.url, storage.store, storage.root)
    [files], reasons = look(storage, rows, kind)
    assert (files.rows, files.deleted, reasons) == (rows, len(set(offsets)), [])
    dead, wrong, _ = read_deleted(storage, DELETED, len(offsets), rows)
    assert dead.digest() == files.dead and wrong == 0
    start = data.draw(st.integers(0, rows))
    stop = data.draw(st.integers(start, rows))
    block = data.draw(st.integers(1, 70))
    live = np.setdiff1d(np.arange(start, stop), offsets)
    reader = SegmentReader(storage, "c", "s", kind, dead)
    got = list(reader.rows(start, stop, block))
    assert all(len(found) <= block for found, _ in got)
    assert np.concatenate([np.empty(0, "i8"), *(found for found, _ in got)]).tolist() == (
        ids[live].tolist()
    )
    assert b"".join(found.tobytes() for _, found in got) == vectors[live].tobytes()
    pairs = list(reader.ids(start, stop, block))
    assert np.concatenate([live[:0], *(at for at, _ in pairs)]).tolist() == live.tolist()
    assert dead.live(start, stop) == len(live)
    for wanted in range(1, len(live) + 1):
        assert dead.stop_after(start, wanted) == live[wanted - 1] + 1


def test_more_live_rows_than_there_are() -> None:
    dead = DeadRows(10)
    dead.add(np.array([1, 2]))
    with pytest.raises(ValueError, match="more live rows"):
        dead.stop_after(0, 9)
