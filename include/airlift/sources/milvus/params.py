"""The params of the path from a running Milvus."""

from __future__ import annotations

from enum import StrEnum

from airlift.params import SAFETY, SOURCE, MigrationParams, param


class OnDuplicateId(StrEnum):
    """What to do with rows that share a primary key (Milvus does not check inserts for that)."""

    FAIL = "fail"
    KEEP_ONE = "keep_one"


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
    source_lock: SourceLock = param(
        SAFETY,
        SourceLock.NONE,
        "`check` fails when a collection has another number of rows after it was read than before; "
        "with `none` the report tells it.",
    )
