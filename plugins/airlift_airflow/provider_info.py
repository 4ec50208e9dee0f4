"""Tells Airflow what this distribution brings: connection types and their forms."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """What the entry point `apache_airflow_provider` gives to Airflow."""
    return {
        "package-name": "milvus-airlift",
        "name": "Milvus Airlift",
        "description": "Moves vector collections into Milvus and Zilliz Cloud.",
        "hooks": [
            {
                "integration-name": "Milvus",
                "python-modules": ["airlift_airflow.hooks.milvus"],
            },
            {
                "integration-name": "Elasticsearch or OpenSearch (Airlift)",
                "python-modules": ["airlift_airflow.hooks.elasticsearch"],
            },
        ],
        "integrations": [
            {
                "integration-name": "Milvus",
                "external-doc-url": "https://milvus.io/docs",
                "tags": ["software"],
            },
            {
                "integration-name": "Elasticsearch or OpenSearch (Airlift)",
                "external-doc-url": "https://www.elastic.co/docs",
                "tags": ["software"],
            },
        ],
        "connection-types": [
            {
                "connection-type": "milvus",
                "hook-name": "Milvus",
                "hook-class-name": "airlift_airflow.hooks.milvus.MilvusHook",
                "ui-field-behaviour": _STANDARD_FIELDS,
                "conn-fields": MILVUS_FIELDS,
            },
            {
                # Airflow's own Elasticsearch provider has no fields for keys, tokens and
                # certificates. Where both are installed Airflow shows one of the two forms;
                # connections made by either are read.
                "connection-type": "elasticsearch",
                "hook-name": "Elasticsearch or OpenSearch",
                "hook-class-name": "airlift_airflow.hooks.elasticsearch.ElasticsearchHook",
                "ui-field-behaviour": _ELASTICSEARCH_STANDARD_FIELDS,
                "conn-fields": ELASTICSEARCH_FIELDS,
            },
        ],
        "config": {
            "airlift": {
                "description": "Settings of Milvus Airlift.",
                "options": {
                    "migrations_folder": {
                        "description": "The folder of declared migrations, as every Airflow "
                        "component sees it. Empty: include/migrations beside the folder of "
                        "dags/declared_migrations.py.",
                        "type": "string",
                        "version_added": "0.1.0",
                        "example": "/opt/airflow/migrations",
                        "default": "",
                    }
                },
            }
        },
    }


def _field(label: str, description: str, kind: str = "string", **schema: Any) -> dict[str, Any]:
    return {
        "label": label,
        "description": description,
        "schema": {"type": [kind, "null"], **schema},
    }


_STANDARD_FIELDS: dict[str, Any] = {
    "hidden-fields": ["schema"],
    "relabeling": {"login": "User"},
    "placeholders": {
        "host": "milvus.example.com, a Zilliz Cloud endpoint, or /data/lite.db",
        "port": "19530",
        "login": "root",
    },
}

# The keys of the connection's `extra`; airlift_airflow.connections reads every one of them.
MILVUS_FIELDS: dict[str, dict[str, Any]] = {
    "token": _field(
        "Token",
        "API key of Zilliz Cloud, or user:password; instead of User and Password.",
        format="password",
    ),
    "database": _field("Database", "Where a migration names none. Empty: default."),
    "secure": _field("TLS", "Speak TLS. Always on for Zilliz Cloud.", "boolean", default=False),
    "ca_file": _field("CA file", "PEM file on the workers: the CA of the server's certificate."),
    "client_cert_file": _field(
        "Client certificate file", "PEM file on the workers, for mutual TLS; needs key and CA."
    ),
    "client_key_file": _field("Client key file", "PEM file on the workers, for mutual TLS."),
    "server_name": _field(
        "Server name", "The name in the server's certificate, when it is not the host."
    ),
    "rest_address": _field(
        "REST address",
        "http(s)://host:port of the REST interface, when it is not at host and port.",
    ),
    "cluster_id": _field("Cluster id", "Zilliz Cloud only: in03-…; its import jobs need it."),
    "timeout": _field("Timeout", "Seconds that one call may take (60).", "number", minimum=1),
}

_ELASTICSEARCH_STANDARD_FIELDS: dict[str, Any] = {
    "hidden-fields": ["schema"],
    "relabeling": {"login": "User", "host": "Host(s)"},
    "placeholders": {"host": "https://es1:9200,https://es2:9200", "port": "9200"},
}

# The keys of the connection's `extra`; airlift_airflow.connections reads every one of them.
ELASTICSEARCH_FIELDS: dict[str, dict[str, Any]] = {
    "api_key": _field("API key", "Encoded, instead of User and Password.", format="password"),
    "service_token": _field(
        "Service token", "Of a service account, instead of a login.", format="password"
    ),
    "bearer_token": _field(
        "Bearer token", "Of an identity provider, instead of a login.", format="password"
    ),
    "aws_conn_id": _field(
        "AWS connection",
        "Id of a connection of type aws, instead of a login: its keys, or its role, sign each "
        "request (Signature V4) to OpenSearch Service or OpenSearch Serverless.",
    ),
    "aws_service": _field(
        "AWS service",
        "es (OpenSearch Service) or aoss (Serverless). Empty: as the host says, else es.",
    ),
    "aws_region": _field(
        "AWS region", "Such as eu-west-1. Empty: as the host or the AWS connection says."
    ),
    "cloud_id": _field("Cloud id", "Of Elastic Cloud, instead of a host."),
    "secure": _field(
        "TLS", "Speak TLS to hosts that don't say https://.", "boolean", default=False
    ),
    "ca_file": _field("CA file", "PEM file on the workers: the CA of the server's certificate."),
    "fingerprint": _field(
        "Certificate fingerprint", "SHA-256 in hex, of the server's certificate or its CA."
    ),
    "verify_certs": _field(
        "Verify certificates", "Off trusts any server: for a test.", "boolean", default=True
    ),
    "timeout": _field("Timeout", "Seconds that one request may take (60).", "number", minimum=1),
}
