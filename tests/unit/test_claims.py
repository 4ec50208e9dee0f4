"""Claims: however two or three runs are interleaved, at most one holds what they want."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airlift.claims import Claims, Holder, Taken, process_lives
from airlift.errors import AirliftError
from airlift.storage import open_storage

SONGS = {"a": "the name songs"}
BOTH = {"a": "the name songs", "b": "the name artists"}


def run(name: str, airflow: str = "here") -> Holder:
    return Holder(airflow=airflow, dag_id="dag", run_id=name, migration_id=f"m_{name}", host="h")


class Bucket:
    """A bucket in memory whose every request waits for its turn; listings are up to date."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.turn: Callable[[], None] = lambda: None

    def folder(self, name: str) -> Bucket:
        return self

    def address(self, name: str) -> str:
        return f"s3://bucket/claims/{name}"

    def _now(self, action: Callable[[], Any]) -> Any:
        self.turn()
        return action()

    def list(self) -> dict[str, int]:
        return self._now(lambda: {name: len(data) for name, data in sorted(self.files.items())})

    def write_bytes(self, name: str, data: bytes) -> None:
        self._now(lambda: self.files.__setitem__(name, data))

    def exists(self, name: str) -> bool:
        return self._now(lambda: name in self.files)

    def read_bytes(self, name: str) -> bytes:
        def read() -> bytes:
            if name not in self.files:
                raise AirliftError(f"{name} does not exist")
            return self.files[name]

        data: bytes = self._now(read)
        return data

    def delete_file(self, name: str) -> None:
        self._now(lambda: self.files.pop(name, None))


class Race:
    """Actors in threads, of which one at a time makes one request, as a schedule says."""

    def __init__(self, bucket: Bucket, actors: list[Callable[[], None]], schedule: list[int]):
        self._bucket = bucket
        self._schedule = list(schedule)
        self._changed = threading.Condition()
        self._waiting: set[int] = set()
        self._going: int | None = None
        self._left = set(range(len(actors)))
        self._local = threading.local()
        self._threads = [
            threading.Thread(target=self._act, args=(number, actor))
            for number, actor in enumerate(actors)
        ]

    def _act(self, number: int, actor: Callable[[], None]) -> None:
        self._local.number = number
        try:
            actor()
        finally:
            with self._changed:
                self._left.discard(number)
                self._going = None
                self._changed.notify_all()

    def _turn(self) -> None:
        number = self._local.number
        with self._changed:
            self._going = None
            self._waiting.add(number)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._going == number)
            self._waiting.discard(number)

    def run(self) -> None:
        self._bucket.turn = self._turn
        for thread in self._threads:
            thread.start()
        while True:
            with self._changed:
                # Until all that have not ended wait for their turn.
                self._changed.wait_for(lambda: self._going is None and self._left == self._waiting)
                if not self._left:
                    break
                ready = sorted(self._waiting)
                wish = self._schedule.pop(0) if self._schedule else 0
                self._going = ready[wish % len(ready)]
                self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        self._bucket.turn = lambda: None


@settings(max_examples=200)
@given(
    actors=st.integers(2, 3),
    schedule=st.lists(st.integers(0, 2), max_size=40),
    same_run=st.booleans(),
)
def test_at_most_one_run_holds_it(actors: int, schedule: list[int], same_run: bool) -> None:
    """With `same_run`, the last two actors are tasks of one run, and may both hold it."""
    bucket = Bucket()
    holding: list[str] = []

    def actor(name: str) -> Callable[[], None]:
        def act() -> None:
            try:
                Claims(bucket, run(name), lambda other: True).take(SONGS)  # type: ignore[arg-type]
            except Taken as taken:
                assert "the name songs is claimed by run" in str(taken)
            else:
                holding.append(name)

        return act

    names = [f"r{number}" for number in range(actors)]
    if same_run:
        names[-1] = names[-2]
    Race(bucket, [actor(name) for name in names], schedule).run()
    assert len(set(holding)) <= 1
    # What was refused leaves nothing behind, so that whoever comes next can have it.
    assert {name.partition("@")[2].partition(".")[0] for name in bucket.files} == {
        run(name).digest for name in holding
    }


def test_the_second_is_refused_and_told_by_whom(tmp_path: Path) -> None:
    root = open_storage(str(tmp_path))
    first = Claims(root, run("one"), lambda other: True)
    second = Claims(root, run("two"), lambda other: True)
    first.take(BOTH)
    first.take(BOTH)  # every task of the run does
    with pytest.raises(Taken, match="songs is claimed by run 'one' of DAG 'dag', migration 'm_one"):
        second.take(SONGS)
    first.give_back()
    second.take(SONGS)
    assert len(list((tmp_path / "claims").iterdir())) == 1


def test_all_or_nothing(tmp_path: Path) -> None:
    root = open_storage(str(tmp_path))
    Claims(root, run("one"), lambda other: True).take({"b": "the name artists"})
    with pytest.raises(Taken, match="artists"):
        Claims(root, run("two"), lambda other: True).take(BOTH)
    Claims(root, run("three"), lambda other: True).take(SONGS)


def test_a_dead_holder_does_not_count(tmp_path: Path) -> None:
    root = open_storage(str(tmp_path))
    Claims(root, run("one"), lambda other: True).take(SONGS)
    asked: list[Holder] = []
    Claims(root, run("two"), lambda other: bool(asked.append(other))).take(SONGS)
    assert [other.run_id for other in asked] == ["one"]
    # What was dead and comes to life again, as a cleared run, is refused in its turn.
    with pytest.raises(Taken, match="run 'two'"):
        Claims(root, run("one"), lambda other: True).take(SONGS)


def test_one_of_another_airflow_is_told_with_the_way_out(tmp_path: Path) -> None:
    root = open_storage(str(tmp_path))
    Claims(root, run("same_name", airflow="there"), lambda other: True).take(SONGS)
    own = Claims(root, run("same_name"), lambda other: True)
    with pytest.raises(
        Taken, match=r"in another Airflow.*if it is dead, delete .*/claims/a@.*held"
    ):
        own.take(SONGS)
    own.give_back()  # of its own, nothing
    [held] = (tmp_path / "claims").iterdir()
    held.unlink()
    own.take(SONGS)


def test_a_process_without_airflow_is_known_to_be_dead(tmp_path: Path) -> None:
    code = (
        "import sys; from airlift.claims import Claims, Holder;"
        "from airlift.storage import open_storage;"
        "Claims(open_storage(sys.argv[1]), Holder.this_process('m')).take({'a': 'the name songs'});"
        "print('holds', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": "include"},
    )
    assert other.stdin and other.stdout
    assert other.stdout.readline() == b"holds\n"
    own = Claims(open_storage(str(tmp_path)), Holder.this_process("m"))
    with pytest.raises(Taken, match=f"claimed by process {other.pid}"):
        own.take(SONGS)
    other.kill()
    other.communicate()
    own.take(SONGS)
    [held] = (tmp_path / "claims").iterdir()
    assert json.loads(held.read_text())["holder"]["pid"] == os.getpid()


def test_a_process_that_got_the_number_of_a_dead_one() -> None:
    own = Holder.this_process("m")
    assert process_lives(own)
    assert not process_lives(own.model_copy(update={"born": psutil.boot_time() - 1}))
    assert process_lives(own.model_copy(update={"host": "elsewhere", "pid": 1}))
