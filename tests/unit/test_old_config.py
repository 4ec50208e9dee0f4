"""`migration.yaml` files of milvus-migration, in every form that its pages have."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from airlift.declared.reading import read_folder
from airlift.errors import Refused
from airlift.old_config.__main__ import main
from airlift.old_config.asking import OldConfig
from airlift.old_config.connecting import mysql

TARGET = """
target:
  mode: remote
  remote:
    outputDir: "migration/test/xx"
    ak: AKID-hush
    sk: hush-sk
    cloud: aws
    region: us-west-2
    bucket: a-bucket
    useIAM: false
    useSSL: true
    checkBucket: true
  milvus2x:
    endpoint: "milvus.example:19531"
    username: root
    password: hush-password
"""
WORKER = """
    reader:
      bufferSize: 1024
    writer:
      bufferSize: 1024
loader:
  worker:
    limit: 16
"""
MILVUS1X = f"dumper:\n  worker:\n    limit: 2\n    workMode: milvus1x{WORKER}"
LOCAL = "source:\n  mode: local\n  local:\n    tablesDir: /db/tables/\n"
IN_BUCKET = """
source:
  mode: remote
  remote:
    cloud: ali
    region: cn-hangzhou
    bucket: old
    ak: AKID-hush
    sk: hush-sk
    tablesDir: /xxx/tables/
"""
ES = """
dumper:
  worker:
    workMode: elasticsearch
    reader:
      bufferSize: 2500
meta:
  mode: config
  index: test_es_index
  fields:
    - name: id
      type: long
      pk: true
    - {name: data, type: dense_vector, dims: 512}
    - {name: other_field, type: keyword, maxLen: 60}
  milvus:
    collection: renamed
    closeDynamicField: true
    shardNum: 2
    consistencyLevel: Customized
source:
  es:
    urls:
      - http://localhost:9200
      - http://other:9200
    username: elastic
    password: hush-password
"""
MILVUS2X = """
dumper:
  worker:
    workMode: milvus2x
    reader: {bufferSize: 500}
meta:
  mode: config
  version: 2.3.0
  collection: src_coll_name
  fields: [{name: id}, {name: title_vector}, {name: reading_time}]
  milvus:
    collection: target_coll_name
    closeDynamicField: false
    shardNum: 2
    consistencyLevel: Bounded
source:
  milvus2x: {endpoint: "https://old.example", username: root, password: hush-password}
target:
  milvus2x: {endpoint: "new.example:19530", username: root, password: hush-password}
"""
FAISS = f"""
dumper:
  worker:
    limit: 20
    workMode: faiss{WORKER}
source:
  mode: local
  local:
    faissFile: /data/faiss.index
{TARGET}
  create:
    collection:
      name: test
      shardsNum: 2
      dim: 512
      metricType: L2
