"""Airflow's connections to buckets, as the engine wants them.

Only the fields are read: neither the Google nor the Microsoft Azure provider need be installed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from airlift.connections import (
    AwsCredentials,
    AzureConnection,
    GoogleConnection,
    S3Connection,
    StorageConnection,
)
from airlift.errors import AirliftError
from airlift_airflow.connection_fields import extra_of, flag_of, name_of

if TYPE_CHECKING:
    from airflow.sdk import Connection

# What an `aws` connection may say and the engine's buckets can't do: better told than ignored.
_AWS_UNSUPPORTED = ("profile_name", "verify", "aws_iam_role", "s3_config_file")

_GOOGLE_KEYS = ("key_path", "keyfile_dict", "credential_config_file")
_GOOGLE_FIELDS = (*_GOOGLE_KEYS, "impersonation_chain", "is_anonymous", "endpoint_url")
# They say nothing about how a bucket is reached, and Airflow's form fills some by itself.
_GOOGLE_IGNORED = ("project", "scope", "num_retries")
_AZURE_FIELDS = (
    "connection_string",
    "shared_access_key",
    "account_key",
    "sas_token",
    "tenant_id",
    "managed_identity_client_id",
)


def s3_connection(conn: Connection) -> S3Connection:
    """Reads an Airflow connection of type `aws`, in all the ways the Amazon provider writes one.

    Without keys the engine uses what the machine's environment or role gives.
    """
    from airflow.providers.amazon.aws.utils.connection_wrapper import AwsConnectionWrapper

    credentials = aws_credentials(conn, "the migration's bucket access")
    endpoint = AwsConnectionWrapper(conn=conn).get_service_endpoint_url("s3") or ""
    if endpoint and urlsplit(endpoint).scheme not in ("http", "https"):
        raise AirliftError(
            f"{name_of(conn)}: endpoint_url was expected to start with http:// or https://, but is "
            f"{endpoint!r}"
        )
    return S3Connection(endpoint_url=endpoint.rstrip("/"), **dict(credentials))


def aws_credentials(conn: Connection, purpose: str) -> AwsCredentials:
    """The credentials in an Airflow connection of type `aws`.

    Args:
        purpose: what they are for, in the message for what is not supported.
    """
    from airflow.providers.amazon.aws.utils.connection_wrapper import AwsConnectionWrapper

    extra = extra_of(conn)
    session = extra.get("session_kwargs") or {}
    unsupported = [key for key in _AWS_UNSUPPORTED if key in extra or key in session]
    if extra.get("assume_role_method", "assume_role") != "assume_role":
        unsupported.append("assume_role_method")
    if set(extra.get("assume_role_kwargs") or {}) - {"RoleSessionName"}:
        unsupported.append("assume_role_kwargs")
    # The Amazon provider takes one of them alone for none, and then the machine's role: not meant.
    if bool(conn.login) != bool(conn.password):
        raise AirliftError(
            f"{name_of(conn)} has only one of access key (login) and secret key (password); give "
            "both, or neither to use the workers' own role"
        )
    if unsupported:
        raise AirliftError(
            f"{name_of(conn)} uses {', '.join(unsupported)}, which {purpose} does not support; "
            "give keys, a session token, or role_arn, or leave the keys empty to use the workers' "
            "own role"
        )
    wrapper = AwsConnectionWrapper(conn=conn)
    return AwsCredentials(
        access_key=wrapper.aws_access_key_id or "",
        secret_key=SecretStr(wrapper.aws_secret_access_key or ""),
        session_token=SecretStr(wrapper.aws_session_token or ""),
        region=wrapper.region_name or "",
        role_arn=wrapper.role_arn or "",
        sts_url=wrapper.get_service_endpoint_url("sts", sts_connection_assume=True) or "",
    )


def google_connection(conn: Connection) -> GoogleConnection:
    """Reads an Airflow connection of type `google_cloud_platform`.

    Without a key the engine uses the machine's default credentials.
    """
    extra = _bucket_extra(conn, _GOOGLE_FIELDS, _GOOGLE_IGNORED)
    keys = [key for key in _GOOGLE_KEYS if extra.get(key)]
    if len(keys) > 1:
        raise AirliftError(f"{name_of(conn)} has {' and '.join(keys)}; give one way to log in")
    key: Any = extra.get(keys[0]) if keys else ""
    # A key is JSON, which Airflow may have read already; all else is the name of a file.
    text = key if isinstance(key, str) else json.dumps(key)
    is_json = text.lstrip().startswith(("{", "["))
    if keys == ["keyfile_dict"] and not is_json:
        raise AirliftError(f"{name_of(conn)}: keyfile_dict was expected to be a key's JSON")
    chain: Any = extra.get("impersonation_chain") or ()
    chain = chain.split(",") if isinstance(chain, str) else chain
    return GoogleConnection(
        key_json=SecretStr(text if is_json else ""),
        key_file="" if is_json else text,
        impersonate=tuple(one.strip() for one in chain),
        anonymous=flag_of(conn, "is_anonymous", extra.get("is_anonymous") or ""),
        endpoint_url=_endpoint(conn, str(extra.get("endpoint_url") or "")),
    )


def azure_connection(conn: Connection) -> AzureConnection:
    """Reads an Airflow connection of type `wasb`, in the ways the Azure provider writes one.

    Without a key the engine uses Azure's default credential.
    """
    extra = _bucket_extra(conn, _AZURE_FIELDS)
    text = {key: str(extra.get(key) or "").strip() for key in _AZURE_FIELDS}
    if text["connection_string"]:
        return _of_connection_string(conn, text["connection_string"])
    application = bool(text["tenant_id"])
    host, token = (conn.host or "").strip(), text["sas_token"]
    if token.startswith("https://"):
        host, _, token = token.partition("?")
    endpoint = ""
    if "." in host:
        endpoint = _endpoint(conn, host if "://" in host else f"https://{host}")
    login = (conn.login or "").strip()
    password = "" if application else conn.password or ""
    key = password or text["shared_access_key"] or text["account_key"]
    if key and token:
        raise AirliftError(
            f"{name_of(conn)} has both an account key and a sas_token; give one way to log in"
        )
    # The login is the application's id where there is a tenant, else the account's name.
    account = _account(endpoint) or host or ("" if application else login)
    return AzureConnection(
        account=account,
        account_key=SecretStr(key),
        sas_token=SecretStr(token.removeprefix("?")),
        tenant_id=text["tenant_id"],
        client_id=login if application else text["managed_identity_client_id"],
        client_secret=SecretStr(conn.password or "") if application else SecretStr(""),
        endpoint_url=endpoint,
    )


BUCKET_CONNECTIONS: dict[str, Callable[[Connection], StorageConnection]] = {
    "aws": s3_connection,
    "google_cloud_platform": google_connection,
    "wasb": azure_connection,
}
"""How to read the connections to buckets, by their type."""


def _of_connection_string(conn: Connection, text: str) -> AzureConnection:
    """Reads `AccountName=…;AccountKey=…;BlobEndpoint=…`, as Azure's portal shows it."""
    parts = dict(part.split("=", 1) for part in text.split(";") if "=" in part)
    account, endpoint = parts.get("AccountName", ""), parts.get("BlobEndpoint", "")
    if not endpoint and account:
        scheme = parts.get("DefaultEndpointsProtocol", "https")
        endpoint = f"{scheme}://{account}.blob.{parts.get('EndpointSuffix', 'core.windows.net')}"
    account = account or _account(endpoint)
    if not account:
        raise AirliftError(
            f"{name_of(conn)}: connection_string was expected to have AccountName or BlobEndpoint"
        )
    return AzureConnection(
        account=account,
        account_key=SecretStr(parts.get("AccountKey", "")),
        sas_token=SecretStr(parts.get("SharedAccessSignature", "").removeprefix("?")),
        endpoint_url=_endpoint(conn, endpoint),
    )


def _account(endpoint: str) -> str:
    """The storage account in its service's address: of the path, or the first part of the host."""
    parts = urlsplit(endpoint)
    return parts.path.strip("/") or (parts.hostname or "").partition(".")[0]


def _endpoint(conn: Connection, url: str) -> str:
    """An address of a service; anything but http(s) would be read as something else."""
    if url and (urlsplit(url).scheme not in ("http", "https") or "@" in url):
        raise AirliftError(
            f"{name_of(conn)}: the address of the service was expected to be like https://host, "
            "without a login"
        )
    return url.rstrip("/")


def _bucket_extra(
    conn: Connection, known: tuple[str, ...], ignored: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The extra's settings, also those that old forms wrote; refuses what nothing here reads."""
    prefix = f"extra__{conn.conn_type}__"
    extra = {key.removeprefix(prefix): value for key, value in extra_of(conn).items()}
    given = {key: value for key, value in extra.items() if value not in (None, "")}
    unknown = sorted(set(given) - {*known, *ignored})
    if unknown:
        raise AirliftError(
            f"{name_of(conn)} uses {', '.join(unknown)}, which the migration's bucket access does "
            f"not support; it reads {', '.join(known)}"
        )
    return given
