"""The params of a migration: the one definition of the public face.

The DAGs' Params, REST bodies and the README's table are made from these models. Sources add theirs
in a subclass (see `airlift.sources`). A field's `section` is where the trigger form shows it.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from airlift.mapping_params import CollectionMapping

SOURCE, TARGET, MAPPING, MOVING, SAFETY = "Source", "Target", "Mapping", "Moving", "Safety"


class WriteMode(StrEnum):
    """How rows get into the target."""

    AUTO = "auto"
    BULK_INSERT = "bulk_insert"
    INSERT = "insert"
    UPSERT = "upsert"


class FileFormat(StrEnum):
    """The format of the chunk files in staging."""

    AUTO = "auto"
    NUMPY = "numpy"
    PARQUET = "parquet"
    JSON = "json"


class Verify(StrEnum):
    """How much is compared before a migration counts as done."""

    COUNTS = "counts"
    SAMPLE = "sample"
    FULL = "full"


class IfExists(StrEnum):
    """What to do with a target collection that this migration did not make."""

    FAIL = "fail"
    APPEND = "append"
    REPLACE = "replace"


class OnMismatch(StrEnum):
    """What to do with the target collection when verification fails."""

    FAIL = "fail"
    DROP = "drop"


class OnBadRow(StrEnum):
    """What to do with a row that the target can't take."""

    FAIL = "fail"
    SET_ASIDE = "set_aside"


class OnLongText(StrEnum):
    """What to do with a text that is longer than its field holds."""

    AS_BAD_ROW = ""
    FAIL = "fail"
    SET_ASIDE = "set_aside"
    TRUNCATE = "truncate"


class OnDuplicateId(StrEnum):
    """What to do with rows that share a primary key, on paths whose source does not check that."""

    FAIL = "fail"
    KEEP_ONE = "keep_one"