"""


def converted(folder: Path, text: str, capsys: Any) -> tuple[dict[str, Any], str, str]:
    """Path and params of what is written for a configuration, which Airflow takes; what is told."""
    (folder / "migration.yaml").write_text(text)
    made = folder / "made"
    made.mkdir()
    assert main([str(folder / "migration.yaml"), str(made / "songs.yaml")]) == 0
    [found], broken = read_folder(made)
    assert not broken
    told = capsys.readouterr().err
    written = (made / "songs.yaml").read_text()
    assert "hush" not in written and "hush" not in told
    assert written.startswith("# yaml-language-server: $schema=./schema.json\n")
    return found.declaration.params, found.declaration.path, told


STAGED = {
    "staging_url": "s3://a-bucket/migration/test/xx",
    "staging_conn_id": "songs_staging",
    "target_conn_id": "songs_target",
}


@pytest.mark.parametrize(
    ("text", "path", "params"),
    [
        pytest.param(
            f"{MILVUS1X}meta:\n  mode: local\n  localFile: /outputDir/test/meta.json\n{LOCAL}",
            "milvus1x_to_milvus",
            {"tables_url": "/db/tables", "meta_url": "/outputDir/test/meta.json"},
            id="1.x, meta.json",
        ),
        pytest.param(
            f"{MILVUS1X}meta:\n  mode: sqlite\n  sqliteFile: /db/meta.sqlite\n{LOCAL}",
            "milvus1x_to_milvus",
            {"tables_url": "/db/tables", "meta_url": "/db/meta.sqlite"},
            id="1.x, SQLite",
        ),
        pytest.param(
            f"{MILVUS1X}meta:\n  mode: mysql\n  mysqlUrl: 'me:hush@tcp(db:3307)/milvus'\n{LOCAL}",
            "milvus1x_to_milvus",
            {"tables_url": "/db/tables", "meta_conn_id": "songs_meta"},
            id="1.x, MySQL",
        ),
        pytest.param(
            f"{MILVUS1X}{LOCAL}    meta:\n      mode: mock\n      mockFile: /m/meta.json\n",
            "milvus1x_to_milvus",
            {"tables_url": "/db/tables", "meta_url": "/m/meta.json"},
            id="1.x, the older place of meta",
        ),
        pytest.param(
            f"{MILVUS1X}meta:\n  mode: remote\n  remoteMetaFile: a/meta.json\n{IN_BUCKET}",
            "milvus1x_to_milvus",
            {
                "tables_url": "s3://old/xxx/tables",
                "source_conn_id": "songs_source",
                "meta_url": "s3://old/a/meta.json",
            },
            id="1.x, in a bucket",
        ),
        pytest.param(
            f"{MILVUS1X}{IN_BUCKET}    metaFile: a/meta.json\n",
            "milvus1x_to_milvus",
            {
                "tables_url": "s3://old/xxx/tables",
                "source_conn_id": "songs_source",
                "meta_url": "s3://old/a/meta.json",
            },
            id="1.x, in a bucket, older",
        ),
        pytest.param(
            FAISS.removesuffix(FAISS[FAISS.index("\ntarget:") :]),
            "faiss_to_milvus",
            {"index_url": "/data/faiss.index"},
            id="Faiss",
        ),
        pytest.param(
            ES,
            "elasticsearch_to_milvus",
            {
                "indices": ["test_es_index"],
                "source_conn_id": "songs_source",
                "page_rows": 2500,
                "primary_key": "id",
                "mapping": {
                    "test_es_index": {
                        "include": ["id", "data", "other_field"],
                        "fields": [{"source": "other_field", "max_length": 60}],
                        "target": "renamed",
                        "dynamic_field": False,
                        "shards": 2,
                    }
                },
            },
            id="Elasticsearch",
        ),
        pytest.param(
            ES.replace("- name: id\n", "- name: _id\n"),
            "elasticsearch_to_milvus",
            {
                "indices": ["test_es_index"],
                "source_conn_id": "songs_source",
                "page_rows": 2500,
                "mapping": {
                    "test_es_index": {
                        "include": ["_id", "data", "other_field"],
                        "fields": [
                            {"source": "_id", "type": "INT64"},
                            {"source": "other_field", "max_length": 60},
                        ],
                        "target": "renamed",
                        "dynamic_field": False,
                        "shards": 2,
                    }
                },
            },
            id="Elasticsearch, _id as a number",
        ),
    ],
)
def test_forms_with_a_bucket_to_stage_in(tmp_path, capsys, text, path, params):
    found, found_path, told = converted(tmp_path, text + TARGET, capsys)
    assert found == {**params, **STAGED}
    assert found_path == path
    assert (
        "airflow connections add songs_staging --conn-type aws "
        "--conn-login '<ak of target.remote>' --conn-password '<sk of target.remote>' "
        '--conn-extra \'{"region_name": "us-west-2"}\''
    ) in told
    assert (
        "airflow connections add songs_target --conn-type milvus --conn-host milvus.example "
        "--conn-port 19531 --conn-login root --conn-password '<password of target.milvus2x>'"
    ) in told
    assert "target.remote.checkbucket: the bucket must exist" in told


def test_a_faiss_file_s_collection_keeps_what_it_was_to_be(tmp_path, capsys):
    found, path, told = converted(tmp_path, FAISS, capsys)
    assert path == "faiss_to_milvus"
    assert found["mapping"] == {"faiss": {"target": "test", "shards": 2, "metric_type": "L2"}}
    assert "target.create.collection.dim: read from the index" in told
    assert "dumper.worker.limit: Airflow says how much runs at once" in told


def test_from_milvus_2_there_was_no_staging(tmp_path, capsys):
    found, path, told = converted(tmp_path, MILVUS2X, capsys)
    assert path == "milvus_to_milvus"
    assert found == {
        "collections": ["src_coll_name"],
        "source_conn_id": "songs_source",
        "mapping": {
            "src_coll_name": {
                "include": ["id", "title_vector", "reading_time"],
                "target": "target_coll_name",
                "shards": 2,
                "consistency_level": "Bounded",
            }
        },
        "staging_url": "s3://the-bucket-of-the-target/staging",
        "target_conn_id": "songs_target",
    }
    assert "staging_url: the old tool used none" in told
    assert "meta.version: read from the server" in told
    assert (
        "songs_source --conn-type milvus --conn-host old.example --conn-port 19530 --conn-login "
        "root --conn-password '<password of source.milvus2x>' --conn-extra '{\"secure\": true}'"
    ) in told


@pytest.mark.parametrize(
    ("es", "options"),
    [
        (
            "{cloudId: 'x:abc', apiKey: hush}",
            {"cloud_id": "x:abc", "api_key": "<apiKey of source.es>"},
        ),
        (
            "{urls: ['https://a:9200'], fingerPrint: AB, serviceToken: hush, cert: /c/ca.crt}",
            {
                "ca_file": "/c/ca.crt",
                "fingerprint": "AB",
                "service_token": "<serviceToken of source.es>",
            },
        ),
    ],
)
def test_other_ways_into_elasticsearch(tmp_path, capsys, es, options):
    import json

    text = f"{ES[: ES.index('source:')]}source:\n  es: {es}\n{TARGET}"
    _, _, told = converted(tmp_path, text, capsys)
    [command] = [line for line in told.splitlines() if "--conn-type elasticsearch" in line]
    words = shlex.split(command)
    assert json.loads(words[words.index("--conn-extra") + 1]) == options
    assert "--conn-password" not in words


@pytest.mark.parametrize(
    ("cloud", "extra"),
    [
        ("cloud: ali\n    region: cn-beijing", "https://oss-cn-beijing.aliyuncs.com"),
        ("cloud: gcp\n    region: x", "https://storage.googleapis.com"),
        ("cloud: aws\n    endpoint: 127.0.0.1:9000\n    region: x", "https://127.0.0.1:9000"),
    ],
)
def test_buckets_elsewhere(tmp_path, capsys, cloud, extra):
    target = TARGET.replace("cloud: aws\n    region: us-west-2", cloud)
    _, _, told = converted(tmp_path, ES + target, capsys)
    assert f'"endpoint_url": "{extra}"' in told


def test_a_role_needs_no_keys(tmp_path, capsys):
    _, _, told = converted(tmp_path, ES + TARGET.replace("useIAM: false", "useIAM: true"), capsys)
    assert "songs_staging --conn-type aws --conn-extra" in told
    assert "the workers' own role must be allowed to use it" in told


def test_a_local_folder_to_stage_in(tmp_path, capsys):
    local = "target:\n  mode: local\n  local: {outputDir: files/out}\n"
    text = ES + local + TARGET[TARGET.index("  milvus2x") :]
    found, _, told = converted(tmp_path, text, capsys)
    assert found["staging_url"] == "files/out"
    assert "files/out is relative" in told and "the target itself can read" in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [", "migration.yaml, line 1: this is no YAML"),
        ("a: 1", "dumper.worker.workMode is needed, and missing"),
        (ES.replace("elasticsearch", "pinecone") + TARGET, "there is no workMode pinecone"),
        (ES.replace("  index: test_es_index\n", "") + TARGET, "meta.index is needed"),
        (ES + TARGET.replace("    bucket: a-bucket\n", ""), "target.remote.bucket is needed"),
        (ES + TARGET.replace("us-west-2", "{ yourRegion: }"), "expected to be one value"),
        (ES + TARGET.replace("cloud: aws", "cloud: azure"), "buckets must speak S3"),
        (ES.replace("//localhost", "//me:hush@localhost") + TARGET, "put login and password out"),
        (ES.replace("Num: 2", "Num: 200") + TARGET, "makes what can't be used"),
        (ES.replace("- name: id", "- nam: id") + TARGET, "a list of fields with a name each"),
        (MILVUS1X + LOCAL + TARGET, "source.remote.metaFile is needed, and missing"),
        (
            MILVUS1X + LOCAL + "meta: {mode: mysql, mysqlUrl: 'hush'}" + TARGET,
            "was expected as user:",
        ),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_can_t_be_converted_is_told_and_nothing_is_written(tmp_path, capsys, text, told):
    (tmp_path / "migration.yaml").write_text(text)
    assert main([str(tmp_path / "migration.yaml"), str(tmp_path / "out.yaml")]) == 1
    said = capsys.readouterr()
    assert told in said.err and "hush" not in said.err
    assert not (tmp_path / "out.yaml").exists()


def test_a_file_that_is_there_is_not_written_over(tmp_path, capsys):
    (tmp_path / "migration.yaml").write_text(ES + TARGET)
    (tmp_path / "out.yaml").write_text("mine")
    assert main([str(tmp_path / "migration.yaml"), str(tmp_path / "out.yaml")]) == 1
    assert "exists" in capsys.readouterr().err
    assert (tmp_path / "out.yaml").read_text() == "mine"
    assert main([str(tmp_path / "none.yaml")]) == 1


def test_to_the_standard_output(tmp_path, capsys):
    (tmp_path / "my songs.yaml").write_text(ES + TARGET)
    assert main([str(tmp_path / "my songs.yaml"), "-"]) == 0
    said = capsys.readouterr()
    assert re.search(r"^path: elasticsearch_to_milvus$", said.out, re.M)
    assert "target_conn_id: my_songs_target" in said.out
    assert "connections add my_songs_target" in said.err


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("u:p@w:x/y@tcp(h:3307)/db?charset=utf8mb4&loc=Local", ("h", 3307, "u", "db")),
        ("u@tcp(h)/db", ("h", 3306, "u", "db")),
        ("tcp(h:1)/db", ("h", 1, "", "db")),
        ("u:p@h:3306/db", ("h", 3306, "u", "db")),
    ],
)
def test_addresses_of_mysql(url, found):
    made = mysql(OldConfig(b"a: 1", "x.yaml"), url, "meta")
    assert (made.host, made.port, made.login, made.schema) == found
    assert ("--conn-password" in made.command) == (":" in url.split("@")[0] and "@" in url)
    with pytest.raises(Refused):
        mysql(OldConfig(b"a: 1", "x.yaml"), "no address", "meta")
