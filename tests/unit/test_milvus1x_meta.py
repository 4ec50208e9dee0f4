"""The metadata of Milvus 1.x from its three forms, and every way in which it can be bad."""

import sqlite3
from pathlib import Path

import orjson
import pytest

from airlift.errors import AirliftError, Refused
from airlift.sources.milvus1x.meta import Meta, meta_from_json, meta_from_rows
from airlift.sources.milvus1x.meta_sql import read_meta_file
from airlift.storage import open_storage
from samples.milvus1x_tables import TableSpec, write_milvus1x

SPECS = [
    TableSpec("songs", 90, dim=8, segments=3, partitions={"rock": 20, "jazz & blues": 10}),
    TableSpec("bits", 10, dim=16, metric="JACCARD", segments=1),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_milvus1x(tmp_path, SPECS, meta_json=True)
    return tmp_path


def read(folder: Path, name: str = "meta.sqlite") -> Meta:
    return read_meta_file(open_storage(str(folder)), name)


def check_songs(meta: Meta) -> None:
    assert set(meta.tables) == {"songs", "bits"}
    songs, bits = meta.tables["songs"], meta.tables["bits"]
    assert (songs.dim, songs.metric) == (8, "L2")
    assert (bits.dim, bits.metric) == (16, "JACCARD")
    rows = {at.tag: [segment.rows for segment in at.segments] for at in songs.partitions}
    assert rows == {"": [30, 30, 30], "rock": [7, 7, 6], "jazz & blues": [4, 3, 3]}
    for partition in songs.partitions:
        orders = [segment.order for segment in partition.segments]
        names = [segment.segment for segment in partition.segments]
        assert orders == sorted(set(orders)) and names == sorted(names)
    assert songs.partitions[0].segments[0].table_id == "songs"
    assert songs.partitions[1].segments[0].table_id.isdecimal()


def test_sqlite_with_its_log(folder: Path) -> None:
    check_songs(read(folder))


def test_the_log_is_needed_and_nothing_is_touched(folder: Path) -> None:
    before = {
        path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in meta_files(folder)
    }
    read(folder)
    after = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in meta_files(folder)}
    assert before == after
    (folder / "meta.sqlite-wal").unlink()
    assert read(folder).tables == {}  # all rows were in the log only


def meta_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file())


def test_read_only_folder(folder: Path) -> None:
    for path in meta_files(folder):
        path.chmod(0o444)
    folder.chmod(0o555)
    try:
        check_songs(read(folder))
    finally:
        folder.chmod(0o755)


def test_meta_json(folder: Path) -> None:
    tables = read(folder, "meta.json").tables
    assert [segment.rows for segment in tables["songs"].partitions[0].segments] == [30, 30, 30]
    assert tables["bits"].metric == "JACCARD"
    assert len(tables) == 4  # it does not tell that two of them are partitions
    assert any("may be a partition" in table.notes[0] for table in tables.values() if table.notes)


@pytest.mark.parametrize("metric", [2, "2", "IP", "ip"])
def test_meta_json_metric(metric: object) -> None:
    value = {"collections": [{"collection": "c", "metric": metric, "dim": 4, "segments": None}]}
    assert meta_from_json(value, "m").tables["c"].metric == "IP"


