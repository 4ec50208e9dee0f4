"""Wall time and CPU seconds of a part of a case."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def timed(found: dict[str, Any]) -> Iterator[None]:
    """Puts `wall`, `user`, `system` and `cpu` seconds into `found`."""
    wall, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
    yield
    after = resource.getrusage(resource.RUSAGE_SELF)
    found["wall"] = time.monotonic() - wall
    found["user"] = after.ru_utime - before.ru_utime
    found["system"] = after.ru_stime - before.ru_stime
    found["cpu"] = found["user"] + found["system"]
