"""The real servers that tests share, each started once, when the first test asks for it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from localservers import (
    Elasticsearch,
    LocalServerError,
    MariaDB,
    Milvus,
    MilvusLite,
    MilvusOnS3,
    OpenSearch,
    S3Server,
)

# Before anything imports Airflow, which reads it once: no test may touch somebody's own Airflow.
_AIRFLOW_HOME = tempfile.TemporaryDirectory(prefix="airlift-airflow-home-")
os.environ["AIRFLOW_HOME"] = _AIRFLOW_HOME.name

_SKIP = "--skip-missing-servers"

# A Milvus that looks at its own parts more often: loading and reading at Strong consistency take
# half the time, and are otherwise the same. Those in the environment are not in its milvus.yaml.
_EAGER_CONFIG = {"queryCoord.distPullInterval": 100, "proxy.timeTickInterval": 50}
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


@pytest.fixture(scope="session")
def milvus(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[Milvus]:
    """Milvus 2.3.5 that stores on the local disk."""
    server = Milvus(tmp_path_factory.mktemp("milvus"), config=_EAGER_CONFIG)
    with _started(server, pytestconfig):
        yield server


@pytest.fixture(scope="session")
def milvus_on_s3(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[MilvusOnS3]:
    """Milvus 2.3.5 that demands a login and stores in an S3 server of its own."""
    folder = tmp_path_factory.mktemp("milvus-on-s3")
    server = MilvusOnS3(folder, auth=True, config=_EAGER_CONFIG)
    with _started(server, pytestconfig):
        yield server


@pytest.fixture(scope="session")
def milvus_lite(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[MilvusLite]:
    """A Milvus Lite server."""
    with _started(MilvusLite(tmp_path_factory.mktemp("lite")), pytestconfig) as server:
        yield server


@pytest.fixture(scope="session")
def s3_server(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[S3Server]:
    """An S3 server that no Milvus uses."""
    with _started(S3Server(tmp_path_factory.mktemp("s3")), pytestconfig) as server:
        yield server


@pytest.fixture(scope="session")
def mariadb(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[MariaDB]:
    """A MariaDB server."""
    with _started(MariaDB(tmp_path_factory.mktemp("mariadb")), pytestconfig) as server:
        yield server


@pytest.fixture(scope="session")
def elasticsearch_8(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[Elasticsearch]:
    """Elasticsearch 8 that lets everybody in."""
    server = Elasticsearch(tmp_path_factory.mktemp("elasticsearch-8"))
    with _started(server, pytestconfig):
        yield server


@pytest.fixture(scope="session")
def elasticsearch_7(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[Elasticsearch]:
    """Elasticsearch 7 that lets everybody in."""
    server = Elasticsearch(tmp_path_factory.mktemp("elasticsearch-7"), version="7.17.29")
    with _started(server, pytestconfig):
        yield server


@pytest.fixture(scope="session")
def elasticsearch_9(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[Elasticsearch]:
    """Elasticsearch 9 that lets everybody in; it needs Java 21 or newer."""
    server = Elasticsearch(tmp_path_factory.mktemp("elasticsearch-9"), version="9.5.3")
    with _started(server, pytestconfig):
        yield server


@pytest.fixture(scope="session")
def elasticsearch_secure(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[Elasticsearch]:
    """Elasticsearch 8 that demands a login and speaks HTTPS."""
    folder = tmp_path_factory.mktemp("elasticsearch-secure")
    with _started(Elasticsearch(folder, security=True, tls=True), pytestconfig) as server:
        yield server


@pytest.fixture(scope="session")
def opensearch(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[OpenSearch]:
    """OpenSearch 2 with k-NN, which lets everybody in."""
    with _started(OpenSearch(tmp_path_factory.mktemp("opensearch")), pytestconfig) as server:
        yield server


@pytest.fixture(scope="session")
def opensearch_3(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[OpenSearch]:
    """OpenSearch 3 with k-NN, which lets everybody in; it needs Java 21 or newer."""
    server = OpenSearch(tmp_path_factory.mktemp("opensearch-3"), version="3.3.0")
    with _started(server, pytestconfig):
        yield server
