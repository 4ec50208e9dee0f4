"""The tests in parts that run side by side, as most of each one's time is waiting for servers.

    python -m tests.parts [arguments of pytest]

Each part is a pytest of its own (`pytest --part=NAME`) with servers of its own. Which file belongs
where is told in `PARTS`, so that a server that starts slowly is started by one part only.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TESTS = Path(__file__).resolve().parent

# Patterns of files below tests/. What none of them names belongs to `REST`.
# Two, for two processors: with more, tests would wait for a processor instead of for a server.
PARTS = {
    "slow-servers": (
        "servers/test_*search*.py",
        "faults/test_*search*.py",
        "paths/test_*search*.py",
        "paths/test_*_dag.py",
        "faults/test_limits.py",
        "faults/test_secrets.py",
        "paths/test_milvus_*.py",
        "paths/test_page.py",
    )
}
REST = "others"
NO_TESTS = 5


def part_of(file: Path) -> str:
    """The part that a file of tests belongs to."""
    relative = file.relative_to(TESTS)
    for part, patterns in PARTS.items():
        if any(relative.match(pattern) for pattern in patterns):
            return part
    return REST


def main(arguments: list[str]) -> int:
    """Runs all parts; 0 when every test that was chosen has passed."""
    began = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    with _started(arguments) as running:
        printers = [threading.Thread(target=_print, args=item) for item in running.items()]
        for printer in printers:
            printer.start()
        for printer in printers:
            printer.join()
        codes = {part: process.wait() for part, process in running.items()}
    for part, code in codes.items():
        said = {0: "passed", NO_TESTS: "has none of the tests"}.get(code, f"FAILED (exit {code})")
        print(f"part {part}: {said}")
    print(f"{time.monotonic() - began:.0f} s")
    if set(codes.values()) == {NO_TESTS}:
        return NO_TESTS
    return max((code for code in codes.values() if code != NO_TESTS), key=abs)


@contextmanager
def _started(arguments: list[str]) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """A pytest for each part; all have ended when this does, however it ends."""
    running = {}
    try:
        for part in (*PARTS, REST):
            own = [f"--part={part}", "-o", f"cache_dir=.pytest_cache/{part}"]
            running[part] = subprocess.Popen(
                [sys.executable, "-m", "pytest", *own, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
        yield running
    except KeyboardInterrupt:
        # The terminal has told them too: each stops its servers.
        for process in running.values():
            process.wait()
        raise
    finally:
        for process in running.values():
            process.terminate()
            process.wait()


def _print(part: str, process: subprocess.Popen[str]) -> None:
    """What a part says, line by line, as parts would be mixed up otherwise."""
    for line in process.stdout or ():
        print(f"{part:12} | {line}", end="", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
