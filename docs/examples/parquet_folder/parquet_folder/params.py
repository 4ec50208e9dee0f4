"""What the path from a Parquet folder takes; the DAG file imports this and nothing heavier."""

from pydantic import field_validator

from airlift.params import SOURCE, URL_PATTERN, MigrationParams, param, without_credentials


class ParquetFolderParams(MigrationParams):
    """The params of every path, and those of this one."""

    folder_url: str = param(
        SOURCE,
        ...,
        "A folder with a folder for each collection, as `s3://bucket/export`; the Parquet files "
        "in that are its rows.",
        json_schema_extra=URL_PATTERN,
    )
    source_conn_id: str = param(SOURCE, "", "Connection of type `aws`, for files in a bucket.")
    primary_key: str = param(SOURCE, "id", "The column of int64 or text that tells rows apart.")

    @field_validator("folder_url")
    @classmethod
    def _no_secret(cls, url: str) -> str:
        return without_credentials(url)
