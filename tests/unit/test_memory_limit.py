"""Files that are small and decode to gigabytes are refused by name, in bounded memory.

Each is read by a process of its own, whose peak is measured.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airlift.errors import AirliftError
from airlift.memory_limit import memory_limit, within_limit
from airlift.sources.backup.log_file import LogFile
from airlift.sources.faiss.scalar_files import open_rows
from airlift.storage import open_storage
from samples.milvus_backups import binlog

ROWS = 8_000
MOST_MB = 1_900
"""What a worker is documented to need is 2 GB; see docs/scaling.md."""

READ = """
import json, resource, sys
from pathlib import Path
from tests.unit.test_memory_limit import read_backup_log, read_scalars

said = "read"
try:
    globals()[sys.argv[1]](Path(sys.argv[2]))
except Exception as error:
    said = f"{type(error).__name__}: {error}"
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
print(json.dumps({"said": said, "peak": peak}))
"""


def read_backup_log(file: Path) -> None:
    log = LogFile(open_storage(str(file.parent)), file.name, file.stat().st_size)
    for _ in log.batches(65_536):
        pass


def read_scalars(file: Path) -> None:
    from tests.unit.faiss_reading import Read, source_of

    Read(source_of(file.parent, scalars_url=str(file)))


def as_parquet(column: pa.Array, name: str = "val") -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({name: column}), sink, compression="zstd", store_schema=False)
    return sink.getvalue()


def repeated(value: str, rows: int = ROWS) -> pa.Array:
    """One value in every row: a dictionary of one, and nothing else."""
    places = pa.array(np.zeros(rows, np.int32))
    return pa.DictionaryArray.from_arrays(places, pa.array([value]))


def lists() -> pa.Array:
    """A row whose list has as many items as fit."""
    items = repeated("x" * 32, 40_000_000)
    return pa.ListArray.from_arrays(pa.array([0, len(items)], pa.int32()), items)


MEGABYTE = "x" * (1 << 20)
BOMBS = {
    "a log of one long value again and again": ("read_backup_log", lambda: repeated(MEGABYTE)),
    "a log of one huge list": ("read_backup_log", lists),
    "scalars of one long text again and again": ("read_scalars", lambda: repeated(MEGABYTE)),
    "scalars of one huge list": ("read_scalars", lists),
}


@pytest.fixture(params=BOMBS)
def bomb(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    reader, column = BOMBS[request.param]
    made = column()
    payload = as_parquet(made)
    if reader == "read_backup_log":
        payload = binlog(payload, 100, 21)
    else:
        index = faiss.IndexFlatL2(4)
        index.add(np.zeros((len(made), 4), np.float32))
        faiss.write_index(index, str(tmp_path / "songs.index"))
    file = tmp_path / ("songs.parquet" if reader == "read_scalars" else "100")
    file.write_bytes(payload)
    assert len(payload) < 2_000_000
    return reader, file


def test_bombs_are_refused_in_bounded_memory(bomb: tuple[str, Path]) -> None:
    reader, file = bomb
    ended = subprocess.run(
        [sys.executable, "-c", READ, reader, str(file)],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    told = json.loads(ended.stdout.splitlines()[-1])
    assert told["said"].startswith(("AirliftError: ", "Refused: ")), told
    assert str(file) in told["said"] and "needs more memory than it may take" in told["said"]
    assert told["peak"] < MOST_MB


def test_texts_that_repeat_are_read(tmp_path: Path) -> None:
    """The longest that Milvus takes, in each of 20,000 rows: 1.3 GB, of which little is held."""
    file = tmp_path / "songs.parquet"
    file.write_bytes(as_parquet(repeated("x" * 65_535, 20_000)))
    with open_rows(open_storage(str(tmp_path)), [file.name]) as (schema, blocks):
        assert schema.names == ["val"]
        sizes = [block.rows.num_rows for block in blocks()]
    assert sum(sizes) == 20_000 and max(sizes) <= 4096


def test_texts_of_a_backup_that_repeat_are_read(tmp_path: Path) -> None:
    (tmp_path / "100").write_bytes(binlog(as_parquet(repeated("x" * 65_535, 20_000)), 100, 21))
    log = LogFile(open_storage(str(tmp_path)), "100", (tmp_path / "100").stat().st_size)
    for batch in log.batches(8_192):
        assert batch.num_rows in (8_192, 20_000 % 8_192)
    log.close()


def test_a_line_without_end_is_refused(tmp_path: Path) -> None:
    index = faiss.IndexFlatL2(4)
    index.add(np.zeros((2, 4), np.float32))
    faiss.write_index(index, str(tmp_path / "songs.index"))
    file = tmp_path / "songs.jsonl"
    file.write_bytes(b'{"a": 1}\n{"a": "' + b"x" * (17 << 20) + b'"}\n')
    with pytest.raises(AirliftError, match=r"songs.jsonl:2: the line is longer than 16 MB"):
        read_scalars(file)


def test_the_limit_is_taken_away_again() -> None:
    with (
        pytest.raises(AirliftError, match="file.parquet: decoding the next rows needs more memory"),
        memory_limit("file.parquet", 50 << 20),
    ):
        bytearray(100 << 20)
    assert len(bytearray(100 << 20))


def test_between_two_batches_nothing_is_limited() -> None:
    for number in within_limit("file", iter(range(3)), 10 << 20):
        assert len(bytearray(100 << 20)) and number < 3


def test_several_threads_at_once() -> None:
    """Each has its own bytes, and the last one takes the limit away."""
    inside, leave = threading.Barrier(3), threading.Event()

    def hold() -> None:
        with memory_limit("one", 200 << 20):
            inside.wait(30)
            leave.wait(30)

    threads = [threading.Thread(target=hold) for _ in range(2)]
    for thread in threads:
        thread.start()
    inside.wait(30)
    with memory_limit("two", 200 << 20):
        assert len(bytearray(300 << 20))
    leave.set()
    for thread in threads:
        thread.join()
    assert len(bytearray(1 << 30))
