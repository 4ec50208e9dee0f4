"""Points in time: one for each index of a migration, kept in the scratch folder.

A point in time only keeps still what is read. What a chunk consists of does not hang on it: that is
a range of `_seq_no`, which a document keeps until it is changed. So a point that was lost, as when
the server restarts, is replaced by a new one in mid-chunk, and counting tells whether all documents
are still what they were.
"""

from __future__ import annotations

import hashlib
import logging
import time
import uuid
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict

from airlift.errors import AirliftError
from airlift.sources.elasticsearch.answers import ANYTHING, POINT_IN_TIME, unexpected
from airlift.sources.elasticsearch.client import SearchServer
from airlift.sources.elasticsearch.refusals import ServerError
from airlift.storage import Storage

log = logging.getLogger("airlift")

KEEP_ALIVE = "30m"
_FOLDER = "points_in_time"
_MOST_NAME_BYTES = 128


class Snapshot(BaseModel):
    """A point in time of one index; `id` is empty where the server has no such thing."""

    model_config = ConfigDict(frozen=True)

    index: str
    id: str
    opened: float


def _file_name(index: str) -> str:
    """Of an index, for a file: its name may have 255 bytes, as many as a file's name in all."""
    if len(index.encode()) <= _MOST_NAME_BYTES:
        return index
    return f"{hashlib.sha256(index.encode()).hexdigest()}.index"


class Snapshots:
    """Opens points in time, finds those that other workers opened, and closes all in the end.

    Args:
        server: whose they are.
        scratch: where they are written down.
    """

    def __init__(self, server: SearchServer, scratch: Storage) -> None:
        self._server = server
        self._scratch = scratch
        self._current: dict[str, Snapshot] = {}

    def of(self, index: str) -> Snapshot:
        """The index's point in time; opened when there is none yet."""
        if index not in self._current:
            self._current[index] = self._newest(index) or self._open(index)
        return self._current[index]

    def renewed(self, lost: Snapshot) -> Snapshot:
        """Another one instead of a lost one: one that another worker has opened, or a new one.

        Raises:
            AirliftError: all were closed in the meantime, so the run has ended.
        """
        newest = self._newest(lost.index)
        if newest is None:
            # A task that was told to stop may live a moment longer than the run.
            raise AirliftError(
                f"index {lost.index!r}: the run has ended and its points in time are closed; run "
                "again with the same migration_id to go on"
            )
        if newest.id == lost.id or newest.opened <= lost.opened:
            newest = self._open(lost.index)
        self._current[lost.index] = newest
        return newest

    def finish(self) -> None:
        """Closes all of them, and forgets them."""
        for path in self._scratch.list(_FOLDER):
            snapshot = Snapshot.model_validate(self._scratch.read_json(path))
            self._close(snapshot)
            self._scratch.delete_file(path)
        self._current.clear()

    def _newest(self, index: str) -> Snapshot | None:
        found = [
            Snapshot.model_validate(self._scratch.read_json(path))
            for path in self._scratch.list(_FOLDER)
            if path.rpartition("/")[2].rpartition("@")[0] == _file_name(index)
        ]
        return max(found, key=lambda one: one.opened, default=None)

    def _open(self, index: str) -> Snapshot:
        snapshot = Snapshot(index=index, id=self._opened_id(index), opened=time.time())
        name = f"{_FOLDER}/{_file_name(index)}@{uuid.uuid4().hex}"
        try:
            self._scratch.write_json(name, snapshot.model_dump(mode="json"))
        except BaseException:
            self._close(snapshot)  # nobody would know of it
            raise
        return snapshot

    def _opened_id(self, index: str) -> str:
        ending = "_search/point_in_time" if self._server.version.is_opensearch else "_pit"
        path = f"/{quote(index, safe='')}/{ending}"
        params = {"keep_alive": KEEP_ALIVE}
        try:
            found = self._server.ask("POST", path, POINT_IN_TIME, params=params)
        except ServerError as error:
            if error.status not in (400, 405):
                raise
            # Elasticsearch before 7.10 and without its default features, OpenSearch before 2.4.
            log.warning("%s has no point in time: %s", self._server.version.name, error)
            return ""
        if point := found.pit_id or found.id:
            return point
        raise unexpected(f"POST {path}", "it names no point in time", found.model_dump())

    def _close(self, snapshot: Snapshot) -> None:
        if not snapshot.id:
            return
        opensearch = self._server.version.is_opensearch
        path = "/_search/point_in_time" if opensearch else "/_pit"
        body = {"pit_id": [snapshot.id]} if opensearch else {"id": snapshot.id}
        try:
            self._server.ask("DELETE", path, ANYTHING, body)
        except ServerError as error:
            if error.status != 404:  # it ended by itself
                raise AirliftError(
                    f"a point in time of {snapshot.index!r} could not be closed: {error}; it ends "
                    f"by itself {KEEP_ALIVE} after it was last used"
                ) from error
