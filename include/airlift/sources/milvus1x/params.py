"""The params of the path from Milvus 1.x."""

from __future__ import annotations

from enum import StrEnum

from pydantic import field_validator, model_validator

from airlift.params import SAFETY, SOURCE, URL_PATTERN, MigrationParams, param, without_credentials


class OnDuplicateId(StrEnum):
    """What to do with an id that stands in several live rows (Milvus 1.x did not check)."""

    FAIL = "fail"
    KEEP_LAST = "keep_last"
    KEEP_ALL = "keep_all"


class Milvus1xParams(MigrationParams):
    """What `milvus1x_to_milvus` takes."""

    tables_url: str = param(
        SOURCE,
        ...,
        "The `tables` folder: `s3://bucket/milvus/tables` or `/var/lib/milvus/db/tables`.",
        json_schema_extra=URL_PATTERN,
    )
    meta_url: str = param(
        SOURCE,
        "",
        "The metadata: a `meta.sqlite` (its `-wal` beside it) or a `meta.json` of the old tool. "
        "Give this or `meta_conn_id`.",
        json_schema_extra=URL_PATTERN,
    )
    meta_conn_id: str = param(
        SOURCE, "", "Connection of type `mysql`, when Milvus 1.x kept its metadata there."
    )
    source_conn_id: str = param(
        SOURCE,
        "",
        "Connection to the bucket of `tables_url` and `meta_url`: `aws`, "
        "`google_cloud_platform`, `wasb`.",
    )
    on_duplicate_id: OnDuplicateId = param(
        SAFETY,
        OnDuplicateId.FAIL,
        "An id that stands in several live rows: `fail`, `keep_last` (the newest row), `keep_all`.",
    )

    @field_validator("tables_url", "meta_url")
    @classmethod
    def _no_secret_in_source_url(cls, url: str) -> str:
        return without_credentials(url)

    @model_validator(mode="after")
    def _one_meta(self) -> Milvus1xParams:
        if bool(self.meta_url) == bool(self.meta_conn_id):
            raise ValueError("give exactly one of meta_url and meta_conn_id")
        return self
