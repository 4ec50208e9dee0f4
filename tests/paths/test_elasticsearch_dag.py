"""The DAG `elasticsearch_to_milvus` in a real Airflow, from a server with a login and TLS."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from localservers import AirflowStandalone, Elasticsearch, Milvus
from samples.elasticsearch_documents import articles, write_articles
from tests.paths.place import FLAT

DAG = "elasticsearch_to_milvus"


@pytest.fixture(scope="module")
def api_key(elasticsearch_secure: Elasticsearch) -> str:
    """A key that may do what the README says is needed, and no more."""
    may = {"names": ["shop-*"], "privileges": ["read", "view_index_metadata"]}
    return elasticsearch_secure.create_api_key(
        "airlift", role_descriptors={"reader": {"indices": [may]}}
    )


@pytest.fixture(scope="module")
def documents(elasticsearch_secure: Elasticsearch) -> dict[str, dict[str, Any]]:
    return write_articles(elasticsearch_secure, 1_000)


@pytest.fixture(scope="module")
def airflow(
    airflow_and_milvus: AirflowStandalone, elasticsearch_secure: Elasticsearch, api_key: str
) -> AirflowStandalone:
    def connect(name: str, key: str) -> None:
        extra = {"api_key": key, "ca_file": str(elasticsearch_secure.ca_file)}
        body = {
            "connection_id": name,
            "conn_type": "elasticsearch",
            "host": elasticsearch_secure.url,
            "extra": json.dumps(extra),
        }
        airflow_and_milvus.request("POST", "/connections", json=body)

    connect("search_reader", api_key)
    connect("search_wrong", "bm90OnRoZS1rZXk=")
    airflow_and_milvus.wait_for_dag(DAG)
    airflow_and_milvus.unpause(DAG)
    return airflow_and_milvus


@pytest.fixture
def conf(milvus: Milvus) -> dict[str, Any]:
    return {
        "indices": ["shop-articles"],
        "source_conn_id": "search_reader",
        "staging_url": str(Path(milvus.data_dir) / "staging"),
        "write_mode": "bulk_insert",
        "target_conn_id": "milvus_local",
        "mapping": {"shop-articles": {"target": "shop_by_dag"}},
        "index": FLAT,
        "verify": "full",
    }


def test_a_run_brings_every_document(airflow, milvus, documents, conf, api_key):
    run_id = airflow.trigger(DAG, {**conf, "migration_id": "search_dag"})
    assert airflow.wait(DAG, run_id, 240) == "success"
    with closing(milvus.client()) as client:
        found = client.query("shop_by_dag", filter='_id >= ""', output_fields=["*"], limit=2_000)
        client.drop_collection("shop_by_dag")
    rows = {row["_id"]: row for row in found}
    assert rows.keys() == documents.keys() and len(documents) < len(articles(1_000))
    for key, document in documents.items():
        row = rows[key]
        tags = document["tags"]
        assert list(row["tags"]) == (tags if isinstance(tags, list) else [tags])
        assert list(row["embedding"]) == document["embedding"]
        for name in ("title", "price", "in_stock", "listed"):
            assert row[name] == document[name], (key, name)
        assert row.get("size") == document.get("size")
    staged = Path(conf["staging_url"]) / "search_dag"
    texts = [path.read_bytes() for path in staged.rglob("*") if path.is_file()]
    logs = [
        airflow.task_log(DAG, run_id, task["task_id"], map_index=task["map_index"]).encode()
        for task in airflow.task_instances(DAG, run_id)
        if task["state"] == "success"
    ]
    assert len(texts) > 5 and len(logs) > 10
    assert not any(api_key.encode() in text for text in [*texts, *logs])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"source_conn_id": "search_wrong"}, "login"),
        ({"indices": ["shop-article"]}, "shop-articles"),
        ({"target_conn_id": "nowhere"}, "airflow connections add nowhere"),
    ],
    ids=["key", "index", "target"],
)
def test_what_cannot_work_is_said_by_check(airflow, documents, conf, wrong, said):
    run_id = airflow.trigger(DAG, {**conf, **wrong})
    assert airflow.wait(DAG, run_id, 180) == "failed"
    states = {task["task_id"]: task["state"] for task in airflow.task_instances(DAG, run_id)}
    assert states["check"] == "failed" and states["export_meta"] == "upstream_failed"
    assert said in airflow.task_log(DAG, run_id, "check")
