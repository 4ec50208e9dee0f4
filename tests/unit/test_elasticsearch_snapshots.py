"""Points in time of indices of any name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airlift.sources.elasticsearch.client import SearchServer, Version
from airlift.sources.elasticsearch.snapshots import Snapshots
from airlift.storage import open_storage


class Points:
    """A server that knows only points in time."""

    def __init__(self) -> None:
        self.open: list[str] = []
        self._made = 0

    def send(self, method: str, path: str, params: Any, body: bytes | None) -> bytes:
        if method == "DELETE":
            assert body
            self.open.remove(body.decode().split('"')[3])
            return b"{}"
        self._made += 1
        self.open.append(f"p{self._made}")
        return f'{{"id": "p{self._made}"}}'.encode()

    def close(self) -> None:
        pass


NAMES = [
    "short",
    "a@b",
    "i" * 128,
    "i" * 129,
    "i" * 255,
    "索" * 85,
    ".ds-logs-" + "x" * 200 + "-2026.11.28-000001",
]


@pytest.mark.parametrize("index", NAMES)
def test_workers_share_one_of_each_index(index: str, tmp_path: Path) -> None:
    server = Points()
    version = Version(product="Elasticsearch", number="8.19.21")
    scratch = open_storage(str(tmp_path))

    def worker() -> Snapshots:
        return Snapshots(SearchServer(server, version, 0), scratch)

    first = worker().of(index)
    assert worker().of(index) == first
    other = worker().of(index[:-1] + "z")  # of the same length
    assert other.id != first.id
    newer = worker().renewed(first)
    assert worker().of(index) == newer != first
    assert worker().of(index[:-1] + "z") == other
    worker().finish()
    assert not server.open
