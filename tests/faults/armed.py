"""Kills processes of a real Airflow at chosen points.

Airflow imports `airflow_local_settings` in each of its processes; that of the tests calls `arm`. A
process that opens a migration looks whether a point is set for it, and dies there, once.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.faults.points import Point, Watch, kill_me

# Only those whose processes, or forks, open migrations: the others start sooner without.
_SETTINGS = """import sys

if {{"scheduler", "triggerer"}} & set(sys.argv):
    sys.path.append({root!r})
    import tests.engine_imports as _imported
    from tests.faults.armed import arm as _arm

    _arm({folder!r})
"""


def write_settings(home: Path, folder: Path) -> None:
    """Has an Airflow kill its processes as the files in the folder say."""
    root = Path(__file__).resolve().parents[2]
    (home / "config").mkdir(parents=True, exist_ok=True)
    settings = _SETTINGS.format(root=str(root), folder=str(folder))
    (home / "config" / "airflow_local_settings.py").write_text(settings)


def set_point(folder: Path, migration_id: str, process: str, point: Point) -> None:
    """Sets a point for one process of a migration.

    Args:
        process: `scheduler`, which the tasks' processes are forked from, or `triggerer`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{migration_id}.{process}.json").write_text(json.dumps(asdict(point)))


def fired(folder: Path, migration_id: str) -> bool:
    """Whether a point was reached."""
    return any(folder.glob(f"{migration_id}.*.fired"))


def arm(folder: str) -> None:
    """Makes this process look for its point when it opens a migration."""
    from airlift.migration import Migration

    begin = Migration.__init__
    process = "triggerer" if "triggerer" in sys.argv else "scheduler"

    def init(self: Any, source: str, params: Any, migration_id: str, connections: Any) -> None:
        begin(self, source, params, migration_id, connections)
        plan = Path(folder) / f"{migration_id}.{process}.json"
        if not plan.exists():
            return

        def end() -> None:
            try:
                plan.rename(plan.with_suffix(".fired"))
            except FileNotFoundError:
                return  # another process was killed there
            kill_me()

        Watch(Point(**json.loads(plan.read_text())), end).begin()

    Migration.__init__ = init  # type: ignore[method-assign]
