"""Whole migrations whose source changes on the way: nothing of it gets to the target.

Afterwards the same migration moves what the source holds then, and nothing that was read before.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import airlift.run
from airlift.sources.registry import source_class
from airlift.sources.unchanged import FileChanged
from airlift.steps import copy_source
from airlift.storage import open_storage
from localservers import MilvusLite, S3Server
from samples.milvus1x_tables import TableSpec, write_milvus1x
from tests.paths.place import MILVUS1X, Place, SourceKind, bucket_of, lite_place
from tests.paths.truth import assert_holds, count
from tests.unit.changing_files import CHANGES, SOURCES, Changing, file_in

SPEC = TableSpec("songs", 300, dim=16, segments=3, deleted_fraction=0.1)
LATER = replace(SPEC, seed=2)
"""Other rows in files of the same sizes."""


@pytest.fixture
def lite(milvus_lite: MilvusLite, tmp_path: Path) -> Iterator[Place]:
    with lite_place(milvus_lite, tmp_path / "source") as place:
        yield place


@pytest.fixture(params=["milvus1x", "faiss", "backup"])
def changing(request: pytest.FixtureRequest, lite: Place) -> tuple[Place, Changing]:
    """Each source, ready to be moved."""
    kind = SOURCES[request.param]
    lite.kind = SourceKind(kind.source, kind.write, lambda folder: kind.params(str(folder)))
    kind.make(lite.folder)
    return lite, kind


def change_once(
    patch: pytest.MonkeyPatch, owner: Any, name: str, change: Callable[..., None], after: bool
) -> None:
    """Changes something at the first call of a function; the call's arguments are given."""
    called, left = getattr(owner, name), [change]

    def call(*given: Any, **named: Any) -> Any:
        if not after and left:
            left.pop()(*given)
        result = called(*given, **named)
        if after and left:
            left.pop()(*given)
        return result

    patch.setattr(owner, name, call)


def change_in_the_middle(
    patch: pytest.MonkeyPatch, kind: Changing, change: Callable[[], None]
) -> None:
    """Changes something when the first batch of the first chunk was read."""
    kind.small_batches(patch)
    source, left = source_class(kind.source), [change]
    rows = source.rows

    def changed(*given: Any) -> Iterator[Any]:
        for batch in rows(*given):
            yield batch
            if left:
                left.pop()()

    patch.setattr(source, "rows", changed)


def assert_nothing_came(place: Place) -> None:
    assert not place.client.has_collection("songs")
    staged = place.staged()
    assert "created.json" not in staged
    assert "report.json" not in staged or b'"failed"' in read_staged(place, "report.json")


def read_staged(place: Place, name: str) -> bytes:
    return (Path(place.staging_url) / place.migration_id / name).read_bytes()


def rows_in(place: Place) -> int:
    place.client.load_collection("songs")
    return count(place.client, "songs")


