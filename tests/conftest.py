"""The real servers that tests share, each started once, when the first test asks for it.

Each key of `SERVERS` is a fixture.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from localservers import (
    Azurite,
    Elasticsearch,
    GoogleStorage,
    LocalServerError,
    MariaDB,
    Milvus,
    MilvusLite,
    MilvusOnS3,
    OpenSearch,
    S3Server,
)
from tests.parts import part_of

# Before anything imports Airflow, which reads it once: no test may touch somebody's own Airflow.
_AIRFLOW_HOME = tempfile.TemporaryDirectory(prefix="airlift-airflow-home-")
os.environ["AIRFLOW_HOME"] = _AIRFLOW_HOME.name

# The parts of the tests share few processors, where threads that wait for each other only spin.
os.environ.setdefault("OMP_NUM_THREADS", "1")

_SKIP = "--skip-missing-servers"

# A Milvus that looks at its own parts more often: loading and reading at Strong consistency take
# half the time, and are otherwise the same. Those in the environment are not in its milvus.yaml.
# It takes more fields than is usual, as some servers do.
_EAGER_CONFIG = {
    "queryCoord.distPullInterval": 100,
    "proxy.timeTickInterval": 50,
    "proxy.maxFieldNum": 80,
}
_EAGER_ENVIRONMENT = {
    "QUERYCOORD_CHECKSEGMENTINTERVAL": "100",
    "QUERYCOORD_CHECKCHANNELINTERVAL": "100",
    "QUERYCOORD_CHECKINDEXINTERVAL": "200",
    "QUERYCOORD_UPDATENEXTTARGETINTERVAL": "1",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        _SKIP,
        action="store_true",
        help="skip tests whose server can't be started on this machine, instead of failing them",
    )
    parser.addoption("--part", help="only the files of this part; see tests/parts.py")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Files of other parts are not even imported."""
    wanted = config.getoption("--part")
    other = wanted and collection_path.is_file() and part_of(collection_path) != wanted
    return True if other else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Nor is what they have run, if the command line names them."""
    wanted = config.getoption("--part")
    others = [item for item in items if wanted and part_of(item.path) != wanted]
    if others:
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in others]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Tells a failure at once: a part takes long, and may be ended from outside."""
    if report.failed:
        crash = getattr(report.longrepr, "reprcrash", None)
        said = crash.message if crash else report.longreprtext
        print(f"\n{report.when} of {report.nodeid} failed: {said[:2000]}", file=sys.stderr)


@contextmanager
def _started(server: Any, config: pytest.Config) -> Iterator[Any]:
    """A missing server fails the tests that need it: skipped ones would look like passed ones."""
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in _EAGER_ENVIRONMENT.items():
                patch.setenv(name, value)
            server.start()
    except LocalServerError as error:
        if config.getoption(_SKIP):
            pytest.skip(str(error))
        raise
    with server:
        yield server


# Fixture: the server, given a folder of its own.
SERVERS: dict[str, Callable[[Path], Any]] = {
    # Milvus 2.3.5 that stores on the local disk.
    "milvus": lambda folder: Milvus(folder, config=_EAGER_CONFIG),
    # Milvus 2.3.5 that demands a login and stores in an S3 server of its own.
    "milvus_on_s3": lambda folder: MilvusOnS3(folder, auth=True, config=_EAGER_CONFIG),
    "milvus_2_2": lambda folder: Milvus(folder, version="2.2.16"),
    "milvus_lite": MilvusLite,
    # An S3 server that no Milvus uses.
    "s3_server": S3Server,
    # The other clouds' buckets: emulators.
    "google_storage": GoogleStorage,
    "azurite": Azurite,
    "mariadb": MariaDB,
    # These let everybody in; 9 needs Java 21 or newer.
    "elasticsearch_7": lambda folder: Elasticsearch(folder, "7.17.29", short_lived=True),
    "elasticsearch_8": lambda folder: Elasticsearch(folder, short_lived=True),
    "elasticsearch_9": lambda folder: Elasticsearch(folder, "9.5.3", short_lived=True),
    # Elasticsearch 8 that demands a login and speaks HTTPS.
    "elasticsearch_secure": lambda folder: Elasticsearch(
        folder, security=True, tls=True, short_lived=True
    ),
    # With k-NN; 3 needs Java 21 or newer.
    "opensearch": lambda folder: OpenSearch(folder, short_lived=True),
    "opensearch_3": lambda folder: OpenSearch(folder, "3.3.0", short_lived=True),
}


def _fixture(name: str, server: Callable[[Path], Any]) -> Any:
    @pytest.fixture(scope="session", name=name)
    def started(
        tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
    ) -> Iterator[Any]:
        with _started(server(tmp_path_factory.mktemp(name)), pytestconfig) as running:
            yield running

    return started


globals().update({f"{name}_fixture": _fixture(name, server) for name, server in SERVERS.items()})
