"""Backups that are broken or hostile: an error that names the file, at once, in little memory."""

from __future__ import annotations

import json
import resource
import shutil
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airlift.errors import AirliftError
from samples.milvus_backups import (
    BackupCollection,
    BackupField,
    binlog,
    parquet,
    write_backup,
)
from tests.real_backups import unpack
from tests.unit.backup_reading import Read, source_of
from tests.unit.test_backup_formats import EVERY_TYPE, ROWS, segment


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack("types", tmp_path_factory.mktemp("whole"))


@pytest.fixture
def backup(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "types")
    return tmp_path / "types"


def outcome(folder: Path, **params: Any) -> str:
    """Reads a backup to its end; the error's message, or "" when all rows came."""
    try:
        Read(source_of(folder, **params))
    except AirliftError as error:
        return str(error)
    return ""


def logs(folder: Path, kind: str = "insert_log", field: str = "*") -> list[Path]:
    """The log files of a field, largest first."""
    pattern = f"*/*/*/*/{field}/*" if kind == "insert_log" else "*/*/*/*/*"
    found = [path for path in (folder / "binlogs" / kind).glob(pattern) if path.is_file()]
    return sorted(found, key=lambda path: -path.stat().st_size)


def edit(folder: Path, path: Path, data: bytes) -> None:
    """Puts other bytes into a log file, and its new length into the metadata."""
    path.write_bytes(data)
    meta = folder / "meta" / "full_meta.json"

    def tell(value: Any) -> None:
        if isinstance(value, dict):
            if value.get("log_id") == int(path.name):
                value["log_size"] = len(data)
            for one in value.values():
                tell(one)
        elif isinstance(value, list):
            for one in value:
                tell(one)

    told = json.loads(meta.read_text())
    tell(told)
    meta.write_text(json.dumps(told))


FIELDS = [BackupField("id", "INT64"), BackupField("v", "FLOAT_VECTOR", {"dim": 4})]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    rows = segment(range(10), deletes=[(3, 200)])
    return write_backup(tmp_path / "small", [BackupCollection("c", FIELDS, [rows])])


def test_the_whole_backup_is_fine(whole):
    assert outcome(whole) == ""


PARTS = ["backup_meta", "collection_meta", "partition_meta", "segment_meta"]


@pytest.mark.parametrize("missing", PARTS)
def test_metadata_that_is_missing(backup, missing):
    (backup / "meta" / f"{missing}.json").unlink()
    assert outcome(backup) == "", "the full metadata says it all"
    (backup / "meta" / "full_meta.json").unlink()
    assert f"lacks meta/full_meta.json, and {missing}.json" in outcome(backup)


def test_no_metadata_at_all(backup):
    shutil.rmtree(backup / "meta")
    assert "is no backup: expected a folder with meta/full_meta.json" in outcome(backup)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"collection_backups": [{}]}', "7", '"x"'])
def test_metadata_that_is_damaged(backup, text):
    (backup / "meta" / "full_meta.json").write_text(text)
    assert "full_meta.json" in outcome(backup)


@pytest.mark.parametrize("kind", ["insert_log", "delta_log"])
def test_a_log_file_that_is_missing(backup, kind):
    path = logs(backup, kind)[0]
    path.unlink()
    told = outcome(backup)
    assert "lacks the log file" in told and path.name in told


