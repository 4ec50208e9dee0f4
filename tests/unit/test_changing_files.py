"""A file that changes while it is read: no row of it is taken, whatever the change and the source.

The changes are made from within the loop that reads, so each is in the middle of the reading.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airlift.chunk import Chunk
from airlift.errors import AirliftError
from airlift.schema import SourceCollection
from airlift.sources.backup import source as backup_source
from airlift.sources.milvus1x import source as milvus1x_source
from airlift.sources.registry import params_class, source_class
from airlift.sources.unchanged import FileChanged
from airlift.storage import open_storage
from tests.unit.changing_files import CHANGES, FEW_CHANGES, SOURCES, Changing, file_in
from tests.unit.faiss_reading import NoConnections

READ = [(name, pattern) for name, one in SOURCES.items() for pattern in one.read]
EVERY = [*READ, *((name, pattern) for name, one in SOURCES.items() for pattern in one.beside)]
EACH_CHANGE = [(*one, change) for one in READ for change in SOURCES[one[0]].changes_of(one[1])]


def source_of(kind: Changing, folder: Path) -> Any:
    """A new one for each step, as in Airflow's tasks."""
    given = {"staging_url": str(folder / "staging"), **kind.params(str(folder))}
    scratch = open_storage(str(folder / "staging" / "scratch"))
    return source_class(kind.source)(params_class(kind.source)(**given), NoConnections(), scratch)


