"""A task's process ends soon after SIGTERM, whatever it is in the midst of."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# As Airflow's task runner does it: the handler calls on_kill, and goes on when that returns.
PROGRAM = """
import os, signal, sys, threading, time
from airlift_airflow.stopping import Stopped, ends_soon_when_told

def on_kill(*_):
    raise Stopped

signal.signal(signal.SIGTERM, on_kill)
try:
    with ends_soon_when_told():
        print("begun", flush=True)
        {work}
except Stopped:
    print("cleaned up", flush=True)
    {cleaning}
    raise
"""

WORK = {
    # Python hears of the signal at once.
    "python": ("while True: time.sleep(0.01)", "pass", True),
    "waiting for a thread": ("threading.Event().wait()", "pass", True),
    # A library that never comes back: Python's handler is not even called.
    "c": ("import pyarrow.fs as f; f.LocalFileSystem().open_input_stream(sys.argv[1])", "", False),
    # One that cleans up for ever.
    "cleaning": ("time.sleep(600)", "time.sleep(600)", True),
}


@pytest.mark.parametrize("name", list(WORK))
def test_it_ends_soon(tmp_path: Path, name: str) -> None:
    work, cleaning, cleans_up = WORK[name]
    fifo = tmp_path / "never-written"
    os.mkfifo(fifo)
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(work=work, cleaning=cleaning or "pass"), str(fifo)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": f"{ROOT}/plugins:{ROOT}/include"},
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "begun\n"
    if name == "c":
        _wait_until_it_sleeps(process.pid)
    process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    said, _ = process.communicate(timeout=60)
    seconds = time.monotonic() - began
    assert process.returncode == 128 + signal.SIGTERM
    assert ("cleaned up" in said) == cleans_up
    crowd = os.getloadavg()[0] / (os.cpu_count() or 1)
    assert seconds < 3 * max(1.0, crowd)


def _wait_until_it_sleeps(pid: int) -> None:
    """Until the main thread waits in the kernel for somebody who writes into the pipe."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if "wait_for_partner" in Path(f"/proc/{pid}/wchan").read_text() or (
            Path(f"/proc/{pid}/syscall").read_text().split()[0] in ("257", "2")
        ):
            return
    raise AssertionError("the library never began to wait")


def test_without_a_signal_nothing_happens() -> None:
    from airlift_airflow.stopping import ends_soon_when_told

    before = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(before)
    with ends_soon_when_told():
        pass
    after = signal.set_wakeup_fd(-1)
    assert after == before
