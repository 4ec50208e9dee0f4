"""Builds the DAG of a path: the same tasks for every source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Asset

from airlift.sources.registry import params_class
from airlift_airflow.limits import SOURCE_READS, TARGET_WRITES
from airlift_airflow.operators import finishing, moving, preparing
from airlift_airflow.params import airflow_params

TAG = "migration"
"""The tag of these DAGs, by which the migration page looks for them."""

# A task of an empty plan has nothing to map and is skipped; that must not skip what follows.
_NONE_FAILED = "none_failed"


def migration_dag(
    dag_id: str,
    source: str,
    description: str,
    doc_md: str,
    *,
    schedule: Any = None,
    values: Mapping[str, Any] | None = None,
    tags: Sequence[str] = (),
    owner: str = "",
    **arguments: Any,
) -> DAG:
    """The DAG of one path, or of a declared migration.

    Args:
        dag_id: `<source>_to_milvus`; also the name of the asset that a run publishes.
        source: the source system, as the entry-point group `airlift.sources` names it.
        description: one line, shown in the list of DAGs.
        doc_md: shown on the DAG's page.
        schedule: as a DAG takes it; None to run when triggered.
        values: of params, where they are not the model's defaults.
        tags: beside those of every migration.
        owner: of the tasks; empty for Airflow's default.
        arguments: others of the DAG.
    """
    owned = {"owner": owner} if owner else {}
    with DAG(
        dag_id,
        description=description,
        doc_md=doc_md,
        schedule=schedule,
        catchup=False,
        tags=["milvus", TAG, *tags],
        params=airflow_params(params_class(source), values),
        render_template_as_native_obj=True,
        default_args={
            "retries": 3,
            "retry_delay": timedelta(seconds=10),
            "retry_exponential_backoff": True,
            "max_retry_delay": timedelta(minutes=5),
            "trigger_rule": _NONE_FAILED,
            **owned,
        },
        **arguments,
    ) as dag:
        check = preparing.CheckOperator(task_id="check", source=source)
        export_meta = preparing.ExportMetaOperator(task_id="export_meta", source=source)
        copy_source = preparing.CopySourceOperator.partial(
            task_id="copy_source", source=source
        ).expand(group=export_meta.output)
        plan = preparing.PlanOperator(task_id="plan", source=source)
        convert = moving.ConvertOperator.partial(
            task_id="convert", source=source, **SOURCE_READS.arguments()
        ).expand(batch=plan.output)
        create = moving.CreateOperator(task_id="create", source=source)
        bulk_insert = moving.BulkInsertOperator.partial(
            task_id="bulk_insert", source=source, **TARGET_WRITES.arguments()
        ).expand(batch=plan.output)
        index = finishing.IndexOperator(task_id="index", source=source)
        load = finishing.LoadOperator(task_id="load", source=source)
        verify = finishing.VerifyOperator(task_id="verify", source=source)
        publish = finishing.PublishOperator(task_id="publish", source=source, asset=Asset(dag_id))
        clean_staging = finishing.CleanStagingOperator(
            task_id="clean_staging", source=source, retries=1
        ).as_teardown(on_failure_fail_dagrun=True)

        check >> export_meta >> copy_source >> plan >> convert >> create >> bulk_insert
        bulk_insert >> index >> load >> verify >> publish >> clean_staging
    return dag
