"""Undoes a migration: removes what it made on the target and in staging, and nothing else."""

from datetime import timedelta

from airflow.sdk import DAG

from airlift.rollback_params import RollbackParams
from airlift_airflow.operators.rolling_back import ListOperator, RemoveOperator
from airlift_airflow.params import airflow_params

DOC = """
### Undo a migration

Removes the collections, aliases and databases that a migration made, and its files in staging. An
alias that it moved points to where it pointed before. Give its `migration_id` (the report and the
folder in staging are named so), and `staging_url` and `target_conn_id` as the migration had them.

The task `list_what_was_made` shows what there is; with `dry_run` nothing more is done. A collection
that has another number of rows than when it was verified, or an alias that others made, is not
touched, and nothing else then. Rows that were added to a collection that was there before stay.

Mark a run that is still going as failed first.
"""

with DAG(
    "rollback_migration",
    description="Removes what a migration made on the target and in staging, and nothing else",
    doc_md=DOC,
    schedule=None,
    catchup=False,
    tags=["milvus", "migration"],
    params=airflow_params(RollbackParams),
    default_args={"retries": 2, "retry_delay": timedelta(seconds=10)},
) as dag:
    ListOperator(task_id="list_what_was_made") >> RemoveOperator(task_id="remove")
