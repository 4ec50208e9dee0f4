"""Two million rows of 128 floats: every row comes, in memory that does not grow with them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROWS, DIM = 2_000_000, 128

# Any row can be made again from its id.
_VECTORS = f"""
import numpy as np
def vectors(ids):
    starts = (ids * 31 % 100_003).astype(np.float32)
    return starts[:, None] + np.arange({DIM}, dtype=np.float32)
"""

_WRITE = (
    _VECTORS
    + f"""
import sys, faiss
quantizer = faiss.IndexFlatL2({DIM})
index = faiss.IndexIVFFlat(quantizer, {DIM}, 256)
index.train(vectors(np.arange(10_000)))
for start in range(0, {ROWS}, 100_000):
    ids = np.arange(start, start + 100_000)
    index.add_with_ids(vectors(ids), ids * 3 - 1_000_000)
faiss.write_index(index, sys.argv[1])
"""
)

_READ = (
    _VECTORS
    + """
import sys
from pathlib import Path
from tests.unit.faiss_reading import described, source_of
source = source_of(Path(sys.argv[1]))
collection = described(source)
rows = total = 0
for chunk in source.cut(collection, 256 << 20):
    for batch in source.read(chunk):
        ids = np.frombuffer(batch.column(0).buffers()[1], np.int64)
        numbers = (ids + 1_000_000) // 3
        held = np.frombuffer(batch.column(1).values.buffers()[1], np.float32)
        assert np.array_equal(held.reshape(len(ids), -1), vectors(numbers))
        rows, total = rows + len(ids), total + int(numbers.sum())
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(rows, total, int(peak.split()[1]) // 1024)
"""
)


def _python(code: str, argument: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, str(argument)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}:{ROOT}/include", "PATH": "/usr/bin"},
    )
    return done.stdout.strip()


def test_two_million_rows_in_bounded_memory(tmp_path: Path) -> None:
    _python(_WRITE, tmp_path / "songs.index")
    try:
        assert (tmp_path / "songs.index").stat().st_size > ROWS * DIM * 4
        rows, total, peak_mb = map(int, _python(_READ, tmp_path).split())
    finally:
        (tmp_path / "songs.index").unlink()
    assert (rows, total) == (ROWS, ROWS * (ROWS - 1) // 2)
    assert peak_mb < 300, f"{peak_mb} MB"
