"""Ways to log in to a real Elasticsearch with TLS, and what each refusal says."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from airlift.connections import AwsCredentials, AwsSigning, ElasticsearchConnection
from airlift.errors import AirliftError
from airlift.sources.elasticsearch.client import connect
from tests.http_proxy import HttpProxy
from tests.servers.search_place import (
    connection_to,
    make_index,
    open_contexts,
    planned,
    read_all,
    source_of,
    vector_field,
    vectors,
    write,
)
from tests.sigv4 import Gate, Keys, Roles

NOBODY = {"user": "", "password": SecretStr("")}


@pytest.fixture(scope="module")
def server(elasticsearch_secure: Any) -> Any:
    # The name that the built-in service account may read.
    make_index(elasticsearch_secure, "search-secrets", {"v": vector_field(elasticsearch_secure)})
    docs = {str(n): {"v": one} for n, one in enumerate(vectors(20))}
    write(elasticsearch_secure, "search-secrets", docs)
    return elasticsearch_secure


def reads(server: Any, tmp_path: Any, **options: Any) -> int:
    conn = connection_to(server, **options)
    source = source_of(server, tmp_path, ["search-secrets"], conn=conn)
    assert source.check() == []
    _, chunks = planned(source)
    rows, _ = read_all(source, chunks)
    source.finish()
    source.close()
    return len(rows)


def test_every_way_to_log_in(server: Any, tmp_path: Any) -> None:
    token = server.create_service_token()
    assert reads(server, tmp_path / "1") == 20
    assert reads(server, tmp_path / "2", **NOBODY, api_key=server.create_api_key()) == 20
    assert reads(server, tmp_path / "3", **NOBODY, service_token=token) == 20
    assert reads(server, tmp_path / "4", **NOBODY, bearer_token=token) == 20
    assert reads(server, tmp_path / "5", ca_file="", fingerprint=server.fingerprint) == 20
    assert reads(server, tmp_path / "6", ca_file="", verify_certs=False) == 20
    other = "https://127.0.0.1:1"
    assert reads(server, tmp_path / "7", hosts=(server.url, other)) == 20


def test_the_least_privileges_that_docs_name_are_enough(server: Any, tmp_path: Any) -> None:
    allowed = {"names": ["search-secrets"], "privileges": ["read", "view_index_metadata"]}
    key = server.create_api_key(role_descriptors={"airlift": {"indices": [allowed]}})
    assert reads(server, tmp_path, **NOBODY, api_key=key) == 20


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"password": "wrong-and-secret"}, "answers 401 .*check login and password"),
        ({**NOBODY, "api_key": "d3Jvbmc6c2VjcmV0"}, "answers 401 .*the API key"),
        ({**NOBODY}, "answers 401"),
        ({"ca_file": ""}, "certificate is not trusted .*ca_file or fingerprint"),
        ({"ca_file": "", "fingerprint": "ab" * 32}, "certificate is not trusted"),
    ],
)
def test_refusals_say_what_to_do_and_no_secret(
    server: Any, tmp_path: Any, options: Any, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    conn = connection_to(server, **options)
    source = source_of(server, tmp_path, ["search-secrets"], conn=conn)
    [reason] = source.check()
    with pytest.raises(AirliftError, match=told):
        connect(conn, patience=0)
    assert not any(word in reason + caplog.text for word in ("wrong-and-secret", "d3Jvbmc6"))


def test_a_user_who_may_not_read_is_told(server: Any, tmp_path: Any) -> None:
    allowed = {"names": ["others"], "privileges": ["read", "view_index_metadata"]}
    key = server.create_api_key(role_descriptors={"airlift": {"indices": [allowed]}})
    conn = connection_to(server, **NOBODY, api_key=key)
    [reason] = source_of(server, tmp_path, ["search-secrets"], conn=conn).check()
    assert "privileges that docs/elasticsearch.md lists" in reason


def test_opensearch_by_the_same_connection(opensearch: Any) -> None:
    found = connect(connection_to(opensearch), patience=5)
    assert found.version.name == f"OpenSearch {opensearch.version}"
    found.close()
    with pytest.raises(AirliftError, match="no answer"):
        connect(connection_to(opensearch, hosts=("http://127.0.0.1:1",)), patience=0)


ROLE = "arn:aws:iam::123456789012:role/reader"
KEYS = Keys("AKIAPERMANENT", "hushed")


def test_every_document_comes_by_requests_that_are_signed_for_aws(
    opensearch: Any, tmp_path: Any
) -> None:
    """Through a gate that checks signatures, and forgets the role's keys after each request."""
    before = open_contexts(opensearch)
    fields = {"v": vector_field(opensearch), "title": {"type": "keyword"}}
    docs = {
        f"{n}+/ é": {"v": vector, "title": f"東京 {n % 3}"} for n, vector in enumerate(vectors(200))
    }
    for name in ("signed-索引", "signed-索+é"):
        make_index(opensearch, name, fields, settings={"number_of_shards": 2})
    write(opensearch, "signed-索引", docs)
    write(opensearch, "signed-索+é", {"other": docs["1+/ é"]})
    gate = Gate({})
    with (
        HttpProxy(opensearch.url) as proxy,
        Roles(Gate({KEYS.access: KEYS}, service="sts"), gate, ROLE) as roles,
    ):
        proxy.rule, roles.seconds = gate, 300
        credentials = AwsCredentials(
            access_key=KEYS.access,
            secret_key=SecretStr(KEYS.secret),
            role_arn=ROLE,
            sts_url=roles.url,
        )
        signing = AwsSigning(conn_id="my_aws", credentials=credentials, region="eu-west-1")
        conn = ElasticsearchConnection(hosts=(proxy.url,), aws=signing)
        source = source_of(
            opensearch,
            tmp_path,
            ["signed-*"],
            conn=conn,
            collections=("signed-索引",),
            query={"terms": {"title": ["東京 0", "東京 2"]}},
            page_rows=40,
        )
        assert source.check() == []
        _, chunks = planned(source, 4_000)
        rows, bad = read_all(source, chunks)
        source.finish()
        source.close()
    wanted = {key: doc for key, doc in docs.items() if doc["title"] != "東京 1"}
    assert {key: row["title"] for key, row in rows.items()} == {
        key: doc["title"] for key, doc in wanted.items()
    }
    assert all(row["v"] == pytest.approx(wanted[key]["v"], rel=1e-6) for key, row in rows.items())
    assert not bad and not proxy.refused
    assert len(roles.given) == len(gate.passed) > 15
    assert open_contexts(opensearch) == before
