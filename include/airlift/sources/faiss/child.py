"""The process that lets Faiss decode a file: `python -m airlift.sources.faiss.child`.

It gets one JSON line on its standard input and writes frames to its standard output: a letter, the
length of what follows (8 bytes), and that: `J` JSON, `I` ids, `V` vectors, `E` an error's text,
`D` the end. Whatever a hostile file makes Faiss do happens here, with a limit on memory, and
without a way to write more than its complaints.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

_SAMPLE_ROWS = 1000
_NOT_READ = (
    "its inverted lists lie in a file of their own (OnDiskInvertedLists), which is read for "
    "IVF,Flat, IVF,SQ and IVF,PQ only; docs/faiss.md shows how to write them into the index"
)
_SAID_BYTES = 1 << 20  # what it may write on its standard error, and so to any file


def main() -> None:
    """Answers one request."""
    # What Faiss prints, by C's stdout, must not get between the frames.
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    request = json.loads(sys.stdin.readline())
    try:
        limit = int(request["memory"])
        if sys.platform == "linux":  # elsewhere there is no such limit
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (_SAID_BYTES, _SAID_BYTES))
        for letter, data in _answer(request):
            _write(output, letter, data)
        _write(output, b"D", b"")
    except MemoryError:
        _write(output, b"E", b"Faiss asked for more memory than such a file can need")
    except Exception as error:
        _write(output, b"E", f"{type(error).__name__}: {error}".encode()[-2000:])


def _write(output: BinaryIO, letter: bytes, data: Any) -> None:
    view = memoryview(data).cast("B") if len(data) else memoryview(b"")
    output.write(letter + len(view).to_bytes(8, "little"))
    output.write(view)
    output.flush()


def _answer(request: dict[str, Any]) -> Iterator[tuple[bytes, Any]]:
    index, _wholes = _open(request["path"], request["inner"])
    found = {"rows": index.ntotal, "dim": index.d, "kind": type(index).__name__}
    yield b"J", json.dumps(found).encode()
    rows = _ListRows(index) if request["lists"] else _PositionRows(index)
    if request["ask"] == "error":
        yield b"J", json.dumps(_error(index, rows)).encode()
        return
    for start in range(request["start"], request["stop"], request["block"]):
        stop = min(start + request["block"], request["stop"])
        if request["lists"]:
            yield b"I", rows.ids(start, stop)
        if request["ask"] == "rows":
            yield b"V", rows.vectors(start, stop)


def _open(path: str, inner: list[str]) -> tuple[Any, list[Any]]:
    """The index that holds the vectors, and those around it, which own its memory."""
    import faiss

    # Tables that only searching needs are not made. A file that is named inside
    # (OnDiskInvertedLists) may only be beside this one, in a folder that has no other file, and is
    # mapped without a way to write to it. Not mapped otherwise (IO_FLAG_MMAP, _IFC): so read, Faiss
    # 1.15 takes a file that is a little too short, and gives zeros for what is missing.
    flags = (
        faiss.IO_FLAG_SKIP_PRECOMPUTE_TABLE
        | faiss.IO_FLAG_PQ_SKIP_SDC_TABLE
        | faiss.IO_FLAG_ONDISK_SAME_DIR
        | faiss.IO_FLAG_READ_ONLY
    )
    try:
        index = faiss.read_index(path, flags)
    except RuntimeError as error:
        if "in mode" in str(error):  # of a file that is not there
            raise ValueError(_NOT_READ) from error
        raise
    wholes = [index]
    for step in inner:
        wholes.append(faiss.downcast_index(getattr(wholes[-1], step)))
    return wholes[-1], wholes


class _PositionRows:
    """Rows by position."""

    def __init__(self, index: Any) -> None:
        self._index = index

    def ids(self, start: int, stop: int) -> Any:
        """No ids of their own."""
        raise NotImplementedError

    def vectors(self, start: int, stop: int) -> Any:
        """Decoded vectors."""
        return self._index.reconstruct_n(start, stop - start)


class _ListRows:
    """Rows in the order of the inverted lists."""

    def __init__(self, index: Any) -> None:
        import numpy as np

        self._index = index
        self._sizes = np.array(
            [index.invlists.list_size(number) for number in range(index.nlist)], np.int64
        )
        self._ends = np.cumsum(self._sizes)
        if int(self._sizes.sum()) != index.ntotal:
            raise ValueError(f"its lists hold {self._sizes.sum()} rows, expected {index.ntotal}")

    def _parts(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        import numpy as np

        number = int(np.searchsorted(self._ends, start, side="right"))
        while start < stop:
            first = start - int(self._ends[number] - self._sizes[number])
            last = min(first + stop - start, int(self._sizes[number]))
            if last > first:
                yield number, first, last
            start, number = start + last - first, number + 1

    def ids(self, start: int, stop: int) -> Any:
        """The lists' ids."""
        import faiss
        import numpy as np

        lists = self._index.invlists
        found = np.empty(stop - start, np.int64)
        at = 0
        for number, first, last in self._parts(start, stop):
            held = lists.get_ids(number)
            found[at : at + last - first] = faiss.rev_swig_ptr(held, last)[first:]
            lists.release_ids(number, held)
            at += last - first
        return found

    def vectors(self, start: int, stop: int) -> Any:
        """Decoded vectors."""
        import faiss
        import numpy as np

        vectors = np.empty((stop - start, self._index.d), np.float32)
        at = 0
        for number, first, last in self._parts(start, stop):
            for offset in range(first, last):
                self._index.reconstruct_from_offset(number, offset, faiss.swig_ptr(vectors[at:]))
                at += 1
        return vectors


def _error(index: Any, rows: Any) -> dict[str, Any]:
    """What can be said of the error that the codes make, without the vectors that were added."""
    import numpy as np

    count = min(index.ntotal, _SAMPLE_ROWS)
    found: dict[str, Any] = {"sampled": count}
    if not count:
        return found
    first = rows.vectors(0, count).astype(np.float64)
    quantiser = getattr(index, "sq", None)
    if quantiser is not None:
        found["step"] = _largest_step(quantiser, index.d)
    try:
        codes = index.sa_encode(first.astype(np.float32))
        second = index.sa_decode(codes).astype(np.float64)
    except (RuntimeError, AttributeError, AssertionError):
        return found
    length = float(np.sum(first * first))
    found["again"] = float(np.sum((second - first) ** 2)) / length if length else 0.0
    return found


def _largest_step(quantiser: Any, dim: int) -> float | None:
    """The largest distance between two neighbouring numbers that a scalar quantiser knows."""
    import faiss
    import numpy as np

    steps = {
        quantiser.QT_8bit: 255,
        quantiser.QT_8bit_uniform: 255,
        quantiser.QT_6bit: 63,
        quantiser.QT_4bit: 15,
        quantiser.QT_4bit_uniform: 15,
    }
    trained = faiss.vector_to_array(quantiser.trained)
    if quantiser.qtype not in steps or len(trained) not in (2, 2 * dim):
        return None
    return float(np.max(trained[len(trained) // 2 :])) / steps[quantiser.qtype]


if __name__ == "__main__":
    main()
