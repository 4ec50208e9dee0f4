"""The operators after the rows are in: index, load, verify, publish, clean up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import Asset

from airlift_airflow.links import MigrationLink, ReportLink
from airlift_airflow.operators.base import MigrationOperator
from airlift_airflow.xcom import bounded

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airlift.migration import Migration


class IndexOperator(MigrationOperator):
    """Builds the indexes; the wait is the triggerer's."""

    def step(self, migration: Migration, context: Context) -> Any:
        """Runs the step."""
        from airlift.steps.index import build_indexes, rows_to_index

        built = build_indexes(migration)
        if migration.params.wait_for_index and rows_to_index(migration) != 0:
            self.wait_for_server(migration, context, "indexes")
        return built


class LoadOperator(MigrationOperator):
    """Loads the collections and waits."""

    def step(self, migration: Migration, context: Context) -> Any:
        """Runs the step."""
        from airlift.steps.index import load_collections

        return load_collections(migration)


class VerifyOperator(MigrationOperator):
    """Compares what the target holds with what the source held."""

    def step(self, migration: Migration, context: Context) -> Any:
        """Runs the step."""
        from airlift.steps.verify import verify

        return verify(migration)


class PublishOperator(MigrationOperator):
    """Switches aliases, writes the report, and emits the Asset event with the counts.

    Args:
        asset: what other DAGs can be scheduled on.
    """

    operator_extra_links = (MigrationLink(), ReportLink())

    def __init__(self, *, asset: Asset, **kwargs: Any) -> None:
        super().__init__(outlets=[asset], **kwargs)
        self.asset = asset

    def step(self, migration: Migration, context: Context) -> Any:
        """Runs the step."""
        from airlift.steps.publish import publish

        published = publish(migration)
        context["outlet_events"][self.asset].extra = {
            "migration_id": migration.id,
            **bounded(published),
        }
        self.log.info("every row arrived; the report is %s", published["report"])
        return published


class CleanStagingOperator(MigrationOperator):
    """Cleans up after a run, however it ended, and says whether it came to its end.

    Airflow lets it run also when the run was marked failed. What was pending then is "skipped",
    and Airflow would call such a run a success: so the run's state is this task's own.
    """

    is_timed: ClassVar[bool] = False
    runs_when_dry: ClassVar[bool] = True
    claims_first: ClassVar[bool] = False

    def step(self, migration: Migration, context: Context) -> Any:
        """Removes the data files of a migration that is done; keeps all after a failure.

        Raises:
            Unfinished: the run did not come to its end.
        """
        from airlift.claims import Taken
        from airlift.errors import Unfinished

        why_not = self._why_not_whole(migration, context)
        cleaned: dict[str, Any] = {}
        if migration.staging.folder.list():
            try:
                cleaned = self._clean(migration, context, is_whole=not why_not)
            except Taken as taken:
                self.log.warning("nothing is cleaned: %s", taken)
        if why_not:
            raise Unfinished(why_not)
        return cleaned

    def _clean(self, migration: Migration, context: Context, is_whole: bool) -> dict[str, Any]:
        from airlift.steps.claim import claimed_migration
        from airlift.steps.publish import clean_staging
        from airlift.steps.unfinished import end_unfinished

        claims = self.claims(migration, context)
        claims.take(claimed_migration(migration.id))
        try:
            for left in end_unfinished(migration, is_whole):
                self.log.warning("%s", left.told)
            cleaned = clean_staging(migration)
        finally:
            claims.give_back()
        why = cleaned.get("kept_because")
        told = f"kept everything: {why}" if why else f"removed {cleaned['removed']:,} data files"
        self.log.info("staging: %s", told)
        return cleaned

    def _why_not_whole(self, migration: Migration, context: Context) -> str:
        """Why the run did not come to its end; "" when it did."""
        run, last = context["dag_run"], "plan" if migration.params.dry_run else "publish"
        asked = context["ti"].get_task_states(dag_id=run.dag_id, run_ids=[run.run_id])
        states = asked.get(run.run_id, {})
        if states.get(last) == "success":
            return ""
        failed = sorted(name for name, state in states.items() if state == "failed")
        return (
            f"the run did not come to its end: {last} is {states.get(last)}; "
            + (f"failed, or stopped by hand: {', '.join(failed)}" if failed else "it was stopped")
            + "; clear what did not succeed to go on where it stopped"
        )
