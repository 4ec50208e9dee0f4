"""Airflow's connection of type `elasticsearch`, as the engine gets it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from airflow.sdk import Connection

from airlift.errors import AirliftError
from airlift_airflow.connections import AirflowConnections, elasticsearch_connection
from airlift_airflow.hooks.elasticsearch import ElasticsearchHook
from airlift_airflow.provider_info import ELASTICSEARCH_FIELDS, get_provider_info

SECRET = "hushed-aws-key"
AWS = {
    "my_aws": Connection(
        conn_id="my_aws",
        conn_type="aws",
        login="AKIA1",
        password=SECRET,
        extra=json.dumps({"aws_session_token": SECRET}),
    ),
    "with_region": Connection(
        conn_id="with_region",
        conn_type="aws",
        extra=json.dumps(
            {
                "region_name": "eu-north-1",
                "role_arn": "arn:aws:iam::1:role/reader",
                "service_config": {"sts": {"endpoint_url": "http://sts:1"}},
            }
        ),
    ),
    "half": Connection(conn_id="half", conn_type="aws", login="AKIA1"),
    "profile": Connection(
        conn_id="profile", conn_type="aws", extra=json.dumps({"profile_name": "x"})
    ),
    "google": Connection(conn_id="google", conn_type="google_cloud_platform"),
}


def connection(extra: dict[str, Any] | None = None, **given: Any) -> Any:
    conn = Connection(
        conn_id="es", conn_type="elasticsearch", extra=json.dumps(extra or {}), **given
    )
    return elasticsearch_connection(conn, AWS.__getitem__)


@pytest.mark.parametrize(
    ("host", "port", "extra", "hosts"),
    [
        ("es1", None, {}, ["http://es1:9200"]),
        ("es1", 9201, {"secure": True}, ["https://es1:9201"]),
        ("https://es1", None, {}, ["https://es1:443"]),
        ("https://es1:9200/path/", None, {}, ["https://es1:9200/path"]),
        (
            "https://es1:1, https://es2",
            9200,
            {"ca_file": "/ca"},
            ["https://es1:1", "https://es2:9200"],
        ),
        ("[::1]:9", None, {}, ["http://[::1]:9"]),
    ],
)
def test_hosts(host: str, port: int | None, extra: Any, hosts: list[str]) -> None:
    found = connection(extra, host=host, port=port)
    assert list(found.hosts) == hosts
    assert found.is_tls == hosts[0].startswith("https")
    assert found.verify_certs


def test_every_setting_arrives_and_no_secret_shows() -> None:
    secrets = {"api_key": "s1", "service_token": "s2", "bearer_token": "s3"}
    for name, secret in secrets.items():
        found = connection({name: secret}, host="es")
        assert getattr(found, name).get_secret_value() == secret
        assert secret not in f"{found!r} {found} {found.model_dump()}"
    found = connection({"verify_certs": False, "timeout": 5}, host="https://es")
    assert (found.verify_certs, found.timeout) == (False, 5.0)
    assert connection({"cloud_id": "mine:abc"}).address == "Elastic Cloud, mine"
    sha = ":".join(["AB"] * 32)
    assert connection({"fingerprint": sha}, host="https://es").fingerprint == "ab" * 32
    assert set(ELASTICSEARCH_FIELDS) >= {*secrets, "cloud_id", "ca_file", "fingerprint"}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"host": ""}, "either a host or a cloud_id"),
        ({"host": "es", "extra": {"cloud_id": "x"}}, "either a host or a cloud_id"),
        ({"host": "es", "login": "a", "extra": {"api_key": "b"}}, "User and api_key; give one way"),
        ({"host": "https://a:b@es"}, "without a login"),
        ({"host": "ftp://es"}, "like es1 or https://es1:9200"),
        ({"host": "es:port"}, "no port number"),
        ({"host": "https://es", "extra": {"fingerprint": "12"}}, "a SHA-256 in hex"),
        ({"host": "es", "extra": {"ca_file": "/ca"}}, "write its host as https"),
        ({"host": "es", "extra": {"apikey": "x"}}, "unknown settings in its extra: apikey"),
        ({"host": "es", "extra": {"verify_certs": "maybe"}}, "true or false"),
    ],
)
def test_what_contradicts_itself_is_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(AirliftError, match=told):
        connection(given.pop("extra", None), **given)


@pytest.mark.parametrize(
    ("host", "extra", "service", "region"),
    [
        ("search-x-abc.eu-west-1.es.amazonaws.com", {}, "es", "eu-west-1"),
        ("https://vpc-x-abc.us-gov-west-1.es.amazonaws.com/", {}, "es", "us-gov-west-1"),
        ("vpc-x-abc.cn-north-1.es.amazonaws.com.cn", {}, "es", "cn-north-1"),
        ("search-x-abc.aos.us-east-1.on.aws", {}, "es", "us-east-1"),
        ("abc.ap-south-1.aoss.amazonaws.com", {}, "aoss", "ap-south-1"),
        ("abc.us-east-1.aoss-fips.amazonaws.com", {}, "aoss", "us-east-1"),
        ("abc.aoss.us-west-2.on.aws", {}, "aoss", "us-west-2"),
        ("ABC.US-EAST-1.AOSS.AMAZONAWS.COM", {}, "aoss", "us-east-1"),
        ("search.example.com", {"aws_region": "eu-west-3"}, "es", "eu-west-3"),
        ("search.example.com", {"aws_conn_id": "with_region"}, "es", "eu-north-1"),
        (
            "search-x-abc.eu-west-1.es.amazonaws.com",
            {"aws_conn_id": "with_region"},
            "es",
            "eu-west-1",
        ),
        (
            "my.example.com",
            {"aws_service": "aoss", "aws_region": "eu-west-3"},
            "aoss",
            "eu-west-3",
        ),
        ("x.es.amazonaws.com.example.com", {"aws_region": "eu-west-3"}, "es", "eu-west-3"),
    ],
)
def test_where_requests_are_signed_for(
    host: str, extra: dict[str, Any], service: str, region: str
) -> None:
    found = connection({"aws_conn_id": "my_aws", **extra}, host=host)
    assert (found.aws.service, found.aws.region) == (service, region)
    assert found.is_tls and found.hosts[0].removesuffix("/").endswith(":443")


def test_the_keys_and_the_role_of_the_aws_connection_arrive() -> None:
    found = connection({"aws_conn_id": "my_aws", "aws_region": "eu-west-1"}, host="http://x:9200")
    assert found.hosts == ("http://x:9200",)
    keys = found.aws.credentials
    assert (found.aws.conn_id, keys.access_key, keys.role_arn) == ("my_aws", "AKIA1", "")
    assert keys.secret_key.get_secret_value() == keys.session_token.get_secret_value() == SECRET
    assert SECRET not in f"{found!r} {found} {found.model_dump()} {found.model_dump_json()}"
    keys = connection({"aws_conn_id": "with_region"}, host="x").aws.credentials
    assert (keys.access_key, keys.role_arn) == ("", "arn:aws:iam::1:role/reader")
    assert (keys.region, keys.sts_url) == ("eu-north-1", "http://sts:1")


@pytest.mark.parametrize(
    ("extra", "given", "message"),
    [
        ({}, {"host": "x"}, "the region of AWS is in neither its host nor .*'my_aws'; set aws_re"),
        ({}, {"host": "x", "login": "a", "password": "b"}, "User and aws_conn_id; give one way"),
        ({}, {"host": "x", "password": "b"}, "Password and aws_conn_id; give one way"),
        ({"api_key": "k"}, {"host": "x"}, "api_key and aws_conn_id; give one way"),
        ({"bearer_token": "k"}, {"host": "x"}, "bearer_token and aws_conn_id; give one way"),
        ({"cloud_id": "mine:abc"}, {}, "cloud_id and aws_conn_id; Elastic Cloud takes no"),
        ({"aws_service": "s3"}, {"host": "x"}, "es .* or aoss .*, not 's3'"),
        ({"aws_conn_id": "google"}, {"host": "x"}, "names the google_cloud_platform connection"),
        ({"aws_conn_id": "half"}, {"host": "x"}, "'half' has only one of access key"),
        ({"aws_conn_id": "profile"}, {"host": "x"}, "profile_name, which signing requests does"),
        (
            {"aws_region": "us-east-1"},
            {"host": "x.eu-west-1.es.amazonaws.com"},
            "aws_region and host say eu-west-1 and us-east-1",
        ),
        (
            {"aws_service": "es"},
            {"host": "x.eu-west-1.aoss.amazonaws.com"},
            "aws_service and host say aoss and es",
        ),
        (
            {},
            {"host": "x.eu-west-1.es.amazonaws.com,y.us-east-1.es.amazonaws.com"},
            "host say eu-west-1 and us-east-1",
        ),
        ({}, {"host": "123456789012.aoss.us-east-1.on.aws"}, "the collection's own address"),
        ({"aws_conn_id": "", "aws_region": "x"}, {"host": "x"}, "has aws_region, but no aws_conn"),
        ({"aws_conn_id": "", "aws_service": "es"}, {"host": "x"}, "has aws_service, but no aws_co"),
    ],
)
def test_signing_that_contradicts_itself_is_refused(
    extra: dict[str, Any], given: dict[str, Any], message: str
) -> None:
    with pytest.raises(AirliftError, match=message) as error:
        connection({"aws_conn_id": "my_aws", **extra}, **given)
    assert SECRET not in str(error.value)


def test_an_aws_connection_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    extra = {"aws_conn_id": "nowhere", "aws_region": "eu-west-1"}
    given = {"conn_type": "elasticsearch", "host": "x", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_SEARCH", json.dumps(given))
    with pytest.raises(AirliftError, match="'nowhere'.*connections add nowhere --conn-type aws"):
        AirflowConnections().elasticsearch("search")


def test_the_form_and_the_hook_are_of_one_type() -> None:
    types = {one["connection-type"]: one for one in get_provider_info()["connection-types"]}
    found = types["elasticsearch"]
    assert found["hook-class-name"].endswith(ElasticsearchHook.__name__)
    assert found["conn-fields"] is ELASTICSEARCH_FIELDS
    assert ElasticsearchHook.conn_type == "elasticsearch"


def test_the_source_imports_no_client_before_it_connects() -> None:
    code = (
        "import sys; import airlift.sources.elasticsearch.source;"
        "print(sorted({'elasticsearch', 'opensearchpy', 'pandas', 'urllib3'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
