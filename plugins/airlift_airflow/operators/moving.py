"""The operators that convert batches and get them into the target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airlift_airflow.operators.base import MigrationOperator
from airlift_airflow.xcom import bounded

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airlift.migration import Migration


class BatchOperator(MigrationOperator):
    """A step on one batch.

    Args:
        batch: its number in the plan.
    """

    def __init__(self, *, batch: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.batch = batch

    @property
    def index(self) -> int:
        """The number of the mapped task."""
        return self.batch


class ConvertOperator(BatchOperator):
    """Reads a batch's chunks and writes their files; what is done is not read again."""

    def step(self, migration: Migration, context: Context) -> Any:
        """Runs the step."""
        from airlift.steps.convert import convert_batch

        return convert_batch(migration, self.batch)


class CreateOperator(MigrationOperator):
    """Makes databases, collections and partitions on the target."""

    def step(self, migration: Migration, context: Context) -> Any:
        """Runs the step."""
        from airlift.steps.create import create

        return create(migration)


class BulkInsertOperator(BatchOperator):
    """Gets a batch's rows into the target, each exactly once.

    Where the target imports files by itself, the task submits the jobs, keeps their ids, and hands
    the wait to the triggerer; no worker slot is held.
    """

    def step(self, migration: Migration, context: Context) -> Any:
        """Submits import jobs, or inserts the rows."""
        from airlift.steps.import_chunks import BatchImport
        from airlift.steps.write_chunks import write_batch

        write_batch(migration, self.batch)
        jobs = BatchImport(migration, self.batch).submit()
        # Staging holds the ids too; here the UI's task page shows them.
        context["task_state_store"].set("import_jobs", bounded(jobs))
        return self.after_wait(migration, context)

    def after_wait(self, migration: Migration, context: Context) -> Any:
        """Checks what the jobs came to; waits for those that still run."""
        from airlift.steps.import_chunks import BatchImport

        if BatchImport(migration, self.batch).finish():
            self.wait_for_server(migration, context, "imports")
        return self.moved(migration)

    def when_stopped(self, migration: Migration) -> None:
        """Tells of the import jobs: they can't be stopped."""
        from airlift.steps.unfinished import unfinished_imports

        for one in unfinished_imports(migration, self.batch):
            self.log.warning("%s", one.told)

    def moved(self, migration: Migration) -> dict[str, int]:
        """Rows of the batch that are in."""
        staging = migration.staging
        records = staging.current_imports(staging.plan().batches[self.batch])
        return {"rows": sum(record.rows for record in records if record)}
