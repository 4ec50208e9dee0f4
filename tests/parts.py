"""The tests in parts, a few of which run at a time, as much of each one's time is waiting.

    python -m tests.parts [arguments of pytest]

Each part is a pytest of its own (`pytest --part=NAME`) with servers of its own, which end with it:
servers that nobody needs any more would take half a processor. Which file belongs where is told in
`PARTS`, so that a server that starts slowly is started by few parts.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TESTS = Path(__file__).resolve().parent

# Patterns of files below tests/, each file belonging to the first part that has one for it; the
# part of the rest comes last. The longest begin first.
PARTS = {
    "airflow": ("paths/test_*_dag.py",),
    "search": ("*/test_*search*.py", "faults/test_limits.py", "faults/test_secrets.py"),
    "faults": ("faults/*",),
    "page": ("paths/test_page.py",),
    "milvus": ("paths/test_milvus_*.py", "paths/test_mapping.py", "servers/test_milvus_*.py"),
    "paths": ("paths/*", "emulators/*"),
    "servers": ("servers/*",),
    "unit": ("*",),
}
# With more, tests would wait for a processor instead of for a server.
AT_ONCE = (os.cpu_count() or 2) + 1
NO_TESTS = 5


def part_of(file: Path) -> str:
    """The part that a file of tests belongs to."""
    relative = file.relative_to(TESTS)
    return next(
        part
        for part, patterns in PARTS.items()
        if any(relative.match(pattern) for pattern in patterns)
    )


class Parts:
    """Runs parts, and ends them all when told to.

    Args:
        arguments: of pytest, for each part.

    Attributes:
        failures: what pytest's summaries say of each test that failed.
        took: of each part, how long it took.
    """

    def __init__(self, arguments: list[str]) -> None:
        self._arguments = arguments
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._stopped = False
        self.failures: list[str] = []
        self.took: dict[str, str] = {}

    def run(self, part: str) -> int | None:
        """Runs a part to its end; returns its exit code, or None where it was not begun."""
        own = [f"--part={part}", "-o", f"cache_dir=.pytest_cache/{part}"]
        with self._lock:
            if self._stopped:
                return None
            process = subprocess.Popen(
                [sys.executable, "-m", "pytest", *own, *self._arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                # Summaries are cut at the terminal's width.
                env={**os.environ, "COLUMNS": "200"},
            )
            self._running.add(process)
            began = time.monotonic()
        # Line by line, as parts would be mixed up otherwise.
        for line in process.stdout or ():
            print(f"{part:8} | {line}", end="", flush=True)
            if line.startswith(("FAILED ", "ERROR ")):
                self.failures.append(line.strip())
        # Its servers are in the sum, too: it waits for those that it started.
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        with self._lock:
            self._running.discard(process)
            cpu = used.ru_utime + used.ru_stime
            self.took[part] = f"{time.monotonic() - began:.0f} s, {cpu:.0f} s of CPU"
        return process.returncode

    def stop(self) -> None:
        """Ends what runs, and begins nothing more."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.terminate()


def main(arguments: list[str]) -> int:
    """Runs all parts; 0 when every test that was chosen has passed."""
    began = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    parts = Parts(arguments)
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        codes = dict(zip(PARTS, pool.map(parts.run, PARTS), strict=True))
    except KeyboardInterrupt:
        # The terminal has told those that run, too: each stops its servers.
        pool.shutdown(cancel_futures=True)
        raise
    finally:
        parts.stop()
        pool.shutdown()
    for part, code in codes.items():
        said = {0: "passed", NO_TESTS: "has none of the tests"}.get(code or 0)
        took = parts.took.get(part, "not begun")
        print(f"part {part}: {said or f'FAILED (exit {code})'}, {took}")
    # Last, where who sees only the end of the output finds it.
    for failure in parts.failures:
        print(failure[:600])
    print(f"{time.monotonic() - began:.0f} s")
    if set(codes.values()) == {NO_TESTS}:
        return NO_TESTS
    return max((code or 0 for code in codes.values() if code != NO_TESTS), key=abs)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
