"""The example of docs/adding_a_source.md: installed as a distribution, its DAG run by Airflow."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airlift.errors import AirliftError, Refused
from localservers import Milvus, MilvusLite
from tests.paths.place import FLAT, Place, SourceKind, lite_place

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "parquet_folder"
DIM = 8


def table(rows: int, first: int = 0) -> pa.Table:
    """Songs as somebody exported them."""
    vectors = np.random.default_rng(first).standard_normal((rows, DIM)).astype(np.float32)
    numbers = range(first, first + rows)
    columns = {
        "id": pa.array(numbers, pa.int64()),
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), DIM),
        "title": pa.array([f"song {n}, 蓝调" for n in numbers]),
        "year": pa.array([1950 + n % 70 for n in numbers], pa.int16()),
        "score": pa.array([n / 7 for n in numbers], pa.float64()),
        "live": pa.array([n % 2 == 0 for n in numbers]),
    }
    fields = [pa.field(name, one.type, nullable=False) for name, one in columns.items()]
    return pa.table(list(columns.values()), pa.schema(fields))


def write(folder: Path, tables: list[pa.Table], name: str = "songs") -> pa.Table:
    """A file of each table; returns what must arrive."""
    (folder / name).mkdir(parents=True)
    for n, one in enumerate(tables):
        pq.write_table(one, folder / name / f"part-{n}.parquet")
    return pa.concat_tables(tables, promote_options="default")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the example's distribution is installed in."""
    copied, target = tmp_path_factory.mktemp("example") / "p", tmp_path_factory.mktemp("installed")
    shutil.copytree(EXAMPLE, copied, ignore=shutil.ignore_patterns("__pycache__"))
    uv = Path(sys.executable).with_name("uv")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--python", sys.executable]
    subprocess.run([uv, "pip", "install", *options, "--target", target, copied], check=True)
    return target


@pytest.fixture
def place(
    installed: Path, milvus_lite: MilvusLite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    """From Parquet files into Milvus Lite."""
    monkeypatch.syspath_prepend(str(installed))
    kind = SourceKind("parquet_folder", write, lambda folder: {"folder_url": str(folder)})
    with lite_place(milvus_lite, tmp_path / "source", kind) as place:
        yield place


def assert_holds(client: Any, name: str, truth: pa.Table) -> None:
    found = {row["id"]: row for row in client.query(name, "id >= 0", ["*"], limit=10_000)}
    expected = truth.to_pylist()
    assert len(found) == len(expected)
    for row in expected:
        got = found[row["id"]]
        vector = np.asarray(got.pop("vector"), np.float32)
        assert vector.tobytes() == np.asarray(row.pop("vector"), np.float32).tobytes()
        assert dict(got) == row


def test_its_dag_brings_every_row(installed: Path, milvus: Milvus, tmp_path: Path) -> None:
    """`airflow dags test` of the five lines, with a bulk insert into Milvus."""
    truth = write(tmp_path / "export", [table(700), table(300, 700)], "added_songs")
    host, port = milvus.address.rsplit(":", 1)
    connection = {"conn_type": "milvus", "host": host, "port": int(port)}
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW")},
        "PYTHONPATH": str(installed),
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(EXAMPLE),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW_CONN_MILVUS_DEFAULT": json.dumps(connection),
    }
    conf = {
        "folder_url": str(tmp_path / "export"),
        "staging_url": str(milvus.data_dir / "staging"),
        "write_mode": "bulk_insert",
        "index": FLAT,
        "verify": "full",
    }
    airflow = [sys.executable, "-m", "airflow"]
    subprocess.run([*airflow, "db", "migrate"], env=environment, check=True, capture_output=True)
    run = [*airflow, "dags", "test", "parquet_folder_to_milvus", "--conf", json.dumps(conf)]
    done = subprocess.run(run, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    client = milvus.client()
    try:
        assert_holds(client, "added_songs", truth)
        client.drop_collection("added_songs")
    finally:
        client.close()


def test_the_spine_does_for_it_what_it_does_for_all(place: Place) -> None:
    truth = place.write(table(500), table(500, 500))
    found = place.run(collections=["so*"], verify="full")["collections"]
    assert [one["rows_counted"] for one in found] == [1_000]
    assert_holds(place.client, "songs", truth)
    with pytest.raises(Refused, match="no collection 'song' in the source; it has songs"):
        place.run(collections=["song"], migration_id="misspelt")


def test_keys_that_repeat_are_refused(place: Place) -> None:
    place.write(table(100), table(100, 99))
    with pytest.raises(Refused, match="99"):
        place.run()


def test_files_that_don_t_fit_are_told(place: Place) -> None:
    place.write(table(10), table(10, 10).drop_columns(["live"]))
    with pytest.raises(Refused, match="songs: its files were expected to have the same columns"):
        place.run()


def test_a_file_that_is_changed_meanwhile_fails_the_run(place: Place) -> None:
    place.write(table(10))
    with place.migration() as migration:
        [collection] = migration.source.describe()
        [chunk] = migration.source.cut(collection, 1 << 30)
        pq.write_table(table(11), place.folder / "songs" / "part-0.parquet")
        with pytest.raises(AirliftError, match="part-0.parquet was changed"):
            list(migration.source.read(chunk))


def test_the_example_is_as_short_as_its_page_says() -> None:
    lines = [
        line
        for file in (EXAMPLE / "parquet_folder").glob("*.py")
        for line in file.read_text().splitlines()
        if line.strip() and not line.lstrip().startswith(("#", '"""'))
    ]
    assert len(lines) <= 100
    dag = (EXAMPLE / "parquet_folder_to_milvus.py").read_text().splitlines()
    assert len([line for line in dag if line.strip()]) == 5


def test_the_page_shows_the_example_as_it_is() -> None:
    page = (ROOT / "docs" / "adding_a_source.md").read_text()
    shown = re.findall(r"<!-- (\S+) -->\n```\w+\n(.*?)```", page, re.S)
    assert len(shown) == 4
    for name, text in shown:
        assert text == (EXAMPLE / name).read_text(), name