@pytest.mark.parametrize("kind", ["insert_log", "delta_log"])
def test_a_log_file_that_is_truncated(backup, kind):
    path = logs(backup, kind)[0]
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    told = outcome(backup)
    assert str(path) in told and f"expected {len(data):,}" in told
    # Also where the metadata says nothing of lengths, or agrees.
    for length in (len(data) - 1, len(data) // 2, 100, 30, 10, 3, 0):
        edit(backup, path, data[:length])
        told = outcome(backup)
        assert str(path) in told and "damaged" in told, length


def test_many_missing_log_files_are_told_in_few_words(backup):
    for path in logs(backup):
        path.unlink()
    told = outcome(backup, collections=["archive.readings"])
    assert "more of such reasons" in told
    assert len(told) < 6_000


@pytest.mark.parametrize("kind", ["insert_log", "delta_log"])
def test_a_log_file_of_an_unknown_segment(backup, kind):
    path = logs(backup, kind)[0]
    parts = list(path.relative_to(backup).parts)
    parts[-2 if kind == "delta_log" else -3] = "4711"
    stray = backup.joinpath(*parts)
    stray.parent.mkdir(parents=True)
    shutil.copy(path, stray)
    told = outcome(backup)
    assert str(stray) in told and "no segment of the metadata has it" in told


def test_a_file_where_no_log_file_can_be(backup):
    stray = logs(backup)[0].parents[4] / "README"
    stray.write_text("x")
    assert "no log file is expected there" in outcome(backup)


def test_a_wrong_magic(backup):
    for kind in ("insert_log", "delta_log"):
        path = logs(backup, kind)[0]
        data = path.read_bytes()
        path.write_bytes(b"XXXX" + data[4:])
        told = outcome(backup)
        assert str(path) in told and "begins with the bytes 58585858" in told
        path.write_bytes(data)


# Where lengths stand: of the descriptor event, of its JSON, of the first insert event.
HUGE = (2**31 - 1, 2**31 - 100, -1, -(2**31), 0, 16)


def places(data: bytes) -> dict[str, int]:
    (descriptor,) = struct.unpack_from("<i", data, 4 + 9)
    return {"descriptor": 4 + 9, "JSON": 4 + 17 + 52 + 8, "event": 4 + descriptor + 9}


@pytest.mark.parametrize("place", ["descriptor", "JSON", "event"])
@pytest.mark.parametrize("kind", ["insert_log", "delta_log"])
def test_lengths_are_checked_before_they_are_believed(small, place, kind):
    path = logs(small, kind)[0]
    data = path.read_bytes()
    at = places(data)[place]
    tracemalloc.start()
    held = pa.total_allocated_bytes()
    try:
        for value in HUGE:
            path.write_bytes(data[:at] + struct.pack("<i", value) + data[at + 4 :])
            told = outcome(small)
            if not (place == "JSON" and value == 0):
                assert str(path) in told and "damaged" in told, value
        assert tracemalloc.get_traced_memory()[1] < 50 << 20
        assert pa.total_allocated_bytes() - held < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_log_that_is_encrypted(backup):
    path = logs(backup, field="108")[0]
    edit(backup, path, binlog(b"?" * 100, 108, 101, edek="x", encryption_zone=1))
    assert "is encrypted" in outcome(backup)


def test_a_log_of_another_field(backup):
    path = logs(backup, field="103")[0]
    other = next(one for one in logs(backup, field="101") if one.parents[1] == path.parents[1])
    edit(backup, path, other.read_bytes())
    assert "holds field 101, expected a binlog of field 103" in outcome(backup)


def test_an_event_of_another_kind(backup):
    path = logs(backup, "delta_log")[0]
    edit(backup, path, binlog(parquet({"val": pa.array(["x"])}), -1, 20, event=1))
    assert "an event of type 1, expected 2" in outcome(backup)


def test_one_fields_log_has_fewer_rows_than_the_others(small):
    [path] = logs(small, field="101")
    short = segment(range(9)).columns["v"]
    edit(small, path, binlog(parquet({"val": short}), 101, 101))
    told = outcome(small)
    assert str(path) in told and "has 9 rows" in told and "has 10" in told
    # The same for the key's own.
    [path] = logs(small, field="100")
    edit(small, path, binlog(parquet({"val": pa.array(range(9))}), 100, 5))
    assert "has 9 rows" in outcome(small)


def test_fields_with_different_numbers_of_logs(backup):
    meta = json.loads((backup / "meta" / "full_meta.json").read_text())
    one = meta["collection_backups"][1]["partition_backups"][0]["segment_backups"][0]
    one["binlogs"][0]["binlogs"] *= 2
    (backup / "meta" / "full_meta.json").write_text(json.dumps(meta))
    assert "lacks the log file" in outcome(backup)
    one["binlogs"][0]["binlogs"] = []
    (backup / "meta" / "full_meta.json").write_text(json.dumps(meta))
    assert "different numbers of log files" in outcome(backup)


def test_a_log_that_was_changed_after_planning(backup):
    source = source_of(backup, collections=["default.codes"])
    [one] = source.describe()
    [chunk] = source.cut(one, 1 << 30)
    path = next(p for p in logs(backup, field="101") if "470616898592449740" in str(p))
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(AirliftError, match="changed since the migration was planned"):
        list(source.read(chunk))


def test_paths_that_would_leave_the_folder(backup):
    text = (backup / "meta" / "full_meta.json").read_text()
    for old, new in (
        ('"log_id":470616898592248944', '"log_id":0,"log_name":"../../x"'),
        ('"db_name":"archive"', '"db_name":"../../archive"'),
        ('"collection_name":"codes"', '"collection_name":"/etc"'),
    ):
        assert old in text
        (backup / "meta" / "full_meta.json").write_text(text.replace(old, new))
        source_of(backup).check()  # whatever it says: nothing outside was asked for
        assert outcome(backup, collections=["*codes"]) or "archive" in new or "log_id" in new


# --- any bytes -----------------------------------------------------------------------------------


def _small(folder: Path, packed: tuple[tuple[str, ...], ...]) -> Path:
    columns = {field.name: stored for field, stored, _ in EVERY_TYPE}
    columns["$meta"] = pa.array([b'{"k": 1}'] * ROWS)
    one = segment(range(ROWS), columns=columns, packed=packed, deletes=[(1, 200), (2, 50)])
    every = [*FIELDS, *(field for field, _, _ in EVERY_TYPE)]
    return write_backup(folder, [BackupCollection("c", every, [one], dynamic=True)])


@pytest.mark.parametrize("packed", [(), (("RowID", "Timestamp", "id", "bool"),)])
def test_any_bytes_changed_end_in_rows_or_in_an_error(tmp_path_factory, packed):
    folder = _small(tmp_path_factory.mktemp("fuzz") / "b", packed)
    files = sorted(path for path in (folder / "binlogs").rglob("*") if path.is_file())
    whole = {path: path.read_bytes() for path in files}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    @settings(max_examples=120)
    @given(
        st.sampled_from(files), st.floats(0, 1), st.binary(min_size=1, max_size=8), st.booleans()
    )
    def change(path: Path, place: float, new: bytes, cut: bool) -> None:
        data = whole[path]
        at = int(place * (len(data) - 1))
        path.write_bytes(data[:at] + new + (b"" if cut else data[at + len(new) :]))
        try:
            source = source_of(folder)
            for one in source.describe():
                for chunk in source.cut(one, 1 << 30):
                    list(source.read(chunk))
        except AirliftError as error:
            assert str(error)
        finally:
            path.write_bytes(data)
            for scratch in folder.parent.glob("scratch-*"):
                shutil.rmtree(scratch)

    change()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 500 << 10, f"{grown >> 10} MB"


@pytest.mark.parametrize("head", [b"", struct.pack("<i", 0xFFFABC), b"PAR1", b"binlog"])
def test_any_file_at_all_is_a_log_or_an_error(tmp_path_factory, head):
    rows = BackupCollection("c", FIELDS, [segment(range(2))])
    folder = write_backup(tmp_path_factory.mktemp("any") / "b", [rows])
    [path] = logs(folder, field="101")
    head = binlog(b"", 101, 101) if head == b"binlog" else head

    @settings(max_examples=30)
    @given(st.binary(max_size=200))
    def any_file(data: bytes) -> None:
        edit(folder, path, head + data)
        assert str(path) in outcome(folder)

    any_file()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just(-1),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


def test_any_metadata_ends_in_rows_or_in_an_error(whole, tmp_path_factory):
    folder = tmp_path_factory.mktemp("meta") / "types"
    shutil.copytree(whole, folder)
    path = folder / "meta" / "full_meta.json"
    text = path.read_text()

    def spots(value: Any, found: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, one in items:
            found.append((value, key))
            if isinstance(one, dict | list):
                spots(one, found)
        return found

    count = len(spots(json.loads(text), []))

    @settings(max_examples=50)
    @given(st.integers(0, count - 1), json_values)
    def change(at: int, new: Any) -> None:
        told = json.loads(text)
        holder, key = spots(told, [])[at]
        holder[key] = new
        path.write_text(json.dumps(told))
        source_of(folder).check()

    change()
