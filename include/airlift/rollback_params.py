"""The params of `rollback_migration`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, field_validator

from airlift.params import (
    MOVING,
    SAFETY,
    TARGET,
    URL_PATTERN,
    migration_id_pattern,
    param,
    without_credentials,
)


class RollbackParams(BaseModel):
    """What `rollback_migration` takes."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    migration_id: str = param(
        SAFETY,
        ...,
        "The migration to undo, as its report and its folder in staging are named.",
        **migration_id_pattern(least=1),
    )
    dry_run: bool = param(SAFETY, False, "List what would be removed, and remove nothing.")
    target_conn_id: str = param(
        TARGET, "milvus_default", "Connection of type `milvus`: where the migration has written to."
    )
    staging_url: str = param(
        MOVING, ..., "The `staging_url` of the migration.", json_schema_extra=URL_PATTERN
    )
    staging_conn_id: str = param(
        MOVING, "", "Connection to the staging bucket, as the migration had it."
    )

    @field_validator("staging_url")
    @classmethod
    def _no_secret_in_url(cls, url: str) -> str:
        return without_credentials(url)
