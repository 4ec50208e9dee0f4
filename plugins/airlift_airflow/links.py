"""Buttons on tasks that lead to the migration page and to the report."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import attrs
from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

PREFIX = "airlift"
"""Where the page's routes are, below Airflow's own address."""
TAB = "airlift-migration"
"""The tab's part of a run's address."""


def _address(path: str) -> str:
    """A path below Airflow's own address, on whatever host the browser knows it by."""
    from airflow.configuration import conf

    base = urlsplit(conf.get("api", "base_url", fallback="/")).path.rstrip("/")
    return f"{base}/{path}"


def _run(key: TaskInstanceKey) -> str:
    return f"dags/{quote(key.dag_id, safe='')}/runs/{quote(key.run_id, safe='')}"


@attrs.define()
class MigrationLink(BaseOperatorLink):
    """Leads to the run's page."""

    @property
    def name(self) -> str:
        """What the button says."""
        return "Migration"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """The page's address."""
        return _address(f"{_run(ti_key)}/plugin/{TAB}")


@attrs.define()
class ReportLink(BaseOperatorLink):
    """Leads to the report."""

    @property
    def name(self) -> str:
        """What the button says."""
        return "Report"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """The report's address; the page's own route serves it to those who may see the run."""
        return _address(f"{PREFIX}/{_run(ti_key)}/report")
