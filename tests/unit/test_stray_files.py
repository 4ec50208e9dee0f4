"""Folders as people copy them: with files of their desktop, or of another kind altogether."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from airlift.errors import AirliftError
from samples.faiss_indexes import write_index
from tests.real_backups import unpack
from tests.unit.backup_reading import Read as BackupRead
from tests.unit.backup_reading import source_of as backup_of
from tests.unit.faiss_reading import Read as FaissRead
from tests.unit.faiss_reading import source_of as faiss_of

STRAYS = [".DS_Store", "Thumbs.db", "desktop.ini", "._100", "._part-1.index"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack("types", tmp_path_factory.mktemp("whole"))


@pytest.fixture
def backup(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "types"))


@pytest.mark.parametrize("name", STRAYS)
def test_files_of_a_desktop_in_a_backup_are_passed_over(whole, backup, name):
    for folder in [backup, *(path for path in backup.rglob("*") if path.is_dir())]:
        (folder / name).write_bytes(b"of a desktop")
    there, before = BackupRead(backup_of(backup)), BackupRead(backup_of(whole))
    assert there.rows == before.rows and there.rows


@pytest.mark.parametrize("name", STRAYS)
def test_files_of_a_desktop_beside_an_index_are_passed_over(tmp_path, name):
    for part in range(2):
        write_index(tmp_path / f"part-{part}.index", np.eye(3, dtype=np.float32), "Flat")
    (tmp_path / "fields").mkdir()
    np.save(tmp_path / "fields" / "year.npy", np.arange(6))
    for folder in (tmp_path, tmp_path / "fields"):
        (folder / name).write_bytes(b"of a desktop")
        (folder / f"._{name}.npy").write_bytes(b"of a desktop")
    source = faiss_of(
        tmp_path, index_url=f"{tmp_path}/*part-*.index", scalars_url=f"{tmp_path}/fields"
    )
    assert FaissRead(source).scalars() == {"year": list(range(6))}


def as_minio(folder: Path) -> None:
    """Each file becomes a folder with `xl.meta`."""
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        data = path.read_bytes()
        path.unlink()
        path.mkdir()
        (path / "xl.meta").write_bytes(b"XL2 " + data)


def test_a_backup_on_a_disk_of_minio_is_named_once(backup):
    as_minio(backup)
    [reason] = backup_of(backup).check()
    assert "MinIO's own disk layout" in reason and "mc cp --recursive" in reason
    assert str(backup) in reason


def test_an_index_on_a_disk_of_minio_is_named(tmp_path):
    write_index(tmp_path / "songs.index", np.eye(3, dtype=np.float32), "Flat")
    as_minio(tmp_path)
    [reason] = faiss_of(tmp_path).check()
    assert "MinIO's own disk layout" in reason and "songs.index" in reason


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("my_backup.tar.gz", "is an archive: unpack it"),
        ("my_backup.zip", "is an archive: unpack it"),
        ("types/meta/full_meta.json", "give the backup's folder, "),
        ("types/meta/backup_meta.json", "give the backup's folder, "),
        ("whatever.bin", "is no backup"),
    ],
)
def test_a_file_in_place_of_a_backup_is_named(backup, name, said):
    file = backup.parent / name
    file.parent.mkdir(exist_ok=True, parents=True)
    file.write_bytes(b"{}")
    try:
        reasons = backup_of(file).check()
    except AirliftError as error:
        reasons = [str(error)]
    assert said in reasons[0] and str(file) in reasons[0]
    if "folder" in said:
        assert reasons[0].endswith(str(backup))
