"""The bucket services that tests run on: what differs between them, and nothing else."""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from pydantic import SecretStr

from airlift.connections import AzureConnection, GoogleConnection, S3Connection, StorageConnection
from localservers import Azurite, GoogleStorage, S3Server
from localservers.ports import free_port

NO_ANSWER = "the endpoint does not answer; check endpoint_url and the network"
NO_LOGIN = "the login is not accepted there; check the connection's key or token"


@dataclass(frozen=True)
class Service:
    """A kind of bucket service.

    Attributes:
        fixture: of its server.
        start: a server of its own, in a folder.
        connection: the credentials that a server accepts.
        url: the address of a bucket; `{}` stands for its name.
        secrets: what no message may hold.
        wrong: changes of a connection to the server that don't work, and what is told.
    """

    fixture: str
    start: Callable[[Path], Any]
    connection: Callable[[Any], StorageConnection]
    url: str
    secrets: Callable[[Any], list[str]]
    wrong: Callable[[Any], dict[str, tuple[dict[str, Any], str]]]


def _unreachable(path: str = "") -> dict[str, tuple[dict[str, Any], str]]:
    return {
        "endpoint": ({"endpoint_url": f"http://127.0.0.1:{free_port()}{path}"}, NO_ANSWER),
        "host": ({"endpoint_url": f"http://no-such-host.invalid:9000{path}"}, NO_ANSWER),
    }


def s3_connection(server: S3Server) -> S3Connection:
    return S3Connection(
        access_key=server.access_key,
        secret_key=SecretStr(server.secret_key),
        region=server.region,
        endpoint_url=server.endpoint_url,
    )


def google_connection(server: GoogleStorage) -> GoogleConnection:
    key = orjson.dumps(server.key).decode()
    return GoogleConnection(key_json=SecretStr(key), endpoint_url=server.endpoint_url)


def azure_connection(server: Azurite) -> AzureConnection:
    return AzureConnection(
        account=server.account,
        account_key=SecretStr(server.account_key),
        endpoint_url=server.endpoint_url,
    )


def _wrong_on_s3(_: S3Server) -> dict[str, tuple[dict[str, Any], str]]:
    return {
        "key": ({"access_key": "NOBODY"}, "the access key is not known there"),
        "secret": ({"secret_key": SecretStr("hush")}, "the secret key is wrong"),
        **_unreachable(),
    }


def _wrong_on_google(server: GoogleStorage) -> dict[str, tuple[dict[str, Any], str]]:
    nobody = {**server.key, "client_email": "nobody@airlift.iam.gserviceaccount.com"}
    return {
        "key": (
            {"key_json": SecretStr(orjson.dumps(nobody).decode())},
            "cannot log in to Google Cloud as nobody@airlift.iam.gserviceaccount.com: "
            "invalid_grant: Invalid JWT: Invalid issuer; check the connection's key",
        ),
        "anonymous": ({"anonymous": True}, NO_LOGIN),
        **_unreachable(),
    }


def _wrong_on_azure(server: Azurite) -> dict[str, tuple[dict[str, Any], str]]:
    def by_sas(permission: str, seconds: float) -> dict[str, Any]:
        token = SecretStr(server.sas_token(permission, seconds))
        return {"account_key": SecretStr(""), "sas_token": token}

    return {
        "key": ({"account_key": SecretStr(b64encode(os.urandom(64)).decode())}, NO_LOGIN),
        "late": (by_sas("rwdlac", -3600), NO_LOGIN),
        "rights": (by_sas("p", 3600), "access is denied; the key needs list, read"),
        **_unreachable(f"/{server.account}"),
    }


SERVICES = {
    "s3": Service(
        "s3_server",
        S3Server,
        s3_connection,
        "s3://{}",
        lambda server: [server.secret_key],
        _wrong_on_s3,
    ),
    "google": Service(
        "google_storage",
        GoogleStorage,
        google_connection,
        "gs://{}",
        lambda server: [server.key["private_key"][100:160]],
        _wrong_on_google,
    ),
    "azure": Service(
        "azurite",
        Azurite,
        azure_connection,
        "az://{}",
        lambda server: [server.account_key],
        _wrong_on_azure,
    ),
}
WRONG = {
    "s3": ("bucket", "key", "secret", "endpoint", "host"),
    "google": ("bucket", "key", "anonymous", "endpoint", "host"),
    "azure": ("bucket", "key", "late", "rights", "endpoint", "host"),
}
