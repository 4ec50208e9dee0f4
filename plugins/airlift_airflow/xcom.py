"""Keeps what tasks hand to Airflow's database small, however large a migration is."""

from __future__ import annotations

from itertools import islice
from typing import Any

_MOST = 300
"""Entries of a list or mapping; more than a step is mapped to."""


def bounded(value: Any) -> Any:
    """A value for XCom or the task's store: of long lists and mappings the beginning only.

    What is left out is told by an entry of its own; all of it stands in staging and in the report.
    """
    if isinstance(value, dict):
        kept = {key: bounded(one) for key, one in islice(value.items(), _MOST)}
        return kept | ({"…": _told(value)} if len(value) > _MOST else {})
    if isinstance(value, list):
        kept_items = [bounded(one) for one in value[:_MOST]]
        return kept_items + ([_told(value)] if len(value) > _MOST else [])
    return value


def _told(value: Any) -> str:
    return f"and {len(value) - _MOST:,} more: see the report"
