"""Starts everything, migrates the sample data by the real DAG, and shows what came of it."""

from __future__ import annotations

import argparse
import fcntl
import json
import platform
import shutil
import signal
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from demo.paths import PATHS, make_sample
from demo.terminal import show_progress, show_report
from localservers import AirflowStandalone, LocalServerError, Milvus, MilvusLite

ROOT = Path(__file__).resolve().parent.parent
_RUN_SECONDS = 600


def main() -> int:
    """Runs the demo; returns the exit code."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument(
        "path", nargs="?", default="milvus1x_to_milvus", choices=list(PATHS), help="what to show"
    )
    parser.add_argument("--once", action="store_true", help="stop when the migration has ended")
    arguments = parser.parse_args()
    # A shell that starts it with & would have Ctrl-C ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with ExitStack() as stack:
        home, lock = _own_home()
        stack.callback(lock.close)
        try:
            return _demo(stack, home, arguments.path, arguments.once)
        except LocalServerError as error:
            print(f"the demo could not start: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("\nstopping")
            return 130


def _own_home() -> tuple[Path, IO[str]]:
    """A folder for Airflow and Milvus that no other running demo uses, and the lock on it."""
    for number in range(1, 100):
        home = ROOT / ".airflow" / ("demo" if number == 1 else f"demo-{number}")
        home.mkdir(parents=True, exist_ok=True)
        lock = (home / "lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            continue
        return home, lock
    raise LocalServerError("99 demos run already")


def _demo(stack: ExitStack, home: Path, dag_id: str, once: bool) -> int:
    embedded = platform.system() == "Linux" and platform.machine() == "x86_64"
    print(
        f"Starting Airflow and {'Milvus 2.3.5' if embedded else 'Milvus Lite'} in {home}",
        flush=True,
    )
    # The Test button of the connection form is off in Airflow unless one asks for it.
    env = {"AIRFLOW__CORE__TEST_CONNECTION": "Enabled"}
    airflow = AirflowStandalone(home / "airflow", ROOT / "dags", ROOT / "plugins", env=env)
    stack.callback(airflow.stop)
    airflow.start()
    # Each demo begins with an empty Milvus; Airflow keeps its history.
    shutil.rmtree(home / "milvus", ignore_errors=True)
    milvus = stack.enter_context((Milvus if embedded else MilvusLite)(home / "milvus"))
    staging = Path(milvus.data_dir) / "staging" if embedded else home / "staging"
    sample = make_sample(dag_id, stack, home, lite=not embedded)
    airflow.wait_healthy()
    host, port = milvus.address.rsplit(":", 1)
    target = {"connection_id": "milvus_default", "conn_type": "milvus", "host": host}
    for connection in [{**target, "port": int(port)}, *sample.connections]:
        _say_connection(airflow, connection)
    airflow.wait_for_dag(dag_id)
    airflow.unpause(dag_id)
    conf = {**sample.params, "staging_url": str(staging), "verify": "full"}
    print(f"\nAirflow: {airflow.base_url}  (user {airflow.username}, password {airflow.password})")
    print(f"Triggering {dag_id} by REST with\n{json.dumps(conf, indent=2)}\n", flush=True)
    run_id = airflow.trigger(dag_id, conf)
    state = show_progress(airflow, dag_id, run_id)
    code = _show_result(airflow, dag_id, run_id, state, staging)
    page = f"{airflow.base_url}/dags/{dag_id}/runs/{run_id}"
    print(f"The run in Airflow's UI: {page}")
    print(f"  user {airflow.username}, password {airflow.password}", flush=True)
    print("  To run it again there, give another target_database: these collections exist now.")
    if not once:
        print("Airflow and Milvus go on running; Ctrl-C stops them.", flush=True)
        threading.Event().wait()
    return code


def _say_connection(airflow: AirflowStandalone, body: dict[str, Any]) -> None:
    """Makes a connection that the DAG's params name, or changes it to lead to this server."""
    name = body["connection_id"]
    there = airflow.request("GET", "/connections")["connections"]
    if any(one["connection_id"] == name for one in there):
        airflow.request("PATCH", f"/connections/{name}", json=body)
    else:
        airflow.request("POST", "/connections", json=body)


def _show_result(
    airflow: AirflowStandalone, dag_id: str, run_id: str, state: str, staging: Path
) -> int:
    """Prints the report, or the log of what failed; returns the exit code."""
    if state == "success":
        newest = max(staging.glob("*/report.json"), key=lambda path: path.stat().st_mtime)
        show_report(json.loads(newest.read_text()))
        print(f"Report: {newest.with_suffix('.html')}")
        return 0
    for task in airflow.task_instances(dag_id, run_id):
        if task["state"] == "failed":
            print(f"\n{task['task_id']} failed:")
            log = airflow.task_log(dag_id, run_id, task["task_id"], map_index=task["map_index"])
            print(log[-3000:])
    return 1


if __name__ == "__main__":
    sys.exit(main())
