"""The segments of a collection: which log files hold them, as metadata and folder agree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydantic import BaseModel, ConfigDict

from airlift.sources.backup.meta import CollectionMeta, FieldLogs, SegmentMeta
from airlift.sources.base import SourceFile
from airlift.sources.stray_files import is_stray
from airlift.storage import Storage

_BINLOGS = "binlogs"
_STORAGE_V1, _STORAGE_V2 = (0, 1), 2
_ALL_PARTITIONS = -1
_SHOWN = 5
_MOST_REASONS = 10

StoredLog = SourceFile
"""A log file; its path is one below the folder of backups."""


class Segment(BaseModel):
    """Rows that lie together; a row has one place in each of its fields' logs.

    Attributes:
        origin: the partition's name at the source.
        partition: the one that its rows go to; "" for the default one.
        rows: as the metadata counts them, deleted ones too.
        packed: whether a log holds several fields (storage v2).
        logs: the log files, oldest first: by field (by group of fields where packed).
        deltas: the logs of its own deletes.
        older: how many of the backups that are read together are newer.
    """

    model_config = ConfigDict(frozen=True)

    id: int
    origin: str
    partition: str
    rows: int
    packed: bool
    logs: tuple[dict[int, StoredLog], ...]
    deltas: tuple[StoredLog, ...]
    older: int = 0

    @property
    def files(self) -> list[StoredLog]:
        """All of its files."""
        return [log for logs in self.logs for log in logs.values()] + list(self.deltas)

    @property
    def bytes(self) -> int:
        """Bytes of its rows' files."""
        return sum(log.size for logs in self.logs for log in logs.values())


class WideDeletes(BaseModel):
    """Delta logs that hit many segments: of level 0.

    Attributes:
        origin: whose segments, by the partition's name; None for the whole collection.
        older: as of `Segment`: only rows of such backups, or older ones, are hit.
    """

    model_config = ConfigDict(frozen=True)

    origin: str | None
    logs: tuple[StoredLog, ...]
    older: int = 0


class Found(BaseModel):
    """What a backup holds of a collection, and every reason why it can't be read."""

    segments: list[Segment] = []
    wide: list[WideDeletes] = []
    reasons: list[str] = []


Key = tuple[str, ...]