class Planned:
    """A source that was described and cut; what it gave has been through JSON, as in staging."""

    def __init__(self, name: str, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.kind, self.folder = SOURCES[name], folder
        self.kind.make(folder)
        self.kind.small_batches(patch)
        source = source_of(self.kind, folder)
        assert source.check() == []
        [described] = source.describe()
        self.collection = SourceCollection.model_validate_json(described.model_dump_json())
        [chunk] = source.cut(described, 1 << 30)
        source.close()
        self.chunk = Chunk.model_validate_json(chunk.model_dump_json())

    @property
    def source(self) -> Any:
        return source_of(self.kind, self.folder)

    def reading(self) -> Iterator[Any]:
        return iter(self.source.read(self.chunk))


def assert_tells(error: pytest.ExceptionInfo[Any], path: Path) -> None:
    said = str(error.value)
    assert f"/{path.name} was changed since the migration was planned: then " in said
    size, when = "bytes, changed 2023-11-14T22:13:20.123456789Z, inode ", "; now "
    assert size in said and when in said
    assert "from a copy or a snapshot" in said and "with a new migration_id" in said


def test_files_that_lie_still_are_read(tmp_path, monkeypatch):
    for name in SOURCES:
        planned = Planned(name, tmp_path / name, monkeypatch)
        batches = list(planned.reading())
        assert len(batches) > 10
        assert sum(batch.num_rows for batch in batches) == planned.chunk.rows
        assert planned.source.changes(planned.collection) == []
        planned.source.ensure_unchanged(planned.chunk)


@pytest.mark.parametrize(("name", "pattern", "change"), EACH_CHANGE)
def test_a_file_that_changes_while_it_is_read(tmp_path, monkeypatch, name, pattern, change):
    planned = Planned(name, tmp_path, monkeypatch)
    path = file_in(tmp_path, pattern)
    reading = planned.reading()
    next(reading)
    CHANGES[change](path)
    with pytest.raises(FileChanged) as error:
        list(reading)
    assert_tells(error, path)
    # Nor afterwards, by another process.
    with pytest.raises(FileChanged):
        next(planned.reading())


@pytest.mark.parametrize("moment", ["before", "at the end"])
@pytest.mark.parametrize(("name", "pattern"), READ)
def test_a_file_that_changes_before_and_after(tmp_path, monkeypatch, name, pattern, moment):
    planned = Planned(name, tmp_path, monkeypatch)
    path = file_in(tmp_path, pattern)
    reading, rows = planned.reading(), 0
    while moment == "at the end" and rows < planned.chunk.rows:
        rows += next(reading).num_rows
    CHANGES["other bytes in place"](path)
    with pytest.raises(FileChanged) as error:
        next(reading)
    assert_tells(error, path)


@pytest.mark.parametrize("change", FEW_CHANGES)
@pytest.mark.parametrize(("name", "pattern"), EVERY)
def test_what_changed_before_the_target_is_written(tmp_path, monkeypatch, name, pattern, change):
    """Also what is not read any more: metadata, and logs of deletes."""
    planned = Planned(name, tmp_path, monkeypatch)
    path = tmp_path / "meta.sqlite-wal"
    if pattern != path.name:
        path = file_in(tmp_path, pattern)
        CHANGES[change](path)
    else:
        path.write_bytes(b"a log that is new")
    told = f"{path.name} was changed since"
    if (path.name, change) == ("full_meta.json", "removed"):
        told = "is no backup: expected a folder with meta/full_meta.json"
    with pytest.raises(AirliftError, match=told):
        planned.source.changes(planned.collection)
    with pytest.raises(AirliftError, match=told):
        planned.source.cut(planned.collection, 1 << 30)


@pytest.mark.parametrize("name", SOURCES)
def test_every_file_that_is_described_is_told(tmp_path, monkeypatch, name):
    planned = Planned(name, tmp_path, monkeypatch)
    for file in planned.source.described_files(planned.collection):
        if file.identity:
            CHANGES["touched"](Path(file.folder.path(file.path)))
    with pytest.raises(FileChanged) as error:
        planned.source.changes(planned.collection)
    said = str(error.value)
    count = said.count(" was changed since")
    assert said.count("its bytes may be the same") == count > 1
    assert ("more files" in said) == (count == 3) == (name != "faiss that Faiss decodes")


@pytest.mark.parametrize("name", SOURCES)
def test_a_touched_file_makes_other_chunks(tmp_path, monkeypatch, name):
    """So that what was converted of the old file does not count when a migration is resumed."""
    planned = Planned(name, tmp_path, monkeypatch)
    CHANGES["replaced by its copy"](file_in(tmp_path, planned.kind.read[0]))
    source = source_of(planned.kind, tmp_path)
    [again] = source.describe()
    [chunk] = source.cut(again, 1 << 30)
    assert chunk.id != planned.chunk.id
    assert sum(batch.num_rows for batch in source.read(chunk)) == chunk.rows


@pytest.mark.parametrize("name", SOURCES)
def test_a_copy_has_times_and_inodes_of_its_own(tmp_path, monkeypatch, name):
    planned = Planned(name, tmp_path / "here", monkeypatch)
    source = planned.source
    copy = open_storage(str(tmp_path / "copy"))
    for file in source.files([planned.collection]):
        copy.write_bytes(file.path, source.folder().read_bytes(file.path))
    source.read_from(copy)
    assert sum(batch.num_rows for batch in source.read(planned.chunk)) == planned.chunk.rows
    assert source.changes(planned.collection) == []
    [file, *_] = source.files([planned.collection])
    copy.write_bytes(file.path, copy.read_bytes(file.path) + b"x")
    with pytest.raises(FileChanged, match=f"{Path(file.path).name} was changed"):
        source.changes(planned.collection)


@pytest.mark.parametrize(
    ("name", "owner", "reader"),
    [
        ("milvus1x", milvus1x_source, "read_meta_file"),
        ("milvus1x by meta.json", milvus1x_source, "read_meta_file"),
        ("backup", backup_source, "read_meta"),
    ],
)
def test_metadata_that_changes_while_it_is_read(tmp_path, monkeypatch, name, owner, reader):
    kind = SOURCES[name]
    kind.make(tmp_path)
    path = file_in(tmp_path, next(one for one in kind.beside if "meta" in one))
    read = getattr(owner, reader)

    def read_and_change(*given: Any) -> Any:
        found = read(*given)
        CHANGES["the same bytes in place"](path)
        return found

    monkeypatch.setattr(owner, reader, read_and_change)
    with pytest.raises(FileChanged, match=f"{path.name} was changed"):
        source_of(kind, tmp_path).describe()


def test_a_failure_of_another_kind_stays_what_it_is(tmp_path, monkeypatch):
    planned = Planned("milvus1x", tmp_path, monkeypatch)
    monkeypatch.setattr(milvus1x_source, "SegmentReader", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        list(planned.reading())
