"""The hook of the connection type `elasticsearch`: Elasticsearch or OpenSearch."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from airflow.sdk import BaseHook

from airlift.connections import ElasticsearchConnection
from airlift.errors import AirliftError
from airlift.sources.elasticsearch.client import connect
from airlift_airflow.connections import AirflowConnections

if TYPE_CHECKING:
    from airlift.sources.elasticsearch.client import SearchServer

# The Test button has a person waiting: a call that takes longer counts as no answer.
_TEST_SECONDS = 8.0


class ElasticsearchHook(BaseHook):
    """Connects to an Elasticsearch or an OpenSearch.

    Args:
        elasticsearch_conn_id: the connection of type `elasticsearch`.
    """

    conn_name_attr = "elasticsearch_conn_id"
    default_conn_name = "elasticsearch_default"
    conn_type = "elasticsearch"
    hook_name = "Elasticsearch or OpenSearch"

    def __init__(self, elasticsearch_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.elasticsearch_conn_id = elasticsearch_conn_id

    @cached_property
    def connection(self) -> ElasticsearchConnection:
        """The connection as the engine takes it."""
        return AirflowConnections().elasticsearch(self.elasticsearch_conn_id)

    def get_conn(self) -> SearchServer:
        """A new connection to the server; close it when done."""
        return connect(self.connection, patience=self.connection.timeout)

    def test_connection(self) -> tuple[bool, str]:
        """What the Test button shows: whether all is well, and a sentence for the user."""
        try:
            seconds = min(_TEST_SECONDS, self.connection.timeout)
            hurried = self.connection.model_copy(update={"timeout": seconds})
            server = connect(hurried, patience=0)
        except AirliftError as error:
            message = str(error)
            return False, message[:1].upper() + message[1:]
        server.close()
        return True, f"Connected to {server.version.name}."
