"""The operators up to the plan: nothing of them writes to the target's collections."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar

from airlift_airflow.links import MigrationLink, ReportLink
from airlift_airflow.operators.base import MigrationOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airlift.migration import Migration
    from airlift.sources.base import SourceFile

# Airflow refuses to map more tasks than [core] max_map_length; fewer, larger ones cost less anyway.
MAX_MAPPED = 256
_COPY_TASKS = 8


def _workers_share_disk() -> bool:
    """Whether all tasks run on this machine, so that its disk is theirs."""
    from airflow.configuration import conf

    executors = conf.get("core", "executor").split(",")
    return all(name.rsplit(".", 1)[-1] in _LOCAL_EXECUTORS for name in executors)


_LOCAL_EXECUTORS = {"LocalExecutor", "SequentialExecutor"}


def _copy_groups(migration: Migration) -> list[list[SourceFile]]:
    """The files to copy, divided among tasks; the same in every task of the run."""
    from airlift.steps.copy_source import files_to_copy, group_files

    return group_files(files_to_copy(migration, _workers_share_disk()), _COPY_TASKS)


class CheckOperator(MigrationOperator):
    """Connects to both ends and refuses what can't work, with every reason at once."""

    operator_extra_links = (MigrationLink(),)
    runs_when_dry: ClassVar[bool] = True

    def step(self, migration: Migration, context: Context) -> Any:
        """Runs the step."""
        from airlift.steps.check import check

        found = check(migration)
        self.log.info("migration %s into %s", migration.id, found["target"])
        return found


class ExportMetaOperator(MigrationOperator):
    """Describes the source's collections into staging; returns the numbers of the copy tasks."""

    runs_when_dry: ClassVar[bool] = True

    def step(self, migration: Migration, context: Context) -> Any:
        """Runs the step."""
        from airlift.steps.export_meta import export_meta

        for name, counts in export_meta(migration)["collections"].items():
            self.log.info("%s: %s", name, counts)
        if migration.params.dry_run:
            return []
        return list(range(len(_copy_groups(migration))))


class CopySourceOperator(MigrationOperator):
    """Copies a part of the source's files into staging.

    Args:
        group: the part's number.
    """

    def __init__(self, *, group: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.group = group

    @property
    def index(self) -> int:
        """The number of the mapped task."""
        return self.group

    def step(self, migration: Migration, context: Context) -> Any:
        """Runs the step."""
        from airlift.steps.copy_source import copy_files

        return copy_files(migration, _copy_groups(migration)[self.group])


class PlanOperator(MigrationOperator):
    """Cuts the collections into chunks; returns the numbers of the batches."""

    operator_extra_links = (MigrationLink(), ReportLink())
    runs_when_dry: ClassVar[bool] = True

    def step(self, migration: Migration, context: Context) -> Any:
        """Runs the step; a dry run ends here, with the report."""
        from airlift.steps.copy_source import finish_copy
        from airlift.steps.plan import make_plan, summary
        from airlift.steps.publish import write_report

        groups = [] if migration.params.dry_run else _copy_groups(migration)
        files = list(chain.from_iterable(groups))
        if files:
            finish_copy(migration, files)
            migration.source.read_from(migration.staging.copied_source)
        plan = make_plan(migration, MAX_MAPPED)
        planned = summary(plan)
        context["ti"].xcom_push("summary", planned)
        for name, counts in planned["collections"].items():
            told = (name, counts["rows"], counts["chunks"], counts["way"])
            self.log.info("%s: %s rows in %s chunks by %s", *told)
        if migration.params.dry_run:
            self.log.info("dry run: see %s", write_report(migration, "planned"))
            return []
        return list(range(len(plan.batches)))
