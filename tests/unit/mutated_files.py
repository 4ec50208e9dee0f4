"""Reads mutated indexes, files beside them, and backups under a memory limit; prints what failed.

python -m tests.unit.mutated_files FOLDER COUNT
"""

from __future__ import annotations

import gzip
import io
import random
import resource
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from airlift.errors import AirliftError
from samples.faiss_indexes import write_index
from samples.milvus_backups import BackupCollection, BackupField, BackupSegment, write_backup
from tests.unit.backup_reading import Read as read_backup
from tests.unit.backup_reading import source_of as backup_source
from tests.unit.faiss_reading import Read, source_of
from tests.unit.test_backup_damaged import edit

ROWS = 40
LIMIT = 2 << 30


def originals(folder: Path) -> dict[str, bytes]:
    """Each kind of file by its name."""
    table = pa.table(
        {"n": range(ROWS), "t": [f"text {n}" for n in range(ROWS)], "l": [[n] for n in range(ROWS)]}
    )
    rows = table.to_pylist()
    lines = b"\n".join(map(orjson.dumps, rows))
    found = {"s.jsonl": lines, "s.json": orjson.dumps(rows), "s.jsonl.gz": gzip.compress(lines)}
    for compression in ("zstd", "none", "snappy"):
        data = io.BytesIO()
        pq.write_table(table, data, compression=compression)
        found[f"{compression}.parquet"] = data.getvalue()
    found["s.csv"] = b"n,t\n" + b"".join(b"%d,text %d\n" % (n, n) for n in range(ROWS))
    data = io.BytesIO()
    np.save(data, np.arange(ROWS))
    found["ids.npy"] = data.getvalue()
    for name, factory in {"flat": "Flat", "ivf": "IVF4,Flat", "hnsw": "HNSW4,Flat"}.items():
        vectors = np.random.default_rng(1).standard_normal((ROWS, 4), dtype=np.float32)
        write_index(folder / "x", vectors, factory)
        found[f"{name}.index"] = (folder / "x").read_bytes()
    write_index(folder / "songs.index", vectors, "Flat")
    return found


def mutated(data: bytes, random_: random.Random) -> bytes:
    """A bit flipped, an end cut off, a length made huge, or bytes put in."""
    at = random_.randrange(len(data))
    match random_.randrange(4):
        case 0:
            return data[:at] + bytes([data[at] ^ 1 << random_.randrange(8)]) + data[at + 1 :]
        case 1:
            return data[:at]
        case 2:
            return data[:at] + random_.choice([b"\xff" * 4, b"\xff" * 7 + b"\x7f"]) + data[at + 8 :]
    return data[:at] + random_.randbytes(random_.randrange(1, 9)) + data[at:]


def backups(folder: Path, count: int, random_: random.Random) -> Iterator[tuple[str, str]]:
    """Reads a backup with one file mutated; yields what it was, and the message or what is bad."""
    segment = BackupSegment(
        "_default",
        {
            "id": pa.array(range(ROWS), pa.int64()),
            "t": pa.array([f"text {n}" for n in range(ROWS)]),
            "v": pa.array([bytes(16)] * ROWS, pa.binary(16)),
        },
        [100] * ROWS,
        deletes=[(3, 200)],
    )
    fields = [
        BackupField("id", "INT64"),
        BackupField("t", "VARCHAR", {"max_length": 99}),
        BackupField("v", "FLOAT_VECTOR", {"dim": 4}),
    ]
    whole = write_backup(folder / "b", [BackupCollection("c", fields, [segment])])
    files = sorted(path for path in whole.rglob("*") if path.is_file() and "log" in str(path))
    files.append(whole / "meta" / "full_meta.json")
    for number in range(count):
        path = files[number % len(files)]
        before, meta = path.read_bytes(), files[-1].read_bytes()
        edit(whole, path, mutated(before, random_)) if path != files[-1] else path.write_bytes(
            mutated(before, random_)
        )
        try:
            read_backup(backup_source(whole))
            yield path.name, ""
        except AirliftError as error:
            yield path.name, str(error)
        except Exception:
            yield path.name, traceback.format_exc()[-1500:]
        path.write_bytes(before)
        files[-1].write_bytes(meta)


def main(folder: Path, count: int) -> None:
    """Prints how many came as rows, as errors, and what was neither."""
    random_ = random.Random(16)
    rows = errors = 0
    bad: list[str] = []
    whole = originals(folder)
    resource.setrlimit(resource.RLIMIT_DATA, (LIMIT, LIMIT))
    for number in range(count):
        name, data = list(whole.items())[number % len(whole)]
        (folder / name).write_bytes(mutated(data, random_))
        params = {"scalars_url": f"{folder}/{name}"}
        if name.endswith(".npy"):
            params = {"ids_url": f"{folder}/{name}"}
        elif name.endswith(".index"):
            params = {"index_url": f"{folder}/{name}"}
        try:
            Read(source_of(folder, **params))
            rows += 1
        except AirliftError as error:
            errors += 1
            if name not in str(error) and "stand in several rows" not in str(error):
                bad.append(f"{number} {name}: {error}")
        except Exception:
            bad.append(f"{number} {name}: {traceback.format_exc()[-1500:]}")
    for name, message in backups(folder, count, random_):
        rows += not message
        errors += bool(message)
        if message.lstrip().startswith("Traceback") or "  File " in message:
            bad.append(f"{name}: {message}")
    print(rows, errors, len(bad))
    print("\n".join(bad[:12]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
