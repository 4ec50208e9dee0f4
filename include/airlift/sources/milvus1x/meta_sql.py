"""Opens the metadata of Milvus 1.x where it lies: a file (on a disk, in a bucket) or MySQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from airlift.errors import AirliftError
from airlift.sources.milvus1x.meta import Meta, meta_from_json, meta_from_rows
from airlift.storage import Storage
from airlift.temporary_folder import TemporaryFolder

LIVE_STATE = 0
DROPPED_STATE = 1
RAW_FILE_TYPES = (1, 2, 7)  # raw, to be indexed, and the raw file behind an index
# New, to be deleted, being merged, being indexed: what they hold lies in other files, or is gone.
IGNORED_FILE_TYPES = (0, 4, 5, 6)
_SQLITE_MAGIC = b"SQLite format 3\0"
_COPY_BYTES = 4 << 20
_LONGEST_VALUE = 1 << 20

_TABLE_COLUMNS = ("id", "table_id", "dimension", "metric_type", "owner_table", "partition_tag")
_FILE_COLUMNS = ("id", "table_id", "segment_id", "row_count")


def meta_files(name: str) -> list[str]:
    """What a metadata file may consist of: the file, and SQLite's log and journal beside it."""
    return [name, f"{name}-wal", f"{name}-journal"]


def read_meta_file(folder: Storage, name: str) -> Meta:
    """Reads a `meta.json` or a `meta.sqlite`; which it is, its first bytes say.

    Args:
        folder: where it lies. SQLite's files beside it are read too. Nothing there is changed.

    Raises:
        AirliftError: it can't be read, or is neither.
        Refused: a value in it is not what it must be.
    """
    address = folder.address(name)
    with folder.open_input(name) as stream, folder.explained("read", name):
        start = stream.read(len(_SQLITE_MAGIC))
    if start == _SQLITE_MAGIC:
        return _read_sqlite(folder, name)
    if not start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        raise AirliftError(
            f"{address} is neither a SQLite database nor a meta.json: expected a meta.sqlite of "
            f"Milvus 1.x or a meta.json of milvus-migration; it starts with {start!r}"
        )
    try:
        value = orjson.loads(folder.read_bytes(name).removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError as error:
        raise AirliftError(f"{address} is not JSON: {error}; export it again") from error
    return meta_from_json(value, address)


def read_meta_mysql(url: URL) -> Meta:
    """Reads the metadata in a MySQL or MariaDB database.

    Raises:
        AirliftError: it can't be reached, or has no such tables.
        Refused: a value in it is not what it must be.
    """
    if url.drivername == "mysql":
        url = url.set(drivername="mysql+pymysql")
    timeout = {"connect_timeout": 10} if "pymysql" in url.drivername else {}
    with _engine(url, **timeout) as engine:
        return _read_sql(engine, f"mysql://{url.host}:{url.port or 3306}/{url.database}")


def _read_sqlite(folder: Storage, name: str) -> Meta:
    """Reads a private copy: opening the original could change it, and a server may still use it."""
    names = meta_files(name)
    with TemporaryFolder("meta") as temporary:
        copy = temporary.path / "meta.sqlite"
        for at, size in zip(names, folder.sizes(names), strict=True):
            if size is not None:
                _copy(folder, at, copy.with_name("meta.sqlite" + at.removeprefix(name)))
        with _engine(URL.create("sqlite", database=str(copy))) as engine:
            sa.event.listen(engine, "connect", _distrust)
            return _read_sql(engine, folder.address(name))


def _copy(folder: Storage, name: str, target: Path) -> None:
    with (
        folder.open_input(name) as stream,
        folder.explained("copy", name),
        target.open("wb") as file,
    ):
        while data := stream.read(_COPY_BYTES):
            file.write(data)


def _distrust(connection: sqlite3.Connection, _: object) -> None:
    """The file comes from outside: no functions in its schema, no huge values."""
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_VALUE)
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA query_only = ON")


@contextmanager
def _engine(url: URL, **connect_args: Any) -> Iterator[Engine]:
    # hide_parameters: no value of a query gets into a message.
    engine = sa.create_engine(
        url, poolclass=NullPool, hide_parameters=True, connect_args=connect_args
    )
    try:
        yield engine
    finally:
        engine.dispose()


def _read_sql(engine: Engine, where: str) -> Meta:
    try:
        # One transaction, so that both tables are of one moment.
        with engine.connect() as connection:
            if engine.dialect.name == "sqlite":
                _check_whole(connection, where)
            tables, files = _tables(connection, where)
            live = sa.select(*(tables.c[name] for name in _TABLE_COLUMNS)).where(
                tables.c.state == LIVE_STATE
            )
            raw = sa.select(*(files.c[name] for name in _FILE_COLUMNS)).where(
                files.c.file_type.in_(RAW_FILE_TYPES)
            )
            state, kind = tables.c.state, files.c.file_type
            odd_tables = sa.select(tables.c.id, tables.c.table_id, state).where(
                state.is_(None) | state.not_in((LIVE_STATE, DROPPED_STATE))
            )
            other_files = sa.select(
                files.c.id, files.c.table_id, files.c.segment_id, kind.label("file_type")
            ).where(kind.is_(None) | kind.not_in((*RAW_FILE_TYPES, *IGNORED_FILE_TYPES)))
            return meta_from_rows(
                map(dict, connection.execute(live.order_by(tables.c.id)).mappings()),
                map(dict, connection.execute(raw.order_by(files.c.id)).mappings()),
                where,
                [dict(row) for row in connection.execute(odd_tables).mappings()],
                map(dict, connection.execute(other_files.order_by(files.c.id)).mappings()),
            )
    except (SQLAlchemyError, sqlite3.Error, OverflowError, UnicodeError) as error:
        # SQLAlchemy's own text ends with the statement and a link; the driver's says what is wrong.
        text = getattr(error, "orig", None) or error
        raise AirliftError(
            f"cannot read the metadata in {where}: {text}; check that it is whole, and the "
            "connection's host, user, password and database"
        ) from error


def _check_whole(connection: Connection, where: str) -> None:
    """A damaged database may still answer, with fewer rows."""
    said = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
    if said != "ok":
        raise AirliftError(
            f"cannot read the metadata in {where}: it is damaged ({said}); copy it again, with its "
            "-wal file, while Milvus 1.x is stopped"
        )


def _tables(connection: Connection, where: str) -> tuple[sa.TableClause, sa.TableClause]:
    """`Tables` and `TableFiles`, whatever the case of their names (MySQL may fold it)."""
    inspector = sa.inspect(connection)
    names = {name.lower(): name for name in inspector.get_table_names()}
    found: list[sa.TableClause] = []
    for wanted, columns in (
        ("Tables", (*_TABLE_COLUMNS, "state")),
        ("TableFiles", (*_FILE_COLUMNS, "file_type")),
    ):
        name = names.get(wanted.lower())
        if name is None:
            raise AirliftError(
                f"{where} has no table {wanted}; expected the metadata of Milvus 0.9-1.x; found "
                f"{', '.join(sorted(names.values())[:10]) or 'no tables'}"
            )
        there = {column["name"] for column in inspector.get_columns(name)}
        if missing := [column for column in columns if column not in there]:
            raise AirliftError(
                f"{where}: the table {name} has no column {', '.join(missing)}; expected the "
                "metadata of Milvus 0.9-1.x"
            )
        found.append(sa.table(name, *(sa.column(column) for column in columns)))
    return found[0], found[1]
