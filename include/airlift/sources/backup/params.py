"""The params of the path from a backup."""

from __future__ import annotations

from enum import StrEnum

from pydantic import field_validator, model_validator

from airlift.params import (
    MOVING,
    SAFETY,
    SOURCE,
    URL_PATTERN,
    MigrationParams,
    OnDuplicateId,
    param,
    without_credentials,
)


class BackupWay(StrEnum):
    """Who reads the logs of a backup."""

    AUTO = "auto"
    NATIVE = "native"
    DECODE = "decode"


class BackupParams(MigrationParams):
    """What `backup_to_milvus` takes."""

    backup_url: str = param(
        SOURCE,
        "",
        "The folder of a backup, as `s3://bucket/backup/my_backup` or `/data/my_backup`; the "
        "folder that holds it, or the bucket's root, will do where there is only one. Give this or "
        "`backup_yaml_url`.",
        json_schema_extra=URL_PATTERN,
    )
    backup_yaml_url: str = param(
        SOURCE,
        "",
        "The `backup.yaml` that the backup was made with: the store's address, bucket and folder "
        "are read from it (never its keys: those are the connection's).",
        json_schema_extra=URL_PATTERN,
    )
    backup_names: tuple[str, ...] = param(
        SOURCE,
        (),
        "Names of backups below `backup_url`, oldest first. Of several (a base and later ones) all "
        "rows are moved, the newest of each primary key.",
    )
    source_conn_id: str = param(
        SOURCE,
        "",
        "Connection to the backup's bucket: `aws` (also MinIO, OSS, COS), "
        "`google_cloud_platform`, `wasb`.",
    )
    backup_way: BackupWay = param(
        MOVING,
        BackupWay.AUTO,
        "`native`: the target itself imports the logs from the backup, which lies in its own "
        "bucket (or is copied there with `copy_source`); `decode`: they are read here, and the "
        "rows are imported. Both give the same rows. `auto`: `decode`, which was faster on every "
        "target that could be measured.",
    )
    with_rbac: bool = param(
        SAFETY,
        False,
        "Restore the users, roles, grants and privilege groups that the backup holds, for what is "
        "moved and as far as the target takes them. What is there already is left alone; the "
        "report tells all that was not restored.",
    )
    on_duplicate_id: OnDuplicateId = param(
        SAFETY,
        OnDuplicateId.FAIL,
        "Live rows that share a primary key: `fail`, or `keep_one` (the newest); the report tells "
        "how many. Of several backups it is always the newest.",
    )

    @property
    def own_files_wanted(self) -> bool:
        """Whether the target is to import the logs by itself."""
        return self.backup_way is BackupWay.NATIVE

    @field_validator("backup_url", "backup_yaml_url")
    @classmethod
    def _no_secret_in_source_url(cls, url: str) -> str:
        return without_credentials(url)

    @field_validator("backup_names")
    @classmethod
    def _plain_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) < len(names):
            raise ValueError("a backup is named twice")
        if any(not name or "/" in name or name in (".", "..") for name in names):
            raise ValueError("expected names of folders below backup_url, without /")
        return names

    @model_validator(mode="after")
    def _one_place(self) -> BackupParams:
        if bool(self.backup_url) == bool(self.backup_yaml_url):
            raise ValueError("give exactly one of backup_url and backup_yaml_url")
        return self
