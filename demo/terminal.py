"""What the demo prints: the run's progress and the report."""

from __future__ import annotations

import time
from typing import Any

from localservers import AirflowStandalone

_MARKS = {"success": "✓", "failed": "✗", "upstream_failed": "✗", "skipped": "-", "deferred": "…"}
_SHOWN = set(_MARKS) | {"running", "up_for_retry"}
_ENDED = {"success", "failed"}


def show_progress(airflow: AirflowStandalone, dag_id: str, run_id: str) -> str:
    """Prints every task as it begins and ends; returns the run's final state."""
    shown: dict[tuple[str, int], str] = {}
    start = time.monotonic()
    while True:
        state = airflow.run_state(dag_id, run_id)
        for task in airflow.task_instances(dag_id, run_id):
            key = (task["task_id"], task["map_index"])
            now = task["state"] or ""
            if now in _SHOWN and shown.get(key) != now:
                shown[key] = now
                index = f"[{key[1]}]" if key[1] >= 0 else ""
                mark = _MARKS.get(now, " ")
                told = f"{mark} {key[0]}{index}"
                print(f"  {time.monotonic() - start:6.1f} s  {told:<22} {now}", flush=True)
        if state in _ENDED:
            return state
        time.sleep(0.5)


def show_report(report: dict[str, Any]) -> None:
    """Prints the counts at each step, how they were verified, and the times."""
    print(f"\nMigration {report['migration_id']}: {report['source']} -> {report['target']}\n")
    for one in report["collections"]:
        verified = one["verification"] or {}
        name = (
            one["source"]
            if one["source"] == one["target"]
            else (f"{one['source']} -> {one['target']}")
        )
        print(f"  {name}")
        for label, key in _COUNTS:
            print(f"    {label:<28}{one[key]:>12,}")
        print(f"    {'compared field by field':<28}{verified['sampled']:>12,}")
        print(f"    {'searched, found first':<28}{verified['found_first']:>12,}")
        if verified["fingerprint_source"]:
            equal = verified["fingerprint_source"] == verified["fingerprint_target"]
            print(f"    {'all rows read back':<28}{verified['compared']:>12,}")
            print(
                f"    fingerprints {'equal' if equal else 'DIFFER'}: "
                f"{verified['fingerprint_source']} {verified['fingerprint_target']}"
            )
        for note in one["notes"]:
            print(f"    note: {note}")
        print()
    times = ", ".join(f"{step['step']} {step['seconds']:.1f} s" for step in report["steps"])
    print(f"  Times: {times}\n")


_COUNTS = (
    ("rows at the source", "rows_source"),
    ("deleted there", "rows_deleted"),
    ("left out", "rows_left_out"),
    ("converted", "rows_converted"),
    ("imported", "rows_imported"),
    ("counted on the target", "rows_counted"),
)
