"""The params: what is taken, what is refused, and what the trigger form shows."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import ValidationError

from airlift.params import MAPPING, MOVING, SAFETY, SOURCE, TARGET, MigrationParams
from airlift.rollback_params import RollbackParams
from airlift.sources.milvus1x.params import Milvus1xParams, OnDuplicateId

NEEDED = {"staging_url": "/s", "tables_url": "/t", "meta_url": "/m/meta.sqlite"}


def params(**given: Any) -> Milvus1xParams:
    return Milvus1xParams(**{**NEEDED, **given})


def refused(**given: Any) -> str:
    with pytest.raises(ValidationError) as error:
        params(**given)
    return str(error.value)


def test_defaults_are_the_safe_ones():
    found = params()
    assert found.collections == ("*",)
    assert (found.if_exists, found.on_mismatch, found.on_bad_row) == ("fail", "fail", "fail")
    assert found.on_duplicate_id is OnDuplicateId.FAIL
    assert found.verify == "sample" and found.load and not found.allow_lossy
    assert not found.cutover_alias and found.write_mode == "auto" and found.index == "autoindex"


@pytest.mark.parametrize("name", ["staging_url", "tables_url", "meta_url"])
@pytest.mark.parametrize(
    "url",
    [
        "s3://AKIA:hush@bucket/x",
        "s3://hush@bucket",
        "S3://AKIA:hush@bucket/x",
        "s3a://AKIA:hush@bucket/x",
        "https://user:hush@host/x",
        "s3://AKIA:hu/sh@bucket/x",
        "s3://AKIA:hush+/=@bucket",
        "gs://hush@bucket/x",
        "abfss://c:hush@acc.dfs.core.windows.net/x",
        "abfss://hush+=@acc.dfs.core.windows.net/x",
        "abfss://c@acc:hush@acc.dfs.core.windows.net/x",
        "az://acc:hush@container/x",
        "s3://bucket/x?X-Amz-Signature=hush",
        "s3://bucket/x?access_key=a&secret_key=hush",
        "s3://bucket/x?sig=hush",
    ],
)
def test_secrets_in_urls_are_refused_and_not_repeated(name, url):
    said = refused(**{name: url})
    assert "Airflow connection" in said
    # pydantic repeats the value that it refuses, and messages go to logs.
    assert "hush" not in said and "sh@" not in said


@pytest.mark.parametrize(
    "url",
    [
        "s3://bucket/a@b",
        "s3://bucket/x:y",
        "/data/a@b:c",
        "file:///data/a@b",
        "s3://bucket/a?b",
        "abfss://c-1@acc.dfs.core.windows.net/x",
        "wasb://$web@acc.blob.core.windows.net",
        "gs://b/x",
    ],
)
def test_at_signs_elsewhere_are_no_secrets(url):
    assert params(staging_url=url).staging_url == url


@pytest.mark.parametrize(
    "given",
    [
        {"nope": 1},
        {"mapping": {"c": {"nope": 1}}},
        {"mapping": {"c": {"fields": [{"source": "a", "nope": 1}]}}},
        {"index": {"index_type": "HNSW", "nope": 1}},
    ],
)
def test_unknown_keys_are_refused(given):
    assert "nope" in refused(**given)


@pytest.mark.parametrize(
    "given",
    [
        {"chunk_mb": 0},
        {"chunk_mb": 15_001},
        {"max_bad_rows": -1},
        {"copy_source": "maybe"},
        {"migration_id": "a-b"},
        {"migration_id": "x" * 65},
        {"migration_id": "a\n"},
        {"verify": "none"},
        {"write_mode": "append"},
        {"file_format": "csv"},
        {"if_exists": "drop"},
        {"on_mismatch": "ignore"},
        {"on_bad_row": "drop"},
        {"on_duplicate_id": "keep_first"},
        {"index": "HNSW"},
        {"index": {}},
        {"mapping": {"c": {"shards": 0}}},
        {"mapping": {"c": {"shards": 65}}},
        {"mapping": {"c": {"consistency_level": "strong"}}},
        {"mapping": {"c": {"include": ["a"], "exclude": ["b"]}}},
        {"mapping": {"c": {"fields": [{"target": "a"}]}}},
        {"mapping": {"c": {"fields": [{"source": "a", "type": "TEXT"}]}}},
        {"mapping": {"c": {"fields": [{"source": "a", "max_length": 0}]}}},
        {"mapping": {"c": {"fields": [{"source": "a", "max_length": 65_536}]}}},
        {
            "mapping": {
                "c": {"fields": [{"source": "a", "target": "b", "type": "INT8", "value": 1}]}
            }
        },
        {"mapping": {"c": {"fields": [{"target": "a", "value": 1}]}}},
        {"mapping": {"c": {"fields": [{"type": "INT8", "value": 1}]}}},
        {"mapping": {"c": {"fields": [{"target": "a", "type": "INT8", "value": 1, "default": 2}]}}},
        {"mapping": {"c": {"fields": [{"source": "$meta.a"}]}}},
        {"mapping": {"c": {"fields": [{"source": "a"}, {"source": "a", "target": "b"}]}}},
        {"mapping": {"c": {"keep_key_as": "old"}}},
        {"meta_conn_id": "mysql"},
        {"meta_url": ""},
    ],
    ids=str,
)
def test_values_out_of_bounds_are_refused(given):
    assert refused(**given)


@pytest.mark.parametrize("name", ["staging_url", "tables_url"])
def test_what_is_needed_is_asked_for(name):
    with pytest.raises(ValidationError, match=name):
        Milvus1xParams(**{key: value for key, value in NEEDED.items() if key != name})


@pytest.mark.parametrize(
    "given",
    [
        {"chunk_mb": 1},
        {"chunk_mb": 15_000},
        {"migration_id": "x" * 64},
        {"index": "source"},
        {"index": {"index_type": "HNSW", "params": {"M": 16}}},
        {"meta_url": "", "meta_conn_id": "mysql"},
        {"mapping": {"c": {"auto_id": True, "keep_key_as": "old", "transform": "f"}}},
        {"mapping": {"c": {"fields": [{"target": "a", "type": "BOOL", "value": False}]}}},
        {"mapping": {"c": {"fields": [{"source": "$meta.a", "type": "INT8", "default": 0}]}}},
        {"mapping": {"c": {"partitions": [], "shards": 64, "consistency_level": "Bounded"}}},
    ],
    ids=str,
)
def test_what_is_allowed_survives_json(given):
    found = params(**given)
    assert Milvus1xParams.model_validate_json(found.model_dump_json()) == found
    assert Milvus1xParams(**found.model_dump(mode="json")) == found


def test_every_param_stands_in_a_section_and_says_what_it_is():
    for model in (MigrationParams, Milvus1xParams):
        for name, field in model.model_fields.items():
            extra = field.json_schema_extra
            assert extra["section"] in (SOURCE, TARGET, MAPPING, MOVING, SAFETY), name
            assert field.description and field.description.endswith("."), name


SECRET_URLS = [
    "s3://key:secret@bucket/a",
    "s3://key:sec/ret@bucket/a",
    "S3://key:secret@bucket/a",
    "s3a://key@bucket/a",
    "s3://key:x/a",
    "gs://token@bucket",
    "https://user:word@host/a",
    "HTTPS://user@host",
    "mysql+pymysql://user:word@host/db",
    "abfss://container:word@account.dfs.core.windows.net/a",
    "wasbs://container@account/a",
    "https://account.blob.core.windows.net/c/a?sv=1&sig=abc",
    "s3://bucket/a?X-Amz-Signature=abc",
    "s3://bucket/a?x-amz-credential=abc",
    "s3://bucket/a?SECRET_ACCESS_KEY=abc",
    "/a,s3://key:secret@bucket/a",
    "s3://bucket/a,https://user@host/a",
    "s3://bucket/a, https://user@host/a",
    "abfss://c@account.dfs.core.windows.net/a,s3://key:secret@bucket/a",
]
OPEN_URLS = [
    "/srv/a b/c",
    "/srv/user@host:1/a",
    "file:///srv/a",
    "File://host:1/a",
    "s3://bucket/user@host:1/a",
    "s3://bucket",
    "http://host:9000/a",
    "HTTPS://host:443/a,https://other:8443/b",
    "abfss://container@account.dfs.core.windows.net/a",
    "ABFSS://container@account.dfs.core.windows.net",
    "wasb://c@account.blob.core.windows.net/a,wasb://d@account.blob.core.windows.net/b",
    "s3://bucket/keys/secret=1/a",
    "https://host/a?version=1",
    "gs://bucket/a?b=key",
]


@pytest.mark.parametrize("url", SECRET_URLS)
def test_secrets_in_urls_are_refused_before_airflow_keeps_them(url):
    """By the pattern of the form's schema, as Airflow's API reads it, and by the engine."""
    schema = Milvus1xParams.model_json_schema()["properties"]["staging_url"]
    assert not re.search(schema["pattern"], url)
    said = refused(staging_url=url)
    assert "put the credentials into an Airflow connection" in said
    assert "word" not in said and "key:" not in said and "abc" not in said


@pytest.mark.parametrize("url", OPEN_URLS)
def test_urls_without_secrets_are_taken(url):
    schema = Milvus1xParams.model_json_schema()["properties"]["staging_url"]
    assert re.search(schema["pattern"], url)
    assert Milvus1xParams(**{**NEEDED, "staging_url": url}).staging_url == url


@pytest.mark.parametrize("url", [" s3://b/a", "s3://key:secret@b/a ", "/a\n", "\t/a", "/a\r"])
def test_spaces_around_a_url_are_refused(url):
    schema = Milvus1xParams.model_json_schema()["properties"]["staging_url"]
    assert not re.search(schema["pattern"], url)
    assert "without spaces or line breaks" in refused(staging_url=url)


@pytest.mark.parametrize("model", [Milvus1xParams, RollbackParams])
@pytest.mark.parametrize("name", ["a\n", "\n", "a\nb", "a b", "é", "x" * 65, "a\r", "../a"])
def test_the_name_of_a_migration_is_matched_to_its_end(model, name):
    pattern = model.model_json_schema()["properties"]["migration_id"]["pattern"]
    assert not re.search(pattern, name)
    assert re.search(pattern, "a_B9" * 16)
