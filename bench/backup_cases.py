"""The cases of `bench.backup`."""

from __future__ import annotations

import io
import shutil
import struct
from pathlib import Path
from typing import Any

from bench.timed import timed


def backup_make(folder: str, rows: int, dim: int, segments: int, logs: int) -> dict[str, Any]:
    """Writes the backup: ids and vectors, 3 % of them deleted."""
    import numpy as np
    import pyarrow as pa

    from include.samples.milvus_backups import (
        BackupCollection,
        BackupField,
        BackupSegment,
        vectors,
        write_backup,
    )

    rng = np.random.default_rng(1)
    each = rows // segments
    made = []
    for start in range(0, rows, each):
        ids = np.arange(start, start + each)
        gone = rng.choice(ids, each * 3 // 100, replace=False).tolist()
        made.append(
            BackupSegment(
                columns={
                    "id": pa.array(ids),
                    "vector": vectors(rng.standard_normal((each, dim), dtype=np.float32)),
                },
                times=ids + 1,
                deletes=[(key, rows + 1) for key in gone],
                logs=logs,
            )
        )
    fields = [BackupField("id", "INT64"), BackupField("vector", "FLOAT_VECTOR", {"dim": dim})]
    scratch = Path(f"{folder}.part")
    shutil.rmtree(scratch, ignore_errors=True)
    write_backup(scratch, [BackupCollection("songs", fields, made)])
    scratch.rename(folder)
    return {}


def backup_plain(folder: str, to: str, file_format: str) -> dict[str, Any]:
    """What one would write without a tool: pyarrow reads each payload whole and writes it again.

    Args:
        file_format: `parquet` (vectors stay bytes, as in the payload), `lists` (lists of floats, as
            an import of Parquet takes them), or `numpy`.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    found: dict[str, Any] = {}
    logs = sorted(Path(folder, "binlogs", "insert_log").glob("*/*/*/*/10[01]/*"))
    with timed(found):
        for number, path in enumerate(logs):
            data = path.read_bytes()
            (descriptor,) = struct.unpack_from("<i", data, 13)
            start = 4 + descriptor + 33
            table = pq.read_table(io.BytesIO(memoryview(data)[start:]))
            if file_format == "lists" and pa.types.is_fixed_size_binary(table.schema[0].type):
                raw = table.column(0).combine_chunks()
                flat = pa.Array.from_buffers(
                    pa.float32(), len(raw) * raw.type.byte_width // 4, [None, raw.buffers()[1]]
                )
                each = raw.type.byte_width // 4
                lists = pa.FixedSizeListArray.from_arrays(flat, each)
                table = pa.table({"val": lists.cast(pa.list_(pa.float32()))})
            if file_format != "numpy":
                pq.write_table(
                    table, f"{to}/{number}.parquet", compression="none", use_dictionary=False
                )
                continue
            column = table.column(0).combine_chunks()
            kind = column.type
            if pa.types.is_fixed_size_binary(kind):
                raw = np.frombuffer(column.buffers()[1], np.float32)
                np.save(f"{to}/{number}.npy", raw.reshape(len(column), -1))
            else:
                np.save(f"{to}/{number}.npy", column.to_numpy())
    return found


BACKUP_CASES = (backup_make, backup_plain)
