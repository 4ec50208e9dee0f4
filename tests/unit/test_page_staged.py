"""What the page reads from staging, and how often."""

import pytest

from airlift.connections import S3Connection
from airlift.errors import AirliftError
from airlift.progress import TaskProgress, file_name
from airlift.staging import SourceChanges, Staging
from airlift.storage import open_storage
from airlift_page import staged as module
from airlift_page.staged import StagedMigration, StagedMigrations


class Clock:
    """A monotonic clock that a test moves; every look is far from the last."""

    now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def staging(tmp_path):
    return Staging(open_storage(str(tmp_path)))


@pytest.fixture
def reads(staging, monkeypatch):
    """The names of the files that were read."""
    names = []
    read = staging.folder.read_bytes
    monkeypatch.setattr(
        staging.folder, "read_bytes", lambda name, *more: names.append(name) or read(name, *more)
    )
    return names


def tell(staging, index, rows):
    progress = TaskProgress(step="index", index=index, waiting={"songs": rows})
    staging.write(file_name("index", index), progress)


def test_only_what_has_changed_is_read_again(staging, clock, reads):
    one = StagedMigration(staging.folder)
    for index in range(3):
        tell(staging, index, 1)
    staging.write("changes.json", SourceChanges(told=("a row went",)))
    staging.folder.write_bytes("import.json", b"not looked at")
    for _ in range(3):  # a file is read once more when it has stood for a while
        one.refresh()
        clock.now += 10
    assert sorted(set(reads)) == ["changes.json", *(file_name("index", at) for at in range(3))]
    assert len(reads) == 8
    assert one.changes == ("a row went",)
    reads.clear()
    tell(staging, 1, 22)
    one.refresh()
    assert reads == [file_name("index", 1)]
    assert sorted(task.waiting["songs"] for task in one.tasks) == [1, 1, 22]


def test_a_change_within_the_second_in_which_it_was_read_is_seen(staging, clock, monkeypatch):
    """A bucket tells the same time and the same size; the content is another."""
    tell(staging, 0, 1)
    stat = staging.folder.list_stats("progress")
    one = StagedMigration(staging.folder)
    monkeypatch.setattr(staging.folder, "list_stats", lambda name="": stat if name else {})
    one.refresh()
    tell(staging, 0, 2)
    clock.now += 3
    one.refresh()
    assert one.tasks[0].waiting == {"songs": 2}


def test_all_who_look_at_once_share_an_answer(staging, clock, monkeypatch):
    looks = []
    listed = staging.folder.list_stats
    monkeypatch.setattr(
        staging.folder, "list_stats", lambda *given: looks.append(given) or listed(*given)
    )
    one = StagedMigration(staging.folder)
    for _ in range(5):
        one.refresh()
    assert len(looks) == 2  # the folder, and `progress` in it


def test_a_damaged_file_and_one_that_is_gone_are_left_out(staging, clock):
    one = StagedMigration(staging.folder)
    tell(staging, 0, 1)
    staging.folder.write_bytes(file_name("index", 1), b"{")
    staging.folder.write_bytes("plan.json", b'{"of": "another version"}')
    one.refresh()
    assert len(one.tasks) == 1
    assert one.plan is None and one.is_there and not one.has_report
    staging.folder.delete_folder("progress")
    clock.now += 10
    one.refresh()
    assert one.tasks == []


@pytest.mark.parametrize("migration_id", ["", "../etc", "a/b", "a b", "m" * 300])
def test_an_id_that_is_no_folder_is_refused(migration_id, tmp_path):
    with pytest.raises(AirliftError, match="migration_id"):
        StagedMigrations().open({"staging_url": str(tmp_path)}, migration_id)


@pytest.mark.parametrize("url", ["", "s3://key:s3cret@bucket/x", "relative", "ftp://x/y"])
def test_a_folder_that_cannot_be_is_refused_without_its_secret(url):
    with pytest.raises(AirliftError) as refused:
        StagedMigrations().open({"staging_url": url}, "m1")
    assert "s3cret" not in str(refused.value)


def test_a_migration_is_opened_anew_when_its_connection_has_changed(monkeypatch):
    from airlift_airflow import connections

    secret = {"now": "one"}
    monkeypatch.setattr(
        connections.AirflowConnections,
        "storage",
        lambda self, conn_id: S3Connection(access_key="k", secret_key=secret["now"]),
    )
    opened = StagedMigrations()
    params = {"staging_url": "s3://bucket/x", "staging_conn_id": "bucket"}
    first = opened.open(params, "m1")
    assert opened.open(params, "m1") is first
    assert opened.open(params, "m2") is not first
    secret["now"] = "two"
    assert opened.open(params, "m1") is not first
