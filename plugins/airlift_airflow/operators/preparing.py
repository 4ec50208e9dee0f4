"""The operators up to the plan: nothing of them writes to the target's collections."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar

from airlift_airflow.links import MigrationLink, ReportLink
from airlift_airflow.operators.base import MigrationOperator
from airlift_airflow.xcom import bounded

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airlift.migration import Migration
    from airlift.plan import Plan
    from airlift.sources.base import SourceFile

# Fewer, larger tasks cost less than many small ones.
_MAX_MAPPED = 256
_COPY_TASKS = 8


def max_mapped() -> int:
    """The most tasks that a step is mapped to; Airflow refuses more than its max_map_length."""
    from airflow.configuration import conf

    return min(_MAX_MAPPED, conf.getint("core", "max_map_length"))


def _workers_share_disk() -> bool:
    """Whether all tasks run on this machine, so that its disk is theirs."""
    from airflow.configuration import conf

    executors = conf.get("core", "executor").split(",")
    return all(name.rsplit(".", 1)[-1] in _LOCAL_EXECUTORS for name in executors)


_LOCAL_EXECUTORS = {"LocalExecutor", "SequentialExecutor"}


def _copy_groups(migration: Migration) -> list[list[SourceFile]]:
    """The files to copy, divided among tasks; the same in every task of the run."""
    from airlift.steps.copy_source import files_to_copy, group_files

    return group_files(
        files_to_copy(migration, _workers_share_disk()), min(_COPY_TASKS, max_mapped())
    )


class CheckOperator(MigrationOperator):
    """Connects to both ends and refuses what can't work, with every reason at once."""

    operator_extra_links = (MigrationLink(),)
    runs_when_dry: ClassVar[bool] = True
    claims_first: ClassVar[bool] = False

    def step(self, migration: Migration, context: Context) -> Any:
        """Runs the step."""
        from airlift.steps.check import check
        from airlift.steps.claim import claim

        found = check(migration)
        # Only now is it known that staging can be written.
        claim(migration, self.claims(migration, context))
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
        from airlift.steps.assess import assess
        from airlift.steps.claim import claim_planned
        from airlift.steps.others_imports import wait_for_others_imports
        from airlift.steps.publish import write_report

        if migration.params.dry_run:
            self._tell(assess(migration, max_mapped(), _workers_share_disk()), context)
            self.log.info("dry run: see %s", write_report(migration, "planned"))
            return []
        plan = self._plan(migration)
        claim_planned(migration, self.claims(migration, context))
        wait_for_others_imports(migration)
        self._tell(plan, context)
        return list(range(len(plan.batches)))

    def _plan(self, migration: Migration) -> Plan:
        from airlift.steps.copy_source import finish_copy
        from airlift.steps.plan import make_plan

        files = list(chain.from_iterable(_copy_groups(migration)))
        if files:
            finish_copy(migration, files)
            migration.source.read_from(migration.staging.copied_source)
        return make_plan(migration, max_mapped())

    def _tell(self, plan: Plan, context: Context) -> None:
        """Logs the plan's numbers and keeps them as an XCom."""
        from airlift.steps.plan import summary

        planned = summary(plan)
        context["ti"].xcom_push("summary", bounded(planned))
        for name, counts in planned["collections"].items():
            told = (name, counts["rows"], counts["chunks"], counts["way"])
            self.log.info("%s: %s rows in %s chunks by %s", *told)
