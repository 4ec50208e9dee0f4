"""The claims of an Airflow run, and how one tells whether another run still works."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airlift.claims import Claims, Holder
    from airlift.storage import Storage


def claims_of_run(context: Context, staging_root: Storage, migration_id: str) -> Claims:
    """The claims of the run that a task belongs to.

    Args:
        staging_root: the folder that `staging_url` names.
    """
    from airlift.claims import Claims, Holder, process_lives

    run, task = context["dag_run"], context["ti"]
    own = Holder(
        airflow=_this_airflow(),
        dag_id=run.dag_id,
        run_id=run.run_id,
        migration_id=migration_id,
        host=socket.gethostname(),
    )

    def lives(other: Holder) -> bool:
        if not other.run_id:
            return process_lives(other)
        if other.airflow != own.airflow:
            return True  # nobody here knows
        # A run that was deleted counts as none.
        active = task.get_dr_count(
            dag_id=other.dag_id, run_ids=[other.run_id], states=["queued", "running"]
        )
        return bool(active)

    return Claims(staging_root, own, lives)


def _this_airflow() -> str:
    """Names this Airflow among those that may share a staging folder."""
    from airflow.configuration import conf

    url = conf.get("core", "execution_api_server_url", fallback="") or conf.get(
        "api", "base_url", fallback=""
    )
    if (urlsplit(url).hostname or "localhost") in ("localhost", "127.0.0.1", "::1", "0.0.0.0"):  # noqa: S104
        return f"{socket.gethostname()} {url}".strip()
    return url
