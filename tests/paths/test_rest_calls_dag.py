"""The calls that the README shows, run as they are written there, by a shell with curl and jq."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import threading
from pathlib import Path

import pytest

from localservers import AirflowStandalone
from samples.milvus1x_tables import TableSpec, write_milvus1x

README = Path(__file__).resolve().parents[2] / "README.md"
SONGS = TableSpec("songs_by_rest", 2_000, dim=8, segments=2, deleted_fraction=0.1)


def shown_calls() -> tuple[str, dict[str, str]]:
    """What stands before the first call, and each call by the first word of its comment."""
    block = re.search(r"\*\*By REST\.\*\*.*?```sh\n(.*?)```", README.read_text(), re.DOTALL)
    assert block
    head, *calls = re.split(r"^# (?=\w)", block[1], flags=re.MULTILINE)
    by_word = {re.match(r"(?:A )?(\w+)", call)[1].lower(): call for call in calls}  # type: ignore[index]
    return head, {word: call.partition("\n")[2].strip() for word, call in by_word.items()}


@pytest.fixture(scope="module")
def places(milvus, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the README's example names -> what there is here."""
    folder = tmp_path_factory.mktemp("milvus1x")
    write_milvus1x(folder, [SONGS])
    return {
        "/var/lib/milvus1/db/tables": str(folder / "tables"),
        "/var/lib/milvus1/db/meta.sqlite": str(folder / "meta.sqlite"),
        "s3://milvus-bucket/staging": str(Path(milvus.data_dir) / "staging"),
        '"staging_conn_id": "milvus_bucket"': '"target_conn_id": "milvus_local"',
    }


def run_shell(script: str, password: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env={"PATH": "/usr/bin:/bin:/usr/local/bin", "PASSWORD": password, "no_proxy": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


def test_the_five_calls(airflow_and_milvus: AirflowStandalone, places: dict[str, str]) -> None:
    airflow = airflow_and_milvus
    airflow.wait_for_dag("milvus1x_to_milvus")
    airflow.unpause("milvus1x_to_milvus")
    head, calls = shown_calls()
    assert list(calls) == ["token", "trigger", "state", "progress", "report"]
    script = f"""
{head.replace("http://localhost:8080", airflow.base_url)}
{calls["token"]}
{calls["trigger"]}
while state=$({calls["state"]}); do
  case $state in success | failed) break ;; esac
done
echo "$state"
{calls["progress"].replace("| jq .", "| jq -c .")}
{calls["report"].replace("jq '", "jq -c '")}
"""
    for shown, real in places.items():
        assert shown in script
        script = script.replace(shown, real)

    done = run_shell(script, airflow.password)

    assert done.returncode == 0, done.stdout + done.stderr
    state, progress, report_state, report = done.stdout.splitlines()
    assert state == "success"
    assert SONGS.name in progress and json.loads(progress)
    assert json.loads(report_state) == "done"
    assert json.loads(report) == {
        "target": SONGS.name,
        "rows_source": 2_000,
        "rows_imported": 1_800,
        "rows_counted": 1_800,
    }


def test_what_is_wrong_is_told(
    airflow_and_milvus: AirflowStandalone, places: dict[str, str]
) -> None:
    airflow_and_milvus.wait_for_dag("milvus1x_to_milvus")
    head, calls = shown_calls()
    head = head.replace("http://localhost:8080", airflow_and_milvus.base_url)

    stranger = run_shell(f"{head}\n{calls['token']}", "wrong")
    assert stranger.returncode and "401" in stranger.stderr

    trigger = calls["trigger"].replace('"tables_url"', '"table_url"')
    wrong = run_shell(
        f"{head}\n{calls['token']}\n{trigger.replace('| jq -r .dag_run_id', '')}"
        ' || { echo "$run"; exit 22; }',
        airflow_and_milvus.password,
    )
    assert wrong.returncode and "tables_url" in wrong.stdout


def test_an_airflow_that_is_written_to_takes_a_trigger_once_it_can(
    airflow_and_milvus: AirflowStandalone, places: dict[str, str], tmp_path: Path
) -> None:
    """SQLite refuses while others write; the audit log in the API server's event loop, at once."""
    airflow = airflow_and_milvus
    airflow.wait_for_dag("milvus1x_to_milvus")
    conf = {
        "tables_url": places["/var/lib/milvus1/db/tables"],
        "meta_url": str(tmp_path / "missing.sqlite"),
        "staging_url": places["s3://milvus-bucket/staging"],
        "target_conn_id": "milvus_local",
    }
    database = sqlite3.connect(airflow.home / "airflow.db", check_same_thread=False, timeout=60)
    database.isolation_level = None
    database.execute("BEGIN IMMEDIATE")
    released = threading.Timer(6, database.execute, ["ROLLBACK"])
    released.start()
    try:
        run_id = airflow.trigger("milvus1x_to_milvus", conf, "taken_late")
    finally:
        held = released.is_alive()
        released.join()
        database.close()
    assert run_id == "taken_late" and not held
    assert airflow.wait("milvus1x_to_milvus", run_id) == "failed"
