"""Airflow's connections become the engine's, and bad ones say how to mend them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airlift.connections import Connections
from airlift.errors import AirliftError
from airlift_airflow.connections import AirflowConnections
from airlift_airflow.provider_info import get_provider_info

SECRET = "s3cr3t-word"


@pytest.fixture
def add(monkeypatch: pytest.MonkeyPatch):
    """Adds a connection as Airflow takes it from the environment."""

    def add(conn_id: str = "one", **fields: Any) -> str:
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(fields))
        return conn_id

    return add


@pytest.fixture
def connections() -> Connections:
    return AirflowConnections()


@pytest.mark.parametrize(
    ("fields", "uri"),
    [
        ({"host": "milvus"}, "http://milvus:19530"),
        ({"host": "milvus", "port": 1234}, "http://milvus:1234"),
        ({"host": "milvus:1234"}, "http://milvus:1234"),
        ({"host": "http://milvus:1234/"}, "http://milvus:1234"),
        ({"host": "milvus", "extra": {"secure": True}}, "https://milvus:19530"),
        ({"host": "milvus", "extra": {"secure": "true"}}, "https://milvus:19530"),
        ({"host": "milvus", "extra": {"secure": "false"}}, "http://milvus:19530"),
        ({"host": "milvus", "extra": {"secure": None, "timeout": None}}, "http://milvus:19530"),
        ({"host": "milvus", "extra": {"ca_file": "/ca.pem"}}, "https://milvus:19530"),
        ({"host": "https://milvus"}, "https://milvus:443"),
        (
            {"host": "https://in03-1.api.x.zillizcloud.com"},
            "https://in03-1.api.x.zillizcloud.com:443",
        ),
        ({"host": "in03-1.api.x.zillizcloud.com"}, "https://in03-1.api.x.zillizcloud.com:443"),
        ({"host": "in01-1.vectordb.zilliz.com.cn"}, "https://in01-1.vectordb.zilliz.com.cn:443"),
        ({"host": "IN03-1.CLOUD.ZILLIZ.COM"}, "https://in03-1.cloud.zilliz.com:443"),
        ({"host": "zilliz"}, "http://zilliz:19530"),  # a name of one's own
        ({"host": "zilliz-proxy.internal:1234"}, "http://zilliz-proxy.internal:1234"),
        ({"host": "notzilliz.com"}, "http://notzilliz.com:19530"),
        ({"host": "zilliz.com.example.org"}, "http://zilliz.com.example.org:19530"),
        ({"host": "[::1]", "port": 1}, "http://[::1]:1"),
        ({"host": "/data/my lite.db"}, "/data/my lite.db"),
        ({"host": "lite.db"}, "lite.db"),
    ],
)
def test_milvus_address(add, connections, fields, uri):
    assert connections.milvus(add(conn_type="milvus", **fields)).uri == uri


def test_every_milvus_setting_arrives(add, connections):
    extra = {
        "token": SECRET,
        "database": "sales",
        "secure": True,
        "ca_file": "/ca.pem",
        "client_cert_file": "/cert.pem",
        "client_key_file": "/key.pem",
        "server_name": "inner",
        "rest_address": "milvus:9091/",
        "cluster_id": "in03-1",
        "timeout": "2.5",
    }
    form = get_provider_info()["connection-types"][0]["conn-fields"]
    assert set(extra) == set(form), "the form and this test must know the same settings"

    found = connections.milvus(
        add(conn_type="milvus", host="h", login="root", password=SECRET, extra=extra)
    )

    assert found.user == "root"
    assert found.password.get_secret_value() == found.token.get_secret_value() == SECRET
    assert found.model_dump(exclude={"uri", "user", "password", "token"}) == {
        "database": "sales",
        "rest_uri": "https://milvus:9091",
        "cluster_id": "in03-1",
        "ca_file": "/ca.pem",
        "client_cert_file": "/cert.pem",
        "client_key_file": "/key.pem",
        "server_name": "inner",
        "timeout": 2.5,
    }


def test_a_connection_written_as_uri(monkeypatch, connections):
    monkeypatch.setenv("AIRFLOW_CONN_ONE", f"milvus://root:{SECRET}@h:1/?database=x&secure=true")
    found = connections.milvus("one")
    assert (found.uri, found.user, found.database) == ("https://h:1", "root", "x")
    assert found.password.get_secret_value() == SECRET


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "has no host"),
        ({"host": "h", "extra": {"databse": "x"}}, "unknown settings in its extra: databse"),
        ({"host": "h", "extra": {"secure": "perhaps"}}, "secure was expected to be true or false"),
        ({"host": "h", "extra": {"timeout": "long"}}, "timeout was expected to be seconds"),
        ({"host": "h", "extra": {"timeout": 0}}, "timeout was expected to be seconds"),
        ({"host": "h:port"}, "no port number in the host"),
        ({"host": "h/path"}, "expected to be a name, an address or a file"),
        ({"host": "ftp://h"}, "expected http:// or https:// in the host, not ftp"),
        ({"host": f"http://root:{SECRET}@h"}, "has a login in its host"),
        ({"host": "h", "extra": {"rest_address": f"http://u:{SECRET}@h"}}, "without a login"),
    ],
)
def test_bad_milvus_connection(add, connections, fields, message):
    with pytest.raises(AirliftError) as error:
        connections.milvus(add(conn_type="milvus", **fields))
    assert message in str(error.value)
    assert "'one'" in str(error.value)
    assert SECRET not in str(error.value)


def test_extra_that_is_no_json_is_not_taken_for_empty(connections, add):
    with pytest.raises(AirliftError, match="extra was expected to be a JSON object"):
        connections.milvus(add(conn_type="milvus", host="h", extra='{"secure": true'))


@pytest.mark.parametrize("kind", ["milvus", "storage", "sql"])
def test_missing_connection_says_how_to_make_one(connections, kind):
    with pytest.raises(AirliftError, match="airflow connections add nowhere --conn-type"):
        getattr(connections, kind)("nowhere")
    with pytest.raises(AirliftError, match="its id is empty.*airflow connections add"):
        getattr(connections, kind)("")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("milvus", "milvus"),
        ("storage", "aws or google_cloud_platform or wasb"),
        ("sql", "mysql or generic"),
    ],
)
def test_wrong_type_says_which_is_right(add, connections, kind, expected):
    add(conn_type="http", host="h")
    with pytest.raises(
        AirliftError, match=f"expected to be of type {expected}, but is of type http"
    ):
        getattr(connections, kind)("one")


def test_storage_with_keys(add, connections):
    extra = {
        "endpoint_url": "http://minio:9000/",
        "region_name": "eu-1",
        "aws_session_token": SECRET,
        "role_arn": "arn:aws:iam::1:role/mover",
    }
    found = connections.storage(add(conn_type="aws", login="AK", password=SECRET, extra=extra))
    assert (found.access_key, found.region, found.endpoint_url, found.role_arn) == (
        "AK",
        "eu-1",
        "http://minio:9000",
        "arn:aws:iam::1:role/mover",
    )
    assert found.secret_key.get_secret_value() == SECRET
    assert found.session_token.get_secret_value() == SECRET


def test_storage_with_keys_in_extra_and_an_endpoint_for_s3_alone(add, connections):
    extra = {
        "aws_access_key_id": "AK",
        "aws_secret_access_key": SECRET,
        "service_config": {"s3": {"endpoint_url": "https://oss.example.com"}},
    }
    found = connections.storage(add(conn_type="aws", extra=extra))
    assert (found.access_key, found.endpoint_url) == ("AK", "https://oss.example.com")
    assert found.secret_key.get_secret_value() == SECRET


def test_storage_without_keys_means_the_workers_role(add, connections):
    found = connections.storage(add(conn_type="aws", extra={"role_arn": "arn:aws:iam::1:role/x"}))
    assert (found.access_key, found.secret_key.get_secret_value()) == ("", "")
    assert found.role_arn == "arn:aws:iam::1:role/x"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"login": "AK"}, "only one of access key"),
        ({"password": SECRET}, "only one of access key"),
        ({"extra": {"endpoint_url": "minio:9000"}}, "expected to start with http:// or https://"),
        ({"extra": {"profile_name": "x"}}, "uses profile_name"),
        ({"extra": {"session_kwargs": {"profile_name": "x"}}}, "uses profile_name"),
        ({"extra": {"verify": False}}, "uses verify"),
        (
            {"extra": {"role_arn": "a", "assume_role_method": "assume_role_with_saml"}},
            "uses assume_role_method",
        ),
        (
            {"extra": {"role_arn": "a", "assume_role_kwargs": {"ExternalId": "1"}}},
            "uses assume_role_kwargs",
        ),
    ],
)
def test_bad_storage_connection(add, connections, fields, message):
    with pytest.raises(AirliftError) as error:
        connections.storage(add(conn_type="aws", **fields))
    assert message in str(error.value)
    assert SECRET not in str(error.value)


@pytest.mark.parametrize("conn_type", ["mysql", "generic"])
def test_sql(add, connections, conn_type):
    password = "p@ss/w:rd"
    add(conn_type=conn_type, host="db", login="u", password=password, schema="milvus")
    url = connections.sql("one")
    assert url.drivername == "mysql+pymysql"
    assert (url.host, url.port, url.database, url.password) == ("db", 3306, "milvus", password)
    assert password not in str(url)
    assert password not in repr(url)


@pytest.mark.parametrize(
    ("fields", "missing"), [({"schema": "d"}, "no host"), ({"host": "h"}, "no schema")]
)
def test_bad_sql_connection(add, connections, fields, missing):
    with pytest.raises(AirliftError, match=missing):
        connections.sql(add(conn_type="mysql", **fields))


def test_no_repr_holds_a_secret(add, connections):
    add("m", conn_type="milvus", host="h", login="u", password=SECRET, extra={"token": SECRET})
    add("a", conn_type="aws", login="u", password=SECRET, extra={"aws_session_token": SECRET})
    add("s", conn_type="mysql", host="h", login="u", password=SECRET, schema="d")
    key = {"keyfile_dict": {"private_key": SECRET}}
    add("g", conn_type="google_cloud_platform", extra=key)
    add("w", conn_type="wasb", login="acc", password=SECRET)
    add("x", conn_type="wasb", login="acc", extra={"sas_token": SECRET})
    buckets = [connections.storage(one) for one in "agwx"]
    for found in (connections.milvus("m"), connections.sql("s"), *buckets):
        assert SECRET not in f"{found!r} {found} {[found]}"
