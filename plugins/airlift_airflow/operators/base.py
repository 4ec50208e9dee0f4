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

from airlift_airflow.opening import migration_id_of, open_migration
from airlift_airflow.triggers.server_work import ServerWorkTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

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
    from airlift.errors import AirliftError, Mismatch, Refused

    try:
        yield
    except AirliftError as error:
        reasons = list(getattr(error, "reasons", [str(error)]))
        for reason in reasons:
            log.error("%s", reason)
        task.xcom_push(ERROR_KEY, reasons)
        final = isinstance(error, (Refused, Mismatch))
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

    def __init__(self, *, source: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.source = source

    @property
    def index(self) -> int:
        """The number of a mapped task; -1 for one that is not mapped."""
        return -1

    def execute(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        """Opens the migration and runs the step; again with the trigger's event after a wait."""
        from airlift.timing import timed

        params = dict(context["params"])
        if params.get("dry_run") and not self.runs_when_dry:
            raise AirflowSkipException("dry_run: stopped after the plan")
        with (
            told_plainly(context["ti"]),
            open_migration(self.source, params, self.migration_id(context)) as one,
        ):
            began = (event or {}).get("started")
            clock = timed(one, self.step_name, self.index, began, keep=self.is_timed)
            with clock as self._timed:
                if event is None:
                    return self.step(one, context)
                if event.get("error"):
                    self.log.warning("the triggerer gave up waiting: %s", event["error"])
                return self.after_wait(one, context)

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
        return migration_id_of(dict(context["params"]), run.run_id, run.run_after)

    @property
    def step_name(self) -> str:
        """What the report calls the step."""
        return re.sub(r"^.*\.", "", self.task_id)

    @abstractmethod
    def step(self, migration: Migration, context: Context) -> Any:
        """Runs the step."""
