"""Has Faiss decode what only it can, in a process of its own.

A broken or hostile index may make Faiss crash, loop, or ask for all memory. So it runs in a fresh
process with a limit on its memory, which gives back plain bytes; if it dies, that is an error with
a message, and the worker lives on.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from airlift.errors import AirliftError
from airlift.sources.faiss.layout import Layout
from airlift.sources.faiss.vectors import Block, Ids

_MEMORY = 2 << 30  # beyond the file itself: Python, Faiss, and its threads' stacks
_SILENCE = 600.0  # seconds without a byte after which it is ended
_LONGEST_TEXT = 1 << 20
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "PYTHONHOME", "TMPDIR")
_PACKAGES = str(Path(__file__).resolve().parents[3])


@dataclass(frozen=True)
class Decoder:
    """Decodes one file.

    Args:
        path: on this machine's disk; Faiss opens what the index names in the same folder.
        address: of the original, for messages.
        layout: what was found in it.
        memory: bytes that the process may have; None: by the file's size.
    """

    path: str
    address: str
    layout: Layout
    memory: int | None = None

    def error(self) -> dict[str, Any]:
        """What can be said of the error that the codes make; see `child`."""
        [found] = self._ask("error", 0, 0, 1)
        answer: dict[str, Any] = json.loads(found[1])
        return answer

    def ids(self, start: int, stop: int, block: int) -> Iterator[Ids]:
        """The inverted lists' ids of the rows [start, stop)."""
        at = start
        for _, data in self._ask("ids", start, stop, block):
            yield self._ids(data, min(block, stop - at))
            at += block

    def blocks(self, start: int, stop: int, block: int) -> Iterator[Block]:
        """The rows [start, stop), decoded to float32."""
        at, ids = start, None
        for letter, data in self._ask("rows", start, stop, block):
            rows = min(block, stop - at)
            if letter == b"I":
                ids = self._ids(data, rows)
                continue
            width = self.layout.width
            if len(data) != rows * width:
                raise self._failed(f"expected {rows * width:,} bytes, got {len(data):,}")
            yield Block(at, ids, np.frombuffer(data, np.uint8).reshape(rows, width))
            at += rows

    def _ids(self, data: bytes, rows: int) -> Ids:
        if len(data) != 8 * rows:
            raise self._failed(f"expected {8 * rows:,} bytes of ids, got {len(data):,}")
        return np.frombuffer(data, np.int64)

    def _ask(self, ask: str, start: int, stop: int, block: int) -> Iterator[tuple[bytes, bytes]]:
        """The frames of an answer, but the first, which is checked, and the last."""
        size = Path(self.path).stat().st_size
        request = {
            "path": self.path,
            "inner": self.layout.inner,
            "lists": self.layout.lists,
            # A file of lists is mapped, not read.
            "memory": self.memory or _MEMORY + 3 * size + self.layout.lists_bytes,
            "ask": ask,
            "start": start,
            "stop": stop,
            "block": block,
        }
        longest = max(block * max(self.layout.width, 8), _LONGEST_TEXT)
        with tempfile.TemporaryFile() as said, _process(said) as process:
            frames = self._frames(process, json.dumps(request), longest, said)
            self._same(json.loads(next(frames)[1]))
            yield from frames

    def _frames(
        self, process: subprocess.Popen[bytes], request: str, longest: int, said: IO[bytes]
    ) -> Iterator[tuple[bytes, bytes]]:
        try:
            self._write(process, request)
            while True:
                head = _exactly(process, 9)
                letter, size = head[:1], int.from_bytes(head[1:], "little")
                if size > longest:
                    raise self._failed(f"an answer of {size:,} bytes")
                data = _exactly(process, size)
                if letter == b"E":
                    raise self._failed(data.decode(errors="replace"))
                if letter == b"D":
                    return
                yield letter, data
        except EOFError:
            raise self._failed(_ending(process, said)) from None
        except TimeoutError:
            raise self._failed(f"no answer for {_SILENCE:.0f} s; it was ended") from None

    def _write(self, process: subprocess.Popen[bytes], request: str) -> None:
        try:
            assert process.stdin is not None  # noqa: S101 it was asked for
            process.stdin.write(request.encode() + b"\n")
            process.stdin.close()
        except BrokenPipeError:
            raise EOFError from None

    def _same(self, found: dict[str, Any]) -> None:
        ours = (self.layout.rows, self.layout.held_dim)
        if (found["rows"], found["dim"]) != ours:
            raise self._failed(
                f"it found {found['rows']:,} rows of dimension {found['dim']:,}, the file says "
                f"{ours[0]:,} and {ours[1]:,}"
            )

    def _failed(self, what: str) -> AirliftError:
        return AirliftError(
            f"{self.address} ({self.layout.kind}): Faiss can't read its vectors: {what}; copy the "
            "file again, or move an index of another kind that holds the vectors themselves"
        )


class _process:
    """The child; ended when its user is done with it, whatever happened."""

    def __init__(self, said: IO[bytes]) -> None:
        self._said = said

    def __enter__(self) -> subprocess.Popen[bytes]:
        threads = str(min(os.cpu_count() or 1, 4))
        # No more of the environment than it needs: connections with secrets may be in there.
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        environment |= {
            "PYTHONPATH": os.pathsep.join(filter(None, (_PACKAGES, os.environ.get("PYTHONPATH")))),
            "OMP_NUM_THREADS": threads,
            "OPENBLAS_NUM_THREADS": "1",
            "MALLOC_ARENA_MAX": "2",
        }
        self._process = subprocess.Popen(
            # -B: with its limit on file sizes it would leave cut-off bytecode for all others.
            [sys.executable, "-B", "-m", "airlift.sources.faiss.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env=environment,
            cwd="/",
        )
        return self._process

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()


def _exactly(process: subprocess.Popen[bytes], size: int) -> bytes:
    """So many bytes of the child's output."""
    assert process.stdout is not None  # noqa: S101 it was asked for
    stream = process.stdout.fileno()
    data = bytearray()
    last = time.monotonic()
    while len(data) < size:
        ready, _, _ = select.select([stream], [], [], 1.0)
        if ready:
            some = os.read(stream, min(size - len(data), 1 << 20))
            if not some:
                raise EOFError
            data += some
            last = time.monotonic()
        elif time.monotonic() - last > _SILENCE:
            raise TimeoutError
    return bytes(data)


def _ending(process: subprocess.Popen[bytes], said: IO[bytes]) -> str:
    code = process.wait()
    said.seek(max(said.seek(0, os.SEEK_END) - 500, 0))
    text = said.read().decode(errors="replace").strip()
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
    return f"its process {how}" + (f": {text}" if text else "")
