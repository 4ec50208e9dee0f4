"""Chunks: the pieces that a collection is read in, and the manifest that says one is done."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict


class Chunk(BaseModel):
    """A piece of a collection that is read, converted and imported as a whole.

    Attributes:
        collection: the source collection's name.
        partition: the partition that all its rows go to; "" is the default one.
        rows: live rows in it, exact.
        bytes: about how many bytes they take.
        read: what the source needs to read it again (JSON).
        own_files: what the target imports instead of chunk files, as paths in the source's folder.
        id: unique in the migration; the same source and options give the same id.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    collection: str
    partition: str
    rows: int
    bytes: int
    read: dict[str, Any]
    own_files: tuple[str, ...] = ()


def chunk_id(index: int, *content: object) -> str:
    """The id of the `index`-th chunk of a collection: its place and a hash of what shapes it."""
    digest = hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS))
    return f"{index:06d}-{digest.hexdigest()[:12]}"


SAMPLE = "sample.parquet"
"""The file of a chunk's folder that holds the rows which are compared with the target's."""

APPENDED_KEYS = "appended_keys.parquet"
"""The file of a chunk that holds the primary keys of rows appended to a collection with others."""


class ChunkFile(BaseModel):
    """A data file of a chunk: its name in the chunk's folder, and its bytes."""

    model_config = ConfigDict(frozen=True)

    name: str
    size: int


class Manifest(BaseModel):
    """What was written for a chunk; it is the last file written, so its presence means done.

    Attributes:
        rows_read: live rows that the source gave.
        rows: rows in the data files.
        bad_rows: rows that were set aside, in the collection's `bad_rows` folder.
        rows_present: rows whose primary keys the target held before, where rows are appended: an
            upsert writes over those, other ways leave them as they are.
        fingerprint: of the rows in the data files, 32 hex digits; see `airlift.fingerprint`.
        fingerprint_key: the id of the key that it was made with.
        max_bytes: bytes of the longest text, by field; for arrays of texts, of the longest item.
        max_items: items of the longest array, by field.
        texts_cut: texts that were cut to what their field holds, by field.
        high_water: the largest value of the plan's `since_field`; None without.
        pk_min, pk_max: the range of primary keys, when they are kept and there are rows.
        started: when the conversion began, as ISO 8601.
        seconds: what it took; `fingerprint_seconds` is the fingerprint's share.
    """

    model_config = ConfigDict(frozen=True)

    chunk: str
    rows_read: int
    rows: int
    bad_rows: int
    rows_present: int = 0
    bytes: int
    files: tuple[ChunkFile, ...]
    fingerprint: str
    fingerprint_key: str = ""
    max_bytes: dict[str, int] = {}
    max_items: dict[str, int] = {}
    texts_cut: dict[str, int] = {}
    high_water: int | str | None = None
    pk_min: int | str | None = None
    pk_max: int | str | None = None
    started: str = ""
    seconds: float = 0.0
    fingerprint_seconds: float = 0.0
