"""Temporary folders: one of a process that was killed goes when the next one is made."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from airlift.temporary_folder import TemporaryFolder

_MAKE = """
import sys
from pathlib import Path
from airlift.temporary_folder import TemporaryFolder
folder = TemporaryFolder("rows", Path(sys.argv[1]))
(folder.path / "many").write_bytes(bytes(1 << 20))
print(folder.path, flush=True)
sys.stdin.read()
"""


@contextmanager
def other_process(parent: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process that has a folder, and the folder."""
    command = [sys.executable, "-c", _MAKE, str(parent)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    path = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, **pipes, text=True, env=path) as process:  # type: ignore[call-overload]
        try:
            yield process, Path(process.stdout.readline().strip())
        finally:
            process.kill()


def test_it_is_ours_alone_and_goes_with_all_that_it_holds(tmp_path: Path) -> None:
    with TemporaryFolder("rows", tmp_path) as folder:
        assert folder.path.parent == tmp_path
        assert folder.path.name.startswith("airlift-rows-")
        assert folder.path.stat().st_mode & 0o777 == 0o700
        (folder.path / "below").mkdir()
        (folder.path / "below" / "file").write_bytes(b"x")
        with TemporaryFolder("rows", tmp_path) as other:
            assert other.path != folder.path
        assert (folder.path / "below" / "file").exists()
    assert list(tmp_path.iterdir()) == []


def test_it_goes_when_nobody_refers_to_it(tmp_path: Path) -> None:
    TemporaryFolder("rows", tmp_path)
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def test_without_a_place_it_is_where_temporary_files_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with TemporaryFolder("rows") as folder:
        assert folder.path.parent == tmp_path


def test_what_a_killed_process_left_goes_and_what_is_used_stays(tmp_path: Path) -> None:
    with other_process(tmp_path) as (killed, left), other_process(tmp_path) as (_, used):
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert (left / "many").exists()
        with TemporaryFolder("other", tmp_path):
            assert not left.exists()
            assert (used / "many").stat().st_size == 1 << 20


def test_a_process_that_ends_by_itself_leaves_nothing(tmp_path: Path) -> None:
    with other_process(tmp_path) as (process, path):
        assert path.is_dir()
        process.communicate("")
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    """Folders without a lock, links to others' folders, and locks that are links."""
    (tmp_path / "airlift-data").mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / ".airlift-lock").touch()
    (elsewhere / "data").touch()
    (tmp_path / "airlift-link").symlink_to(elsewhere)
    (tmp_path / "airlift-trap").mkdir()
    (tmp_path / "airlift-trap" / ".airlift-lock").symlink_to(elsewhere / "data")
    before = sorted(tmp_path.rglob("*"))
    with TemporaryFolder("rows", tmp_path):
        pass
    assert sorted(tmp_path.rglob("*")) == before