@pytest.mark.parametrize("change", ["other bytes in place", "replaced by one of the same time"])
def test_while_a_chunk_is_read(changing: Any, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    place, kind = changing
    path = file_in(place.folder, kind.read[0])
    with monkeypatch.context() as patch:
        change_in_the_middle(patch, kind, lambda: CHANGES[change](path))
        with pytest.raises(FileChanged, match=f"{path.name} was changed since"):
            place.run()
    assert_nothing_came(place)
    assert not any(name.endswith("manifest.json") for name in place.staged())


@pytest.mark.parametrize("which", ["read", "beside"])
def test_after_the_last_row_was_read(
    changing: Any, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    """What was converted may still be of one moment, but nobody can tell."""
    place, kind = changing
    path = file_in(place.folder, [*kind.read, *kind.beside][0 if which == "read" else -1])
    if path.name == "meta.sqlite-wal":
        path = path.with_name("meta.sqlite")
    with monkeypatch.context() as patch:
        change_once(patch, airlift.run, "create", lambda *_: CHANGES["touched"](path), after=False)
        with pytest.raises(FileChanged, match=f"{path.name} was changed since"):
            place.run()
    assert_nothing_came(place)
    report = place.run(verify="full")
    [one] = report["collections"]
    assert one["rows_counted"] == rows_in(place) == one["rows_source"] - one["rows_deleted"]


# --- copies in staging ----------------------------------------------------------------------------


def write_later(place: Place) -> Any:
    """Puts other rows of the same sizes into the very files; returns them."""
    elsewhere = place.folder.with_name("later")
    truth = write_milvus1x(elsewhere, [LATER])
    for path in elsewhere.rglob("*"):
        if path.is_file() and path.parent.name != "source":
            there = place.folder / path.relative_to(elsewhere)
            assert there.suffix == ".sqlite" or there.stat().st_size == path.stat().st_size
            there.write_bytes(path.read_bytes())
    return truth["songs"]


@pytest.fixture
def copied(lite: Place) -> Place:
    lite.kind = MILVUS1X
    lite.defaults |= {"copy_source": "always", "verify": "full"}
    lite.write(SPEC)
    for path in lite.folder.rglob("*"):
        CHANGES["set back"](path)
    return lite


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_while_it_is_copied(
    copied: Place, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """It is told, and its copy goes; so do copies of files that changed between two attempts."""
    path = file_in(copied.folder, "tables/songs/*/*.rv")
    if change == "set back":
        path.touch()
    with copied.migration() as migration:
        airlift.run.export_meta(migration)
        files = copy_source.files_to_copy(migration, workers_share_disk=True)
        [file] = [file for file in files if file.path.endswith(path.name)]
        change_once(
            monkeypatch, copy_source, "copy_file", lambda *_: CHANGES[change](path), after=True
        )
        with pytest.raises(FileChanged, match=f"{path.name} was changed since"):
            copy_source.copy_files(migration, [file])
        assert migration.staging.copied_source.list(recursive=True).keys().isdisjoint([file.path])
        with pytest.raises(FileChanged, match=f"{path.name} was changed since"):
            copy_source.copy_files(migration, files)


def test_it_is_moved_once_it_lies_still(copied: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    truth: list[Any] = []
    with monkeypatch.context() as patch:
        change_once(
            patch,
            copy_source,
            "copy_file",
            lambda *_: truth.append(write_later(copied)),
            after=True,
        )
        with pytest.raises(FileChanged, match="was changed since"):
            copied.run()
    assert_nothing_came(copied)
    copied.run()
    assert_holds(copied.client, "songs", truth[0])


@pytest.mark.parametrize("killed_at", ["finish_copy", "make_plan", "create"])
def test_copies_of_what_was_there_before_do_not_count(
    copied: Place, monkeypatch: pytest.MonkeyPatch, killed_at: str
) -> None:
    """They have the same sizes as the files have now, and other rows."""
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(airlift.run, killed_at, killed)
        copied.run()
    truth = write_later(copied)
    copied.run()
    assert_holds(copied.client, "songs", truth)


def test_whole_copies_are_taken_up_again(copied: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks are known by the files that were copied: those that are in are not sent again."""
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(airlift.run, "build_indexes", killed)
        copied.run()
    before = read_staged(copied, "plan.json")
    copying: list[Any] = []
    monkeypatch.setattr(copy_source, "copy_file", lambda *given: copying.append(given))
    report = copied.run()
    assert read_staged(copied, "plan.json") == before and not copying
    assert report["collections"][0]["rows_counted"] == rows_in(copied) == 270


def test_more_collections_than_were_copied(copied: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(copied.folder)
    truth = copied.write(SPEC, replace(SPEC, name="prints", seed=5))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(airlift.run, "create", killed)
        copied.run(collections=["songs"])
    copied.run()
    for name, rows in truth.items():
        assert_holds(copied.client, name, rows)


def killed(*_: Any) -> None:
    raise KeyboardInterrupt


# --- a source in a bucket -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["milvus1x", "faiss", "backup"])
def test_an_object_that_changes_while_a_chunk_is_read(
    lite: Place, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    kind = SOURCES[name]
    kind.make(lite.folder)
    path = file_in(lite.folder, kind.read[0])
    url = "s3://changing-files/" + name
    s3_server.make_bucket("changing-files")
    bucket = open_storage(url, bucket_of(s3_server))
    for file in lite.folder.rglob("*"):
        if file.is_file():
            bucket.write_bytes(str(file.relative_to(lite.folder)), file.read_bytes())
    lite.connections.buckets["store"] = bucket_of(s3_server)
    lite.kind = SourceKind(kind.source, kind.write, lambda _: kind.params(url))

    def change() -> None:
        CHANGES["other bytes in place"](path)
        bucket.write_bytes(str(path.relative_to(lite.folder)), path.read_bytes())

    with monkeypatch.context() as patch:
        change_in_the_middle(patch, kind, change)
        with pytest.raises(FileChanged, match=f"{path.name} was changed since.* ETag "):
            lite.run(source_conn_id="store")
    assert_nothing_came(lite)
