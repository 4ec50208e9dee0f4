"""Chunk files that are damaged: all rows, or an error with the file and the way out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from airlift.damaged_files import DamagedFile
from airlift.datatypes import DataType
from airlift.formats import FORMATS
from airlift.schema import CollectionSchema, Field
from airlift.storage import open_storage

DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "short": lambda data: data[: len(data) // 2],
    "one byte less": lambda data: data[:-1],
    "one byte more": lambda data: data + b"\0",
    "random": lambda data: np.random.default_rng(3).bytes(len(data)),
    "zeros": lambda data: bytes(len(data)),
    "a list": lambda data: b"[1, 2]",
    "other keys": lambda data: b'{"collections": 7, "chunk": [], "told": {}, "aliases": 1}',
    "nested": lambda data: b"[" * 100_000,
    "not UTF-8": lambda data: b'{"\xff": 1}',
}
SCHEMA = CollectionSchema(
    name="c",
    fields=(
        Field(name="id", type=DataType.INT64, primary_key=True),
        Field(name="vector", type=DataType.FLOAT_VECTOR, dim=4),
    ),
)
ROWS = 1000
VECTORS = np.random.default_rng(1).random(ROWS * 4, np.float32)
BATCH = pa.RecordBatch.from_arrays(
    [pa.array(range(ROWS)), pa.FixedSizeListArray.from_arrays(pa.array(VECTORS), 4)],
    schema=SCHEMA.arrow,
)
FILES = [
    (name, file)
    for name, kind in FORMATS.items()
    if name in ("numpy", "parquet", "json")
    for file in kind.files(SCHEMA)
]


@pytest.mark.parametrize(("name", "file"), FILES)
@pytest.mark.parametrize("damage", [*DAMAGES, "missing"])
def test_a_damaged_chunk_file_gives_rows_or_an_error(
    tmp_path: Path, name: str, file: str, damage: str
) -> None:
    folder = open_storage(str(tmp_path))
    writer = FORMATS[name].writer(folder, SCHEMA, ROWS)
    writer.write(BATCH)
    writer.close()
    path = tmp_path / file
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(DAMAGES[damage](path.read_bytes()))
    read: list[pa.RecordBatch] = []
    try:
        read += FORMATS[name].read(folder, SCHEMA, 300)
    except DamagedFile as error:
        assert str(error).startswith(str(path))
        assert f"remove {tmp_path}/manifest.json and clear the task convert" in str(error)
    else:
        # What comes after the end that JSON has is no matter.
        assert (name, damage) in {("json", "one byte less"), ("json", "one byte more")}
        assert pa.Table.from_batches(read).equals(pa.Table.from_batches([BATCH]))
