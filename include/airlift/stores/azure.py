"""Azure Blob Storage, also with a hierarchical namespace (Data Lake Storage Gen2)."""

from __future__ import annotations

import binascii
from base64 import b64decode
from functools import cached_property
from typing import Any, ClassVar, Self
from urllib.parse import SplitResult

import pyarrow.fs as pafs

from airlift.connections import AzureConnection, StorageConnection
from airlift.errors import AirliftError
from airlift.stores.azure_writing import BlockWriting
from airlift.stores.base import Store, Writing, bucket_and_key, endpoint_of

_PATIENCE: dict[str, Any] = {
    "connection_timeout": 10,
    "read_timeout": 120,
    "retry_total": 4,
    "initial_backoff": 1,
    "increment_base": 2,
    "random_jitter_range": 1,
}
"""Seconds. Half a minute of repeated requests; the library's own choice takes several."""

_BLOBS = ".blob."
_DFS = ".dfs."


class AzureBlobs(Store):
    """Containers of one storage account.

    Arrow reads and lists. Its writer shows an empty blob until the file is whole, and queues blocks
    without bound; so Azure's own library writes. Every write gives a blob another ETag.
    """

    name: ClassVar[str] = "Azure Blob Storage"
    schemes: ClassVar[tuple[str, ...]] = ("abfs", "abfss", "wasb", "wasbs", "az")
    connection_class: ClassVar[type[StorageConnection]] = AzureConnection
    conn_type: ClassVar[str] = "wasb"
    example: ClassVar[str] = "abfss://container@account.dfs.core.windows.net/prefix"
    # What Copy Blob From URL takes, which Arrow calls.
    copies_up_to: ClassVar[float] = 256 << 20
    version_keys: ClassVar[dict[str, str]] = {"ETag": "ETag"}

    def __init__(self, connection: AzureConnection) -> None:
        self.connection: AzureConnection = connection
        endpoint = endpoint_of(connection)
        self._url = connection.endpoint_url or f"https://{connection.account}.blob.core.windows.net"
        options: dict[str, Any] = {}
        if endpoint.netloc:
            # A host of the account's own; else the account is the first part of the path.
            authority = endpoint.netloc.removeprefix(connection.account)
            options = {
                "blob_storage_authority": authority,
                "dfs_storage_authority": authority.replace(_BLOBS, _DFS, 1),
                "blob_storage_scheme": endpoint.scheme,
                "dfs_storage_scheme": endpoint.scheme,
            }
        token = connection.sas_token.get_secret_value().removeprefix("?")
        secrets = {
            "account_key": connection.account_key.get_secret_value(),
            # Arrow appends it to addresses as it is.
            "sas_token": token and f"?{token}",
            "tenant_id": connection.tenant_id,
            "client_id": connection.client_id,
            "client_secret": connection.client_secret.get_secret_value(),
        }
        _check(connection)
        given = {name: value for name, value in secrets.items() if value}
        self._filesystem = pafs.AzureFileSystem(connection.account, **options, **given)

    @classmethod
    def open(cls, url: str, parts: SplitResult, connection: AzureConnection) -> tuple[Self, str]:
        """Opens `abfss://container@account.dfs.core.windows.net/prefix`, or `az://container/prefix`.

        The account of the second form is the connection's.
        """
        container, _, host = parts.netloc.partition("@")
        path = bucket_and_key(url, parts._replace(netloc=container), cls.example)
        account, _, domain = host.partition(".")
        if account and connection.account not in ("", account):
            raise AirliftError(
                f"{url!r} is in the storage account {account!r}, but the connection is for "
                f"{connection.account!r}; choose another connection, or leave its account empty"
            )
        if not account and not connection.account:
            raise AirliftError(
                f"{url!r} names no storage account; write it as {cls.example}, or set the account "
                "in the connection (login, or host)"
            )
        endpoint = connection.endpoint_url
        if domain and not endpoint:
            endpoint = f"https://{account}.{domain}".replace(_DFS, _BLOBS, 1)
        named = {"account": account or connection.account, "endpoint_url": endpoint.rstrip("/")}
        return cls(connection.model_copy(update=named)), path

    @property
    def filesystem(self) -> pafs.FileSystem:
        """The Arrow filesystem; it renews tokens by itself."""
        return self._filesystem

    @cached_property
    def _service(self) -> Any:
        """The client that writes."""
        from azure.storage.blob import BlobServiceClient

        return BlobServiceClient(self._url, credential=self._credential(), **_PATIENCE)

    def _credential(self) -> Any:
        from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential

        connection = self.connection
        if key := connection.account_key.get_secret_value():
            return AzureNamedKeyCredential(connection.account, key)
        if token := connection.sas_token.get_secret_value():
            return AzureSasCredential(token)
        from azure.identity import (
            ClientSecretCredential,
            DefaultAzureCredential,
            ManagedIdentityCredential,
        )

        if secret := connection.client_secret.get_secret_value():
            return ClientSecretCredential(connection.tenant_id, connection.client_id, secret)
        if connection.client_id:
            return ManagedIdentityCredential(client_id=connection.client_id)
        return DefaultAzureCredential()

    def writing(self, path: str) -> Writing:
        """Starts writing a file."""
        container, blob = path.split("/", 1)
        return BlockWriting(self._service.get_blob_client(container, blob))

    def object_url(self, path: str) -> str:
        """As `https://account.blob.core.windows.net/container/blob`."""
        return f"{self._url}/{path}"

    def import_keys(self) -> dict[str, str]:
        """The account's name and key, or a shared access signature."""
        connection = self.connection
        if key := connection.account_key.get_secret_value():
            return {"accessKey": connection.account, "secretKey": key}
        if token := connection.sas_token.get_secret_value():
            return {"token": token}
        raise AirliftError(
            "Zilliz Cloud reads Azure Blob Storage by an account key or a shared access signature "
            "(SAS), and the connection has neither; give it one that may read the staging folder, "
            "or set write_mode to insert"
        )


def _check(connection: AzureConnection) -> None:
    """Refuses what Arrow would take and fail with later, in words that don't tell."""
    try:
        b64decode(connection.account_key.get_secret_value(), validate=True)
    except binascii.Error as error:
        raise AirliftError(
            "the connection's account key is not base64; copy the whole of it, as Azure shows it"
        ) from error
    if bool(connection.client_secret.get_secret_value()) != bool(connection.tenant_id) or (
        connection.tenant_id and not connection.client_id
    ):
        raise AirliftError(
            "the connection to Azure has only some of client id, client secret and tenant id; give "
            "all three"
        )
