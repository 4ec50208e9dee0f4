"""What stands against reading a backup as a whole, before its collections are looked at."""

from __future__ import annotations

from airlift.errors import Refused
from airlift.sources.backup.meta import FORMATS, SNAPSHOT, BackupMeta, CollectionMeta
from airlift.sources.backup.unknown_keys import in_backup
from airlift.storage import Storage

_BUNDLE = "bundle"
_LOGS = ("binlogs/insert_log", "binlogs/delta_log")
_SHOWN = 5
# milvus-backup's BackupTaskStateCode; versions from 0.5 on always write 0.
_WHOLE = (0, 2)
_STATES = {
    1: "was not finished",
    3: "failed",
    4: "was stopped by its time limit",
}
_SNAPSHOT_ADVICE = (
    "milvus-backup 0.6 makes such backups of Milvus 3.0, and they can't be read here yet. Restore "
    "it with milvus-backup and use milvus_to_milvus, or make the backup again with another "
    "strategy than snapshot"
)


def refuse_backup(folder: Storage, meta: BackupMeta) -> None:
    """Checks what a backup's metadata says of the backup, and what else is in its folder.

    Args:
        folder: the backup's own.

    Raises:
        Refused: the backup is of another format or incomplete, or has metadata that is not
            understood.
    """
    if meta.format not in FORMATS:
        rows = f": its rows lie in {_BUNDLE}/" if meta.format == SNAPSHOT else ""
        raise Refused(
            [
                f"the backup in {folder.url} is of the format {meta.format!r}{rows}; "
                f"{_SNAPSHOT_ADVICE}"
            ]
        )
    reasons = in_backup(meta)
    names_snapshot = any(collection.snapshot_backup for collection in meta.collection_backups)
    if not names_snapshot and _holds_bundle(folder):
        reasons.append(
            f"the backup in {folder.url} has a folder {_BUNDLE}/, as snapshots have, but its "
            f"metadata names no snapshot; {_SNAPSHOT_ADVICE}"
        )
    if state := _state(meta.state_code, meta.error):
        reasons.append(f"the backup in {folder.url} {state}; it is not whole: make it again")
    reasons += _strays(folder, meta)
    if reasons:
        raise Refused(reasons)


def refuse_collection(meta: CollectionMeta) -> list[str]:
    """Why a collection's metadata can't be that of all its rows."""
    reasons = []
    if meta.snapshot_backup is not None:
        reasons.append(
            f"its rows lie in a snapshot (snapshot_backup, {meta.snapshot_backup.metadata_path!r});"
            f" {_SNAPSHOT_ADVICE}"
        )
    if state := _state(meta.state_code, meta.error):
        reasons.append(f"its backup {state}; it is not whole: make it again")
    reasons += [
        f"the metadata counts {part.size:,} bytes in the partition {part.partition_name!r}, and "
        "lists no segment of it; copy the whole folder of the backup again, or make it anew"
        for part in meta.partition_backups
        if part.size and not part.segment_backups
    ]
    return reasons


def _state(code: int, error: str) -> str:
    """What is wrong with how a backup ended; "" for nothing."""
    if code in _WHOLE and not error:
        return ""
    if code in _WHOLE:
        return f"has an error: {error}"
    said = _STATES.get(code, f"ended in the state {code}, which is not known here")
    return f"{said}{f': {error}' if error else ''}"


def _holds_bundle(folder: Storage) -> bool:
    return any(path.rstrip("/") == _BUNDLE for path in folder.list())


def _strays(folder: Storage, meta: BackupMeta) -> list[str]:
    """A reason for each folder with logs of collections that the metadata does not list."""
    known = {str(collection.collection_id) for collection in meta.collection_backups}
    reasons = []
    for logs in _LOGS:
        held = {path.rstrip("/").rpartition("/")[2] for path in folder.list(logs)}
        strays = sorted(name for name in held - known if name.isdecimal())
        if strays:
            more = f" and {len(strays) - _SHOWN} more" if len(strays) > _SHOWN else ""
            reasons.append(
                f"{folder.address(logs)} has logs of collections with the ids "
                f"{', '.join(strays[:_SHOWN])}{more}, which the metadata does not list; folder and "
                "metadata are of different backups: copy the whole folder again"
            )
    return reasons