class SegmentFinder:
    """Finds a collection's segments in one backup.

    Args:
        storage: the folder of backups.
        prefix: of the backup's paths in it.
        partitions: partition id -> its name, and that of the one its rows go to.
        older: how many of the backups that are read together are newer.
    """

    def __init__(
        self,
        storage: Storage,
        prefix: str,
        collection: CollectionMeta,
        partitions: Mapping[int, tuple[str, str]],
        older: int,
    ) -> None:
        self._storage = storage
        self._collection = collection
        self._partitions = partitions
        self._older = older
        self._found = Found()
        # The group folder between partition and segment is not written by all versions.
        self._inserts = self._listed(f"{prefix}{_BINLOGS}/insert_log", 3)
        self._deltas = self._listed(f"{prefix}{_BINLOGS}/delta_log", 2)

    def found(self) -> Found:
        """The segments, sorted, and what is wrong with them."""
        parts = self._collection.partition_backups
        segments = [one for part in parts for one in part.segment_backups]
        for one in sorted(segments, key=lambda one: one.segment_id):
            self._add(one)
        for one in self._collection.l0_segments:
            self._add(one)
        reasons = self._found.reasons
        if len(reasons) > _MOST_REASONS:
            more = len(reasons) - _MOST_REASONS
            reasons[_MOST_REASONS:] = [f"and {more:,} more of such reasons"]
        left = sorted(path for logs in (self._inserts, self._deltas) for path, *_ in logs.values())
        if left:
            self._refuse(
                f"{self._storage.address(left[0])} is in the folder, but no segment of the "
                f"metadata has it ({_more(left)}); folder and metadata are of different backups, "
                "or the metadata is cut: copy the backup again"
            )
        return self._found

    def _listed(self, root: str, ids: int) -> dict[Key, StoredLog]:
        """The files below a collection's folder, by partition, segment, (field,) and log."""
        folder = f"{root}/{self._collection.collection_id}"
        held: dict[Key, StoredLog] = {}
        for path, size in self._storage.list(folder, recursive=True).items():
            if size is None or is_stray(path):
                continue
            parts = path.removeprefix(f"{folder}/").split("/")
            if len(parts) in (ids + 1, ids + 2):
                held[parts[0], *parts[-ids:]] = StoredLog(path, size)
            else:
                self._refuse(f"{self._storage.address(path)}: no log file is expected there")
        return held

    def _refuse(self, reason: str) -> None:
        name = self._collection.collection_name
        self._found.reasons.append(f"collection {name!r}: {reason}")

    def _add(self, one: SegmentMeta) -> None:
        origin, partition = self._partitions.get(one.partition_id, ("", ""))
        if not origin and not (one.is_l0 and one.partition_id == _ALL_PARTITIONS):
            self._refuse(f"segment {one.segment_id} is of the unknown partition {one.partition_id}")
            return
        if one.is_l0 or not any(logs.binlogs for logs in one.binlogs):
            self._add_wide(one)
            return
        if one.storage_version not in (*_STORAGE_V1, _STORAGE_V2):
            self._refuse(
                f"segment {one.segment_id} is of storage version {one.storage_version}, not known "
                "here: versions 1 and 2 are; have Milvus restore it, and use milvus_to_milvus"
            )
            return
        by_field = {
            field.field_id: self._taken(self._inserts, one, field, str(field.field_id))
            for field in one.binlogs
        }
        counts = {field: len(logs) for field, logs in by_field.items()}
        if len(set(counts.values())) > 1:
            self._refuse(
                f"segment {one.segment_id}: its fields have different numbers of log files "
                f"({counts}), expected as many for each"
            )
            return
        self._found.segments.append(
            Segment(
                id=one.segment_id,
                origin=origin,
                partition=partition,
                rows=one.num_of_rows,
                packed=one.storage_version == _STORAGE_V2,
                logs=tuple(
                    dict(zip(by_field, logs, strict=True))
                    for logs in zip(*by_field.values(), strict=True)
                ),
                deltas=self._deletes(one),
                older=self._older,
            )
        )

    def _add_wide(self, one: SegmentMeta) -> None:
        """A segment without rows: its deletes hit those of the others."""
        logs = self._deletes(one)
        if one.num_of_rows and not one.is_l0:
            self._refuse(f"segment {one.segment_id} has {one.num_of_rows:,} rows, but no log files")
        if logs:
            origin = None
            if one.partition_id != _ALL_PARTITIONS:
                origin = self._partitions[one.partition_id][0]
            self._found.wide.append(WideDeletes(origin=origin, logs=logs, older=self._older))

    def _deletes(self, one: SegmentMeta) -> tuple[StoredLog, ...]:
        return tuple(
            log for field in one.deltalogs for log in self._taken(self._deltas, one, field)
        )

    def _taken(
        self, held: dict[Key, StoredLog], one: SegmentMeta, logs: FieldLogs, *field: str
    ) -> list[StoredLog]:
        """The files of a field's logs by rising log id; they are not in `held` any more."""
        found: list[StoredLog] = []
        missing: list[str] = []
        for log in sorted(logs.binlogs, key=lambda log: (len(log.name), log.name)):
            stored = held.pop((str(one.partition_id), str(one.segment_id), *field, log.name), None)
            if stored is None:
                missing.append(log.log_path or log.name)
            elif log.log_size and stored.size != log.log_size:
                self._refuse(
                    f"{self._storage.address(stored.path)} has {stored.size:,} bytes, expected "
                    f"{log.log_size:,}: it is truncated or of another backup; copy it again"
                )
            else:
                found.append(stored)
        if missing:
            self._refuse(
                f"segment {one.segment_id} lacks the log file {missing[0]} of the source "
                f"({_more(missing)}); copy the whole folder of the backup again"
            )
        return found


def _more(paths: Iterable[str]) -> str:
    paths = list(paths)
    if len(paths) == 1:
        return "the only one"
    return f"and {len(paths) - 1} more, such as {', '.join(paths[1:_SHOWN])}"
