"""The operators of `rollback_migration`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from airlift_airflow.claiming import claims_of_run
from airlift_airflow.operators.base import told_plainly

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airlift.rollback import Rollback


@contextmanager
def _rollback(context: Context) -> Iterator[Rollback]:
    from airlift.rollback import Rollback
    from airlift.rollback_params import RollbackParams
    from airlift_airflow.connections import AirflowConnections
    from airlift_airflow.opening import checked

    with told_plainly(context["ti"]):
        params = checked(RollbackParams, dict(context["params"]))
        rollback = Rollback(params, AirflowConnections())
        try:
            yield rollback
        finally:
            rollback.close()


class ListOperator(BaseOperator):
    """Lists what the migration made and what would be removed; refuses where others changed it."""

    def execute(self, context: Context) -> Any:
        """Runs the step."""
        with _rollback(context) as rollback:
            found = rollback.listed()
        for what, names in found.model_dump().items():
            self.log.info("%s: %s", what.replace("_", " "), names or "none")
        return found.model_dump(mode="json")


class RemoveOperator(BaseOperator):
    """Removes it."""

    def execute(self, context: Context) -> Any:
        """Runs the step."""
        if context["params"].get("dry_run"):
            raise AirflowSkipException("dry_run: nothing is removed")
        with _rollback(context) as rollback:
            migration_id = context["params"]["migration_id"]
            claims = claims_of_run(context, rollback.root, migration_id)
            try:
                rollback.claim(claims)
                return rollback.undo().model_dump(mode="json")
            finally:
                claims.give_back()
