"""Secrets stay in connections: each path is run with ones that can't be mistaken, then all is read.

The DAGs in a real Airflow have the same test in `tests/paths/test_milvus1x_dag.py`.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from pymilvus import MilvusClient

from airlift.connections import (
    AwsCredentials,
    AwsSigning,
    ElasticsearchConnection,
    MilvusConnection,
)
from airlift.errors import AirliftError
from airlift.storage import open_storage
from localservers import Elasticsearch, MilvusLite, MilvusOnS3, OpenSearch
from samples.elasticsearch_documents import write_articles
from samples.faiss_indexes import IndexSpec, write_faiss
from samples.milvus1x_tables import TableSpec
from tests.http_proxy import HttpProxy
from tests.paths.backups_with_roles import HASH, backup, grant, rbac, small
from tests.paths.backups_with_roles import user as holder
from tests.paths.place import MILVUS1X, Place, SourceKind, bucket_of, bucket_place, lite_place
from tests.paths.rights import once_allowed
from tests.servers.search_place import (
    connection_to,
    make_index,
    vector_field,
    vectors,
    write,
)
from tests.sigv4 import Gate, Keys, Roles

PASSWORD = "Pw-unmistakable-4711"
WRONG = "Pw-wrong-but-secret-0815"


@pytest.fixture
def user(milvus_on_s3: MilvusOnS3) -> Iterator[MilvusConnection]:
    """A user of the Milvus on S3 that may do all.

    Each test has another one: Milvus remembers for a while what one of the same name might do.
    """
    name = f"user_{uuid.uuid4().hex[:8]}"
    with closing(milvus_on_s3.client()) as root:
        root.create_user(name, PASSWORD)
        root.grant_role(name, "admin")
        with closing(MilvusClient(milvus_on_s3.uri, user=name, password=PASSWORD)) as client:
            once_allowed(client.list_databases)
        yield MilvusConnection(uri=milvus_on_s3.uri, user=name, password=SecretStr(PASSWORD))
        root.drop_user(name)


def everything_told(place: Place, caplog: pytest.LogCaptureFixture, extra: Any) -> dict[str, bytes]:
    """All that a run leaves behind or says, by where it stands."""
    texts = {"log": caplog.text.encode(), "connections": repr(place.connections).encode()}
    # With arguments and stack traces, also those that no handler has formatted.
    texts["records"] = "\n".join(repr(vars(record)) for record in caplog.records).encode()
    with place.migration(**extra) as migration:
        for one in (migration, migration.params, migration.source, migration.server):
            texts[f"repr of {type(one).__name__}"] = (repr(one) + str(one)).encode()
        folder = migration.staging_root
        for name, size in folder.list(recursive=True).items():
            if size is not None:
                texts[name] = folder.read_bytes(name)
    return texts


def assert_silent(texts: dict[str, bytes], secrets: list[str]) -> None:
    assert len(texts) > 15
    for where, text in texts.items():
        for secret in secrets:
            assert secret.encode() not in text, where


def run_and_read(
    place: Place, caplog: pytest.LogCaptureFixture, secrets: list[str], **params: Any
) -> None:
    with caplog.at_level(logging.DEBUG):
        place.run(keep_staging=True, **params)
        wrong = {
            name: one.model_copy(update={"password": SecretStr(WRONG)})
            for name, one in place.connections.servers.items()
            if one.user
        }
        if wrong:
            good = dict(place.connections.servers)
            place.connections.servers |= wrong
            with pytest.raises(AirliftError) as refused:
                place.run(migration_id="refused", **params)
            assert WRONG not in str(refused.value) + repr(refused.value)
            place.connections.servers |= good
    assert_silent(everything_told(place, caplog, params), [*secrets, WRONG])


def in_bucket_of_its_own(place: Place, milvus_on_s3: MilvusOnS3, user: MilvusConnection) -> None:
    place.connections.servers["milvus_default"] = user
    place.staging_url = f"s3://{milvus_on_s3.s3.bucket}/secret-{place.migration_id}"
    place.defaults["staging_url"] = place.staging_url


def test_milvus_1x_and_a_bucket(milvus_on_s3, user, tmp_path: Path, caplog) -> None:
    with bucket_place(milvus_on_s3, tmp_path / "source", MILVUS1X) as place:
        in_bucket_of_its_own(place, milvus_on_s3, user)
        place.write(TableSpec("hushed", 500, dim=8, segments=2))
        run_and_read(place, caplog, [PASSWORD, milvus_on_s3.s3.secret_key])


def test_faiss_in_a_bucket(milvus_on_s3, user, tmp_path: Path, caplog) -> None:
    """Its decoder is a process of its own."""
    kind = SourceKind("faiss", write_faiss, lambda folder: {})
    with bucket_place(milvus_on_s3, tmp_path / "source", kind) as place:
        in_bucket_of_its_own(place, milvus_on_s3, user)
        place.write(IndexSpec("hushed", rows=500, dim=8))
        s3 = milvus_on_s3.s3
        local = tmp_path / "source" / "hushed.index"
        away = open_storage(f"s3://{s3.bucket}/faiss-source", bucket_of(s3))
        away.write_bytes("hushed.index", local.read_bytes())
        params = {"index_url": f"{away.url}/hushed.index", "source_conn_id": "store"}
        run_and_read(place, caplog, [PASSWORD, s3.secret_key], **params)


def test_milvus_as_a_source(milvus_on_s3, user, milvus_lite: MilvusLite, tmp_path, caplog) -> None:
    with closing(milvus_on_s3.client()) as root:
        root.create_collection("hushed", dimension=8)
        rows = [{"id": row, "vector": [float(row)] * 8} for row in range(300)]
        root.insert("hushed", rows)
        kind = SourceKind("milvus", lambda folder, specs: None, lambda folder: {})
        with lite_place(milvus_lite, tmp_path / "source", kind) as place:
            place.connections.servers["milvus_source"] = user
            run_and_read(place, caplog, [PASSWORD], collections=["hushed"])
        root.drop_collection("hushed")


def test_a_backup_with_users(milvus_on_s3, user, tmp_path: Path, caplog) -> None:
    """Its folder holds the hashes of passwords."""
    held = rbac([grant("hushed_reader", "Query", "hushed", "default")], (holder("ann", "reader"),))
    params = {"backup_url": backup(tmp_path, held, small("hushed")), "with_rbac": True}
    kind = SourceKind("backup", lambda folder, specs: None, lambda folder: {})
    with bucket_place(milvus_on_s3, tmp_path / "source", kind) as place:
        in_bucket_of_its_own(place, milvus_on_s3, user)
        run_and_read(place, caplog, [PASSWORD, HASH, milvus_on_s3.s3.secret_key], **params)
        with closing(milvus_on_s3.client()) as root:
            assert "hushed_reader" in root.list_roles()
            root.revoke_privilege("hushed_reader", "Collection", "Query", "hushed")
            root.drop_role("hushed_reader")


def test_elasticsearch(
    elasticsearch_secure: Elasticsearch, milvus_lite: MilvusLite, tmp_path: Path, caplog
) -> None:
    write_articles(elasticsearch_secure, 500)
    key = elasticsearch_secure.create_api_key()
    with_key = connection_to(elasticsearch_secure, user="", password="", api_key=SecretStr(key))
    kind = SourceKind("elasticsearch", lambda folder, specs: None, lambda folder: {})
    with lite_place(milvus_lite, tmp_path / "source", kind) as place:
        params = {"indices": ["shop-articles"]}
        for number, connection in enumerate((connection_to(elasticsearch_secure), with_key)):
            place.connections.searches["elasticsearch_default"] = connection
            target = {"shop-articles": {"target": f"hushed_{number}"}}
            secrets = [key, elasticsearch_secure.password]
            run_and_read(
                place, caplog, secrets, mapping=target, migration_id=f"m_{number}", **params
            )


def test_opensearch_signed_for_aws(
    opensearch: OpenSearch, milvus_lite: MilvusLite, tmp_path: Path, caplog
) -> None:
    """The keys of the connection, and those of the role that is assumed with them."""
    make_index(opensearch, "hushed", {"v": vector_field(opensearch)})
    write(opensearch, "hushed", {str(n): {"v": vector} for n, vector in enumerate(vectors(200))})
    keys = Keys("AKIAHUSHED", PASSWORD, f"{PASSWORD}//token")
    role, gate = "arn:aws:iam::123456789012:role/reader", Gate({})
    kind = SourceKind("elasticsearch", lambda folder, specs: None, lambda folder: {})
    with (
        HttpProxy(opensearch.url) as proxy,
        Roles(Gate({keys.access: keys}, service="sts"), gate, role) as roles,
        lite_place(milvus_lite, tmp_path / "source", kind) as place,
    ):
        proxy.rule = gate
        credentials = AwsCredentials(
            access_key=keys.access,
            secret_key=SecretStr(keys.secret),
            session_token=SecretStr(keys.token),
            role_arn=role,
            sts_url=roles.url,
        )
        signing = AwsSigning(conn_id="my_aws", credentials=credentials, region="eu-west-1")
        connection = ElasticsearchConnection(hosts=(proxy.url,), aws=signing)
        place.connections.searches["elasticsearch_default"] = connection
        secrets = [PASSWORD, "secret-of-role", "token-of-role"]
        run_and_read(
            place,
            caplog,
            secrets,
            indices=["hushed"],
            mapping={"hushed": {"target": "hushed_signed"}},
        )
        assert roles.given and not proxy.refused
