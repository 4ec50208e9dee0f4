"""Sample documents for Elasticsearch: a small shop, with a vector, lists, dates and gaps."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import orjson

INDEX = "shop-articles"
DIM = 64
_BULK = 2_000

MAPPING: dict[str, Any] = {
    "properties": {
        "embedding": {"type": "dense_vector", "dims": DIM, "index": True, "similarity": "cosine"},
        "title": {"type": "text", "fields": {"raw": {"type": "keyword"}}},
        "tags": {"type": "keyword"},
        "price": {"type": "double"},
        "in_stock": {"type": "boolean"},
        "listed": {"type": "date"},
        "size": {"properties": {"width": {"type": "float"}, "height": {"type": "float"}}},
    }
}


class RestServer(Protocol):
    """What calls a server's REST interface; `localservers.Elasticsearch` does."""

    def request(self, method: str, path: str, **options: Any) -> Any:
        """Sends a request and returns the answer."""
        ...


def articles(rows: int, seed: int = 0) -> dict[str, dict[str, Any]]:
    """Documents by their `_id`.

    Args:
        rows: how many.
    """
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((rows, DIM)).astype(np.float32)
    colours, things = ("red", "green", "blue", "grün"), ("lamp", 'chair "Eva"', "desk", "桌子")
    made = {}
    for row in range(rows):
        colour, thing = colours[row % 4], things[row // 4 % 4]
        document: dict[str, Any] = {
            "embedding": [float(value) for value in vectors[row]],
            "title": f"{colour} {thing} no. {row}",
            "tags": [colour, thing] if row % 3 else thing,
            "price": round(float(random.random() * 900), 2),
            "in_stock": bool(row % 5),
            "listed": 1_600_000_000_000 + row * 86_400_000,
        }
        if row % 7:
            document["size"] = {"width": row % 90 + 0.5, "height": 75.0}
        made[f"article-{row}"] = document
    return made


def write_articles(server: RestServer, rows: int) -> dict[str, dict[str, Any]]:
    """Indexes articles, changes some and deletes some; returns those that are left."""
    body = {"mappings": MAPPING, "settings": {"number_of_shards": 2, "number_of_replicas": 0}}
    server.request("PUT", f"/{INDEX}", json=body)
    documents = articles(rows)
    _bulk(server, [({"index": {"_id": key}}, document) for key, document in documents.items()])
    changed = {key: {**documents[key], "price": 1.0} for key in list(documents)[:: rows // 50]}
    _bulk(server, [({"index": {"_id": key}}, document) for key, document in changed.items()])
    gone = list(documents)[5 :: rows // 20]
    _bulk(server, [({"delete": {"_id": key}}, None) for key in gone])
    left = {**documents, **changed}
    return {key: document for key, document in left.items() if key not in set(gone)}


def _bulk(server: RestServer, actions: list[tuple[dict[str, Any], dict[str, Any] | None]]) -> None:
    for start in range(0, len(actions), _BULK):
        lines = []
        for action, document in actions[start : start + _BULK]:
            lines += [orjson.dumps(action), *([orjson.dumps(document)] if document else [])]
        answer = server.request(
            "POST",
            f"/{INDEX}/_bulk",
            params={"refresh": "true"},
            content=b"\n".join(lines) + b"\n",
            headers={"content-type": "application/x-ndjson"},
        )
        if answer["errors"]:
            raise RuntimeError(f"the sample documents were not all taken: {answer['items'][:3]}")
