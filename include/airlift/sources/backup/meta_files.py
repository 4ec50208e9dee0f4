"""Reads a backup's metadata from its files; what they say is in `airlift.sources.backup.meta`."""

from __future__ import annotations

from typing import TypeVar

import orjson
from pydantic import ValidationError

from airlift.errors import AirliftError
from airlift.sources.backup.meta import (
    FORMATS,
    FULL,
    META,
    PARTS,
    SNAPSHOT,
    BackupMeta,
    CollectionMeta,
    Message,
    PartitionMeta,
    SegmentMeta,
)
from airlift.sources.stray_files import MINIO_DISK, is_minio_disk
from airlift.storage import Storage

_META_LIMIT = 1 << 30
_MOST_ERRORS = 5

_Parsed = TypeVar("_Parsed", bound=Message)


class _Collections(Message):
    infos: tuple[CollectionMeta, ...] = ()


class _Partitions(Message):
    infos: tuple[PartitionMeta, ...] = ()


class _Segments(Message):
    infos: tuple[SegmentMeta, ...] = ()


def read_meta(backup: Storage) -> BackupMeta:
    """The metadata of the backup in a folder: of `full_meta.json`, or of the four parts of it.

    Raises:
        AirliftError: neither is whole; it names the file.
    """
    folder = backup.folder(META)
    if folder.exists(FULL):
        return _read(folder, FULL, BackupMeta)
    if is_minio_disk(folder, FULL) or is_minio_disk(folder, PARTS[0]):
        raise AirliftError(f"{backup.url} can't be read: {MINIO_DISK}")
    missing = [name for name in PARTS if not folder.exists(name)]
    if missing and (snapshot := _snapshot(folder, missing)):
        return snapshot
    if missing:
        raise AirliftError(
            f"{backup.url} lacks {META}/{FULL}, and {', '.join(missing)} of the files that could "
            "stand for it; copy the whole folder of the backup again"
        )
    backup_file, collections_file, partitions_file, segments_file = PARTS
    whole = _read(folder, backup_file, BackupMeta)
    partitions = _read(folder, partitions_file, _Partitions)
    segments = _read(folder, segments_file, _Segments)
    collections = _read(folder, collections_file, _Collections)
    joined = tuple(
        _joined(collection, partitions.infos, segments.infos) for collection in collections.infos
    )
    _refuse_strays(folder, segments.infos, joined)
    unknown = {
        key for part in (whole, collections, partitions, segments) for key in part.unknown_keys
    }
    return whole.model_copy(
        update={
            "collection_backups": joined,
            "unknown_keys": tuple(sorted(unknown)),
        }
    )


def _snapshot(folder: Storage, missing: list[str]) -> BackupMeta | None:
    """What the parts tell of a snapshot: milvus-backup writes only two of them for one."""
    backup_file, collections_file = PARTS[:2]
    whole = BackupMeta() if backup_file in missing else _read(folder, backup_file, BackupMeta)
    if whole.format not in FORMATS:
        return whole
    if collections_file not in missing:
        collections = _read(folder, collections_file, _Collections).infos
        if any(collection.snapshot_backup for collection in collections):
            return whole.model_copy(update={"format": SNAPSHOT})
    return None


def _refuse_strays(
    folder: Storage, segments: tuple[SegmentMeta, ...], collections: tuple[CollectionMeta, ...]
) -> None:
    """Raises AirliftError for segments whose rows would be left out without a word."""
    groups = [
        group
        for collection in collections
        for group in (
            collection.l0_segments,
            *(part.segment_backups for part in collection.partition_backups),
        )
    ]
    placed = {segment.segment_id for group in groups for segment in group}
    strays = [segment for segment in segments if segment.segment_id not in placed]
    if strays:
        first = strays[0]
        raise AirliftError(
            f"{folder.address(PARTS[3])} lists {len(strays):,} segments of partitions that "
            f"{PARTS[1]} and {PARTS[2]} do not have, such as {first.segment_id} of the partition "
            f"{first.partition_id}; copy the whole folder of the backup again"
        )


def _joined(
    collection: CollectionMeta,
    partitions: tuple[PartitionMeta, ...],
    segments: tuple[SegmentMeta, ...],
) -> CollectionMeta:
    """A collection with its partitions and segments, which stand in files of their own."""
    mine = [one for one in segments if one.collection_id == collection.collection_id]
    found = tuple(
        one.model_copy(
            update={"segment_backups": tuple(s for s in mine if s.partition_id == one.partition_id)}
        )
        for one in partitions
        if one.collection_id == collection.collection_id
    )
    wide = {s.segment_id: s for s in (*collection.l0_segments, *mine) if s.partition_id == -1}
    return collection.model_copy(
        update={"partition_backups": found, "l0_segments": tuple(wide.values())}
    )


def _read(folder: Storage, name: str, model: type[_Parsed]) -> _Parsed:
    address = folder.address(name)
    data = folder.read_bytes(name, limit=_META_LIMIT)
    try:
        return model.model_validate(orjson.loads(data))
    except orjson.JSONDecodeError as error:
        raise AirliftError(
            f"{address} is no JSON: {error}; copy the backup again, milvus-backup writes it last"
        ) from error
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in found[:_MOST_ERRORS]
        )
        raise AirliftError(
            f"{address} is not as milvus-backup writes it: {problems}; copy the backup again"
        ) from error
