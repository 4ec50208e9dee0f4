"""Starts real Elasticsearch servers and checks what the tests of its source rely on.

That a killed one has its documents and its address again: test_elasticsearch_source.py.
"""

from __future__ import annotations

import hashlib
import ssl
from pathlib import Path
from typing import Any

import pytest
from elastic_transport import TlsError
from elasticsearch import AuthenticationException, AuthorizationException
from elasticsearch import Elasticsearch as Client

from localservers import Elasticsearch, LocalServerError
from localservers.jdk import java_home

VECTORS = [[1.0, 2.0, 3.0], [0.5, -1.0, 0.25], [7.0, 0.0, 1.0]]


def fill(server: Any, index: str) -> None:
    fields = {"v": {"type": "dense_vector", "dims": 3}, "n": {"type": "integer"}}
    server.request("PUT", f"/{index}", json={"mappings": {"properties": fields}})
    for n, vector in enumerate(VECTORS):
        path = f"/{index}/_doc/{n}?refresh=true"
        server.request("PUT", path, json={"v": vector, "n": n})


def vectors(server: Any, index: str, source: Any = True) -> list[Any]:
    body = {"query": {"range": {"n": {"gte": 0}}}, "sort": [{"n": "asc"}], "_source": source}
    found = server.request("POST", f"/{index}/_search", json=body)
    return [hit["_source"].get("v") for hit in found["hits"]["hits"]]


def test_elasticsearch_7_holds_vectors_to_their_dimension(elasticsearch_7: Elasticsearch) -> None:
    server = elasticsearch_7
    fill(server, "of-three")
    with pytest.raises(LocalServerError, match="has 2 dimensions, not 3"):
        server.request("PUT", "/of-three/_doc/4", json={"v": [1, 2]})
    server.request("PUT", "/of-three/_doc/5?refresh=true", json={"v": None})
    client = server.client()
    assert client.info()["version"]["number"] == server.version == "7.17.29"
    assert client.count(index="of-three")["count"] == len(VECTORS) + 1
    found = client.search(index="of-three", query={"exists": {"field": "v"}}, sort=["n"])
    assert [hit["_source"]["v"] for hit in found["hits"]["hits"]] == VECTORS


def test_elasticsearch_9_leaves_vectors_out_unless_asked(elasticsearch_9: Elasticsearch) -> None:
    server = elasticsearch_9
    client = server.client()
    assert client.info()["version"]["number"] == server.version == "9.5.3"
    vector = {"type": "dense_vector", "dims": 3, "similarity": "l2_norm"}
    client.indices.create(index="hidden", mappings={"properties": {"v": vector}})
    for n, values in enumerate(VECTORS):
        client.index(index="hidden", id=str(n), document={"v": values, "n": n}, refresh=True)
    assert vectors(server, "hidden") == [None, None, None]
    assert vectors(server, "hidden", {"exclude_vectors": False}) == VECTORS


def test_a_version_that_cannot_be_had_is_refused() -> None:
    with pytest.raises(LocalServerError, match=r"Elasticsearch 1\.2\.3 .* 8\.19\.21"):
        Elasticsearch(version="1.2.3")


def test_security_demands_the_password_also_after_a_crash(
    elasticsearch_secure: Elasticsearch,
) -> None:
    server = elasticsearch_secure
    server.kill()
    server.start()
    assert server.client().info()["version"]["number"] == server.version == "8.19.21"
    assert server.client().security.authenticate()["username"] == server.user
    for login in ((server.user, "wrong"), ("nobody", server.password), None):
        client = Client(server.url, basic_auth=login, ca_certs=server.ca_file)
        with pytest.raises(AuthenticationException) as refused:
            client.info()
        assert refused.value.status_code == 401


def test_tls_is_trusted_by_certificate_or_fingerprint_only(
    elasticsearch_secure: Elasticsearch,
) -> None:
    server = elasticsearch_secure
    login = (server.user, server.password)
    address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
    shown = ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(address))
    assert hashlib.sha256(shown).hexdigest() == server.fingerprint
    for trust in ({"ca_certs": server.ca_file}, {"ssl_assert_fingerprint": server.fingerprint}):
        assert Client(server.url, basic_auth=login, **trust).ping()
    for doubt in ({}, {"ssl_assert_fingerprint": "00" * 32}):
        with pytest.raises(TlsError):
            Client(server.url, basic_auth=login, max_retries=0, **doubt).info()
    with pytest.raises(LocalServerError, match="with security only"):
        Elasticsearch(tls=True)


def test_api_keys_and_service_tokens_have_their_own_rights(
    elasticsearch_secure: Elasticsearch,
) -> None:
    server = elasticsearch_secure
    fill(server, "search-tokens")
    fill(server, "others")
    readable = {"names": ["search-*"], "privileges": ["read"]}
    key = server.create_api_key(role_descriptors={"reader": {"indices": [readable]}})
    for auth in ({"api_key": key}, {"bearer_auth": server.create_service_token()}):
        client = Client(server.url, ca_certs=server.ca_file, **auth)
        assert client.count(index="search-tokens")["count"] == len(VECTORS)
        with pytest.raises(AuthorizationException):
            client.count(index="others")


def test_a_temporary_folder_goes_with_its_server() -> None:
    server = Elasticsearch(security=True, tls=True)
    assert server.ca_file is not None
    assert server.ca_file.is_file()
    server.stop()
    assert not server.directory.exists()


def test_what_is_missing_on_the_machine_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LocalServerError, match="Java 98 or newer .* Here is: Java"):
        java_home(98)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LocalServerError, match=r"Maven is not installed .* apt-get install"):
        Elasticsearch(tmp_path).distribution()
