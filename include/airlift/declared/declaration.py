"""A declared migration: what a YAML file says, and when it runs."""

from __future__ import annotations

from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import croniter
from pydantic import BaseModel, ConfigDict, Field, field_validator

DAG_PREFIX = "migration__"
"""Begins the name of the DAG of a declared migration, and of the asset that it publishes."""

PATH_SUFFIX = "_to_milvus"

TIMES_OF_AIRFLOW = ("@once", "@continuous")
"""Schedules that are no times of a clock."""

PRESETS = (
    *("@hourly", "@daily", "@weekly", "@monthly", "@quarterly", "@yearly"),
    *TIMES_OF_AIRFLOW,
)

Tag = Annotated[str, Field(min_length=1, max_length=100)]


class AfterAssets(BaseModel):
    """A schedule of assets: a run begins when each of them was published since the last one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    assets: tuple[str, ...] = Field(
        min_length=1,
        description="Names (or URIs) of Airflow assets. The asset of a declared migration is named "
        "`migration__` and the name of its file; the asset of a path as its DAG.",
    )

    @field_validator("assets")
    @classmethod
    def _named(cls, assets: tuple[str, ...]) -> tuple[str, ...]:
        if not all(assets):
            raise ValueError("an asset has a name, found an empty one")
        return assets


class Declaration(BaseModel):
    """The keys of a file; see docs/declared_migrations.md."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    path: str = Field(description="The path's DAG: `milvus_to_milvus`, `faiss_to_milvus`, …")
    description: str = Field("", description="One line, shown in the list of DAGs.")
    schedule: str | AfterAssets | None = Field(
        None,
        description="When it runs: a cron expression (in quotes), "
        + ", ".join(f"`{one}`" for one in PRESETS)
        + ", or `assets`. Without it: when it is triggered.",
    )
    timezone: str = Field("UTC", description="Of a cron expression, such as `Europe/Berlin`.")
    paused: bool | None = Field(
        None,
        description="Whether the DAG is paused when Airflow sees it first. Without it: as Airflow "
        "is configured (`dags_are_paused_at_creation`).",
    )
    tags: tuple[Tag, ...] = Field((), description="Tags of the DAG, beside `milvus`.")
    owner: str = Field("", description="Owner of the DAG's tasks. Empty: Airflow's default.")
    params: dict[str, Any] = Field(description="The path's params.")

    @field_validator("schedule")
    @classmethod
    def _known_schedule(cls, schedule: str | AfterAssets | None) -> str | AfterAssets | None:
        if isinstance(schedule, str) and schedule not in PRESETS and not _is_cron(schedule):
            raise ValueError(
                "expected a cron expression of five parts that comes true some day, such as "
                f"'0 3 * * *', or one of {', '.join(PRESETS)}"
            )
        return schedule

    @field_validator("timezone")
    @classmethod
    def _known_timezone(cls, timezone: str) -> str:
        try:
            ZoneInfo(timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("expected a time zone such as UTC or Europe/Berlin") from None
        return timezone


def _is_cron(text: str) -> bool:
    try:
        return len(text.split()) == 5 and bool(croniter(text).get_next())
    except (ValueError, KeyError):  # croniter's own errors are ValueErrors
        return False
