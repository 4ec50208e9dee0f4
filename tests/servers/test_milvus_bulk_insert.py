"""Import jobs by gRPC, on real servers of 2.3.5 and 2.2.16."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from airlift.connections import MilvusConnection
from airlift.errors import AirliftError
from airlift.milvus.database import MilvusDatabase
from airlift.staging import Staging
from airlift.steps.import_chunks import BatchImport
from airlift.storage import open_storage
from airlift.targets.base import JobState
from airlift.targets.grpc_bulk_insert import GrpcBackupImport, GrpcBulkInsert
from airlift.waiting import wait_for
from localservers import Milvus
from samples.milvus1x_tables import TableSpec
from tests.paths.place import local_place, up_to_import
from tests.paths.truth import assert_holds

SONGS = TableSpec("songs", 300, dim=8, partitions={"rock": 100}, seed=5)


@pytest.fixture(params=["milvus", "milvus_2_2"])
def database(request: pytest.FixtureRequest) -> Iterator[tuple[MilvusDatabase, Path]]:
    server: Milvus = request.getfixturevalue(request.param)
    with closing(MilvusDatabase(MilvusConnection(uri=server.uri))) as database:
        database.client.create_collection("jobs", dimension=8, metric_type="L2")
        yield database, server.data_dir / "files" / request.node.name
        database.client.drop_collection("jobs")


def write(folder: Path, rows: int) -> list[str]:
    """A file for each field; returns their names."""
    folder.mkdir(parents=True)
    values = np.random.default_rng(6).random((rows, 8), np.float32)
    for name, column in (("id", np.arange(rows)), ("vector", values)):
        np.save(folder / f"{name}.npy", column)
    return [f"{name}.npy" for name in ("id", "vector")]


@pytest.mark.parametrize("way", [GrpcBulkInsert, GrpcBackupImport])
def test_a_job_that_the_server_does_not_know(database: Any, way: type[GrpcBulkInsert]) -> None:
    target, folder = database
    assert way(target, open_storage(str(folder))).job("123") is None


@pytest.mark.parametrize("folder", ["a,b", "a, b.x,y", "läßt, (sich) [x]"])
def test_the_files_of_a_job_are_told_apart(database: Any, folder: str) -> None:
    """They come joined by commas, which their names may have too."""
    target, top = database
    files = write(top / folder, 20)
    way = GrpcBulkInsert(target, open_storage(str(top / folder)))
    names = [way.file_name(name) for name in files]
    job = way.submit("jobs", "", names, "key")
    [listed] = way.jobs("jobs")
    assert listed.id == job and not listed.has_unknown_files
    assert listed.files == set(names)
    assert way.jobs("jobs", known={job}) == []
    ended = wait_for(
        lambda: way.job(job), lambda one: bool(one and one.state is not JobState.RUNNING), 60
    )
    assert ended and (ended.state, ended.rows) == (JobState.COMPLETED, 20), ended


@pytest.mark.parametrize("gone", ["partition", "collection"])
def test_what_is_not_there_any_more_is_named(milvus: Milvus, tmp_path: Path, gone: str) -> None:
    with local_place(milvus, tmp_path / "source") as place:
        truth = place.write(SONGS)["songs"]
        with up_to_import(place) as migration:
            if gone == "partition":
                place.client.drop_partition("songs", "rock")
            else:
                place.client.drop_collection("songs")
            with pytest.raises(AirliftError, match=rf"{gone}.*clear the task create"):
                BatchImport(migration, 0).submit()
        place.run()
        assert_holds(place.client, "songs", truth)


def test_an_accepted_job_of_a_folder_with_a_comma_is_adopted(
    milvus: Milvus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with local_place(milvus, tmp_path / "source") as place:
        place.defaults["staging_url"] = f"{milvus.data_dir}/staging, of ours"
        truth = place.write(SONGS)["songs"]
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Staging, "write_import_record", killed)
            place.run()
        report = place.run(verify="full")
        assert report["collections"][0]["jobs_adopted"] == 1
        assert_holds(place.client, "songs", truth)


def test_a_forgotten_job_is_told(milvus: Milvus, tmp_path: Path) -> None:
    """Milvus forgets a job a day after it ended; here it never knew it."""
    with local_place(milvus, tmp_path / "source") as place:
        truth = place.write(SONGS)["songs"]
        with up_to_import(place) as migration:
            batch = BatchImport(migration, 0)
            batch.submit()
            one = batch.pending[0]
            record = one.record.model_copy(update={"job": "123"})
            migration.staging.write_import_record("songs", one.chunk.id, record)
            with pytest.raises(AirliftError, match="does not know the import job 123 any more"):
                BatchImport(migration, 0).finish()
            # It is looked for by its files, and found; without it there would be no telling.
            assert BatchImport(migration, 0).submit() == [one.record.job, *batch_ids(batch)[1:]]
        place.run()
        assert_holds(place.client, "songs", truth)


def batch_ids(batch: BatchImport) -> list[str]:
    return [one.record.job for one in batch.pending]
