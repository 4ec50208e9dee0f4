"""Tells Airflow what this distribution brings: the connection type `milvus` and its form."""

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
            }
        ],
        "integrations": [
            {
                "integration-name": "Milvus",
                "external-doc-url": "https://milvus.io/docs",
                "tags": ["software"],
            }
        ],
        "connection-types": [
            {
                "connection-type": "milvus",
                "hook-name": "Milvus",
                "hook-class-name": "airlift_airflow.hooks.milvus.MilvusHook",
                "ui-field-behaviour": _STANDARD_FIELDS,
                "conn-fields": MILVUS_FIELDS,
            }
        ],
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
