"""Runs one case in a process of its own and measures that process alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Measured:
    """What a process took.

    Attributes:
        wall, cpu: seconds of its whole life.
        peak_mb: the most memory that it had in RAM at once.
        told: what it printed as its last line, as JSON.
    """

    wall: float
    cpu: float
    peak_mb: float
    told: dict[str, Any]


def measure(command: list[str]) -> Measured:
    """Runs a command; this process must stay small: its memory counts until the child's exec."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "include")])
    environment = {**os.environ, "PYTHONPATH": path, "TQDM_DISABLE": "1"}
    begun = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, cwd=ROOT)
    output = process.stdout.read() if process.stdout else b""
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    lines = output.decode().strip().splitlines()
    told = json.loads(lines[-1]) if lines else {}
    return Measured(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, told)


def case(name: str, **options: Any) -> Measured:
    """Runs a function of `bench.cases`."""
    return measure([sys.executable, "-m", "bench.cases", name, json.dumps(options)])
