"""The staging folder: what is written is read again, and what is not whole does not count."""

from __future__ import annotations

from pathlib import Path

import pytest

from airlift.chunk import ChunkFile, Manifest
from airlift.errors import AirliftError
from airlift.plan import ChunkRef
from airlift.schema import SourceCollection
from airlift.staging import ImportRecord, Meta, Staging
from airlift.storage import open_storage
from airlift.target_changes import Created, CreatedCollection
from tests.unit.arrow_rows import EVERY_TYPE


@pytest.fixture
def staging(tmp_path: Path) -> Staging:
    return Staging(open_storage(str(tmp_path / "m1")))


def manifest(chunk: str = "1", **changes) -> Manifest:
    known = {
        "rows_read": 5,
        "rows": 4,
        "bad_rows": 1,
        "bytes": 30,
        "files": (ChunkFile(name="a.npy", size=10), ChunkFile(name="b.npy", size=20)),
        "fingerprint": "00ff" * 8,
        "pk_min": -3,
        "pk_max": 2**63 - 1,
    }
    return Manifest(chunk=chunk, **{**known, **changes})


def created(collection_id: str) -> Created:
    return Created(
        collections=(CreatedCollection(name="c", collection_id=collection_id, made=True),),
    )


def test_what_is_written_is_read(staging):
    meta = Meta(source="x", collections=(SourceCollection(collection_schema=EVERY_TYPE, rows=7),))
    staging.write("meta.json", meta)
    assert staging.meta() == meta
    assert staging.meta().collections[0].collection_schema.arrow == EVERY_TYPE.arrow
    staging.write("c/1/manifest.json", manifest())
    assert staging.manifest("c", "1") == manifest()
    assert staging.manifest("c", "2") is None
    text = manifest(pk_min="a", pk_max="ü")
    staging.write("c/1/manifest.json", text)
    assert staging.manifest("c", "1") == text


@pytest.mark.parametrize(
    ("ask", "task"), [("meta", "export_meta"), ("plan", "plan"), ("created", "create")]
)
def test_what_is_missing_names_the_task_that_makes_it(staging, ask, task):
    with pytest.raises(
        AirliftError, match=rf"(?i){staging.folder.url}/{ask}.json.*clear the task {task}"
    ):
        getattr(staging, ask)()


@pytest.mark.parametrize("text", ["", "{", '{"source": "a', "\0\1", "no JSON"])
def test_a_damaged_file_that_is_written_again_counts_as_none(staging, text):
    staging.folder.write_bytes("meta.json", text.encode())
    with pytest.raises(AirliftError, match=r"meta.json is missing or damaged. Clear the task exp"):
        staging.meta()


@pytest.mark.parametrize("name", ["created.json", "c/1/import.json"])
def test_a_damaged_file_that_nobody_can_write_again_is_refused(staging, name):
    staging.folder.write_bytes(name, b'{"collection')
    with pytest.raises(AirliftError, match=rf"{name} is damaged: its 12 bytes are no JSON. .*drop"):
        staging.created() if name == "created.json" else staging.import_record("c", "1")


@pytest.mark.parametrize("text", ["[]", '{"source": 1}', '{"chunk": "1"}'])
def test_a_file_of_another_version_is_refused(staging, text):
    staging.folder.write_bytes("meta.json", text.encode())
    with pytest.raises(AirliftError, match=r"meta.json was not written by this version"):
        staging.meta()


def test_a_manifest_of_another_chunk_does_not_count(staging):
    staging.write("c/1/manifest.json", manifest("2"))
    assert staging.manifest("c", "1") is None


def test_files_count_only_in_full_length(staging):
    one = manifest()
    assert not staging.has_files("c", one)
    staging.folder.write_bytes("c/1/a.npy", b"x" * 10)
    assert not staging.has_files("c", one)
    staging.folder.write_bytes("c/1/b.npy", b"x" * 19)
    assert not staging.has_files("c", one)
    staging.folder.write_bytes("c/1/b.npy", b"x" * 20)
    assert staging.has_files("c", one)
    assert staging.has_files("c", manifest("9", files=()))


def test_an_import_counts_only_for_the_collection_that_it_went_to(staging):
    record = ImportRecord(collection_id="7", job="j", done=True, rows=4)
    staging.write_import_record("c", "1", record)
    assert staging.import_record("c", "1") == record
    # Nothing is known of the collection yet.
    assert staging.current_import("c", "1") is None and not staging.is_imported("c", "1")
    staging.write("created.json", created("7"))
    assert staging.current_import("c", "1") == record and staging.is_imported("c", "1")
    # It was dropped and made anew.
    staging.write("created.json", created("8"))
    assert staging.current_import("c", "1") is None and not staging.is_imported("c", "1")


def test_an_import_that_runs_is_not_done(staging):
    staging.write("created.json", created("7"))
    record = ImportRecord(collection_id="7", job="j")
    staging.write_import_record("c", "1", record)
    assert staging.current_import("c", "1") == record and not staging.is_imported("c", "1")


def test_records_of_many_chunks_come_in_their_order(staging):
    staging.write("created.json", created("7"))
    refs = [ChunkRef(collection="c", chunk=str(n)) for n in (3, 1, 2)]
    for chunk in "12":
        staging.write(f"c/{chunk}/manifest.json", manifest(chunk))
    record = ImportRecord(collection_id="7", job="j")
    other = ImportRecord(collection_id="6", job="i")
    staging.write_import_record("c", "2", record)
    staging.write_import_record("c", "1", other)
    assert list(staging.manifests(refs)) == [None, manifest("1"), manifest("2")]
    assert list(staging.import_records(refs)) == [None, other, record]
    assert list(staging.current_imports(refs)) == [None, None, record]
    assert list(staging.manifests([])) == []


def test_folders_are_where_the_design_says(staging):
    assert staging.scratch.url == staging.folder.url + "/scratch"
    assert staging.copied_source.url == staging.folder.url + "/source"
    assert staging.chunk_folder("c", "1").url == staging.folder.url + "/c/1"


def test_a_collection_that_is_begun_keeps_its_mark_until_it_is_there():
    begun, first = Created().begin("c", "db")
    assert begun.begun == (first,) and len(first.mark) == 32
    again, second = begun.begin("c", "db", ["job-1"])
    assert again.begun == (second,) and second.mark == first.mark
    assert (first.earlier_jobs, second.earlier_jobs) == ((), ("job-1",))
    both, other = again.begin("d", "")
    assert other.mark != first.mark
    made = CreatedCollection(name="c", database="db", collection_id="7", made=True)
    added = both.add(made)
    assert added.find("c") == made and [one.name for one in added.begun] == ["d"]