GOOD_SEGMENT = {"collection": "c", "segment": "1", "dim": 4, "rows": 3}
GOOD = {"collection": "c", "metric": 1, "dim": 4, "rows": 3, "segments": [GOOD_SEGMENT]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"metric": 9}, "metric: Value error, expected one of 1 L2"),
        ({"metric": None}, "expected one of 1 L2"),
        ({"metric": True}, "expected one of 1 L2"),
        ({"dim": -1}, "dim: Input should be greater than or equal to 0; found -1"),
        ({"dim": "4"}, "dim: Input should be a valid integer; found '4'"),
        ({"dim": True}, "dim: Input should be a valid integer"),
        ({"collection": "../x"}, "expected a plain folder name"),
        ({"collection": ".."}, "expected a plain folder name"),
        ({"collection": ""}, "at least 1 character"),
        ({"collection": "a\0b"}, "expected a plain folder name"),
        ({"rows": 4}, "expected the sum of its segments, 3; found 4"),
        ({"segments": "x"}, "segments: Input should be a valid list"),
        ({"segments": [GOOD_SEGMENT | {"segment": "a/b"}]}, "expected a plain folder name"),
        ({"segments": [GOOD_SEGMENT | {"rows": -3}]}, "rows: Input should be greater than"),
        ({"segments": [GOOD_SEGMENT | {"rows": 2**31}]}, "rows: Input should be less than"),
        ({"segments": [GOOD_SEGMENT | {"dim": 5}]}, "expected the collection's 4, found 5"),
        ({"segments": [7]}, "segments[0]"),
        ({"segments": [GOOD_SEGMENT, GOOD_SEGMENT], "rows": 6}, "rows would be doubled"),
    ],
)
def test_bad_meta_json(change: dict[str, object], said: str) -> None:
    with pytest.raises(Refused) as refused:
        meta_from_json({"collections": [GOOD | change]}, "meta.json")
    assert said in str(refused.value)


def test_several_reasons_at_once_but_no_flood() -> None:
    bad = [GOOD | {"dim": -1, "metric": 99, "collection": f"c{n}"} for n in range(100)]
    with pytest.raises(Refused) as refused:
        meta_from_json({"collections": bad}, "meta.json")
    assert 3 < len(refused.value.reasons) <= 51
    assert "more reasons" in refused.value.reasons[-1]


@pytest.mark.parametrize("value", [[], {}, {"collections": 1}, {"collections": None}])
def test_not_a_meta_json(value: object) -> None:
    with pytest.raises(Refused, match=r"no meta\.json of milvus-migration"):
        meta_from_json(value, "x")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "neither a SQLite database nor a meta.json"),
        (b"PK\x03\x04", "neither a SQLite database nor a meta.json"),
        (b'{"collections": [', "is not JSON"),
        (b"SQLite format 3\0" + b"\xff" * 500, "cannot read the metadata"),
    ],
)
def test_a_bad_file(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "meta").write_bytes(content)
    with pytest.raises(AirliftError, match=said):
        read(tmp_path, "meta")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(AirliftError, match=r"meta\.sqlite: it does not exist"):
        read(tmp_path)


def test_a_truncated_database(folder: Path) -> None:
    edit(folder)  # takes the log in
    data = (folder / "meta.sqlite").read_bytes()
    (folder / "meta.sqlite").write_bytes(data[: len(data) // 2])
    with pytest.raises(AirliftError, match=r"cannot read the metadata in .*meta\.sqlite"):
        read(folder)


def edit(folder: Path, *statements: str) -> None:
    connection = sqlite3.connect(folder / "meta.sqlite")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE Tables SET table_id = '../../etc' WHERE table_id = 'bits'", "plain folder name"),
        ("UPDATE Tables SET dimension = 'many' WHERE table_id = 'bits'", "valid integer"),
        ("UPDATE Tables SET dimension = 1.5 WHERE table_id = 'bits'", "valid integer"),
        ("UPDATE Tables SET table_id = x'ff' WHERE table_id = 'bits'", "valid string"),
        ("UPDATE Tables SET metric_type = 0 WHERE table_id = 'bits'", "expected one of 1 L2"),
        ("UPDATE Tables SET partition_tag = '' WHERE partition_tag = 'rock'", "no partition_tag"),
        ("UPDATE Tables SET partition_tag = 'rock' WHERE owner_table = 'songs'", "there twice"),
        ("UPDATE Tables SET dimension = 9 WHERE partition_tag = 'rock'", "expected the collection"),
        ("UPDATE TableFiles SET row_count = -1 WHERE table_id = 'bits'", "greater than or equal"),
        ("UPDATE TableFiles SET segment_id = '..' WHERE table_id = 'bits'", "plain folder name"),
        ("UPDATE TableFiles SET segment_id = '1' WHERE table_id = 'songs'", "would be doubled"),
        ("UPDATE TableFiles SET row_count = 9e99 WHERE table_id = 'bits'", "valid integer"),
        ("UPDATE Tables SET state = 2 WHERE table_id = 'bits'", "'bits' has the state 2"),
        ("UPDATE Tables SET state = -1 WHERE table_id = 'songs'", "'songs' has the state -1"),
        ("UPDATE Tables SET state = 7 WHERE partition_tag = 'rock'", "has the state 7"),
        ("UPDATE TableFiles SET file_type = 8 WHERE table_id = 'bits'", "has the file_type 8"),
        ("UPDATE TableFiles SET file_type = -1 WHERE table_id = 'songs'", "has the file_type -1"),
        ("UPDATE TableFiles SET file_type = 3 WHERE table_id = 'bits'", "an index, and no raw"),
        ("ALTER TABLE Tables RENAME TO Other", "has no table Tables"),
        ("ALTER TABLE TableFiles DROP COLUMN row_count", "has no column row_count"),
    ],
)
def test_bad_values_in_sqlite(folder: Path, statement: str, said: str) -> None:
    edit(folder, statement)
    with pytest.raises(AirliftError, match=said):
        read(folder)


