"""What the page reads from a migration's staging folder, each file again only when it changed."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pydantic import ValidationError

from airlift.connections import StorageConnection
from airlift.errors import AirliftError
from airlift.names import is_valid
from airlift.params import without_credentials
from airlift.plan import Plan
from airlift.progress import FOLDER, TaskProgress
from airlift.staging import SourceChanges
from airlift.storage import FileStat, Storage, open_storage
from airlift.target_changes import TargetNotes
from airlift.verification import Verifications
from airlift_page.progress import PlannedChunk, PlannedCollection

REPORT = "report.html"
REPORT_JSON = "report.json"
_KEPT = 32
"""Migrations whose files are kept in memory."""
_PAUSE = 1.5
"""Seconds for which all who look get the same answer."""
_SETTLED = 2.0
"""A bucket tells times in whole seconds: a file is read once more when it is so old."""
_READERS = 8


class StagedMigration:
    """The files of one migration's folder that tell how far it is.

    Args:
        folder: `<staging_url>/<migration_id>`.
    """

    def __init__(self, folder: Storage) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._looked = 0.0
        self._files: dict[str, FileStat] = {}
        self._read: dict[str, tuple[FileStat, float, Any]] = {}

    def refresh(self) -> None:
        """Looks what there is, and reads what has changed.

        Raises:
            AirliftError: the folder can't be read.
        """
        with self._lock:
            if time.monotonic() - self._looked < _PAUSE:
                return
            listed = {**self.folder.list_stats(), **self.folder.list_stats(FOLDER)}
            self._files = {name: stat for name, stat in listed.items() if stat}
            wanted = [name for name in self._files if _reader(name) and not self._is_read(name)]
            with ThreadPoolExecutor(_READERS) as pool:
                for name, value in zip(wanted, pool.map(self._parsed, wanted), strict=True):
                    self._read[name] = (self._files[name], self._since(name), value)
            self._read = {name: one for name, one in self._read.items() if name in self._files}
            self._looked = time.monotonic()

    def _is_read(self, name: str) -> bool:
        """Whether a file is as it was when it was read, and could not have changed in between."""
        stat, since, _ = self._read.get(name, (None, 0.0, None))
        return stat == self._files[name] and since < 0

    def _since(self, name: str) -> float:
        """When a file was first seen as it is now; -1 once that is long enough ago."""
        stat, since, _ = self._read.get(name, (None, 0.0, None))
        now = time.monotonic()
        if stat != self._files[name]:
            return now
        return -1.0 if now - since > _SETTLED else since

    def _parsed(self, name: str) -> Any:
        reader = _reader(name)
        try:
            return reader(self.folder.read_bytes(name)) if reader else None
        except (ValidationError, AirliftError):
            return None  # of another version, or removed a moment ago

    @property
    def is_there(self) -> bool:
        """Whether there is anything."""
        return bool(self._files)

    @property
    def has_report(self) -> bool:
        """Whether there is a report to show."""
        return REPORT in self._files

    @property
    def plan(self) -> tuple[PlannedCollection, ...] | None:
        """What is planned; None before that."""
        found: tuple[PlannedCollection, ...] | None = self._value("plan.json")
        return found

    @property
    def verifications(self) -> Verifications | None:
        """What was compared; None before that."""
        found: Verifications | None = self._value("verification.json")
        return found

    @property
    def changes(self) -> tuple[str, ...]:
        """What has changed at the source meanwhile."""
        found = self._value("changes.json")
        return found.told if found else ()

    @property
    def target_notes(self) -> TargetNotes:
        """Settings and indexes of the target that are not as planned."""
        found: TargetNotes | None = self._value("target_notes.json")
        return found or TargetNotes()

    @property
    def tasks(self) -> list[TaskProgress]:
        """What the tasks have written."""
        return [
            one for name, (_, _, one) in self._read.items() if one and name.startswith(f"{FOLDER}/")
        ]

    def report(self, name: str = REPORT) -> bytes:
        """The report: `report.html`, or `report.json` for machines."""
        return self.folder.read_bytes(name, limit=64 << 20)

    def _value(self, name: str) -> Any:
        return self._read.get(name, (None, 0.0, None))[2]


def _planned(text: bytes) -> tuple[PlannedCollection, ...]:
    return tuple(
        PlannedCollection(
            name=one.name,
            source=one.mapped.source,
            chunks=tuple(PlannedChunk(chunk.id, chunk.rows) for chunk in one.chunks),
            notes=one.notes,
            warnings=one.warnings,
        )
        for one in Plan.model_validate_json(text).collections
    )


_READ_AS: dict[str, Callable[[bytes], Any]] = {
    "plan.json": _planned,
    "verification.json": Verifications.model_validate_json,
    "changes.json": SourceChanges.model_validate_json,
    "target_notes.json": TargetNotes.model_validate_json,
}


def _reader(name: str) -> Callable[[bytes], Any] | None:
    """How a file is read; None for one that does not tell how far the migration is."""
    if name.startswith(f"{FOLDER}/"):
        return TaskProgress.model_validate_json
    return _READ_AS.get(name)


_Key = tuple[str, StorageConnection | None, str]


class StagedMigrations:
    """The migrations that were looked at lately."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._opened: OrderedDict[_Key, StagedMigration] = OrderedDict()

    def open(self, params: dict[str, Any], migration_id: str) -> StagedMigration:
        """The folder of a migration; opened anew when its connection may have changed.

        Args:
            params: the run's; `staging_url` and `staging_conn_id` are read.

        Raises:
            AirliftError: the params name no folder, or no connection.
        """
        from airlift_airflow.connections import AirflowConnections

        if not migration_id or not is_valid(f"m{migration_id}"):
            raise AirliftError(f"migration_id {migration_id!r} is no name of a folder")
        try:
            url = without_credentials(str(params.get("staging_url") or ""))
        except ValueError as error:
            raise AirliftError(f"staging_url: {error}") from None
        conn_id = str(params.get("staging_conn_id") or "")
        connection = AirflowConnections().storage(conn_id) if conn_id else None
        key = (url, connection, migration_id)
        with self._lock:
            if key not in self._opened:
                folder = open_storage(url, connection).folder(migration_id)
                self._opened[key] = StagedMigration(folder)
            self._opened.move_to_end(key)
            while len(self._opened) > _KEPT:
                self._opened.popitem(last=False)
            return self._opened[key]
