"""Declared migrations: which files are taken, and what is said of the others."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from airlift.declared.declaration import PRESETS, AfterAssets
from airlift.declared.reading import DeclaredMigration, read_folder
from airlift.declared.yaml_lines import MAX_BYTES, YamlError, read_yaml

ROOT = Path(__file__).resolve().parents[2]
PLAIN = "path: milvus_to_milvus\nparams:\n  staging_url: /s\n"


def read(tmp_path: Path, text: str, name: str = "songs.yaml") -> DeclaredMigration:
    (tmp_path / name).write_text(text)
    [found], broken = read_folder(tmp_path)
    assert not broken
    return found


def said_of(tmp_path: Path, text: str | bytes, name: str = "songs.yaml") -> list[str]:
    """What is wrong with a file."""
    (tmp_path / name).write_bytes(text.encode() if isinstance(text, str) else text)
    good, broken = read_folder(tmp_path)
    assert not good
    return broken[name]


def test_a_file_says_all_that_a_dag_needs(tmp_path):
    found = read(
        tmp_path,
        """
# yaml-language-server: $schema=./schema.json
path: milvus_to_milvus
description: Songs, each night
schedule: "0 3 * * *"
timezone: Europe/Berlin
paused: false
tags: [songs]
owner: data
params:
  collections: [songs, "2024*"]
  staging_url: s3://bucket/staging
  index: {index_type: HNSW, params: {M: 16}}
  mapping: {2024: {target: no}}
""",
    )
    said = found.declaration
    assert (found.dag_id, found.source) == ("migration__songs", "milvus")
    assert (said.schedule, said.timezone, said.paused) == ("0 3 * * *", "Europe/Berlin", False)
    assert said.params == {
        "collections": ["songs", "2024*"],
        "staging_url": "s3://bucket/staging",
        "index": {"index_type": "HNSW", "params": {"M": 16}},
        # A key is a text, and YAML 1.2 has no `no`.
        "mapping": {"2024": {"target": "no"}},
    }


@pytest.mark.parametrize("schedule", [*PRESETS, "*/5 * * * *", "0 0 29 2 *", None])
def test_schedules_that_are_taken(tmp_path, schedule):
    found = read(tmp_path, f"schedule: {json.dumps(schedule)}\n{PLAIN}")
    assert found.declaration.schedule == schedule


def test_a_schedule_of_assets(tmp_path):
    (tmp_path / "first.yml").write_text(PLAIN)
    (tmp_path / "second.yaml").write_text(
        f"schedule: {{assets: [migration__first, 's3://bucket/x', theirs]}}\n{PLAIN}"
    )
    good, broken = read_folder(tmp_path)
    assert not broken
    assert good[1].declaration.schedule == AfterAssets(
        assets=("migration__first", "s3://bucket/x", "theirs")
    )


def test_a_misspelt_asset_is_told_with_the_nearest(tmp_path):
    (tmp_path / "first.yaml").write_text(PLAIN)
    (tmp_path / "second.yaml").write_text(f"{PLAIN}schedule: {{assets: [x, migration__frist]}}")
    _, broken = read_folder(tmp_path)
    assert broken == {
        "second.yaml": [
            "line 4, schedule.assets[1]: no migration is declared that publishes migration__frist; "
            "did you mean migration__first?"
        ]
    }


def test_migrations_that_start_each_other_are_refused_and_no_others(tmp_path):
    after = {"a": ["c"], "b": ["a"], "c": ["b", "d"], "d": [], "e": ["a"], "f": ["g"], "g": ["f"]}
    for name, awaited in after.items():
        assets = ", ".join(f"migration__{one}" for one in awaited)
        schedule = f"schedule: {{assets: [{assets}]}}\n" if awaited else ""
        (tmp_path / f"{name}.yaml").write_text(PLAIN + schedule)
    good, broken = read_folder(tmp_path)
    assert [one.name for one in good] == ["d", "e"]
    assert sorted(broken) == ["a.yaml", "b.yaml", "c.yaml", "f.yaml", "g.yaml"]
    for name, [reason] in broken.items():
        assert reason.startswith("line 4, schedule.assets: they start each other without end")
        assert f"migration__{name.removesuffix('.yaml')} -> migration__" in reason


def test_every_reason_is_told_with_its_line_and_key(tmp_path):
    told = said_of(
        tmp_path,
        """path: milvus_to_milvus
schedul: "* * * * *"
schedule: {assets: [1]}
params:
  collections: songs
  chunk_mb: "7"
  if_exists: overwrite
  index: {index_typ: 1}
  mapping:
    songs:
      fields:
        - {source: a, typ: INT8}
