"""The servers that stand for the recorded ones, each started once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.emulators.recorded import VERSIONS
from tests.emulators.recorded_server import Asked
from tests.emulators.rest_import import LocalStorage, RestImportServer, SimulatedClock


@pytest.fixture(scope="session")
def recorded_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Asked]]:
    """A server of each version, on a bucket, without a login, as those were."""
    with ExitStack() as stack:
        started = {}
        for version in VERSIONS:
            folder = tmp_path_factory.mktemp(version)
            bucket = folder / "bucket"
            bucket.mkdir()
            storage = LocalStorage(str(bucket), words="s3")
            server = RestImportServer(
                folder, version, storage=storage, token=None, clock=SimulatedClock()
            )
            started[version] = Asked(stack.enter_context(server), bucket)
        yield started


@pytest.fixture
def ask(recorded_servers: dict[str, Asked], version: str) -> Asked:
    return recorded_servers[version]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RestImportServer]:
    with RestImportServer(tmp_path) as server:
        yield server


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    return tmp_path / "bucket"
