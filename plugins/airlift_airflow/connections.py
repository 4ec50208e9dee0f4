"""Airflow's connections, as the engine wants them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import SecretStr
from sqlalchemy.engine import URL

from airlift.connections import ElasticsearchConnection, MilvusConnection, StorageConnection
from airlift.errors import AirliftError
from airlift_airflow.provider_info import ELASTICSEARCH_FIELDS, MILVUS_FIELDS

if TYPE_CHECKING:
    from airflow.sdk import Connection

DEFAULT_MILVUS_PORT = 19530
DEFAULT_ELASTICSEARCH_PORT = 9200

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
    "aws": ("aws",),
    "mysql": ("mysql", "generic"),
    "elasticsearch": ("elasticsearch",),
}

# What an `aws` connection may say and the engine's buckets can't do: better told than ignored.
_AWS_UNSUPPORTED = ("profile_name", "verify", "aws_iam_role", "s3_config_file")


class AirflowConnections:
    """Looks connections up in Airflow: its database, environment, or secrets backend.

    Follows the protocol `airlift.connections.Connections`.
    """

    def milvus(self, conn_id: str) -> MilvusConnection:
        """The connection of type `milvus`."""
        return milvus_connection(_look_up(conn_id, "milvus"))

    def storage(self, conn_id: str) -> StorageConnection:
        """The connection of type `aws`; also for MinIO, OSS, COS, by its `endpoint_url`."""
        return storage_connection(_look_up(conn_id, "aws"))

    def sql(self, conn_id: str) -> URL:
        """The connection of type `mysql` or `generic` to a MySQL or MariaDB database."""
        return sql_url(_look_up(conn_id, "mysql"))

    def elasticsearch(self, conn_id: str) -> ElasticsearchConnection:
        """The connection of type `elasticsearch`; also for OpenSearch."""
        return elasticsearch_connection(_look_up(conn_id, "elasticsearch"))


def milvus_connection(conn: Connection) -> MilvusConnection:
    """Reads an Airflow connection of type `milvus`."""
    extra = _known_extra(conn, MILVUS_FIELDS)
    text = {key: str(extra.get(key) or "") for key in MILVUS_FIELDS}
    secure = _flag(conn, "secure", extra.get("secure"))
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


def storage_connection(conn: Connection) -> StorageConnection:
    """Reads an Airflow connection of type `aws`, in all the ways the Amazon provider writes one.

    Without keys the engine uses what the machine's environment or role gives.
    """
    from airflow.providers.amazon.aws.utils.connection_wrapper import AwsConnectionWrapper

    extra = _extra(conn)
    session = extra.get("session_kwargs") or {}
    unsupported = [key for key in _AWS_UNSUPPORTED if key in extra or key in session]
    if extra.get("assume_role_method", "assume_role") != "assume_role":
        unsupported.append("assume_role_method")
    if set(extra.get("assume_role_kwargs") or {}) - {"RoleSessionName"}:
        unsupported.append("assume_role_kwargs")
    # The Amazon provider takes one of them alone for none, and then the machine's role: not meant.
    if bool(conn.login) != bool(conn.password):
        raise AirliftError(
            f"{_name(conn)} has only one of access key (login) and secret key (password); give "
            "both, or neither to use the workers' own role"
        )
    if unsupported:
        raise AirliftError(
            f"{_name(conn)} uses {', '.join(unsupported)}, which the migration's bucket access "
            "does not support; give keys, a session token, or role_arn, or leave the keys empty "
            "to use the workers' own role"
        )
    wrapper = AwsConnectionWrapper(conn=conn)
    endpoint = wrapper.get_service_endpoint_url("s3") or ""
    if endpoint and urlsplit(endpoint).scheme not in ("http", "https"):
        raise AirliftError(
            f"{_name(conn)}: endpoint_url was expected to start with http:// or https://, but is "
            f"{endpoint!r}"
        )
    return StorageConnection(
        access_key=wrapper.aws_access_key_id or "",
        secret_key=SecretStr(wrapper.aws_secret_access_key or ""),
        session_token=SecretStr(wrapper.aws_session_token or ""),
        region=wrapper.region_name or "",
        endpoint_url=endpoint.rstrip("/"),
        role_arn=wrapper.role_arn or "",
    )


def sql_url(conn: Connection) -> URL:
    """Reads an Airflow connection of a MySQL database; the password stays hidden in its text."""
    if not conn.host or not conn.schema:
        missing = "host" if not conn.host else "schema (the database)"
        raise AirliftError(f"{_name(conn)} has no {missing}; set it")
    charset = _extra(conn).get("charset") or "utf8mb4"
    return URL.create(
        "mysql+pymysql",
        username=conn.login or None,
        password=conn.password or None,
        host=conn.host,
        port=conn.port or 3306,
        database=conn.schema,
        query={"charset": str(charset)},
    )


def elasticsearch_connection(conn: Connection) -> ElasticsearchConnection:
    """Reads an Airflow connection of type `elasticsearch`."""
    extra = _known_extra(conn, ELASTICSEARCH_FIELDS)
    text = {key: str(extra.get(key) or "").strip() for key in ELASTICSEARCH_FIELDS}
    ways = [key for key in ("api_key", "service_token", "bearer_token") if text[key]]
    ways = (["User"] if conn.login else []) + ways
    if len(ways) > 1:
        raise AirliftError(f"{_name(conn)} has {' and '.join(ways)}; give one way to log in")
    if bool(conn.host) == bool(text["cloud_id"]):
        raise AirliftError(f"{_name(conn)}: give either a host or a cloud_id")
    verify = "" if extra.get("verify_certs") is None else extra["verify_certs"]
    hosts = _elasticsearch_hosts(conn, _flag(conn, "secure", extra.get("secure")))
    fingerprint = text["fingerprint"].replace(":", "").lower()
    if len(fingerprint) not in (0, 64) or set(fingerprint) - set("0123456789abcdef"):
        raise AirliftError(f"{_name(conn)}: fingerprint was expected to be a SHA-256 in hex")
    if (text["ca_file"] or fingerprint) and any(host.startswith("http:") for host in hosts):
        raise AirliftError(f"{_name(conn)} has a certificate to trust; write its host as https://…")
    return ElasticsearchConnection(
        hosts=hosts,
        cloud_id=text["cloud_id"],
        user=conn.login or "",
        password=SecretStr(conn.password or ""),
        api_key=SecretStr(text["api_key"]),
        service_token=SecretStr(text["service_token"]),
        bearer_token=SecretStr(text["bearer_token"]),
        ca_file=text["ca_file"],
        fingerprint=fingerprint,
        verify_certs=verify == "" or _flag(conn, "verify_certs", verify),
        timeout=_seconds(conn, extra.get("timeout")),
    )


def _elasticsearch_hosts(conn: Connection, secure: bool) -> tuple[str, ...]:
    """The nodes' URLs, from `host`, `https://host:9200`, or several with commas between."""
    hosts = []
    for host in filter(None, (one.strip() for one in (conn.host or "").split(","))):
        scheme, _, rest = host.rpartition("://")
        try:
            parts = urlsplit(f"//{rest.rstrip('/')}")
            port = parts.port or conn.port
        except ValueError as error:
            raise AirliftError(f"{_name(conn)}: no port number in a host") from error
        if "@" in rest or scheme not in ("", "http", "https") or not parts.hostname:
            raise AirliftError(
                f"{_name(conn)}: each host was expected to be like es1 or https://es1:9200, "
                "without a login; that goes into User and Password"
            )
        # As in any URL, https://host means port 443 (that is a cloud); a bare host means 9200.
        port = port or (443 if scheme == "https" else DEFAULT_ELASTICSEARCH_PORT)
        name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        tls = secure or scheme == "https"
        hosts.append(f"{'https' if tls else 'http'}://{name}:{port}{parts.path}")
    return tuple(hosts)


