"""The params of the path from a running Milvus."""

from __future__ import annotations

from enum import StrEnum

from pydantic import model_validator

from airlift.params import SAFETY, SOURCE, MigrationParams, OnDuplicateId, param


class SourceLock(StrEnum):
    """What to do when the source changes while it is read."""

    NONE = "none"
    CHECK = "check"


class MilvusParams(MigrationParams):
    """What `milvus_to_milvus` takes."""

    source_conn_id: str = param(
        SOURCE,
        "milvus_source",
        "Connection of type `milvus`: a Milvus, Zilliz Cloud or a Milvus Lite file to read from.",
    )
    source_database: str = param(
        SOURCE,
        "",
        "Database to read from. Empty: the connection's own, or `default`. `*`: all of them; the "
        "collections are named `database.collection` then.",
    )
    on_duplicate_id: OnDuplicateId = param(
        SAFETY,
        OnDuplicateId.FAIL,
        "Rows that share a primary key, of which Milvus gives only one: `fail`, or `keep_one` (the "
        "one that it gives); the report tells how many there are.",
    )
    since_field: str = param(
        SOURCE,
        "",
        "For runs that follow each other: a field whose values only grow (an integer, or a text "
        "such as an ISO time). A run moves the rows that have at least the largest value that the "
        "last published run moved, by upsert; the first one moves all. Deletions are not seen.",
    )
    since_pk: bool = param(
        SOURCE, False, "The same by primary keys that only grow: moves rows with larger ones."
    )
    source_lock: SourceLock = param(
        SAFETY,
        SourceLock.NONE,
        "`check` fails when a collection has another number of rows after it was read than before; "
        "with `none` the report tells it.",
    )

    @property
    def incremental_by(self) -> str:
        """The field that tells the rows that are new since the last run; "" to move all."""
        return "the primary key" if self.since_pk else self.since_field

    @model_validator(mode="after")
    def _one_since(self) -> MilvusParams:
        if self.since_pk and self.since_field:
            raise ValueError("give since_field or since_pk, not both")
        if self.incremental_by and self.cutover_alias:
            raise ValueError(
                "cutover_alias makes a new collection each time, since_field and since_pk add to "
                "the one that is there: leave one of them out"
            )
        if self.incremental_by and any(one.auto_id for one in self.mapping.values()):
            raise ValueError("auto_id makes new keys, since_field and since_pk need the old ones")
        return self
