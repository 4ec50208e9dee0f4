"""600 mutated files: each ends in rows or in an error that names it, in a process of 2 GB."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COUNT = 300  # beside an index, and of a backup


def test_mutated_files_end_in_rows_or_in_an_error(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.unit.mutated_files", str(tmp_path), str(COUNT)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'include'}", "PATH": "/usr/bin:/bin"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    rows, errors, bad = map(int, done.stdout.split("\n", 1)[0].split())
    assert not bad, done.stdout
    assert rows + errors == 2 * COUNT
    assert errors > COUNT, "most of them are damaged"
