"""Airflow's connections to Google Cloud and Azure, as their providers' forms write them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airlift.errors import AirliftError
from airlift_airflow.connections import AirflowConnections

SECRET = "s3cr3t-word"
KEY = {"type": "service_account", "client_email": "a@b", "private_key": SECRET}


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch):
    """What the engine gets of a connection, with its secrets in the clear."""

    def found(conn_type: str, **fields: Any) -> dict[str, Any]:
        fields["conn_type"] = conn_type
        monkeypatch.setenv("AIRFLOW_CONN_ONE", json.dumps(fields))
        read = AirflowConnections().storage("one")
        assert SECRET not in f"{read!r} {read}"
        given = {name: getattr(read, name) for name in type(read).model_fields}
        clear = {
            name: value.get_secret_value() if hasattr(value, "get_secret_value") else value
            for name, value in given.items()
        }
        return {name: value for name, value in clear.items() if value}

    return found


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({}, {}),
        # What the form fills by itself.
        ({"num_retries": 5, "project": "p", "scope": "", "key_path": None}, {}),
        ({"keyfile_dict": KEY}, {"key_json": json.dumps(KEY)}),
        ({"keyfile_dict": json.dumps(KEY)}, {"key_json": json.dumps(KEY)}),
        ({"extra__google_cloud_platform__key_path": "/k.json"}, {"key_file": "/k.json"}),
        ({"key_path": "/k.json"}, {"key_file": "/k.json"}),
        ({"credential_config_file": "/c.json"}, {"key_file": "/c.json"}),
        ({"credential_config_file": {"type": "x"}}, {"key_json": '{"type": "x"}'}),
        ({"impersonation_chain": "a@b, c@d"}, {"impersonate": ("a@b", "c@d")}),
        ({"impersonation_chain": ["a@b"]}, {"impersonate": ("a@b",)}),
        ({"is_anonymous": True}, {"anonymous": True}),
        ({"endpoint_url": "http://gcs:4443/"}, {"endpoint_url": "http://gcs:4443"}),
    ],
)
def test_google(found, extra, expected):
    assert found("google_cloud_platform", extra=extra) == expected


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"key_path": "/k", "keyfile_dict": KEY}, "key_path and keyfile_dict; give one way"),
        ({"keyfile_dict": SECRET}, "keyfile_dict was expected to be a key's JSON"),
        ({"key_secret_name": "x"}, "uses key_secret_name, which the migration's bucket access"),
        ({"idp_issuer_url": "x", "client_secret": SECRET}, "uses client_secret, idp_issuer_url"),
        ({"endpoint_url": "gcs:4443"}, "expected to be like https://host"),
        ({"is_anonymous": "perhaps"}, "expected to be true or false"),
    ],
)
def test_bad_google_connection(found, extra, said):
    with pytest.raises(AirliftError) as error:
        found("google_cloud_platform", extra=extra)
    assert said in str(error.value) and SECRET not in str(error.value)


CLOUD = "https://acc.blob.core.windows.net"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"login": "acc"}, {"account": "acc"}),
        ({"login": "acc", "password": SECRET}, {"account": "acc", "account_key": SECRET}),
        (
            {"host": f"{CLOUD}/", "password": SECRET},
            {"account": "acc", "account_key": SECRET, "endpoint_url": CLOUD},
        ),
        (
            {"host": "acc.blob.core.windows.net", "extra": {"shared_access_key": SECRET}},
            {"account": "acc", "account_key": SECRET, "endpoint_url": CLOUD},
        ),
        (
            {"host": "acc", "extra": {"account_key": SECRET}},
            {"account": "acc", "account_key": SECRET},
        ),
        (
            {"login": "acc", "extra": {"sas_token": f"?sig={SECRET}"}},
            {"account": "acc", "sas_token": f"sig={SECRET}"},
        ),
        (
            {"extra": {"sas_token": f"{CLOUD}?sig={SECRET}"}},
            {"account": "acc", "sas_token": f"sig={SECRET}", "endpoint_url": CLOUD},
        ),
        (
            {"host": CLOUD, "login": "app", "password": SECRET, "extra": {"tenant_id": "t"}},
            {
                "account": "acc",
                "tenant_id": "t",
                "client_id": "app",
                "client_secret": SECRET,
                "endpoint_url": CLOUD,
            },
        ),
        (
            {"login": "acc", "extra": {"managed_identity_client_id": "m"}},
            {"account": "acc", "client_id": "m"},
        ),
        (
            {
                "extra": {
                    "connection_string": f"AccountName=acc;AccountKey={SECRET}==;EndpointSuffix="
                    "core.windows.net;DefaultEndpointsProtocol=https"
                }
            },
            {"account": "acc", "account_key": f"{SECRET}==", "endpoint_url": CLOUD},
        ),
        (
            {
                "extra": {
                    "connection_string": f"BlobEndpoint={CLOUD}/;SharedAccessSignature=sv=1&sig="
                    f"{SECRET}"
                }
            },
            {"account": "acc", "sas_token": f"sv=1&sig={SECRET}", "endpoint_url": CLOUD},
        ),
        (
            {"host": "http://127.0.0.1:10000/dev", "password": SECRET},
            {"account": "dev", "account_key": SECRET, "endpoint_url": "http://127.0.0.1:10000/dev"},
        ),
    ],
)
def test_azure(found, fields, expected):
    assert found("wasb", **fields) == expected


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"login": "acc", "password": SECRET, "extra": {"sas_token": "s"}},
            "give one way to log in",
        ),
        (
            {"extra": {"connection_string": f"AccountKey={SECRET}"}},
            "expected to have AccountName or",
        ),
        ({"extra": {"workload_identity_tenant_id": "t"}}, "uses workload_identity_tenant_id"),
        ({"host": f"ftp://u:{SECRET}@a.b"}, "expected to be like https://host, without a login"),
    ],
)
def test_bad_azure_connection(found, fields, said):
    with pytest.raises(AirliftError) as error:
        found("wasb", **fields)
    assert said in str(error.value) and SECRET not in str(error.value)
