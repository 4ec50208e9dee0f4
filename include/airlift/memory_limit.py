"""Bounds the memory that decoding an untrusted file may take.

What a file's headers say of sizes is only what its writer chose to say: 48 kB of Parquet can hold
gigabytes. So the system itself is told how much more this process may have while a part of the file
is decoded (`RLIMIT_DATA`, which Linux applies to private memory from 4.7 on). What goes beyond that
fails as an allocation does, and is an error like any other.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar, cast

import pyarrow as pa

from airlift.errors import AirliftError

T = TypeVar("T")

DECODING_BYTES = 512 << 20
"""For one batch of rows, beyond the gigabyte that Arrow's memory pool asks the system for at once;
ordinary batches take a tenth of it."""

_STATUS = Path("/proc/self/status")
_guard = threading.Lock()
_active = 0
_before = (0, 0)


@contextmanager
def memory_limit(what: str, most: int = DECODING_BYTES) -> Iterator[None]:
    """Lets a block take at most so many bytes of memory more than are used now.

    Several threads may be in such a block at once: then each adds its bytes to the limit. Other
    systems than Linux have no such limit, and run the block without one.

    Args:
        what: what is decoded, for the message: `/data/a.parquet`.

    Raises:
        AirliftError: it needs more.
    """
    _enter(most)
    try:
        yield
    except MemoryError as error:
        raise AirliftError(
            f"{what}: decoding the next rows needs more memory than it may take ({most >> 20:,} MB "
            "beyond what the process has). No rows that Milvus takes are as large, so the file is "
            "damaged, or made to exhaust memory; write it again, or leave it out"
        ) from error
    finally:
        _leave()


def within_limit(what: str, batches: Iterable[T], most: int = DECODING_BYTES) -> Iterator[T]:
    """Yields what an iterator decodes, each next part of it within `memory_limit`.

    Between them, the caller is not limited.
    """
    iterator = iter(batches)
    end = object()
    while True:
        with memory_limit(what, most):
            batch = next(iterator, end)
        if batch is end:
            return
        yield cast(T, batch)


def _enter(most: int) -> None:
    global _active, _before
    if not sys.platform.startswith("linux"):
        return
    import resource

    pa.allocate_buffer(1)  # so that the pool has its gigabyte, which is no part of the limit
    with _guard:
        if not _active:
            _before = resource.getrlimit(resource.RLIMIT_DATA)
        _active += 1
        soft, hard = _before
        wanted = _used() + _active * most
        limits = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
        resource.setrlimit(resource.RLIMIT_DATA, (min([wanted, *limits]), hard))


def _leave() -> None:
    global _active
    if not sys.platform.startswith("linux"):
        return
    import resource

    with _guard:
        _active -= 1
        if not _active:
            resource.setrlimit(resource.RLIMIT_DATA, _before)


def _used() -> int:
    """Bytes that count towards the limit now."""
    for line in _STATUS.read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) << 10
    return 0
