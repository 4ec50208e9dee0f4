"""Makes data folders of Milvus 1.x: for the demo, the tests and the benchmarks.

What it makes is what a server of 1.x leaves behind: `tables/<table_id>/<segment>/` with the files
of each segment, a `meta.sqlite` whose newest content is still in its write-ahead log, and the
`meta.json` that the old milvus-migration tool would export. The same tables also go into MySQL.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.engine import URL

METRIC_CODES = {
    "L2": 1,
    "IP": 2,
    "HAMMING": 3,
    "JACCARD": 4,
    "TANIMOTO": 5,
    "SUBSTRUCTURE": 6,
    "SUPERSTRUCTURE": 7,
}
_BLOCK_BYTES = 16 << 20
_NOW = 1_600_000_000_000_000  # microseconds, as 1.x writes its times
_PRIME = 1_000_003  # a stride through the ids, so that they don't stand in order


@dataclass(frozen=True)
class TableSpec:
    """A collection to make.

    Attributes:
        rows: rows of the collection's own (default) partition, deleted ones included.
        dim: dimension; bits, where the metric is a binary one.
        segments: segments that the rows of each partition are spread over.
        deleted_fraction: share of each segment's rows that is deleted.
        partitions: tag -> rows.
        segment_rows: rows of each segment of the default partition, instead of `rows` and
            `segments`; 0 makes an empty one.
        ids: the ids of all rows in order, instead of made ones.
        exact_counts: whether the metadata counts deleted rows too; some versions of 1.x take them
            off.
        keep_truth: whether to give back ids and vectors; not for data larger than memory.
    """

    name: str
    rows: int
    dim: int = 64
    metric: str = "L2"
    segments: int = 2
    deleted_fraction: float = 0.0
    partitions: Mapping[str, int] = field(default_factory=dict)
    seed: int = 1
    segment_rows: Sequence[int] | None = None
    ids: NDArray[np.int64] | None = None
    exact_counts: bool = True
    keep_truth: bool = True

    @property
    def binary(self) -> bool:
        """Whether its vectors are bits."""
        return self.metric not in ("L2", "IP")

    @property
    def width(self) -> int:
        """Bytes of a vector."""
        return self.dim // 8 if self.binary else 4 * self.dim


@dataclass
class PartitionTruth:
    """The live rows of a partition, in the order that they lie on disk."""

    ids: NDArray[np.int64]
    vectors: NDArray[Any]


@dataclass
class CollectionTruth:
    """What a collection holds: its live rows by partition tag ("" is the default one)."""

    rows: int = 0
    deleted: int = 0
    partitions: dict[str, PartitionTruth] = field(default_factory=dict)


@dataclass
class _Row:
    """A segment as the metadata lists it."""

    table_id: str
    segment: str
    rows: int
    size: int


@dataclass
class _Table:
    """A row of `Tables`, and its segments."""

    table_id: str
    spec: TableSpec
    owner: str
    tag: str
    segments: list[_Row] = field(default_factory=list)


def demo_tables() -> list[TableSpec]:
    """The demo's two: songs (floats, partitions, deleted rows) and fingerprints (bits)."""
    return [
        TableSpec(
            "songs",
            12_000,
            dim=64,
            metric="L2",
            segments=3,
            deleted_fraction=0.03,
            partitions={"rock": 5_000, "jazz": 3_000},
            seed=11,
        ),
        TableSpec("fingerprints", 10_000, dim=256, metric="HAMMING", segments=2, seed=12),
    ]


def write_milvus1x(
    folder: Path, specs: Sequence[TableSpec], meta_json: bool = False
) -> dict[str, CollectionTruth]:
    """Writes `tables/` and `meta.sqlite` (and `meta.json`) into a folder.

    Returns:
        What a migration must bring over, by collection.
    """
    truth, tables = _write_tables(folder / "tables", specs)
    _write_sqlite(folder / "meta.sqlite", tables)
    if meta_json:
        (folder / "meta.json").write_bytes(orjson.dumps(_meta_json(tables)))
    return truth


