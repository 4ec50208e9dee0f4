"""The params of the path from Elasticsearch and OpenSearch."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import field_validator, model_validator

from airlift.params import MAPPING, MOVING, SAFETY, SOURCE, MigrationParams, OnBadRow, param

DOCUMENT_ID = "_id"
INDEX_AND_ID = "_index/_id"


class OnMissingVector(StrEnum):
    """What to do with a document that lacks a vector."""

    FAIL = "fail"
    SET_ASIDE = "set_aside"
    NULL = "null"


class Dates(StrEnum):
    """What a date becomes."""

    MILLISECONDS = "milliseconds"
    TEXT = "text"


class OtherFields(StrEnum):
    """What to do with values that no column can be made for."""

    DYNAMIC = "dynamic"
    REFUSE = "refuse"
    LEAVE_OUT = "leave_out"


class ElasticsearchParams(MigrationParams):
    """What `elasticsearch_to_milvus` takes."""

    indices: tuple[str, ...] = param(
        SOURCE,
        ...,
        "What to move: names of indices, aliases, data streams, or patterns such as `songs-*`. An "
        "alias or data stream is one collection, as is each index that a pattern finds. "
        "`collections` chooses among them.",
        min_length=1,
        json_schema_extra={"examples": [["songs", "books-*"]]},
    )
    source_conn_id: str = param(
        SOURCE,
        "elasticsearch_default",
        "Connection of type `elasticsearch`: Elasticsearch or OpenSearch.",
    )
    query: dict[str, Any] | None = param(
        SOURCE,
        None,
        'Only the documents that this query finds, such as {"term": {"lang": "en"}}.',
    )
    into_collection: str = param(
        SOURCE,
        "",
        "Bring everything that `indices` names into one collection, which is then called so.",
    )
    primary_key: str = param(
        MAPPING,
        DOCUMENT_ID,
        "`_id`; or a field with one unique text or integer in every document (`_id` then comes "
        "along as a column); or `_index/_id`, for several indices with the same ids.",
        min_length=1,
    )
    explode: str = param(
        MAPPING,
        "",
        "Path of a `nested` field, such as `chunks`: each of its objects becomes a row, with the "
        "document's other fields beside it and the key `<_id>#<n>` (n from 0). Fields below it are "
        "called `chunks.text`. Empty: a row of each document.",
        pattern=r"^([^.]+(\.[^.]+)*)?$",
        json_schema_extra={"examples": ["chunks"]},
    )
    dates: Dates = param(
        MAPPING,
        Dates.MILLISECONDS,
        "What dates become: `milliseconds` since 1970 (INT64), or the `text` as it is.",
    )
    other_fields: OtherFields = param(
        MAPPING,
        OtherFields.DYNAMIC,
        "Fields that the index's mapping does not list (`dynamic: false`), or of types unknown "
        "here: into the `dynamic` field, `refuse` them, or `leave_out`.",
    )
    page_rows: int = param(
        MOVING,
        1000,
        "Documents in one answer of the server, at most; fewer when they are big. Each worker has "
        "one request under way.",
        ge=1,
        le=10_000,
    )
    keep_alive_minutes: int = param(
        MOVING,
        240,
        "Only for an index without `_seq_no` (`index.disable_sequence_numbers`), which is read in "
        "one point in time: minutes for which the server keeps it after the last request. So long "
        "may tasks wait, and so long can a run that failed be resumed. The server's "
        "`search.max_keep_alive` is its limit.",
        ge=10,
        le=1440,
    )
    on_missing_vector: OnMissingVector = param(
        SAFETY,
        OnMissingVector.FAIL,
        "A document without its vector: `fail`, `set_aside` (needs on_bad_row set_aside), or "
        "`null` where the target has vectors that may be null.",
    )

    @field_validator("query")
    @classmethod
    def _one_query(cls, query: dict[str, Any] | None) -> dict[str, Any] | None:
        if not query:
            return None  # the trigger form writes {} for nothing
        if len(query) != 1:
            raise ValueError(
                'expected the query alone, such as {"match_all": {}}: an object with one key'
            )
        return query

    @model_validator(mode="after")
    def _set_aside_is_allowed(self) -> ElasticsearchParams:
        aside = self.on_missing_vector is OnMissingVector.SET_ASIDE
        if aside and self.on_bad_row is not OnBadRow.SET_ASIDE:
            raise ValueError("on_missing_vector set_aside needs on_bad_row set_aside")
        return self
