"""Which import jobs have taken a migration's files, however the server names them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlift.errors import AirliftError
from airlift.steps import unrecorded_jobs
from airlift.steps.unrecorded_jobs import MigrationFiles, jobs_with_files
from airlift.targets.base import ImportJob, JobState

FILES = MigrationFiles(
    "songs", {}, {"data/staging/m1/songs/": "songs", "data/staging/m1/db.more/": "db.more"}
)
LOGS = MigrationFiles(
    "songs",
    {
        "b/backup/one/insert_log/1/2/3/": "000000-a",
        "b/backup/one/delta_log/1/2/3/": "000000-a",
        "b/backup/one/insert_log/1/2/4/": "000001-b",
    },
    {},
)
DONE = JobState.COMPLETED


def job(*files: str, state: JobState = DONE, rows: int = 5) -> ImportJob:
    return ImportJob("1", state, frozenset(files), rows=rows)


@pytest.mark.parametrize(
    ("names", "chunks"),
    [
        (["data/staging/m1/songs/000000-a/id.npy"], ["000000-a"]),
        (["/data/staging/m1/songs/000000-a/id.npy"], ["000000-a"]),
        (["bucket/data/staging/m1/songs/000000-a/id.npy"], ["000000-a"]),
        (["/bucket/data/staging/m1/songs/000000-a/x.parquet"], ["000000-a"]),
        (
            ["data/staging/m1/songs/7-x/id.npy", "data/staging/m1/songs/000000-a/id.npy"],
            ["000000-a", "7-x"],
        ),
        (["data/staging/m1/db.more/000000-a/id.npy"], ["db.more/000000-a"]),
        (["data/staging/m1/songs/000000-a/id.npy", "elsewhere/id.npy"], ["000000-a"]),
        (["data/staging/m10/songs/000000-a/id.npy"], []),
        (["data/staging/m1/songs2/000000-a/id.npy"], []),
        (["other/bucket/data/staging/m1/songs/000000-a/id.npy"], []),
        (["staging/m1/songs/000000-a/id.npy"], []),
        (["data/staging/m1/songs.npy"], []),
        ([], []),
    ],
)
def test_chunk_files(names: list[str], chunks: list[str]) -> None:
    assert FILES.chunks_of(job(*names)) == chunks


@pytest.mark.parametrize(
    ("names", "chunks"),
    [
        (["b/backup/one/insert_log/1/2/3/", "b/backup/one/delta_log/1/2/3/"], ["000000-a"]),
        (["b/backup/one/insert_log/1/2/3/"], ["000000-a"]),
        (["/bucket/b/backup/one/insert_log/1/2/4/"], ["000001-b"]),
        (["b/backup/two/insert_log/1/2/3/"], []),
        (["b/backup/one/insert_log/1/2/33/"], []),
        (["data/staging/m1/songs/000000-a/id.npy"], []),
    ],
)
def test_folders_of_logs(names: list[str], chunks: list[str]) -> None:
    assert LOGS.chunks_of(job(*names)) == chunks


@pytest.mark.parametrize(
    ("state", "rows", "counts"),
    [
        (JobState.RUNNING, 0, True),
        (JobState.RUNNING, 5, True),
        (JobState.COMPLETED, 5, True),
        (JobState.COMPLETED, 0, False),
        (JobState.FAILED, 0, False),
        (JobState.FAILED, 5, False),
    ],
)
def test_only_what_brings_rows_counts(state: JobState, rows: int, counts: bool) -> None:
    taken = job("data/staging/m1/songs/1-x/id.npy", state=state, rows=rows)
    assert FILES.chunks_of(taken) == (["1-x"] if counts else [])


PART = st.text("abm1/.- ,[]", min_size=1, max_size=8).filter(lambda text: "//" not in text)


@given(PART, PART, PART, st.sampled_from(["", "/", "bucket/", "/bucket/"]))
def test_every_file_below_a_folder_and_no_other(
    root: str, chunk: str, other: str, before: str
) -> None:
    root, chunk = root.strip("/") or "r", chunk.replace("/", "_")
    files = MigrationFiles("c", {}, {f"/{root}/m/c/": "c"})
    assert files.chunks_of(job(f"{before}{root}/m/c/{chunk}/id.npy")) == [chunk]
    elsewhere = f"{other.strip('/')}/x/id.npy"
    if not elsewhere.partition("/")[2].startswith(f"{root}/m/c/"):
        assert files.chunks_of(job(elsewhere)) == []


def test_a_job_that_names_no_files_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    silent, named = ImportJob("1", JobState.RUNNING), ImportJob("1", DONE, frozenset("a"), rows=1)
    answers = iter([[silent], [silent], [named]])
    assert jobs_with_files(lambda: next(answers), set, "songs", "verify") == [named]
    # One that is recorded meanwhile need not be.
    recorded = iter([set(), {"1"}])
    assert jobs_with_files(lambda: [silent], lambda: next(recorded), "songs", "verify") == [silent]
    monkeypatch.setattr(unrecorded_jobs, "_NAMES_FILES_SECONDS", 0.1)
    with pytest.raises(AirliftError, match=r"'songs' does not tell its files.*clear the task x$"):
        jobs_with_files(lambda: [silent], set, "songs", "x")