""",
    )
    assert told == [
        "line 2, schedul: there is no such key; did you mean schedule?",
        "line 3, schedule.assets[0]: expected a valid string; found 1",
        "line 4, params.staging_url: it is needed, and missing",
        'line 5, params.collections: expected a valid array; found "songs"',
        'line 6, params.chunk_mb: expected a valid integer; found "7"',
        "line 7, params.if_exists: expected 'fail', 'append' or 'replace'; found \"overwrite\"",
        "line 8, params.index.index_typ: there is no such key; did you mean index_type?",
        "line 8, params.index.index_type: it is needed, and missing",
        "line 12, params.mapping.songs.fields[0].typ: there is no such key; did you mean type?",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "line 1: expected keys such as path and params, found none"),
        ("- a", "line 1: expected keys such as path and params, found none"),
        ("path: milvus_to_milvus\nparams: [a]", "line 2, params: expected an object; found a list"),
        (PLAIN.replace("milvus_", "milvs_", 1), "did you mean milvus_to_milvus?"),
        (PLAIN.replace("milvus_to_milvus", "milvus"), "did you mean milvus_to_milvus?"),
        (PLAIN.replace("milvus_to_milvus", "x"), "there is no path x; known are backup_to_milvus,"),
        (PLAIN.replace("/s", "''"), "line 3, params.staging_url: it is needed, and empty"),
        (f"{PLAIN}schedule: 0 3 * *", "line 4, schedule: expected a cron expression of five parts"),
        (f"{PLAIN}schedule: 0 0 31 2 *", "that comes true some day"),
        (f"{PLAIN}schedule: '@nightly'", "@daily"),
        (f"{PLAIN}schedule: 5", "line 4, schedule: expected a valid string; found 5 or"),
        (f"{PLAIN}schedule: {{}}", "line 4, schedule.assets: it is needed, and missing"),
        (f"{PLAIN}schedule: {{assets: []}}", "at least 1 item"),
        (f"{PLAIN}schedule: {{assets: ['']}}", "an asset has a name"),
        (f"{PLAIN}schedule: {{assets: [migration__song]}}", "publishes migration__song; no other"),
        (f"{PLAIN}schedule: {{assets: [migration__songs]}}", "own, which would then run without"),
        (f"{PLAIN}schedule: * * * * *", "put a text that begins with * or & into quotes"),
        (f"{PLAIN}schedule: '0 3 * * *'\ntimezone: Berlin", "such as UTC or Europe/Berlin"),
        (f"{PLAIN}timezone: UTC", "line 4, timezone: it is of a schedule of times; leave it out"),
        (f"{PLAIN}tags: ['']", "line 4, tags[0]: "),
        (f"{PLAIN}tags: [{'x' * 101}]", "at most 100 characters"),
        (f"{PLAIN}  migration_id: a\nschedule: '@daily'", "every run of a schedule needs one"),
        (f"{PLAIN}  since_pk: true\n  since_field: at", "line 2, params: give since_field or"),
        (f"{PLAIN}params: {{}}", "line 4: the key params stands here and in line 2"),
        (f"{PLAIN}? [a]\n: b", "line 4: expected a name as key"),
        (f"{PLAIN}tags: &x [a]", "line 4: anchors (&) and aliases (*) are not read"),
        (f"{PLAIN}tags: !!python/object/apply:os.system [exit]", "line 4: the tag tag:yaml.org"),
        (f"{PLAIN}owner: !env HOME", "line 4: the tag !env is not read"),
        (f"{PLAIN}owner: !!binary aGk=", "is not read"),
        (f"{PLAIN}  chunk_mb: !!int x", "not of the type int"),
        (f"{PLAIN}  chunk_mb: 1{'0' * 30}", "line 4: the number is too large"),
        (f"{PLAIN}  chunk_mb: -{'9' * 4400}", "line 4: the number is too large"),
        (f"{PLAIN}  chunk_mb: 0x{'f' * 4400}", "line 4: the number is too large"),
        (f"{PLAIN}  chunk_mb: 0o{'7' * 99_000}", "line 4: the number is too large"),
        (f"{PLAIN}  chunk_mb: {'9' * 4400}.5", "line 4: the number is too large"),
        (f"{PLAIN}  chunk_mb: 1e999", "line 4: the number is too large"),
        (f'{PLAIN}owner: "\\ud800"', "half of a pair of surrogates"),
        (f"{PLAIN}owner: \0", "line 4: a control character"),
        (PLAIN.encode() + b"owner: \xff", "line 4: expected UTF-8"),
        (f"{PLAIN}\tx: 1", "line 4: this is no YAML"),
        (f"{PLAIN}---\n{PLAIN}", "line 4: this is no YAML: but found another document"),
        (f"{PLAIN}tags: {'[' * 5000}", "nested too deeply"),
        (f"{PLAIN}  mapping: {'[' * 300}{']' * 300}", "line 4: lists or mappings are nested too"),
        (f"{PLAIN}  mapping: {'{a: ' * 300}1{'}' * 300}", "line 4: lists or mappings are nested"),
        (f"{PLAIN}  index: {'[' * 98}1{']' * 98}", "line 4, params.index: expected a valid string"),
        (PLAIN + "#" * MAX_BYTES, "expected at most 262,144 bytes"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_is_wrong_is_told(tmp_path, text, told):
    [one] = said_of(tmp_path, text)
    assert told in one and one.startswith("line ")


@pytest.mark.parametrize(
    "line",
    [
        "  password: hush",
        "  secret_key: hush",
        "  ak: hush",
        "  staging_conn_id: {password: hush}",
        "  index: {index_type: HNSW, token: hush}",
        "owner: 'https://me:hush@host'",
        "description: see s3://AKIA:hush@bucket",
        "  tables: s3://AKIA:hu/sh@bucket",
        "api_key: hush",
    ],
)
def test_secrets_are_refused_and_not_repeated(tmp_path, line):
    told = "\n".join(said_of(tmp_path, PLAIN + line))
    assert told.startswith("line 4, ") and "hush" not in told and "hu/sh" not in told
    assert "Airflow connection" in told or "found a mapping" in told


@pytest.mark.parametrize("name", ["a b.yaml", "songs.v2.yaml", "ä.yaml", f"{'x' * 201}.yaml"])
def test_names_that_no_dag_can_have_are_refused(tmp_path, name):
    assert "letters, digits, _ and -" in said_of(tmp_path, PLAIN, name)[0]


def test_two_files_of_one_name_are_refused(tmp_path):
    (tmp_path / "songs.yml").write_text(PLAIN)
    assert "two files named songs" in said_of(tmp_path, PLAIN)[0]


def test_a_broken_file_hurts_no_other_and_other_files_are_none(tmp_path):
    said_of(tmp_path, "path: [")
    (tmp_path / "folder.yaml").mkdir()
    for name in (".hidden.yaml", "a.yaml.example", "schema.json", "README.md"):
        (tmp_path / name).write_text("nothing")
    (tmp_path / "good.yaml").write_text(PLAIN)
    good, broken = read_folder(tmp_path)
    assert [one.name for one in good] == ["good"] and list(broken) == ["songs.yaml"]


def test_only_what_is_wanted_is_read(tmp_path):
    said_of(tmp_path, "path: [")
    (tmp_path / "good.yaml").write_text(PLAIN)
    good, broken = read_folder(tmp_path, lambda dag_id: dag_id == "migration__good")
    assert [one.name for one in good] == ["good"] and not broken


# What YAML takes for the end of a line, or not at all.
ODD = "\ufeff\u2028\u2029\x85\ufffe\uffff"
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters=ODD)),
    lambda below: st.lists(below) | st.dictionaries(st.text("abc*&!", max_size=3), below),
    max_leaves=20,
)


@given(JSON)
def test_what_json_says_is_read_as_json(value):
    """JSON is YAML 1.2, and is read so."""
    assert read_yaml(json.dumps(value, ensure_ascii=False).encode()).data == value


@given(st.text(max_size=40) | st.binary(max_size=40))
def test_any_text_is_read_or_refused_with_a_line(text):
    try:
        read_yaml(text.encode(errors="surrogatepass") if isinstance(text, str) else text)
    except YamlError as error:
        assert error.line >= 1


def bag(folder: Path, **more: str) -> dict[str, Any]:
    """What Airflow makes of the two DAG files, in a process of its own."""
    code = (
        "import json; from airflow.dag_processing.dagbag import DagBag;"
        "from airflow.serialization.serialized_objects import DagSerialization;"
        f"bags = [DagBag({str(ROOT / 'dags')!r} + '/declared_migrations' + name + '.py')"
        " for name in ('', '_errors')];"
        "[DagSerialization.to_dict(dag) for dag in bags[0].dags.values()];"
        "print(json.dumps([[{name: {'params': dag.params.dump(), 'tags': sorted(dag.tags),"
        " 'schedule': dag.timetable.__class__.__name__, 'runs': dag.max_active_runs,"
        " 'paused': dag.is_paused_upon_creation, 'owner': dag.owner}"
        " for name, dag in one.dags.items()}, list(one.import_errors.values())] for one in bags]))"
    )
    environment = {**os.environ, "AIRFLOW__AIRLIFT__MIGRATIONS_FOLDER": str(folder), **more}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    (dags, trouble), (more_dags, errors) = json.loads(done.stdout.splitlines()[-1])
    assert not trouble and not more_dags
    return {"dags": dags, "errors": errors}


def test_a_file_becomes_a_dag_and_a_broken_one_an_import_error_of_another_dag_file(tmp_path):
    (tmp_path / "b.yaml").write_text(f"{PLAIN}schedule: {{assets: [migration__a, x, 's3://y']}}")
    (tmp_path / "c.yaml").write_text(f"{PLAIN}schedule: '@daily'\ntimezone: Europe/Berlin")
    (tmp_path / "bad.yaml").write_text("path: milvus_to_milvus\nparams:\n  stagin_url: /s\n")
    (tmp_path / "a.yaml").write_text(
        f"{PLAIN}  since_pk: true\n  collections: [songs]\nschedule: '0 3 * * *'\n"
        "tags: [music]\nowner: data\npaused: true"
    )
    found = bag(tmp_path)
    assert set(found["dags"]) == {"migration__a", "migration__b", "migration__c"}
    a = found["dags"]["migration__a"]
    assert a["params"]["since_pk"] and a["params"]["collections"] == ["songs"]
    assert a["params"]["staging_url"] == "/s" and a["params"]["if_exists"] == "fail"
    assert a["tags"] == ["declared", "migration", "milvus", "music"]
    assert (a["schedule"], a["runs"], a["paused"], a["owner"]) == (
        *("CronTriggerTimetable", 1, True),
        "data",
    )
    assert found["dags"]["migration__b"]["schedule"] == "AssetTriggeredTimetable"
    assert found["dags"]["migration__c"]["schedule"] == "CronTriggerTimetable"
    [error] = found["errors"]
    assert "bad.yaml, line 3, params.stagin_url: there is no such key; did you mean" in error
    assert str(tmp_path) in error and "Traceback" not in error


def test_the_run_of_a_task_makes_its_own_dag_only(tmp_path):
    for name in "abc":
        (tmp_path / f"{name}.yaml").write_text(PLAIN)
    found = bag(tmp_path, _AIRFLOW_PARSING_CONTEXT_DAG_ID="migration__b")
    assert set(found["dags"]) == {"migration__b"}


def test_a_folder_that_is_not_there_is_told(tmp_path):
    assert bag(tmp_path / "none")["errors"] == [
        "AirliftError: [airlift] migrations_folder names "
        f"{tmp_path / 'none'}, and there is no such folder"
    ]


EXAMPLES = sorted((ROOT / "include" / "migrations").glob("*.example"))


def refused_by_schema(said: Any) -> list[str]:
    """Where an editor marks something."""
    schema = json.loads((ROOT / "include" / "migrations" / "schema.json").read_text())
    Draft7Validator.check_schema(schema)
    return [error.json_path for error in Draft7Validator(schema).iter_errors(said)]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda file: file.name)
def test_examples_are_right_by_the_schema_and_by_the_models(tmp_path, example):
    for file in EXAMPLES:
        shutil.copy(file, tmp_path / file.name.removesuffix(".example"))
    good, broken = read_folder(tmp_path)
    assert not broken and len(good) == len(EXAMPLES) >= 3
    text = example.read_bytes()
    assert text.startswith(b"# yaml-language-server: $schema=./schema.json\n")
    assert refused_by_schema(read_yaml(text).data) == []


@pytest.mark.parametrize(
    ("said", "where"),
    [
        ("params: {staging_url: /s}", ["$"]),
        ("path: milvs_to_milvus\nparams: {}", ["$.path"]),
        ("path: milvus_to_milvus\nparams: {}", ["$.params"]),
        ("path: milvus_to_milvus\nparams: {staging_url: ''}", ["$.params.staging_url"]),
        (PLAIN + "  since_pc: 1", ["$.params"]),
        (PLAIN + "  tables_url: /t", ["$.params"]),
        (PLAIN + "  chunk_mb: 0", ["$.params.chunk_mb"]),
        (PLAIN + "  mapping: {a: {fields: [{source: a, typ: INT8}]}}", None),
        (PLAIN + "  on_duplicate_id: keep_last", ["$.params.on_duplicate_id"]),
        (PLAIN + "schedul: '@daily'", ["$"]),
        (PLAIN + "schedule: {assets: []}", ["$.schedule"]),
    ],
)
def test_the_schema_marks_what_the_models_refuse(tmp_path, said, where):
    assert said_of(tmp_path, said)
    found = refused_by_schema(read_yaml(said.encode()).data)
    assert found and (where is None or found == where)
