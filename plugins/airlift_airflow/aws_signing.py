"""How an Airflow connection says that requests are signed for AWS."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from airlift.connections import AwsSigning
from airlift.errors import AirliftError
from airlift_airflow.bucket_connections import aws_credentials
from airlift_airflow.connection_fields import name_of

if TYPE_CHECKING:
    from airflow.sdk import Connection

Service = Literal["es", "aoss"]

_FIELDS = ("aws_service", "aws_region")

_NEW_DOMAIN = r"on\.(aws|amazonwebservices\.com\.cn)"

# The addresses that AWS gives to domains (es) and to collections of Serverless (aoss).
_ADDRESSES: tuple[tuple[Service, re.Pattern[str]], ...] = (
    ("es", re.compile(r"\.(?P<region>[a-z0-9-]+)\.es\.amazonaws\.com(\.cn)?\Z")),
    ("es", re.compile(rf"\.aos\.(?P<region>[a-z0-9-]+)\.{_NEW_DOMAIN}\Z")),
    ("aoss", re.compile(r"\.(?P<region>[a-z0-9-]+)\.aoss(-fips)?\.amazonaws\.com(\.cn)?\Z")),
    ("aoss", re.compile(rf"\.aoss(-fips)?\.(?P<region>[a-z0-9-]+)\.{_NEW_DOMAIN}\Z")),
)
_OF_ACCOUNT = re.compile(r"[0-9]{12}\.aoss(-fips)?\.")


def aws_signing(
    conn: Connection,
    text: Mapping[str, str],
    hosts: Sequence[str],
    look_up: Callable[[str], Connection],
) -> AwsSigning | None:
    """How requests to the hosts of a connection are signed; None where they are not.

    Args:
        conn: the connection, for messages.
        text: the fields of its extra, "" where one is not set.
        hosts: URLs of the nodes.
        look_up: gives the connection of type `aws`.

    Raises:
        AirliftError: the settings contradict each other or the hosts, or a region is missing.
    """
    if not text["aws_conn_id"]:
        if given := [field for field in _FIELDS if text[field]]:
            raise AirliftError(
                f"{name_of(conn)} has {' and '.join(given)}, but no aws_conn_id; let that name the "
                "aws connection whose keys sign the requests"
            )
        return None
    if text["cloud_id"]:
        raise AirliftError(
            f"{name_of(conn)} has cloud_id and aws_conn_id; Elastic Cloud takes no requests signed "
            "for AWS: leave one of them out"
        )
    if text["aws_service"] not in ("", "es", "aoss"):
        raise AirliftError(
            f"{name_of(conn)}: aws_service was expected to be es (OpenSearch Service) or aoss "
            f"(OpenSearch Serverless), not {text['aws_service']!r}"
        )
    aws = look_up(text["aws_conn_id"])
    if aws.conn_type != "aws":
        raise AirliftError(
            f"{name_of(conn)}: its aws_conn_id names {name_of(aws)}; requests are signed with a "
            "connection of type aws"
        )
    credentials = aws_credentials(aws, "signing requests")
    services, regions = _of_hosts(conn, hosts)
    service = _agreed(conn, "aws_service", text["aws_service"], services) or "es"
    region = _agreed(conn, "aws_region", text["aws_region"], regions) or credentials.region
    if not region:
        raise AirliftError(
            f"{name_of(conn)}: the region of AWS is in neither its host nor {name_of(aws)}; set "
            "aws_region, such as eu-west-1"
        )
    return AwsSigning(
        conn_id=text["aws_conn_id"],
        credentials=credentials,
        region=region,
        service="aoss" if service == "aoss" else "es",
    )


def _of_hosts(conn: Connection, hosts: Sequence[str]) -> tuple[set[str], set[str]]:
    """The services and regions that the hosts' names have; none for names of your own.

    Raises:
        AirliftError: a host is the address of a whole account.
    """
    services: set[str] = set()
    regions: set[str] = set()
    for url in hosts:
        host = (urlsplit(url).hostname or "").rstrip(".")
        if _OF_ACCOUNT.match(host):
            raise AirliftError(
                f"{name_of(conn)}: the host {host} stands for all collections of an account; write "
                "the collection's own address"
            )
        for service, pattern in _ADDRESSES:
            if match := pattern.search(host):
                services.add(service)
                regions.add(match["region"])
    return services, regions


def _agreed(conn: Connection, field: str, given: str, of_hosts: set[str]) -> str:
    """The value of a field; where it is empty, the one that the hosts' names have; "" for none.

    Raises:
        AirliftError: the field and the hosts, or two hosts, contradict each other.
    """
    values = of_hosts | ({given} if given else set())
    if len(values) > 1:
        raise AirliftError(
            f"{name_of(conn)}: {field} was expected to be one, but {field} and host say "
            f"{' and '.join(sorted(values))}; leave {field} out, or correct the host"
        )
    return next(iter(values), "")
