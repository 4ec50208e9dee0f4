"""Opens the migration that a task or a trigger works on."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from pydantic import BaseModel

    from airlift.migration import Migration

Model = TypeVar("Model", bound="BaseModel")


def migration_id_of(params: dict[str, Any], dag_id: str, run_id: str, run_after: datetime) -> str:
    """The param `migration_id`, or a name made from the run: the same for all tasks of the run.

    Runs of two DAGs on one schedule have one `run_id`, and the hour that is repeated when summer
    time ends has each clock time twice: hence the DAG's id in the digest, and UTC.
    """
    if params.get("migration_id"):
        return str(params["migration_id"])
    digest = hashlib.sha256(f"{dag_id}\n{run_id}".encode()).hexdigest()[:6]
    return f"m{run_after.astimezone(UTC):%Y%m%d_%H%M%S}_{digest}"


def open_migration(source: str, params: dict[str, Any], migration_id: str) -> Migration:
    """The migration that a task or trigger works on.

    Raises:
        AirliftError: the params are wrong; with every reason.
    """
    from airlift.migration import Migration
    from airlift.sources.registry import params_class
    from airlift_airflow.connections import AirflowConnections

    given = checked(params_class(source), params)
    return Migration(source, given, migration_id, AirflowConnections())


def checked(model: type[Model], params: dict[str, Any]) -> Model:
    """A run's params as their model.

    Raises:
        Refused: they are wrong; with every reason.
    """
    from pydantic import ValidationError

    from airlift.errors import Refused

    try:
        return model.model_validate({name: one for name, one in params.items() if one is not None})
    except ValidationError as error:
        raise Refused(
            f"{_where(one['loc'])}: {one['msg'].removeprefix('Value error, ')}"
            for one in error.errors(include_url=False, include_input=False)
        ) from error


def _where(place: tuple[int | str, ...]) -> str:
    """The param that a validation error is about; the whole model has no place."""
    return f"param {'.'.join(map(str, place))}" if place else "params"