def _known_extra(conn: Connection, known: Mapping[str, Any]) -> dict[str, Any]:
    """The extra; refuses settings that nothing reads."""
    extra = _extra(conn)
    unknown = sorted(set(extra) - set(known))
    if unknown:
        raise AirliftError(
            f"{_name(conn)} has unknown settings in its extra: {', '.join(unknown)}; known are "
            f"{', '.join(sorted(known))}"
        )
    return extra


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


def _name(conn: Connection) -> str:
    return f"the {conn.conn_type} connection {conn.conn_id!r}"


def _extra(conn: Connection) -> dict[str, Any]:
    """The extra as a dictionary; Airflow itself takes one that is no JSON for an empty one."""
    if conn.extra:
        try:
            found = json.loads(conn.extra)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise AirliftError(f"{_name(conn)}: its extra was expected to be a JSON object")
    return conn.extra_dejson  # The same, and Airflow masks its secrets in logs from now on.


def _milvus_uri(conn: Connection, secure: bool) -> str:
    host = (conn.host or "").strip()
    if not host:
        raise AirliftError(
            f"{_name(conn)} has no host; set a host name, a Zilliz Cloud endpoint, or the path of "
            "a Milvus Lite file (*.db)"
        )
    if "://" not in host and host.endswith(".db") and not conn.port:
        return host
    scheme, _, rest = host.rpartition("://")
    if "@" in rest:
        raise AirliftError(
            f"{_name(conn)} has a login in its host; put it into User and Password, or Token"
        )
    if scheme not in ("", "http", "https", "tcp"):
        raise AirliftError(f"{_name(conn)}: expected http:// or https:// in the host, not {scheme}")
    if "zilliz" in rest.lower():
        scheme = "https"
    tls = secure or scheme == "https"
    parts = urlsplit(f"//{rest.rstrip('/')}")
    try:
        port = conn.port or parts.port
    except ValueError as error:
        raise AirliftError(f"{_name(conn)}: no port number in the host {host!r}") from error
    if parts.path or not parts.hostname:
        raise AirliftError(
            f"{_name(conn)}: the host was expected to be a name, an address or a file ending in "
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
            f"{_name(conn)}: rest_address was expected to be like http://host:9091, without a login"
        )
    return address.rstrip("/")


def _flag(conn: Connection, key: str, value: Any) -> bool:
    known = {"true": True, "1": True, "false": False, "0": False, "none": False, "": False}
    found = known.get(str(value).strip().lower())
    if found is None:
        raise AirliftError(f"{_name(conn)}: {key} was expected to be true or false, not {value!r}")
    return found


def _seconds(conn: Connection, value: Any) -> float:
    if value in (None, ""):
        return float(MilvusConnection.model_fields["timeout"].default)
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = 0
    if not 1 <= seconds <= 86400:
        raise AirliftError(f"{_name(conn)}: timeout was expected to be seconds (1 to 86400)")
    return seconds
