"""The operators after the rows are in: index, load, verify, publish, clean up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import Asset

from airlift_airflow.links import MigrationLink, ReportLink
from airlift_airflow.operators.base import MigrationOperator

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
        context["outlet_events"][self.asset].extra = {"migration_id": migration.id, **published}
        self.log.info("every row arrived; the report is %s", published["report"])
        return published


class CleanStagingOperator(MigrationOperator):
    """Removes the data files of a migration that is done; keeps all after a failure."""

    is_timed: ClassVar[bool] = False
    runs_when_dry: ClassVar[bool] = True

    def step(self, migration: Migration, context: Context) -> Any:
        """Runs the step."""
        from airlift.steps.publish import clean_staging

        cleaned = clean_staging(migration)
        why = cleaned.get("kept_because")
        told = f"kept everything: {why}" if why else f"removed {cleaned['removed']:,} data files"
        self.log.info("staging: %s", told)
        return cleaned
