"""Connecting to Milvus, and saying in plain words what went wrong there.

All that the engine knows of pymilvus' errors is here. pymilvus is imported when it is first
needed: its import takes a second.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from airlift.connections import MilvusConnection
from airlift.errors import AirliftError
from airlift.milvus import lite
from airlift.milvus.errors import Unavailable, explained, explaining, is_permission_denied

if TYPE_CHECKING:
    from pymilvus import MilvusClient

__all__ = [
    "OLDEST_VERSION",
    "ServerVersion",
    "Unavailable",
    "close",
    "connect",
    "connected",
    "ensure_supported",
    "explained",
    "explaining",
    "server_version",
]

# pymilvus gives up on a silent host after this long; a name that doesn't resolve, a closed port
# and a wrong password fail at once.
CONNECT_SECONDS = 8.0

# Older servers lack the Connect call that pymilvus 3 begins with, and databases.
OLDEST_VERSION = (2, 2)

# What these log, with a stack trace, is also in the error that they raise.
_NOISY_LOGGERS = ("pymilvus.decorators", "pymilvus.client.connection_manager", "milvus_lite")

_NUMBER = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")


@dataclass(frozen=True)
class ServerVersion:
    """What a server says it is.

    Attributes:
        text: its own words, such as `v2.3.5`.
        kind: a Milvus server, Milvus Lite, or Zilliz Cloud.
        number: (major, minor, patch). Zilliz Cloud's is that of the Milvus it is compatible with;
            Milvus Lite's is its own, which says nothing about Milvus.
    """

    text: str
    kind: Literal["milvus", "lite", "zilliz"]
    number: tuple[int, int, int]

    @classmethod
    def parse(cls, text: str, zilliz: bool = False) -> ServerVersion:
        """Reads a version as servers write it.

        The Milvus of the PyPI wheel calls itself `v2.3.5-lite`, and is a full server all the same.

        Args:
            text: the server's words.
            zilliz: the host is known to be Zilliz Cloud's, whatever the text says.
        """
        found = _NUMBER.search(text)
        if not found:
            raise AirliftError(
                f"the server's version was expected to be like 2.3.5, but it says {text!r}; use a "
                "released version of Milvus"
            )
        number = (int(found[1]), int(found[2]), int(found[3] or 0))
        if zilliz or "zilliz" in text.lower():
            return cls(text, "zilliz", number)
        if re.match(r"milvus[ _-]?lite", text, re.IGNORECASE):
            return cls(text, "lite", number)
        return cls(text, "milvus", number)

    @property
    def name(self) -> str:
        """For people: `Milvus 2.3.5`, `Milvus Lite 3.2.2`, `Zilliz Cloud (Milvus 2.5)`."""
        major, minor, patch = self.number
        if self.kind == "zilliz":
            return f"Zilliz Cloud (Milvus {major}.{minor})"
        return f"{'Milvus Lite' if self.kind == 'lite' else 'Milvus'} {major}.{minor}.{patch}"


def ensure_supported(version: ServerVersion) -> None:
    """Raises AirliftError when the server is older than what the project can work with."""
    if version.kind == "milvus" and version.number < OLDEST_VERSION:
        oldest = ".".join(map(str, OLDEST_VERSION))
        raise AirliftError(
            f"the server is {version.name}, which is too old: Milvus {oldest} or newer is needed; "
            "upgrade it first"
        )


def connect(connection: MilvusConnection, database: str = "") -> MilvusClient:
    """Connects, logs in and makes sure that the database is there.

    Every call of the client ends about `connection.timeout` seconds after its start at the latest;
    a timeout given to a call can only shorten that. `close` the client, or use `connected`.

    Args:
        connection: where the server is and who calls.
        database: the database to work in; empty means the connection's, or `default`.

    Raises:
        Unavailable: nobody answers there now.
        AirliftError: anything else, with what to do about it.
    """
    for name in _NOISY_LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    database = database or connection.database
    seconds = min(CONNECT_SECONDS, connection.timeout)
    options = _tls_options(connection)
    if connection.is_lite:
        lite.wait_until_free(connection.uri, connection.timeout)
        seconds = lite.START_SECONDS
    else:
        options["grpc_options"] = _call_options(connection.timeout)
    with explaining(f"connect to Milvus at {address(connection)}"):
        from pymilvus import MilvusClient

        # Dedicated: pymilvus shares connections by address and token alone, so a shared one could
        # come with another connection's TLS files, and `close` would not close it.
        client = MilvusClient(
            uri=connection.uri,
            user=connection.user,
            password=connection.password.get_secret_value(),
            token=connection.token.get_secret_value(),
            db_name=database,
            timeout=seconds,
            dedicated=True,
            **options,
        )
    lite.opened(client, connection.uri if connection.is_lite else "")
    try:
        _check_database(client, connection, database, seconds)
    except BaseException:
        close(client)
        raise
    return client


def close(client: MilvusClient) -> None:
    """Closes a client of `connect`; a Milvus Lite file is let go when its last client is closed."""
    with suppress(Exception):
        client.close()
    lite.closed(client)


@contextmanager
def connected(connection: MilvusConnection, database: str = "") -> Iterator[MilvusClient]:
    """`connect`, and `close` at the end."""
    client = connect(connection, database)
    try:
        yield client
    finally:
        close(client)


def server_version(client: MilvusClient, connection: MilvusConnection) -> ServerVersion:
    """Asks the server what it is; Zilliz Cloud names a build, and the version in the details."""
    with explaining("ask Milvus for its version"):
        text = client.get_server_version()
        if not _NUMBER.search(text):
            text = client.get_server_version(detail=True)["version"] or text
    return ServerVersion.parse(text, connection.is_zilliz_cloud)


def address(connection: MilvusConnection) -> str:
    """Where the server is, for messages: without anything that could be a secret."""
    if connection.is_lite:
        return connection.uri
    parts = urlsplit(connection.uri)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _check_database(
    client: MilvusClient, connection: MilvusConnection, database: str, seconds: float
) -> None:
    """Servers take a wrong database name without a word until the first call that needs it.

    Listing collections is that call: 2.3 has no describe_database, and its has_collection answers
    False where the database is what doesn't exist.
    """
    if not database:
        return
    try:
        client.list_collections(timeout=seconds)
    except Exception as error:
        if is_permission_denied(error):
            return  # The user may not list; that alone says that the database is there.
        what = f"use the database {database!r} of Milvus at {address(connection)}"
        raise explained(error, what) from error


def _call_options(seconds: float) -> dict[str, Any]:
    """gRPC options that give every call a deadline; without one pymilvus waits for ever.

    gRPC 1.85 ends such calls 1 to 2 seconds early (as measured: a fixed part of a second for each
    process), hence the 2 seconds more.

    A client that is idle does not ping: Milvus Lite hangs up on those that do ("Too many pings"),
    which may hit the call that ends the idleness. And each has a TCP connection of its own: gRPC
    shares them within a process, so what one is told would hit the others.
    """
    config = {"methodConfig": [{"name": [{}], "timeout": f"{seconds + 2:.3f}s"}]}
    return {
        "grpc.service_config": json.dumps(config),
        "grpc.keepalive_permit_without_calls": 0,
        "grpc.use_local_subchannel_pool": 1,
    }


def _tls_options(connection: MilvusConnection) -> dict[str, Any]:
    """pymilvus' names for the TLS files; refuses sets that pymilvus would silently not use."""
    ca, cert, key = connection.ca_file, connection.client_cert_file, connection.client_key_file
    where = f"the connection to Milvus at {address(connection)}"
    if not (ca or cert or key or connection.server_name):
        return {}
    if connection.is_lite or not connection.uri.startswith("https://"):
        raise AirliftError(
            f"{where} names TLS files or a server name, but has TLS switched off; switch TLS on "
            "(https), or remove them"
        )
    if (cert or key) and not (ca and cert and key):
        raise AirliftError(
            f"{where}: for mutual TLS ca_file, client_cert_file and client_key_file are needed, "
            "all three"
        )
    for name in (ca, cert, key):
        if name:
            _check_readable(name, where)
    options: dict[str, Any] = {"secure": True, "server_name": connection.server_name}
    if cert:
        return options | {"ca_pem_path": ca, "client_pem_path": cert, "client_key_path": key}
    return options | {"server_pem_path": ca}


def _check_readable(path: str, where: str) -> None:
    try:
        with open(path, "rb") as file:
            head = file.read(65536)
    except OSError as error:
        raise AirliftError(
            f"{where}: the file {path} cannot be read ({error.strerror}); it must lie on the disk "
            "of every worker"
        ) from error
    if b"-----BEGIN" not in head:
        raise AirliftError(f"{where}: {path} was expected to be a PEM file, but is not one")
