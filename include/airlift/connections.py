"""What the engine needs to know to reach a server or a bucket.

The engine never sees Airflow's connections: whoever runs it hands over an object that follows the
protocol `Connections`. Secrets are `SecretStr`, so they show in no log, report or repr.
"""

from __future__ import annotations

from typing import Literal, Protocol
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, SecretStr
from sqlalchemy.engine import URL

ZILLIZ_CLOUD_DOMAINS = ("zillizcloud.com", "zilliz.com", "zilliz.com.cn")
"""Where the clusters of Zilliz Cloud are."""


def is_zilliz_cloud(host: str) -> bool:
    """Whether a host name is one of Zilliz Cloud's; a name of one's own may hold the word too."""
    name = host.rstrip(".").lower()
    return any(name == domain or name.endswith(f".{domain}") for domain in ZILLIZ_CLOUD_DOMAINS)


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

    @property
    def is_zilliz_cloud(self) -> bool:
        """Whether the host is one of Zilliz Cloud's."""
        return not self.is_lite and is_zilliz_cloud(urlsplit(self.uri).hostname or "")


class StorageConnection(BaseModel):
    """How to reach buckets, of whichever kind; alone it means: what the machine's role gives.

    Attributes:
        endpoint_url: where the service answers, when that is not the cloud's own address.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    endpoint_url: str = ""


class AwsCredentials(BaseModel):
    """Credentials of AWS. All empty means: what the machine's environment or role gives.

    Attributes:
        session_token: belongs to temporary keys.
        region: of the service that is used.
        role_arn: the role to assume with these credentials.
        sts_url: where roles are assumed, when that is not AWS's own address.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    access_key: str = ""
    secret_key: SecretStr = SecretStr("")
    session_token: SecretStr = SecretStr("")
    region: str = ""
    role_arn: str = ""
    sts_url: str = ""

    @property
    def has_one_key_only(self) -> bool:
        """Whether one of access key and secret key is missing, and the other is not."""
        return bool(self.access_key) != bool(self.secret_key.get_secret_value())


class S3Connection(StorageConnection, AwsCredentials):
    """Credentials of S3 buckets. All empty means: what the machine's environment or role gives."""


class GoogleConnection(StorageConnection):
    """Credentials of Google Cloud Storage. All empty means: the machine's default credentials.

    Attributes:
        key_json: the JSON of a service account's key, or of another credential configuration.
        key_file: a file with that on the workers' disk.
        impersonate: the service account to act as; others before it are the delegates on the way.
        anonymous: for public buckets; goes before all others.
    """

    key_json: SecretStr = SecretStr("")
    key_file: str = ""
    impersonate: tuple[str, ...] = ()
    anonymous: bool = False


class AzureConnection(StorageConnection):
    """Credentials of an Azure storage account.

    Without any the default credential is used: environment, workload identity, managed identity.

    Attributes:
        account: the storage account's name; an address may give it too.
        account_key: one of its two keys, in base64.
        sas_token: a shared access signature, of the account or of the container.
        tenant_id, client_id, client_secret: of an application in Entra ID. A client_id alone is
            that of a user-assigned managed identity.
    """

    account: str = ""
    account_key: SecretStr = SecretStr("")
    sas_token: SecretStr = SecretStr("")
    tenant_id: str = ""
    client_id: str = ""
    client_secret: SecretStr = SecretStr("")


class AwsSigning(BaseModel):
    """How requests are signed for AWS (Signature Version 4).

    Attributes:
        conn_id: the Airflow connection that has the credentials, for messages.
        region: where the service runs, such as `eu-west-1`.
        service: `es` is Amazon OpenSearch Service, `aoss` is OpenSearch Serverless.
    """

    model_config = ConfigDict(frozen=True)

    conn_id: str
    credentials: AwsCredentials
    region: str
    service: Literal["es", "aoss"] = "es"


class ElasticsearchConnection(BaseModel):
    """An Elasticsearch or an OpenSearch. At most one of login, API key, token and `aws` is used.

    Attributes:
        hosts: `http://host:9200` or `https://…`, any number of nodes of one cluster.
        cloud_id: Elastic Cloud's name of a deployment, instead of hosts.
        api_key: the encoded form (`id:key` in base64).
        service_token, bearer_token: sent as `Authorization: Bearer`.
        aws: signs each request for AWS.
        ca_file: PEM file on the workers' disk: the CA of the server's certificate.
        fingerprint: SHA-256 of the server's certificate, or of its CA, in hex.
        verify_certs: off trusts any certificate.
        timeout: seconds that one request may take.
    """

    model_config = ConfigDict(frozen=True)

    hosts: tuple[str, ...] = ()
    cloud_id: str = ""
    user: str = ""
    password: SecretStr = SecretStr("")
    api_key: SecretStr = SecretStr("")
    service_token: SecretStr = SecretStr("")
    bearer_token: SecretStr = SecretStr("")
    aws: AwsSigning | None = None
    ca_file: str = ""
    fingerprint: str = ""
    verify_certs: bool = True
    timeout: float = 60.0

    @property
    def token(self) -> str:
        """The token to send, whichever kind it is; empty for none."""
        return self.service_token.get_secret_value() or self.bearer_token.get_secret_value()

    @property
    def is_tls(self) -> bool:
        """Whether TLS is spoken."""
        return bool(self.cloud_id) or all(host.startswith("https:") for host in self.hosts)

    @property
    def address(self) -> str:
        """Where it is, without credentials."""
        return ", ".join(self.hosts) or f"Elastic Cloud, {self.cloud_id.partition(':')[0]}"


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

    def elasticsearch(self, conn_id: str) -> ElasticsearchConnection:
        """The Elasticsearch or OpenSearch behind `conn_id`."""
        ...