def write_meta_mysql(folder: Path, url: URL) -> None:
    """Copies the metadata of a folder's `meta.sqlite` into a MySQL database, with 1.x's tables."""
    source = sqlite3.connect(folder / "meta.sqlite")
    engine = sa.create_engine(url)
    meta = sa.MetaData()
    tables, files = _mysql_tables(meta)
    meta.create_all(engine)
    with engine.begin() as connection:
        for table in (tables, files):
            columns = ", ".join(column.name for column in table.columns)
            rows = source.execute(f"SELECT {columns} FROM {table.name}").fetchall()  # noqa: S608
            names = [column.name for column in table.columns]
            if rows:
                values = [dict(zip(names, row, strict=True)) for row in rows]
                connection.execute(table.insert(), values)
    engine.dispose()
    source.close()


def _write_tables(
    folder: Path, specs: Sequence[TableSpec]
) -> tuple[dict[str, CollectionTruth], list[_Table]]:
    truth: dict[str, CollectionTruth] = {}
    tables: list[_Table] = []
    serial = iter(range(1, 1 << 40))
    for number, spec in enumerate(specs):
        found = truth[spec.name] = CollectionTruth()
        made = _Maker(folder, spec, found, serial)
        tables.append(made.partition(spec.name, "", spec.rows, spec.segment_rows))
        for n, (tag, rows) in enumerate(spec.partitions.items()):
            # 1.x gives a partition's folder a number for a name.
            table_id = str(_NOW + number * 1000 + n)
            tables.append(made.partition(table_id, tag, rows, None))
    return truth, tables


