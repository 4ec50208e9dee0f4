"""The fields of an Airflow connection, each with its complaint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airlift.errors import AirliftError

if TYPE_CHECKING:
    from airflow.sdk import Connection


def name_of(conn: Connection) -> str:
    """What messages call a connection."""
    return f"the {conn.conn_type} connection {conn.conn_id!r}"


def extra_of(conn: Connection) -> dict[str, Any]:
    """The extra as a dictionary; Airflow itself takes one that is no JSON for an empty one."""
    if conn.extra:
        try:
            found = json.loads(conn.extra)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise AirliftError(f"{name_of(conn)}: its extra was expected to be a JSON object")
    return conn.extra_dejson  # The same, and Airflow masks its secrets in logs from now on.


def known_extra(conn: Connection, known: Mapping[str, Any]) -> dict[str, Any]:
    """The extra; refuses settings that nothing reads."""
    extra = extra_of(conn)
    unknown = sorted(set(extra) - set(known))
    if unknown:
        raise AirliftError(
            f"{name_of(conn)} has unknown settings in its extra: {', '.join(unknown)}; known are "
            f"{', '.join(sorted(known))}"
        )
    return extra


def flag_of(conn: Connection, key: str, value: Any) -> bool:
    """What a field that is true or false says."""
    known = {"true": True, "1": True, "false": False, "0": False, "none": False, "": False}
    found = known.get(str(value).strip().lower())
    if found is None:
        raise AirliftError(
            f"{name_of(conn)}: {key} was expected to be true or false, not {value!r}"
        )
    return found
