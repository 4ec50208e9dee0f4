"""What the engine needs to know to reach a server or a bucket.

The engine never sees Airflow's connections: whoever runs it hands over an object that follows the
protocol `Connections`. Secrets are `SecretStr`, so they show in no log, report or repr.
"""

from __future__ import annotations

from typing import Protocol

from pydantic import BaseModel, ConfigDict, SecretStr
from sqlalchemy.engine import URL


class MilvusConnection(BaseModel):
    """A Milvus server, Zilliz Cloud, or a Milvus Lite file.

    Attributes:
        uri: `http://host:19530`, `https://…` for TLS, or the path of a Milvus Lite file (`*.db`).
        token: a Zilliz Cloud API key or `user:password`.
        database: the database to work in when the migration names none.
        rest_uri: where the REST interface answers, when it is not at `uri`.
        cluster_id: Zilliz Cloud's id of the cluster, which its import jobs need.
        ca_file, client_cert_file, client_key_file: PEM files on the workers' disk (TLS, mTLS).
        server_name: the name in the server's certificate, when it differs from the host.
        timeout: seconds that one call may take.
    """

    model_config = ConfigDict(frozen=True)

    uri: str
    user: str = ""
    password: SecretStr = SecretStr("")
    token: SecretStr = SecretStr("")
    database: str = ""
    rest_uri: str = ""
    cluster_id: str = ""
    ca_file: str = ""
    client_cert_file: str = ""
    client_key_file: str = ""
    server_name: str = ""
    timeout: float = 60.0

    @property
    def is_lite(self) -> bool:
        """Whether it is a Milvus Lite file."""
        return not self.uri.startswith(("http://", "https://", "tcp://", "unix:"))


class StorageConnection(BaseModel):
    """Credentials of a bucket. All empty means: what the machine's environment or role gives."""

    model_config = ConfigDict(frozen=True)

    access_key: str = ""
    secret_key: SecretStr = SecretStr("")
    session_token: SecretStr = SecretStr("")
    region: str = ""
    endpoint_url: str = ""
    role_arn: str = ""


class Connections(Protocol):
    """Looks connections up by their id; raises AirliftError that names the id when it can't."""

    def milvus(self, conn_id: str) -> MilvusConnection:
        """The Milvus server behind `conn_id`."""
        ...

    def storage(self, conn_id: str) -> StorageConnection:
        """The bucket credentials behind `conn_id`."""
        ...

    def sql(self, conn_id: str) -> URL:
        """The SQLAlchemy URL of the database behind `conn_id`."""
        ...
