"""Airflow's connections, as the engine wants them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import SecretStr
from sqlalchemy.engine import URL

from airlift.connections import (
    ElasticsearchConnection,
    MilvusConnection,
    StorageConnection,
    is_zilliz_cloud,
)
from airlift.errors import AirliftError
from airlift_airflow.aws_signing import aws_signing
from airlift_airflow.bucket_connections import BUCKET_CONNECTIONS
from airlift_airflow.connection_fields import extra_of, flag_of, known_extra, name_of
from airlift_airflow.provider_info import ELASTICSEARCH_FIELDS, MILVUS_FIELDS

if TYPE_CHECKING:
    from airflow.sdk import Connection

DEFAULT_MILVUS_PORT = 19530
DEFAULT_ELASTICSEARCH_PORT = 9200

_LOGINS = ("api_key", "service_token", "bearer_token", "aws_conn_id")
"""Ways to log in to Elasticsearch and OpenSearch, in the extra."""

# How to make a connection of each type; `{}` stands for its id.
_MAKE = {
    "milvus": "airflow connections add {} --conn-type milvus --conn-host localhost "
    "--conn-port 19530",
    "aws": "airflow connections add {} --conn-type aws --conn-login ACCESS_KEY --conn-password "
    """SECRET_KEY --conn-extra '{{"endpoint_url": "http://minio:9000"}}'""",
    "mysql": "airflow connections add {} --conn-type generic --conn-host localhost --conn-port "
    "3306 --conn-login USER --conn-password PASSWORD --conn-schema DATABASE",
    "elasticsearch": "airflow connections add {} --conn-type elasticsearch --conn-host "
    "https://localhost:9200 --conn-login USER --conn-password PASSWORD",
}

# The type `mysql` comes with Airflow's MySQL provider, which is not needed here; without it the CLI
# and the form only take `generic`.
_ACCEPTED = {
    "milvus": ("milvus",),
    "aws": tuple(BUCKET_CONNECTIONS),
    "mysql": ("mysql", "generic"),
    "elasticsearch": ("elasticsearch",),
}


class AirflowConnections:
    """Looks connections up in Airflow: its database, environment, or secrets backend.

    Follows the protocol `airlift.connections.Connections`.
    """

    def milvus(self, conn_id: str) -> MilvusConnection:
        """The connection of type `milvus`."""
        return milvus_connection(_look_up(conn_id, "milvus"))

    def storage(self, conn_id: str) -> StorageConnection:
        """The connection of type `aws` (also MinIO, OSS, COS), `google_cloud_platform`, `wasb`."""
        conn = _look_up(conn_id, "aws")
        return BUCKET_CONNECTIONS[conn.conn_type or ""](conn)

    def sql(self, conn_id: str) -> URL:
        """The connection of type `mysql` or `generic` to a MySQL or MariaDB database."""
        return sql_url(_look_up(conn_id, "mysql"))

    def elasticsearch(self, conn_id: str) -> ElasticsearchConnection:
        """The connection of type `elasticsearch`; also for OpenSearch, with keys of AWS."""
        return elasticsearch_connection(
            _look_up(conn_id, "elasticsearch"), lambda aws_conn_id: _look_up(aws_conn_id, "aws")
        )


def milvus_connection(conn: Connection) -> MilvusConnection:
    """Reads an Airflow connection of type `milvus`."""
    extra = known_extra(conn, MILVUS_FIELDS)
    text = {key: str(extra.get(key) or "") for key in MILVUS_FIELDS}
    secure = flag_of(conn, "secure", extra.get("secure"))
    tls_wanted = any(text[key] for key in ("ca_file", "client_cert_file", "client_key_file"))
    return MilvusConnection(
        uri=_milvus_uri(conn, secure or tls_wanted),
        user=conn.login or "",
        password=SecretStr(conn.password or ""),
        token=SecretStr(text["token"]),
        database=text["database"] or conn.schema or "",
        rest_uri=_rest_uri(conn, text["rest_address"], secure),
        cluster_id=text["cluster_id"],
        ca_file=text["ca_file"],
        client_cert_file=text["client_cert_file"],
        client_key_file=text["client_key_file"],
        server_name=text["server_name"],
        timeout=_seconds(conn, extra.get("timeout")),
    )


def sql_url(conn: Connection) -> URL:
    """Reads an Airflow connection of a MySQL database; the password stays hidden in its text."""
    if not conn.host or not conn.schema:
        missing = "host" if not conn.host else "schema (the database)"
        raise AirliftError(f"{name_of(conn)} has no {missing}; set it")
    charset = extra_of(conn).get("charset") or "utf8mb4"
    return URL.create(
        "mysql+pymysql",
        username=conn.login or None,
        password=conn.password or None,
        host=conn.host,
        port=conn.port or 3306,
        database=conn.schema,
        query={"charset": str(charset)},
    )


def elasticsearch_connection(
    conn: Connection, look_up_aws: Callable[[str], Connection]
) -> ElasticsearchConnection:
    """Reads an Airflow connection of type `elasticsearch`.

    Args:
        look_up_aws: gives the connection of type `aws` that it names.
    """
    extra = known_extra(conn, ELASTICSEARCH_FIELDS)
    text = {key: str(extra.get(key) or "").strip() for key in ELASTICSEARCH_FIELDS}
    ways = [key for key in _LOGINS if text[key]]
    # A password alone is of no use; beside keys of AWS somebody may take it for one.
    has_login = conn.login or (conn.password and text["aws_conn_id"])
    ways = (["User" if conn.login else "Password"] if has_login else []) + ways
    if len(ways) > 1:
        raise AirliftError(f"{name_of(conn)} has {' and '.join(ways)}; give one way to log in")
    if bool(conn.host) == bool(text["cloud_id"]):
        raise AirliftError(f"{name_of(conn)}: give either a host or a cloud_id")
    verify = "" if extra.get("verify_certs") is None else extra["verify_certs"]
    secure = flag_of(conn, "secure", extra.get("secure"))
    # AWS answers by TLS, on port 443.
    hosts = _elasticsearch_hosts(conn, secure, "https" if text["aws_conn_id"] else "")
    fingerprint = text["fingerprint"].replace(":", "").lower()
    if len(fingerprint) not in (0, 64) or set(fingerprint) - set("0123456789abcdef"):
        raise AirliftError(f"{name_of(conn)}: fingerprint was expected to be a SHA-256 in hex")
    if (text["ca_file"] or fingerprint) and any(host.startswith("http:") for host in hosts):
        raise AirliftError(
            f"{name_of(conn)} has a certificate to trust; write its host as https://…"
        )
    return ElasticsearchConnection(
        hosts=hosts,
        cloud_id=text["cloud_id"],
        user=conn.login or "",
        password=SecretStr(conn.password or ""),
        api_key=SecretStr(text["api_key"]),
        service_token=SecretStr(text["service_token"]),
        bearer_token=SecretStr(text["bearer_token"]),
        aws=aws_signing(conn, text, hosts, look_up_aws),
        ca_file=text["ca_file"],
        fingerprint=fingerprint,
        verify_certs=verify == "" or flag_of(conn, "verify_certs", verify),
        timeout=_seconds(conn, extra.get("timeout")),
    )


def _elasticsearch_hosts(conn: Connection, secure: bool, usual: str) -> tuple[str, ...]:
    """The nodes' URLs, from `host`, `https://host:9200`, or several with commas between.

    Args:
        usual: the scheme of hosts that have none.
    """
    hosts = []
    for host in filter(None, (one.strip() for one in (conn.host or "").split(","))):
        scheme, _, rest = host.rpartition("://")
        scheme = scheme or usual
        try:
            parts = urlsplit(f"//{rest.rstrip('/')}")
            port = parts.port or conn.port
        except ValueError as error:
            raise AirliftError(f"{name_of(conn)}: no port number in a host") from error
        if "@" in rest or scheme not in ("", "http", "https") or not parts.hostname:
            raise AirliftError(
                f"{name_of(conn)}: each host was expected to be like es1 or https://es1:9200, "
                "without a login; that goes into User and Password"
            )
        # As in any URL, https://host means port 443 (that is a cloud); a bare host means 9200.
        port = port or (443 if scheme == "https" else DEFAULT_ELASTICSEARCH_PORT)
        name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        tls = secure or scheme == "https"
        hosts.append(f"{'https' if tls else 'http'}://{name}:{port}{parts.path}")
    return tuple(hosts)


def _look_up(conn_id: str, conn_type: str) -> Connection:
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    make = _MAKE[conn_type].format(conn_id or "NAME")
    if not conn_id:
        raise AirliftError(
            f"a connection of type {conn_type} is needed, but its id is empty; make one in the UI "
            f"(Admin > Connections), or: {make}"
        )
    try:
        conn = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException as error:
        raise AirliftError(
            f"Airflow has no connection {conn_id!r}; make it in the UI (Admin > Connections), or: "
            f"{make}"
        ) from error
    if conn.conn_type not in _ACCEPTED[conn_type]:
        raise AirliftError(
            f"the connection {conn_id!r} was expected to be of type "
            f"{' or '.join(_ACCEPTED[conn_type])}, but is of type "
            f"{conn.conn_type or 'none'}; choose another one, or: {make}"
        )
    return conn


def _milvus_uri(conn: Connection, secure: bool) -> str:
    host = (conn.host or "").strip()
    if not host:
        raise AirliftError(
            f"{name_of(conn)} has no host; set a host name, a Zilliz Cloud endpoint, or the path "
            "of a Milvus Lite file (*.db)"
        )
    if "://" not in host and host.endswith(".db") and not conn.port:
        return host
    scheme, _, rest = host.rpartition("://")
    if "@" in rest:
        raise AirliftError(
            f"{name_of(conn)} has a login in its host; put it into User and Password, or Token"
        )
    if scheme not in ("", "http", "https", "tcp"):
        raise AirliftError(
            f"{name_of(conn)}: expected http:// or https:// in the host, not {scheme}"
        )
    parts = urlsplit(f"//{rest.rstrip('/')}")
    try:
        port = conn.port or parts.port
    except ValueError as error:
        raise AirliftError(f"{name_of(conn)}: no port number in the host {host!r}") from error
    if is_zilliz_cloud(parts.hostname or ""):
        scheme = "https"
    tls = secure or scheme == "https"
    if parts.path or not parts.hostname:
        raise AirliftError(
            f"{name_of(conn)}: the host was expected to be a name, an address or a file ending in "
            f".db, but is {host!r}"
        )
    # As in any URL, https://host means port 443 (that is Zilliz Cloud); a bare host means Milvus.
    port = port or (443 if scheme == "https" else DEFAULT_MILVUS_PORT)
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{'https' if tls else 'http'}://{name}:{port}"


def _rest_uri(conn: Connection, address: str, secure: bool) -> str:
    if not address:
        return ""
    if "://" not in address:
        address = f"{'https' if secure else 'http'}://{address}"
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise AirliftError(
            f"{name_of(conn)}: rest_address was expected to be like http://host:9091, without a "
            "login"
        )
    return address.rstrip("/")


def _seconds(conn: Connection, value: Any) -> float:
    if value in (None, ""):
        return float(MilvusConnection.model_fields["timeout"].default)
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = 0
    if not 1 <= seconds <= 86400:
        raise AirliftError(f"{name_of(conn)}: timeout was expected to be seconds (1 to 86400)")
    return seconds