class _Maker:
    """Writes the segments of one collection."""

    def __init__(
        self, folder: Path, spec: TableSpec, truth: CollectionTruth, serial: Iterator[int]
    ) -> None:
        self._folder = folder
        self._spec = spec
        self._truth = truth
        self._serial = serial
        self._random = np.random.default_rng(spec.seed)
        self._next_row = 0

    def partition(
        self, table_id: str, tag: str, rows: int, segment_rows: Sequence[int] | None
    ) -> _Table:
        """Writes a partition; the collection's own rows have the tag ""."""
        spec = self._spec
        table = _Table(table_id, spec, owner=spec.name if tag else "", tag=tag)
        if segment_rows is None:
            fewest, more = divmod(rows, spec.segments)
            segment_rows = [fewest + (n < more) for n in range(spec.segments)]
        (self._folder / table_id).mkdir(parents=True, exist_ok=True)
        ids: list[NDArray[np.int64]] = []
        vectors: list[NDArray[Any]] = []
        for count in segment_rows:
            row, live = self._segment(table_id, count, ids, vectors)
            self._truth.rows += count
            self._truth.deleted += count - live
            table.segments.append(row)
        if spec.keep_truth:
            self._truth.partitions[tag] = PartitionTruth(
                np.concatenate([np.empty(0, np.int64), *ids]),
                np.concatenate([_no_vectors(spec), *vectors]),
            )
        return table

    def _segment(
        self,
        table_id: str,
        rows: int,
        truth_ids: list[NDArray[np.int64]],
        truth_vectors: list[NDArray[Any]],
    ) -> tuple[_Row, int]:
        spec = self._spec
        name = f"{_NOW + 7 * next(self._serial)}000"
        folder = self._folder / table_id / name
        folder.mkdir()
        deleted = self._random.choice(rows, round(rows * spec.deleted_fraction), replace=False)
        dead = np.zeros(rows, np.bool_)
        dead[deleted] = True
        ids = self._ids(rows)
        _write_values(folder / f"{name}.uid", [ids], ids.nbytes)
        blocks = self._vectors(rows, dead, truth_vectors)
        _write_values(folder / f"{name}.rv", blocks, rows * spec.width)
        # 1.x appends offsets as deletes come in, and the same row may be deleted twice.
        offsets = np.concatenate((deleted, deleted[: len(deleted) // 10])).astype("<i4")
        _write_values(folder / "deleted_docs", [offsets], offsets.nbytes)
        (folder / "bloom_filter").write_bytes(b"\0" * 64)
        if spec.keep_truth:
            truth_ids.append(ids[~dead])
        live = rows - len(deleted)
        counted = rows if spec.exact_counts else live
        return _Row(table_id, name, counted, rows * spec.width), live

    def _ids(self, rows: int) -> NDArray[np.int64]:
        first, self._next_row = self._next_row, self._next_row + rows
        if self._spec.ids is not None:
            return self._spec.ids[first : first + rows].astype("<i8")
        places = np.arange(first, first + rows, dtype=np.int64)
        # Different for every row (the stride is prime to 2^40), and in no order.
        return (places * _PRIME * 613 + self._spec.seed * 7919) % (1 << 40)

    def _vectors(
        self, rows: int, dead: NDArray[np.bool_], truth: list[NDArray[Any]]
    ) -> Iterator[NDArray[Any]]:
        spec = self._spec
        block = max(_BLOCK_BYTES // spec.width, 1)
        for start in range(0, rows, block):
            count = min(block, rows - start)
            made: NDArray[Any]
            if spec.binary:
                made = self._random.integers(0, 256, (count, spec.width), dtype=np.uint8)
            else:
                made = self._random.random((count, spec.dim), dtype=np.float32)
            if spec.keep_truth:
                truth.append(made[~dead[start : start + count]])
            yield made


def _no_vectors(spec: TableSpec) -> NDArray[Any]:
    if spec.binary:
        return np.empty((0, spec.width), np.uint8)
    return np.empty((0, spec.dim), np.float32)


def _write_values(path: Path, blocks: Iterator[Any] | list[Any], size: int) -> None:
    with path.open("wb") as file:
        file.write(struct.pack("<Q", size))
        for block in blocks:
            file.write(block.data if block.size else b"")


def _meta_json(tables: list[_Table]) -> dict[str, Any]:
    collections = [
        {
            "collection": table.table_id,
            "metric": METRIC_CODES[table.spec.metric],
            "rows": sum(row.rows for row in table.segments),
            "dim": table.spec.dim,
            "segments": [
                {
                    "collection": table.table_id,
                    "segment": row.segment,
                    "dim": table.spec.dim,
                    "rows": row.rows,
                    "fileSize": row.size,
                }
                for row in table.segments
            ],
        }
        for table in tables
    ]
    return {"collections": collections, "rows": sum(c["rows"] for c in collections)}


_SQLITE_TABLES = """
CREATE TABLE Tables (
    id INTEGER PRIMARY KEY NOT NULL, table_id TEXT UNIQUE NOT NULL, state INTEGER NOT NULL,
    dimension INTEGER NOT NULL, created_on INTEGER NOT NULL, flag INTEGER DEFAULT 0 NOT NULL,
    index_file_size INTEGER NOT NULL, engine_type INTEGER NOT NULL, index_params TEXT NOT NULL,
    metric_type INTEGER NOT NULL, owner_table TEXT DEFAULT '' NOT NULL,
    partition_tag TEXT DEFAULT '' NOT NULL, version TEXT DEFAULT '1.1.1' NOT NULL,
    flush_lsn INTEGER NOT NULL);
CREATE TABLE TableFiles (
    id INTEGER PRIMARY KEY NOT NULL, table_id TEXT NOT NULL, segment_id TEXT DEFAULT '' NOT NULL,
    engine_type INTEGER NOT NULL, file_id TEXT NOT NULL, file_type INTEGER NOT NULL,
    file_size INTEGER DEFAULT 0 NOT NULL, row_count INTEGER DEFAULT 0 NOT NULL,
    updated_time INTEGER NOT NULL, created_on INTEGER NOT NULL, date INTEGER NOT NULL,
    flush_lsn INTEGER NOT NULL);
CREATE TABLE Environment (global_lsn INTEGER DEFAULT 0 NOT NULL);
"""
_TABLE_ROW = (
    "INSERT INTO Tables VALUES (NULL, ?, ?, ?, ?, 0, 1073741824, 1, ?, ?, ?, ?, '1.1.1', 0)"
)
_FILE_ROW = "INSERT INTO TableFiles VALUES (NULL, ?, ?, 1, ?, ?, ?, ?, ?, ?, 120800, 0)"


def _write_sqlite(path: Path, tables: list[_Table]) -> None:
    """Writes the metadata, and leaves part of it in the write-ahead log, as a server does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    live = path.with_name("meta.live.sqlite")
    connection = sqlite3.connect(live)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(_SQLITE_TABLES)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    # What every old server has: a dropped collection, whose rows stay for a while.
    rows = [("dropped_long_ago", 1, 32, _NOW, '{"nlist":16384}', 1, "", "")]
    rows += [
        (
            table.table_id,
            0,
            table.spec.dim,
            _NOW,
            '{"nlist":16384}',
            METRIC_CODES[table.spec.metric],
            table.owner,
            table.tag,
        )
        for table in tables
    ]
    connection.executemany(_TABLE_ROW, rows)
    connection.executemany(_FILE_ROW, _file_rows(tables))
    connection.execute("INSERT INTO Environment VALUES (1)")
    connection.commit()
    # Closing would empty the log: take both files while it is open.
    for suffix in ("", "-wal"):
        (path.parent / (path.name + suffix)).write_bytes(Path(f"{live}{suffix}").read_bytes())
    connection.close()
    live.unlink()


def _file_rows(tables: list[_Table]) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    every = sorted((row for table in tables for row in table.segments), key=lambda row: row.segment)
    for n, row in enumerate(every):
        # Raw, to be indexed, and the raw file behind an index: all are live.
        kind = (1, 2, 7)[n % 3]
        times = (_NOW, _NOW)
        rows.append((row.table_id, row.segment, row.segment, kind, row.size, row.rows, *times))
        if kind == 7:  # its index lies in the same folder
            index = f"{row.segment}9"
            rows.append((row.table_id, row.segment, index, 3, row.size, row.rows, *times))
        # A segment that was merged away (4: to be deleted).
        rows.append((row.table_id, f"{row.segment}5", f"{row.segment}5", 4, 0, row.rows, *times))
    return rows


def _mysql_tables(meta: sa.MetaData) -> tuple[sa.Table, sa.Table]:
    def number(name: str, kind: Any = sa.BigInteger) -> sa.Column[Any]:
        return sa.Column(name, kind, nullable=False)

    def text(name: str, length: int = 255) -> sa.Column[Any]:
        return sa.Column(name, sa.String(length), nullable=False)

    key = sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=True)
    tables = sa.Table(
        "Tables",
        meta,
        key,
        sa.Column("table_id", sa.String(255), unique=True, nullable=False),
        *(number(name, sa.Integer) for name in ("state", "dimension")),
        *(number(name) for name in ("created_on", "flag", "index_file_size")),
        number("engine_type", sa.Integer),
        text("index_params", 512),
        number("metric_type", sa.Integer),
        text("owner_table"),
        text("partition_tag"),
        text("version", 64),
        number("flush_lsn"),
    )
    files = sa.Table(
        "TableFiles",
        meta,
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=True),
        text("table_id"),
        text("segment_id"),
        number("engine_type", sa.Integer),
        text("file_id"),
        number("file_type", sa.Integer),
        *(number(name) for name in ("file_size", "row_count", "updated_time", "created_on")),
        number("date", sa.Integer),
        number("flush_lsn"),
    )
    sa.Table("Environment", meta, number("global_lsn"))
    return tables, files
