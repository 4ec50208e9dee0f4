"""Makes the DAGs of declared migrations, and the import error of the files that declare none.

Two DAG files use it. Airflow 3.3 keeps one import error for each DAG file, and withdraws every DAG
of a file that has one: so the file that shows what is broken makes no DAGs of its own.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, NoReturn

from airflow.sdk import DAG, Asset, CronTriggerTimetable, get_parsing_context
from airflow.sdk.configuration import conf

from airlift.declared.declaration import TIMES_OF_AIRFLOW, AfterAssets, Declaration
from airlift.declared.reading import BrokenDeclarations, DeclaredMigration, read_folder
from airlift.errors import AirliftError
from airlift_airflow.migration_dag import migration_dag

log = logging.getLogger("airlift")


def declared_dags(dag_file: str) -> dict[str, DAG]:
    """The DAGs of all files that are right, by id; for a task's run, of its own file only.

    Args:
        dag_file: `__file__` of the DAG file that asks; see `migrations_folder`.
    """
    folder, running = migrations_folder(dag_file), get_parsing_context().dag_id
    if not folder.is_dir():
        return {}
    found, broken = read_folder(folder, lambda dag_id: running in (None, dag_id))
    for name in broken:
        log.warning("%s declares no migration; see the import errors", folder / name)
    return {one.dag_id: _dag(one) for one in found}


def broken_declarations(dag_file: str) -> DAG | None:
    """What shows as this DAG file's import error, with every reason; None when there is none."""
    folder = migrations_folder(dag_file)
    if folder.is_dir():
        _, broken = read_folder(folder)
        return _Broken.telling(BrokenDeclarations(folder, broken)) if broken else None
    if not _configured():
        return None
    return _Broken.telling(
        AirliftError(f"[airlift] migrations_folder names {folder}, and there is no such folder")
    )


def migrations_folder(dag_file: str) -> Path:
    """Airflow's option `[airlift] migrations_folder`; else `include/migrations` beside `dags`."""
    return Path(_configured() or Path(dag_file).resolve().parents[1] / "include" / "migrations")


def _configured() -> str:
    return str(conf.get("airlift", "migrations_folder", fallback=""))


class _Broken(DAG):
    """A DAG that Airflow can't bag: what it raises then is the import error, without a trace."""

    @classmethod
    def telling(cls, error: AirliftError) -> _Broken:
        made = cls("broken_declarations", schedule=None)
        made.error = error  # type: ignore[attr-defined]
        return made

    def validate(self) -> NoReturn:
        """Called by the DAG bag before it takes a DAG; what it raises becomes the import error."""
        raise self.error  # type: ignore[attr-defined]


def _dag(migration: DeclaredMigration) -> DAG:
    said = migration.declaration
    paused: dict[str, Any] = {}
    if said.paused is not None:
        paused["is_paused_upon_creation"] = said.paused
    return migration_dag(
        dag_id=migration.dag_id,
        source=migration.source,
        description=said.description,
        doc_md=_doc(migration),
        values=said.params,
        tags=("declared", *said.tags),
        owner=said.owner,
        schedule=_schedule(said),
        # Two runs of one migration would write into the same collections.
        max_active_runs=1,
        **paused,
    )


def _schedule(said: Declaration) -> Any:
    if isinstance(said.schedule, AfterAssets):
        return [
            Asset.ref(uri=one) if "://" in one else Asset.ref(name=one)
            for one in said.schedule.assets
        ]
    if said.schedule is None or said.schedule in TIMES_OF_AIRFLOW:
        return said.schedule
    return CronTriggerTimetable(said.schedule, timezone=said.timezone)


def _doc(migration: DeclaredMigration) -> str:
    said = migration.declaration
    return f"""
### {migration.name}

{said.description}

Declared in `{migration.file}`, and moved as `{said.path}` does. *Trigger* shows what is declared;
what is changed there holds for that run only. A run publishes the asset `{migration.dag_id}`.
"""
