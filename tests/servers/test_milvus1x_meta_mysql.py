"""The metadata of Milvus 1.x in a real MySQL: read by somebody who may only read, and badly."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from airlift.errors import AirliftError
from airlift.sources.milvus1x.meta_sql import read_meta_file, read_meta_mysql
from airlift.storage import open_storage
from localservers import MariaDB
from samples.milvus1x_tables import write_meta_mysql, write_milvus1x
from tests.unit.test_milvus1x_meta import SPECS, check_songs

PASSWORD = "pass-word"


@pytest.fixture(scope="module")
def reader(mariadb: MariaDB) -> sa.URL:
    """A login that may read the database `milvus_1x`, and see the empty one beside it."""
    for name in ("milvus_1x", "milvus_1x_empty"):
        mariadb.create_database(name)
    with mariadb.connect() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE OR REPLACE USER airlift IDENTIFIED BY %s", (PASSWORD,))
        cursor.execute("GRANT SELECT ON milvus_1x.* TO airlift")
        cursor.execute("GRANT SELECT ON milvus_1x_empty.* TO airlift")
    return sa.URL.create(
        "mysql", "airlift", PASSWORD, mariadb.host, mariadb.port, database="milvus_1x"
    )


def test_mysql_says_what_sqlite_says(tmp_path: Path, mariadb: MariaDB, reader: sa.URL) -> None:
    write_milvus1x(tmp_path, SPECS)
    owner = reader.set(drivername="mysql+pymysql", username=mariadb.user, password=mariadb.password)
    write_meta_mysql(tmp_path, owner)
    meta = read_meta_mysql(reader)
    check_songs(meta)
    assert meta == read_meta_file(open_storage(str(tmp_path)), "meta.sqlite")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"database": "milvus_1x_empty"}, "has no table Tables"),
        ({"database": "mysql"}, "cannot read the metadata"),
        ({"password": "wrong-word"}, "Access denied"),
        ({"port": 1}, "Can't connect"),
    ],
)
def test_a_login_that_does_not_serve(reader: sa.URL, change: dict, said: str) -> None:
    with pytest.raises(AirliftError, match=said) as error:
        read_meta_mysql(reader.set(**change))
    assert "-word" not in str(error.value)
