"""Credentials of AWS: of a connection, of the machine, of a role that is assumed with either."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from airlift.aws_credentials import aws_credentials
from airlift.connections import AwsCredentials, S3Connection
from airlift.errors import AirliftError
from airlift.stores.s3 import S3
from tests.http_proxy import Answer, HttpProxy, Request
from tests.sigv4 import Gate, Keys, Roles

ROLE = "arn:aws:iam::123456789012:role/mover"
OWN, MACHINE = Keys("AKIAOWN", "own-secret"), Keys("ASIAMACHINE", "secret", "token")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A machine without credentials of AWS."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    return monkeypatch


@pytest.fixture
def roles() -> Iterator[Roles]:
    known = {keys.access: keys for keys in (OWN, MACHINE)}
    with Roles(Gate(known, service="sts"), Gate({}), ROLE) as roles:
        yield roles


def with_environment(machine: pytest.MonkeyPatch) -> None:
    machine.setenv("AWS_ACCESS_KEY_ID", MACHINE.access)
    machine.setenv("AWS_SECRET_ACCESS_KEY", MACHINE.secret)
    machine.setenv("AWS_SESSION_TOKEN", MACHINE.token)


def keys_of(**given: Any) -> Keys:
    found = aws_credentials(AwsCredentials(region="eu-west-1", **given)).get_frozen_credentials()
    return Keys(found.access_key, found.secret_key, found.token or "")


def own() -> dict[str, Any]:
    return {"access_key": OWN.access, "secret_key": SecretStr(OWN.secret)}


def test_keys_of_the_connection_come_before_those_of_the_machine(
    machine: pytest.MonkeyPatch, roles: Roles
) -> None:
    with_environment(machine)
    assert keys_of() == MACHINE
    assert keys_of(**own()) == OWN
    assert keys_of(**own(), session_token=SecretStr("t")) == Keys(OWN.access, OWN.secret, "t")


@pytest.mark.parametrize("of_connection", [True, False])
def test_a_role_is_assumed_with_them(
    machine: pytest.MonkeyPatch, roles: Roles, of_connection: bool
) -> None:
    with_environment(machine)
    given = own() if of_connection else {}
    assert keys_of(**given, role_arn=ROLE, sts_url=roles.url) == roles.given[0]
    [asked] = roles.gate.passed
    source = OWN if of_connection else MACHINE
    assert f"Credential={source.access}/" in asked.headers["authorization"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "neither the aws connection nor this machine has credentials"),
        ({"role_arn": ROLE}, "neither the aws connection nor this machine has credentials"),
        ({"access_key": "k"}, "only one of access key and secret key"),
        ({"secret_key": SecretStr("hushed")}, "only one of access key and secret key"),
    ],
)
def test_without_credentials_there_is_an_error(
    machine: pytest.MonkeyPatch, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(AirliftError, match=message) as error:
        keys_of(**given)
    assert "hushed" not in str(error.value)


def test_a_bucket_copies_objects_as_the_role_that_reads_it(
    machine: pytest.MonkeyPatch, roles: Roles
) -> None:
    """The copy of an object has its own client, beside that of the reading."""
    with_environment(machine)
    asked: list[Request] = []

    def answer(request: Request) -> Answer:
        asked.append(request)
        done = b"<CopyObjectResult><ETag>x</ETag></CopyObjectResult>"
        return Answer(200, b"" if request.method == "HEAD" else done, {"content-length": "3"})

    with HttpProxy("http://127.0.0.1:1") as server:
        server.rule = answer
        connection = S3Connection(
            region="eu-west-1", role_arn=ROLE, sts_url=roles.url, endpoint_url=server.url
        )
        bucket = S3.__new__(S3)  # without the filesystem of Arrow, which asks AWS for the role
        bucket.connection = connection
        bucket.copy("here/a", "there/b")
    used = {
        re.findall("Credential=([^/]+)/", request.headers["authorization"])[0] for request in asked
    }
    assert used == {roles.given[0].access}
