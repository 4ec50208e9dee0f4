"""Runs a whole migration in this process, step by step, without Airflow.

The DAGs do the same with a task for each step; tests and benchmarks use this.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from airlift.claims import Claims, Holder, Taken
from airlift.errors import AirliftError
from airlift.migration import Migration
from airlift.steps.assess import assess
from airlift.steps.check import check
from airlift.steps.claim import claim, claim_planned
from airlift.steps.convert import convert_batch
from airlift.steps.copy_source import copy_files, files_to_copy, finish_copy
from airlift.steps.create import create
from airlift.steps.export_meta import export_meta
from airlift.steps.import_chunks import BatchImport
from airlift.steps.index import build_indexes, load_collections, rows_to_index
from airlift.steps.others_imports import wait_for_others_imports
from airlift.steps.plan import make_plan
from airlift.steps.publish import clean_staging, publish, write_report
from airlift.steps.verify import verify
from airlift.steps.write_chunks import write_batch
from airlift.task import task
from airlift.waiting import wait_for

_SERVER_SECONDS = 24 * 3600.0


def run(migration: Migration, max_batches: int = 64) -> dict[str, Any]:
    """Runs every step in order.

    Returns:
        What `publish` returns; for a dry run the report's address.
    """
    claims = Claims(migration.staging_root, Holder.this_process(migration.id))
    try:
        return _steps(migration, claims, max_batches)
    except Taken:
        raise  # what is there is another's
    except BaseException:
        # What Airflow's teardown task does; the failure itself is what is to be told.
        with suppress(AirliftError):
            migration.source.finish()
        raise
    finally:
        with suppress(AirliftError):  # once this process has ended, they don't count
            claims.give_back()


def _steps(migration: Migration, claims: Claims, max_batches: int) -> dict[str, Any]:
    with task(migration, "check"):
        check(migration)
    claim(migration, claims)
    with task(migration, "export_meta"):
        export_meta(migration)
    if migration.params.dry_run:
        with task(migration, "plan"):
            assess(migration, max_batches, workers_share_disk=True)
        migration.source.finish()
        return {"report": write_report(migration, "planned")}
    with task(migration, "copy_source"):
        files = files_to_copy(migration, workers_share_disk=True)
        if files:
            copy_files(migration, files)
            finish_copy(migration, files)
            migration.source.read_from(migration.staging.copied_source)
    with task(migration, "plan"):
        plan = make_plan(migration, max_batches)
        claim_planned(migration, claims)
        wait_for_others_imports(migration)
    for index in range(len(plan.batches)):
        with task(migration, "convert", index):
            convert_batch(migration, index)
    with task(migration, "create"):
        create(migration)
    for index in range(len(plan.batches)):
        with task(migration, "bulk_insert", index):
            move_in(migration, index)
    with task(migration, "index"):
        build_indexes(migration)
        if migration.params.wait_for_index:
            wait_for(lambda: rows_to_index(migration), lambda rows: rows == 0, _SERVER_SECONDS)
    with task(migration, "load"):
        load_collections(migration)
    with task(migration, "verify"):
        verify(migration)
    with task(migration, "publish"):
        published = publish(migration)
    clean_staging(migration)
    return published


def move_in(migration: Migration, index: int) -> None:
    """Gets a batch into the target and waits for it."""
    write_batch(migration, index)
    batch = BatchImport(migration, index)
    batch.submit()
    wait_for(batch.finish, lambda running: running == 0, _SERVER_SECONDS, slowest=0.5)
