"""Ways in which a file changes under its reader, and sources whose files lie still until then."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from airlift.sources.backup import log_file
from airlift.sources.backup import reading as backup_reading
from airlift.sources.faiss import source as faiss_source
from airlift.sources.milvus1x import source as milvus1x_source
from samples.faiss_indexes import IndexSpec, write_faiss
from samples.milvus1x_tables import TableSpec, write_milvus1x
from samples.milvus_backups import (
    BackupCollection,
    BackupField,
    BackupSegment,
    vectors,
    write_backup,
)

LONG_AGO = 1_700_000_000_123_456_789
ROWS = 400
DIM = 16
_BATCH_ROWS = 20
_serial = itertools.count()


# --- what happens to a file -----------------------------------------------------------------------


def _other_bytes(path: Path) -> bytes:
    """As many bytes, the second half of them others: formats have their marks at the beginning."""
    data = bytearray(path.read_bytes())
    for at in range(len(data) // 2, len(data)):
        data[at] ^= 1
    return bytes(data)


def _write_in_place(path: Path, data: bytes, at: int = 0) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def _replace(path: Path, data: bytes, same_time: bool = False) -> None:
    other = path.with_name(f"{path.name}.new-{next(_serial)}")
    other.write_bytes(data)
    if same_time:
        stat = path.stat()
        os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    other.replace(path)


def _link(path: Path) -> None:
    other = path.with_name(f"{path.name}.new-{next(_serial)}")
    other.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(other)


CHANGES: dict[str, Callable[[Path], None]] = {
    "other bytes in place": lambda path: _write_in_place(path, _other_bytes(path)),
    "its last byte": lambda path: _write_in_place(path, b"?", path.stat().st_size - 1),
    "the same bytes in place": lambda path: _write_in_place(path, path.read_bytes()),
    "appended to": lambda path: _write_in_place(path, b"more", path.stat().st_size),
    "cut in half": lambda path: os.truncate(path, path.stat().st_size // 2),
    "emptied": lambda path: os.truncate(path, 0),
    "touched": lambda path: os.utime(path),
    "set back": lambda path: os.utime(path, ns=(LONG_AGO - 1, LONG_AGO - 1)),
    "replaced": lambda path: _replace(path, _other_bytes(path)),
    "replaced by one of the same time": lambda path: _replace(path, _other_bytes(path), True),
    "replaced by its copy": lambda path: _replace(path, path.read_bytes(), True),
    "replaced by a longer one": lambda path: _replace(path, path.read_bytes() + b"more"),
    "replaced by a link": _link,
    "removed": lambda path: path.unlink(),
    "renamed": lambda path: path.rename(path.with_name("elsewhere")),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}
FEW_CHANGES = (
    "other bytes in place",
    "cut in half",
    "touched",
    "replaced by one of the same time",
    "removed",
)


# --- the sources ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Changing:
    """A source of one collection with one chunk, which is read in many batches.

    Attributes:
        source: as the entry points name it.
        write: makes its files in a folder.
        params: given the address of the folder.
        read: patterns of files that the chunk is read from.
        beside: patterns of files that the plan was made from, and that are not read any more.
        small_batches: has it give batches of few rows, and read them one by one.
        slow: whether each look at it takes a second, so that it is tried with some changes only.
    """

    source: str
    write: Callable[[Path], Any]
    params: Callable[[str], dict[str, Any]]
    read: tuple[str, ...]
    beside: tuple[str, ...]
    small_batches: Callable[[pytest.MonkeyPatch], None]
    slow: bool = False

    def changes_of(self, pattern: str) -> list[str]:
        """What is tried on a file; what is not read any more is compared in one way only."""
        return list(CHANGES if pattern in self.read and not self.slow else FEW_CHANGES)

    def make(self, folder: Path) -> Any:
        """Makes the files, which nobody has touched for long."""
        made = self.write(folder)
        for path in folder.rglob("*"):
            if path.is_file():
                os.utime(path, ns=(LONG_AGO, LONG_AGO))
        return made


def file_in(folder: Path, pattern: str) -> Path:
    """The first file of that pattern."""
    return sorted(path for path in folder.glob(pattern) if path.is_file())[0]


def _write_tables(folder: Path, segments: int = 2) -> Any:
    spec = TableSpec("songs", ROWS, dim=DIM, segments=segments, deleted_fraction=0.1)
    return write_milvus1x(folder, [spec])


def _small_tables(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(milvus1x_source, "BATCH_BYTES", _BATCH_ROWS * (8 + 4 * DIM))


def _write_index(**spec: Any) -> Callable[[Path], Any]:
    def write(folder: Path) -> Any:
        return write_faiss(folder, [IndexSpec("songs", ROWS, dim=DIM, **spec)])

    return write


def _small_index(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(faiss_source, "BATCH_BYTES", _BATCH_ROWS * 4 * DIM)


def _backup_segment(number: int) -> BackupSegment:
    keys = np.arange(ROWS // 2) + number * ROWS
    rows = np.repeat(keys.astype(np.float32)[:, None], DIM, axis=1)
    return BackupSegment(
        columns={"id": pa.array(keys, pa.int64()), "v": vectors(rows)},
        times=[100] * len(keys),
        deletes=[(int(keys[3]), 200)],
        logs=2,
    )


def _write_backup(folder: Path) -> Any:
    fields = (BackupField("id", "INT64"), BackupField("v", "FLOAT_VECTOR", {"dim": DIM}))
    segments = [_backup_segment(0), _backup_segment(1)]
    return write_backup(folder / "b", [BackupCollection("songs", fields, segments)])


def _small_backup(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(backup_reading, "BATCH_BYTES", _BATCH_ROWS * 4 * DIM)
    patch.setattr(backup_reading, "_LEAST_ROWS", _BATCH_ROWS)
    for name in ("_WHOLE_LOCAL", "_WHOLE_REMOTE"):
        patch.setattr(log_file, name, 0)


SOURCES = {
    "milvus1x": Changing(
        "milvus1x",
        _write_tables,
        lambda url: {"tables_url": f"{url}/tables", "meta_url": f"{url}/meta.sqlite"},
        ("tables/songs/*/*.rv", "tables/songs/*/*.uid", "tables/songs/*/deleted_docs"),
        ("meta.sqlite", "meta.sqlite-wal"),
        _small_tables,
    ),
    "milvus1x by meta.json": Changing(
        "milvus1x",
        lambda folder: write_milvus1x(
            folder, [TableSpec("songs", ROWS, dim=DIM, segments=1)], meta_json=True
        ),
        lambda url: {"tables_url": f"{url}/tables", "meta_url": f"{url}/meta.json"},
        ("tables/songs/*/*.rv",),
        ("meta.json",),
        _small_tables,
    ),
    "faiss": Changing(
        "faiss",
        _write_index(shards=2, ids_file=True, scalars="parquet"),
        lambda url: {
            "index_url": f"{url}/songs-*.index",
            "ids_url": f"{url}/songs_ids.npy",
            "scalars_url": f"{url}/songs.parquet",
        },
        ("songs-0.index", "songs-1.index", "songs_ids.npy", "songs.parquet"),
        (),
        _small_index,
    ),
    "faiss in lists": Changing(
        "faiss",
        _write_index(factory="IVF4,Flat", scalars="npy"),
        lambda url: {"index_url": f"{url}/songs.index", "scalars_url": f"{url}/songs"},
        ("songs.index", "songs/year.npy", "songs/genre.npy"),
        (),
        _small_index,
    ),
    "faiss that Faiss decodes": Changing(
        "faiss",
        _write_index(factory="SQ8", scalars="jsonl"),
        lambda url: {
            "index_url": f"{url}/songs.index",
            "scalars_url": f"{url}/songs.jsonl",
            "allow_lossy": True,
        },
        ("songs.index", "songs.jsonl"),
        (),
        _small_index,
        slow=True,
    ),
    "backup": Changing(
        "backup",
        _write_backup,
        lambda url: {"backup_url": f"{url}/b"},
        ("b/binlogs/insert_log/**/100/*", "b/binlogs/insert_log/**/101/*"),
        ("b/binlogs/delta_log/**/*", "b/meta/full_meta.json", "b/binlogs/insert_log/**/1/*"),
        _small_backup,
    ),
}
