"""How far tasks are, as they write it into staging."""

import pytest

from airlift import progress as module
from airlift.chunk import Chunk, Manifest
from airlift.errors import AirliftError
from airlift.progress import BatchProgress, ChunkClock, TaskProgress, file_name, write_progress
from airlift.staging import Staging
from airlift.storage import open_storage


class Collection:
    name = "songs"


class Migration:
    """What BatchProgress needs of a migration."""

    def __init__(self, folder):
        self.staging = Staging(open_storage(str(folder)))


def chunk(name, rows=100):
    return Chunk(id=name, collection="s", partition="", rows=rows, bytes=rows * 10, read={})


def manifest(name, rows=90, bad_rows=10):
    return Manifest(
        chunk=name,
        rows_read=100,
        rows=rows,
        bad_rows=bad_rows,
        bytes=900,
        files=(),
        fingerprint="0" * 32,
        seconds=2.0,
    )


@pytest.fixture
def migration(tmp_path):
    return Migration(tmp_path)


@pytest.fixture
def clock(monkeypatch):
    """The time, which only passes when a test says so."""

    class Clock:
        now = 1_000_000.0

        def time(self):
            return self.now

        monotonic = time

    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def written(migration, step="convert", index=3):
    return migration.staging.read(file_name(step, index), TaskProgress)


def test_a_chunk_in_work_and_one_that_is_done(migration, clock):
    with BatchProgress(migration, "convert", 3) as progress:
        first = ChunkClock(progress, Collection, chunk("a"))
        clock.now += 2
        first.done(manifest("a"), 90, 2.0)
        second = ChunkClock(progress, Collection, chunk("b"))
        clock.now += 1
        second.so_far(50, 45, 5)
    done, running = written(migration).chunks
    assert (done.done, done.read, done.rows, done.bad_rows, done.bytes) == (True, 100, 90, 10, 900)
    assert (done.ended, done.seconds) == (1_000_002.0, 2.0)
    assert (running.done, running.read, running.rows, running.bytes) == (False, 50, 45, 500)
    assert (running.ended, running.seconds) == (1_000_003.0, 1.0)


def test_it_is_written_every_few_seconds_at_most(migration, clock):
    with BatchProgress(migration, "convert", 3) as progress:
        one = ChunkClock(progress, Collection, chunk("a"))
        for rows in range(1, 30):
            one.so_far(rows, rows)
            clock.now += 0.1
        assert written(migration) is None
        clock.now += 1
        one.so_far(30, 30)
        assert written(migration).chunks[0].read == 30
        one.so_far(31, 31)
        assert written(migration).chunks[0].read == 30
    assert written(migration).chunks[0].read == 31


def test_a_task_that_fails_tells_how_far_it_came(migration, clock):
    with pytest.raises(ValueError, match="broken"), BatchProgress(migration, "convert", 3) as one:
        ChunkClock(one, Collection, chunk("a")).so_far(7, 7)
        raise ValueError("broken")
    assert written(migration).chunks[0].read == 7


def test_when_a_chunk_was_done_is_kept_by_the_next_attempt(migration, clock):
    with BatchProgress(migration, "convert", 3) as progress:
        ChunkClock(progress, Collection, chunk("a")).done(manifest("a"), 90, 2.0)
        ChunkClock(progress, Collection, chunk("b")).so_far(50, 50)
    clock.now += 3600
    with BatchProgress(migration, "convert", 3) as progress:
        # What was in work is begun anew.
        ChunkClock(progress, Collection, chunk("a")).done_before(manifest("a"))
        progress.write()
        (kept,) = written(migration).chunks
        assert (kept.chunk, kept.ended, kept.seconds) == ("a", 1_000_002.0, 2.0)


def test_without_an_earlier_file_it_is_not_known_when_a_chunk_was_done(migration, clock):
    with BatchProgress(migration, "convert", 3) as progress:
        ChunkClock(progress, Collection, chunk("a")).done_before(manifest("a"))
    (one,) = written(migration).chunks
    assert one.done
    assert (one.ended, one.seconds, one.rows) == (0.0, 0.0, 90)


@pytest.mark.parametrize("text", ["", "{", '{"chunks": 1}'])
def test_a_damaged_file_is_begun_anew(migration, clock, text):
    migration.staging.folder.write_bytes(file_name("convert", 3), text.encode())
    with BatchProgress(migration, "convert", 3) as progress:
        ChunkClock(progress, Collection, chunk("a")).so_far(1, 1)
    assert written(migration).chunks[0].read == 1


def test_a_migration_goes_on_when_its_progress_cannot_be_written(migration, caplog, monkeypatch):
    def refuse(name, value):
        raise AirliftError("the bucket is full")

    monkeypatch.setattr(migration.staging, "write", refuse)
    write_progress(migration.staging, TaskProgress(step="index", waiting={"songs": 3}))
    assert "the bucket is full" in caplog.text