class IndexParams(BaseModel):
    """An index definition for the vector fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    index_type: str
    params: dict[str, Any] = {}


def _any_case(*words: str) -> str:
    """A pattern of words in any case: the engines that read it share no flag for that."""
    return "|".join(
        "".join(f"[{sign}{sign.upper()}]" if sign.isalpha() else sign for sign in word)
        for word in words
    )


# What stands before the @ is a container there: `abfss://container@account.dfs.core.windows.net`.
_CONTAINER = rf"(?:{_any_case('abfs', 'wasb')})[sS]?://[a-z0-9$-]+@[a-z0-9]+\.[a-z0-9.-]+(?:/|,|$)"
# A host may have a port. Anywhere else, what stands before a colon is a key: no bucket has a colon,
# and a secret key may hold slashes.
_LOGIN = (
    rf"\w[\w+.-]*://[^/,]*@|(?!(?:{_any_case('file', 'http', 'https')})://)\w[\w+.-]*://[^/,]*:"
)
_SECRET = _any_case("key", "secret", "token", "password", "signature", "credential", "sig")
# For one address, or several with commas between. Airflow's API checks it (as Python) before it
# stores a run's params, and the form (as JavaScript).
URL_PATTERN = {
    "pattern": rf"^(?!\s)(?!.*\s$)(?!(?:.*,\s*)?(?!{_CONTAINER})(?:{_LOGIN}))"
    rf"(?!.*[?&][^=&]*(?:{_SECRET})=)"
}
_URL = re.compile(URL_PATTERN["pattern"], re.DOTALL)

_MAPPING_EXAMPLE = {
    "my_table": {
        "target": "my_collection",
        "fields": [
            {"source": "vector", "target": "embedding"},
            {"source": "year", "type": "INT16", "default": -1},
            {"source": "tenant", "partition_key": True},
            {"target": "origin", "type": "VARCHAR", "value": "old cluster"},
        ],
    }
}


def param(section: str, default: Any, description: str, **extra: Any) -> Any:
    """A param with the section of the trigger form that it stands in."""
    schema_extra = {"section": section, **extra.pop("json_schema_extra", {})}
    return Field(default, description=description, json_schema_extra=schema_extra, **extra)


def migration_id_pattern(least: int) -> dict[str, Any]:
    """What `param` needs for the name of a migration of at least so many characters."""
    pattern = f"[A-Za-z0-9_]{{{least},64}}$"
    # In the schema, which Airflow checks in Python: there, `$` is also the place before a last
    # line break.
    return {"pattern": f"^{pattern}", "json_schema_extra": {"pattern": rf"^(?!\w*\n){pattern}"}}


class MigrationParams(BaseModel):
    """The params that every path has."""

    # Errors go to logs, and a refused URL may hold a secret: so they don't repeat the input.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    collections: tuple[str, ...] = param(
        SOURCE, ("*",), "Names or patterns (`*`, `?`) of the source collections to move."
    )

    target_conn_id: str = param(
        TARGET, "milvus_default", "Connection of type `milvus`: where the rows go."
    )
    target_database: str = param(
        TARGET,
        "",
        "Database of the target; made when it does not exist. Empty: the connection's own; with "
        "several databases at the source, the same ones. `database` in mapping goes before it.",
    )
    if_exists: IfExists = param(
        TARGET,
        IfExists.FAIL,
        "What to do with a target collection that this migration did not make: `fail`; `append` to "
        "it the rows whose primary keys it does not hold (with write_mode `upsert`: write over "
        "those that it does); or `replace` it (drop it and all its rows).",
    )
    cutover_alias: bool = param(
        TARGET,
        False,
        "Write into `<name>__<migration id>` and let the alias `<name>` point there once verified.",
    )
    index: str | IndexParams = param(
        TARGET,
        "autoindex",
        "`autoindex`, `source` (the source's own index, where Milvus has it), `none`, or a "
        'definition such as `{"index_type": "HNSW", "params": {"M": 16, "efConstruction": 200}}`.',
        json_schema_extra={"examples": ["autoindex", "none"]},
    )
    wait_for_index: bool = param(
        TARGET,
        True,
        "Wait until the server has indexed every row. Off: it goes on building while the "
        "collection is loaded and verified, and searches are slow until it has done.",
    )
    load: bool = param(TARGET, True, "Leave the collections loaded, ready for search.")

    mapping: dict[str, CollectionMapping] = param(
        MAPPING,
        {},
        "Per source collection: `target` name, `database`, `fields` (rename, retype, `default`, "
        "`partition_key`, constants, keys of the dynamic field), `include` / `exclude`, `auto_id`, "
        "`keep_key_as`, `dynamic_field`, `shards`, `partitions`, `consistency_level`, "
        "`metric_type`, `num_partitions`, `aliases`, `filter`, `transform`; see docs/mapping.md. "
        'Such as {"songs": {"target": "songs_v2", "fields": [{"source": "vector", "target": '
        '"embedding"}, {"source": "year", "type": "INT16", "default": -1}]}}.',
        json_schema_extra={"examples": [_MAPPING_EXAMPLE]},
    )

    staging_url: str = param(
        MOVING,
        ...,
        "Folder for chunk files, as `s3://bucket/prefix`, `gs://…`, `abfss://…` or `/path`. For a "
        "bulk insert the target must be able to read it: its own bucket, or its data folder when "
        "it stores locally.",
        json_schema_extra=URL_PATTERN,
    )
    staging_conn_id: str = param(
        MOVING,
        "",
        "Connection to the staging bucket: `aws` (also MinIO, OSS, COS), `google_cloud_platform`, "
        "`wasb`.",
    )
    write_mode: WriteMode = param(
        MOVING,
        WriteMode.AUTO,
        "`auto`: bulk insert for collections of 50,000 rows or more where the target has it, else "
        "insert; into Milvus 2.3 bulk insert for fewer rows, too, where they hold JSON.",
    )
    file_format: FileFormat = param(
        MOVING,
        FileFormat.AUTO,
        "`auto`: numpy where every field has a fixed width; JSON where a nullable ARRAY goes by "
        "bulk insert, as Milvus makes null of an empty list in a Parquet file; else Parquet.",
    )
    chunk_mb: int = param(
        MOVING,
        2048,
        "Megabytes of rows in a chunk. Milvus imports chunks one at a time: large is fast.",
        ge=1,
        le=15_000,
    )
    copy_source: str = param(
        MOVING,
        "auto",
        "Copy the source's files into staging first: `auto` (when they lie on a disk that other "
        "workers may not see), `always`, `never`.",
        pattern="^(auto|always|never)$",
        json_schema_extra={"enum": ["auto", "always", "never"]},
    )
    keep_staging: bool = param(
        MOVING, False, "Keep the chunk files after success (reports and manifests always stay)."
    )

    migration_id: str = param(
        SAFETY,
        "",
        "Name of the migration; give the name of an earlier run to resume it. Empty: made from the "
        "run's id.",
        **migration_id_pattern(least=0),
    )
    dry_run: bool = param(
        SAFETY,
        False,
        "Check, describe, plan and try a part of the rows, then stop with a report of what would "
        "be made and what it would take; see docs/report.md.",
    )
    dry_run_probe: bool = param(
        SAFETY,
        False,
        "Let a dry run make a collection on the target with each planned schema and its indexes, "
        "and drop it again at once, as a real run does in `plan`: so the server itself has agreed. "
        "Off: a dry run changes nothing there.",
    )
    verify: Verify = param(
        SAFETY,
        Verify.SAMPLE,
        "`counts`; `sample` (counts, 1,000 rows compared, 20 searches); `full` (every row).",
    )
    on_mismatch: OnMismatch = param(
        SAFETY,
        OnMismatch.FAIL,
        "When verification fails: `fail` keeps both sides, `drop` drops the target collection.",
    )
    on_bad_row: OnBadRow = param(
        SAFETY,
        OnBadRow.FAIL,
        "A row that Milvus can't take (NaN, Inf): `fail`, or `set_aside` into staging.",
    )
    on_long_text: OnLongText = param(
        SAFETY,
        OnLongText.AS_BAD_ROW,
        "A text of more bytes than its field holds (65,535 at most). Empty: a bad row, as "
        "`on_bad_row` says; `fail` or `set_aside`, whatever that says; or `truncate`: it is cut to "
        "as many whole characters as fit, which the report tells. Primary keys are never cut.",
    )
    max_bad_rows: int = param(
        SAFETY, 1000, "With `set_aside`: fail when a collection has more such rows.", ge=0
    )
    allow_lossy: bool = param(
        SAFETY, False, "Allow what can't be carried exactly; it is told in the report."
    )
    allow_empty: bool = param(
        SAFETY,
        True,
        "Whether a collection may have no rows to move: the report and the page warn of it. Off: "
        "such a run fails in `plan`, before anything is written. An incremental run that finds "
        "nothing new is no such run.",
    )

    @property
    def sets_rows_aside(self) -> bool:
        """Whether rows may stay out."""
        return self.on_bad_row is OnBadRow.SET_ASIDE or self.on_long_text is OnLongText.SET_ASIDE

    @property
    def own_files_wanted(self) -> bool:
        """Whether the target is to import the source's own files, where a path has such."""
        return False

    @property
    def incremental_by(self) -> str:
        """What tells the rows that are new since the last run, where a path can; "" for nothing."""
        return ""

    @field_validator("index")
    @classmethod
    def _known_index(cls, index: str | IndexParams) -> str | IndexParams:
        if isinstance(index, str) and index not in ("autoindex", "source", "none"):
            raise ValueError("expected autoindex, source, none, or an index definition")
        return index

    @field_validator("staging_url")
    @classmethod
    def _no_secret_in_url(cls, url: str) -> str:
        return without_credentials(url)


def without_credentials(url: str) -> str:
    """Returns an address; refuses one with a user or password: they belong in a connection."""
    if url != url.strip():
        raise ValueError("expected an address without spaces or line breaks around it")
    if not _URL.match(url):
        raise ValueError("put the credentials into an Airflow connection, not into the URL")
    return url
