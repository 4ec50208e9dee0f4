"""What the operators of a migration share: they open it, run one step, and tell errors plainly."""

from __future__ import annotations

import logging
import re
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from airlift_airflow.claiming import claims_of_run
from airlift_airflow.opening import migration_id_of, open_migration
from airlift_airflow.stopping import Stopped, ends_soon_when_told
from airlift_airflow.triggers.server_work import ServerWorkTrigger
from airlift_airflow.xcom import bounded

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airlift.claims import Claims
    from airlift.migration import Migration


ERROR_KEY = "error"
"""The XCom of a task that failed: its reasons, for the page; gone when the task starts again."""


@contextmanager
def told_plainly(task: Any) -> Iterator[None]:
    """Tells the engine's own errors as they are written, each reason on a line of its own.

    Airflow adds a few stack frames to any failure; the reasons stand above them. What can't be
    helped by trying again fails at once; the rest is retried as the DAG says.

    Args:
        task: the task instance, which keeps the reasons as an XCom.
    """
    from airlift.errors import AirliftError, Mismatch, Refused, Unfinished

    try:
        yield
    except AirliftError as error:
        reasons = list(getattr(error, "reasons", [str(error)]))
        for reason in reasons:
            log.error("%s", reason)
        task.xcom_push(ERROR_KEY, bounded(reasons))
        final = isinstance(error, (Refused, Mismatch, Unfinished))
        raise (AirflowFailException if final else AirflowException)(str(error)) from None


log = logging.getLogger("airlift")


class MigrationOperator(BaseOperator):
    """Runs one step of a migration; what it returns is its XCom (counts, never data).

    Args:
        source: the source system, as the entry-point group `airlift.sources` names it.
    """

    ui_color = "#e8f4f8"
    runs_when_dry: ClassVar[bool] = False
    is_timed: ClassVar[bool] = True
    claims_first: ClassVar[bool] = True
    """Whether the step begins with the run's claims; else it takes them by itself, or none."""

    def __init__(self, *, source: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.source = source

    @property
    def index(self) -> int:
        """The number of a mapped task; -1 for one that is not mapped."""
        return -1

    def execute(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        """Opens the migration and runs the step; again with the trigger's event after a wait."""
        params = dict(context["params"])
        if params.get("dry_run") and not self.runs_when_dry:
            raise AirflowSkipException("dry_run: stopped after the plan")
        with ends_soon_when_told(), told_plainly(context["ti"]):
            migration = open_migration(self.source, params, self.migration_id(context))
            with migration, self._telling_of_stop(migration):
                return bounded(self._run(migration, context, event or {}))

    def _run(self, migration: Migration, context: Context, event: dict[str, Any]) -> Any:
        from airlift.steps.claim import claim
        from airlift.task import task

        run, attempt = "", 0
        if self.claims_first:
            claim(migration, self.claims(migration, context))
            run = f"{context['dag_run'].dag_id} {context['dag_run'].run_id}"
            attempt = context["ti"].try_number
        with task(
            migration,
            self.step_name,
            self.index,
            event.get("started"),
            before_report=self.is_timed,
            run=run,
            attempt=attempt,
        ) as self._timed:
            if self._timed.set_back:
                self._tell_set_back(migration, context)
            if not event:
                return self.step(migration, context)
            if event.get("error"):
                self.log.warning("the triggerer gave up waiting: %s", event["error"])
            return self.after_wait(migration, context)

    def _tell_set_back(self, migration: Migration, context: Context) -> None:
        from airlift.staging import SetBack

        told = (
            f"Airflow began the task {self.task_id} of the run {context['dag_run'].run_id} as if "
            "for the first time, but staging knows that it was done: Airflow's database was set "
            "back to an earlier state. What staging knows counts: nothing is read or sent twice"
        )
        self.log.warning("%s", told)
        migration.staging.write("set_back.json", SetBack(told=told))

    def on_kill(self) -> None:
        """Gives up, when the task was marked failed or cleared, or its worker shuts down."""
        raise Stopped

    @contextmanager
    def _telling_of_stop(self, migration: Migration) -> Iterator[None]:
        from airlift.errors import AirliftError

        try:
            yield
        except Stopped:
            self.log.warning("told to stop: reading and writing have ended")
            try:
                self.when_stopped(migration)
            except AirliftError as error:
                self.log.warning("what the target goes on with can't be asked: %s", error)
            raise

    def when_stopped(self, migration: Migration) -> None:
        """Tells the log what goes on elsewhere, though the task has stopped."""

    def claims(self, migration: Migration, context: Context) -> Claims:
        """The claims of the task's run."""
        return claims_of_run(context, migration.staging_root, migration.id)

    def wait_for_server(self, migration: Migration, context: Context, work: str) -> NoReturn:
        """Hands the wait for the target to the triggerer; `after_wait` comes next.

        Args:
            work: what is waited for; see ServerWorkTrigger.
        """
        self.defer(
            trigger=ServerWorkTrigger(
                work=work,
                source=self.source,
                params=dict(context["params"]),
                migration_id=migration.id,
                batch=self.index,
                started=self._timed.started,
            ),
            method_name="execute",
        )

    def after_wait(self, migration: Migration, context: Context) -> Any:
        """Goes on after the wait; the step itself, where it does no harm again."""
        return self.step(migration, context)

    def migration_id(self, context: Context) -> str:
        """The migration's id, the same for all tasks of the run."""
        run = context["dag_run"]
        # A run without a logical date (triggered by hand, or by an asset) has this time too.
        return migration_id_of(dict(context["params"]), run.dag_id, run.run_id, run.run_after)

    @property
    def step_name(self) -> str:
        """What the report calls the step."""
        return re.sub(r"^.*\.", "", self.task_id)

    @abstractmethod
    def step(self, migration: Migration, context: Context) -> Any:
        """Runs the step."""
