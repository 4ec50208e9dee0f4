"""Airflow's connection of type `elasticsearch`, as the engine gets it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from airflow.sdk import Connection

from airlift.errors import AirliftError
from airlift_airflow.connections import elasticsearch_connection
from airlift_airflow.hooks.elasticsearch import ElasticsearchHook
from airlift_airflow.provider_info import ELASTICSEARCH_FIELDS, get_provider_info


def connection(extra: dict[str, Any] | None = None, **given: Any) -> Any:
    conn = Connection(
        conn_id="es", conn_type="elasticsearch", extra=json.dumps(extra or {}), **given
    )
    return elasticsearch_connection(conn)


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