def test_files_that_hold_no_rows_of_their_own_stay_away(folder: Path) -> None:
    """An index beside its raw file, and what is being made or dropped (0, 4, 5, 6)."""
    more = (
        "INSERT INTO TableFiles (table_id, segment_id, engine_type, file_id, file_type, file_size, "
        "row_count, updated_time, created_on, date, flush_lsn) SELECT table_id, {segment}, 11, "
        "'f' || id, {kind}, file_size, row_count, updated_time, created_on, date, flush_lsn "
        "FROM TableFiles WHERE table_id = 'bits' AND file_type IN (1, 2, 7)"
    )
    edit(
        folder,
        more.format(segment="segment_id", kind=3),
        *(more.format(segment=f"'new{kind}'", kind=kind) for kind in (0, 4, 5, 6)),
    )
    check_songs(read(folder))
    assert [at.rows for at in read(folder).tables["bits"].partitions[0].segments] == [10]


def test_files_of_dropped_collections_may_be_of_any_type(folder: Path) -> None:
    edit(
        folder,
        "UPDATE Tables SET state = 1 WHERE table_id = 'bits'",
        "UPDATE TableFiles SET file_type = 9 WHERE table_id = 'bits'",
    )
    assert set(read(folder).tables) == {"songs"}


@pytest.mark.parametrize("rows", [4, 2, 0])
def test_a_meta_json_that_counts_more_rows_than_it_lists(rows: int) -> None:
    with pytest.raises(Refused, match=f"expected the sum of its collections, 3; found {rows}"):
        meta_from_json({"collections": [GOOD], "rows": rows}, "meta.json")


def test_a_view_is_not_run(folder: Path) -> None:
    endless = (
        "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT n AS id FROM t"
    )
    edit(folder, "DROP TABLE Tables", f"CREATE VIEW Tables AS {endless}")
    with pytest.raises(AirliftError, match="has no table Tables"):
        read(folder)


def test_dropped_collections_and_their_partitions_stay_away(folder: Path) -> None:
    edit(folder, "UPDATE Tables SET state = 1 WHERE table_id = 'songs'")
    meta = read(folder)
    assert set(meta.tables) == {"bits"}
    assert "2 partitions belong to collections that are dropped" in meta.notes[0]


def test_the_partition_called_default_is_the_collection_itself() -> None:
    table = {"id": 1, "table_id": "c", "dimension": 4, "metric_type": 1}
    tables = [
        table | {"owner_table": "", "partition_tag": ""},
        table | {"id": 2, "table_id": "77", "owner_table": "c", "partition_tag": "_default"},
    ]
    files = [
        {"id": 5, "table_id": "77", "segment_id": "s1", "row_count": 1},
        {"id": 6, "table_id": "c", "segment_id": "s2", "row_count": 2},
    ]
    [partition] = meta_from_rows(tables, files, "m").tables["c"].partitions
    assert partition.tag == ""
    assert [(at.table_id, at.rows) for at in partition.segments] == [("77", 1), ("c", 2)]


def test_meta_json_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "meta.json").write_bytes(b"\xef\xbb\xbf" + orjson.dumps({"collections": [GOOD]}))
    assert set(read(tmp_path, "meta.json").tables) == {"c"}
