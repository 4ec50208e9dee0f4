"""The hook of the connection type `milvus`."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from airflow.sdk import BaseHook

from airlift.connections import MilvusConnection
from airlift.errors import AirliftError
from airlift.milvus.client import close, connect, ensure_supported, server_version
from airlift_airflow.connections import AirflowConnections

if TYPE_CHECKING:
    from pymilvus import MilvusClient

# The Test button has a person waiting: a call that takes longer counts as no answer.
_TEST_SECONDS = 8.0


class MilvusHook(BaseHook):
    """Connects to a Milvus server, Zilliz Cloud, or a Milvus Lite file.

    Args:
        milvus_conn_id: the connection of type `milvus`.
        database: the database to work in; empty means the connection's.
    """

    conn_name_attr = "milvus_conn_id"
    default_conn_name = "milvus_default"
    conn_type = "milvus"
    hook_name = "Milvus"

    def __init__(self, milvus_conn_id: str = default_conn_name, database: str = "") -> None:
        super().__init__()
        self.milvus_conn_id = milvus_conn_id
        self.database = database
        self._client: MilvusClient | None = None

    @cached_property
    def connection(self) -> MilvusConnection:
        """The connection as the engine takes it."""
        return AirflowConnections().milvus(self.milvus_conn_id)

    def get_conn(self) -> MilvusClient:
        """The client; one a hook, until `close`."""
        if self._client is None:
            self._client = connect(self.connection, self.database)
        return self._client

    def close(self) -> None:
        """Closes the client; the next `get_conn` makes a new one."""
        client, self._client = self._client, None
        if client is not None:
            close(client)

    def test_connection(self) -> tuple[bool, str]:
        """What the Test button shows: whether all is well, and a sentence for the user."""
        client = None
        try:
            seconds = min(_TEST_SECONDS, self.connection.timeout)
            hurried = self.connection.model_copy(update={"timeout": seconds})
            client = connect(hurried, self.database)
            version = server_version(client, hurried)
            ensure_supported(version)
        except AirliftError as error:
            message = str(error)
            return False, message[:1].upper() + message[1:]
        finally:
            if client is not None:
                close(client)
        database = self.database or self.connection.database or "default"
        return True, f"Connected to {version.name}, database {database!r}."
