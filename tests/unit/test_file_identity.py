"""What tells two states of a file apart, on a disk."""

import os
from pathlib import Path

import numpy as np
import pytest

from airlift.errors import AirliftError
from airlift.file_identity import FileIdentity
from airlift.sources.faiss.npy import NpyFile
from airlift.storage import open_storage
from airlift.stores import disk
from tests.unit.changing_files import CHANGES, LONG_AGO

NOW = FileIdentity(5, 7, "inode 3")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a file.rv"
    path.write_bytes(bytes(range(100)))
    os.utime(path, ns=(LONG_AGO, LONG_AGO))
    return path


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (FileIdentity(5, 7, "inode 3"), True),
        (FileIdentity(6, 7, "inode 3"), False),
        (FileIdentity(5, 8, "inode 3"), False),
        (FileIdentity(5, 7, "inode 4"), False),
        (FileIdentity(5), True),
        (FileIdentity(6), False),
        (FileIdentity(5, None, "inode 3"), True),
        (FileIdentity(5, None, "inode 4"), False),
        (FileIdentity(5, 0, "inode 3"), False),
        (FileIdentity(5, 8), False),
    ],
)
def test_what_both_know_must_agree(other: FileIdentity, same: bool) -> None:
    assert NOW.matches(other) is other.matches(NOW) is same


def test_it_is_told_in_plain_words() -> None:
    assert str(FileIdentity(4104, LONG_AGO, "inode 3")) == (
        "4,104 bytes, changed 2023-11-14T22:13:20.123456789Z, inode 3"
    )
    assert str(FileIdentity(0)) == "0 bytes"
    assert str(FileIdentity(1, -1)) == "1 bytes, changed 1969-12-31T23:59:59.999999999Z"
    assert (
        str(FileIdentity(1, 10**24)) == "1 bytes, changed 1000000000000000000000000 ns after 1970"
    )


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("mtime_ns", [LONG_AGO, 0, 1])
def test_each_change_of_a_file_shows(path: Path, change: str, mtime_ns: int) -> None:
    """Archives may give their files the time 0."""
    os.utime(path, ns=(mtime_ns, mtime_ns))
    folder = open_storage(str(path.parent))
    [before] = folder.identities([path.name])
    assert before == (100, mtime_ns, f"inode {path.stat().st_ino}")
    CHANGES[change](path)
    [now] = folder.identities([path.name])
    assert before and (now is None or not before.matches(now))


def test_what_leaves_a_file_as_it_is(path: Path) -> None:
    folder = open_storage(str(path.parent))
    before = folder.identities([path.name])
    path.read_bytes()
    path.chmod(0o400)
    os.link(path, path.with_name("another name"))
    path.with_name("beside").write_bytes(b"x")
    assert folder.identities([path.name]) == before


def test_what_is_no_file(path: Path) -> None:
    folder = open_storage(str(path.parent))
    (path.parent / "folder").mkdir()
    os.mkfifo(path.parent / "pipe")
    path.with_name("dangling").symlink_to("nowhere")
    names = ["folder", "pipe", "dangling", "nothing", f"{path.name}/below", path.name]
    assert [one is None for one in folder.identities(names)] == [True] * 5 + [False]
    with pytest.raises(AirliftError, match="would leave"):
        folder.identities(["../x"])


@pytest.mark.parametrize(
    ("kind", "kept"),
    [
        ("ext4", True),
        ("nfs4", True),
        ("overlay", True),
        ("fuse.sshfs", False),
        ("fuse", False),
        ("cifs", False),
        ("9p", False),
    ],
)
def test_inodes_count_where_they_stay(
    path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, kept: bool
) -> None:
    """A file system over FTP, SSH or a bucket numbers its files anew when it is asked again."""
    device = path.stat().st_dev
    mounts = path.with_name("mountinfo")
    mounts.write_text(
        "21 1 0:999 / /proc rw - fuse proc rw\n"
        f"36 35 {os.major(device)}:{os.minor(device)} /a /b rw,noatime master:1 - {kind} x rw\n"
    )
    monkeypatch.setattr(disk, "_MOUNTS", mounts)
    disk._keeps_inodes.cache_clear()
    try:
        [found] = open_storage(str(path.parent)).identities([path.name])
    finally:
        disk._keeps_inodes.cache_clear()
    assert found and (found.version != "") is kept


def test_ids_that_are_cut_off_while_they_are_mapped(tmp_path: Path) -> None:
    """To look at them would end the process by SIGBUS."""
    ids = np.arange(100_000)
    np.save(tmp_path / "ids.npy", ids)
    file = NpyFile(open_storage(str(tmp_path)), "ids.npy")
    assert file.take(ids[-9:]).tolist() == ids[-9:].tolist()
    os.truncate(tmp_path / "ids.npy", 4096)
    with pytest.raises(AirliftError, match=r"ids\.npy became shorter while it was read"):
        file.take(ids[-9:])
