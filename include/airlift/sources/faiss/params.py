"""The params of the path from Faiss."""

from __future__ import annotations

from enum import StrEnum

from pydantic import field_validator, model_validator

from airlift.params import SAFETY, SOURCE, URL_PATTERN, MigrationParams, param, without_credentials


class OnMissingScalars(StrEnum):
    """What to do with a vector whose id the scalars don't have."""

    FAIL = "fail"
    NULL = "null"


class FaissParams(MigrationParams):
    """What `faiss_to_milvus` takes."""

    index_url: str = param(
        SOURCE,
        ...,
        "The index: `/data/songs.index` or `s3://bucket/songs.index`. A pattern "
        "(`s3://bucket/songs/part-*.index`), or several separated by commas, name the shards of "
        "one collection.",
        json_schema_extra=URL_PATTERN,
    )
    ids_url: str = param(
        SOURCE,
        "",
        "An `.npy` of whole numbers or texts: the id of each vector, in the order in which they "
        "were added. Empty: the index's own ids, or positions from 0.",
        json_schema_extra=URL_PATTERN,
    )
    scalars_url: str = param(
        SOURCE,
        "",
        "Fields beside the vectors: Parquet, JSON or CSV, one file or several (a pattern, or with "
        "commas) whose rows follow one another, or a folder with an `.npy` for each field. A row "
        "for each vector in the order in which they were added, unless `scalars_id_column` joins "
        "them.",
        json_schema_extra=URL_PATTERN,
    )
    scalars_id_column: str = param(
        SOURCE, "", "The column of the scalars that holds the vectors' ids. Empty: the same order."
    )
    primary_key: str = param(
        SOURCE,
        "id",
        "Name of the primary key field. Where the scalars have such a column, of texts or "
        "integers, its values are the keys.",
        min_length=1,
    )
    vector_field: str = param(SOURCE, "vector", "Name of the vector field.", min_length=1)
    source_conn_id: str = param(
        SOURCE,
        "",
        "Connection to the bucket of the files: `aws` (also MinIO, OSS, COS), "
        "`google_cloud_platform`, `wasb`.",
    )
    on_missing_scalars: OnMissingScalars = param(
        SAFETY,
        OnMissingScalars.FAIL,
        "A vector whose id `scalars_id_column` does not hold: `fail`, or `null` in all its fields.",
    )

    @field_validator("index_url", "ids_url", "scalars_url")
    @classmethod
    def _no_secret_in_source_url(cls, url: str) -> str:
        return ",".join(without_credentials(one.strip()) for one in url.split(","))

    @model_validator(mode="after")
    def _fits(self) -> FaissParams:
        if self.scalars_id_column and not self.scalars_url:
            raise ValueError("scalars_id_column is a column of scalars_url, which is empty")
        if self.primary_key == self.vector_field:
            raise ValueError("primary_key and vector_field are the same name")
        return self
