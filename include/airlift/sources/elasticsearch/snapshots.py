"""Points in time: one for each index of a migration, kept in the scratch folder.

A point in time only keeps still what is read. What a chunk consists of does not hang on it: that is
a range of `_seq_no`, which a document keeps until it is changed. So a point that was lost, as when
the server restarts, is replaced by a new one in mid-chunk, and counting tells whether all documents
are still what they were.

An index without `_seq_no` is cut into slices of a point in time, which depend on it: see
`airlift.sources.elasticsearch.sliced_points`.
"""

from __future__ import annotations

import hashlib
import logging
import time
import uuid
from collections.abc import Callable
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
    """A point in time of one index.

    Attributes:
        id: empty where the server has no such thing.
        opened: when, in seconds since 1970.
        keep_alive: for how long the server keeps it after each request, in the server's words.
        sliced: whether chunks are slices of it.
    """

    model_config = ConfigDict(frozen=True)

    index: str
    id: str
    opened: float
    keep_alive: str = KEEP_ALIVE
    sliced: bool = False

    @property
    def digest(self) -> str:
        """A hash of its id, which may have thousands of characters."""
        return hashlib.sha256(self.id.encode()).hexdigest()[:32]


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
            self._current[index] = self.newest(index) or self.open(index)
        return self._current[index]

    def renewed(self, lost: Snapshot) -> Snapshot:
        """Another one instead of a lost one: one that another worker has opened, or a new one.

        Raises:
            AirliftError: all were closed in the meantime, so the run has ended.
        """
        newest = self.newest(lost.index)
        if newest is None:
            # A task that was told to stop may live a moment longer than the run.
            raise AirliftError(
                f"index {lost.index!r}: the run has ended and its points in time are closed; run "
                "again with the same migration_id to go on"
            )
        if newest.id == lost.id or newest.opened <= lost.opened:
            newest = self.open(lost.index)
        self._current[lost.index] = newest
        return newest

    def finish(self, keeps: Callable[[Snapshot], bool] = lambda snapshot: False) -> None:
        """Closes all of them, and forgets them.

        Args:
            keeps: whether one stays open, and known.
        """
        for path in self._scratch.list(_FOLDER):
            snapshot = self._read(path)
            if not keeps(snapshot):
                self._close(snapshot)
                self._scratch.delete_file(path)
        self._current.clear()

    def known(self, index: str = "") -> list[Snapshot]:
        """Those that are open as far as is known, of one index or of all, the oldest first."""
        found = [
            self._read(path)
            for path in self._scratch.list(_FOLDER)
            if not index or path.rpartition("/")[2].rpartition("@")[0] == _file_name(index)
        ]
        return sorted(found, key=lambda snapshot: snapshot.opened)

    def newest(self, index: str) -> Snapshot | None:
        """The last that was opened of an index; None when there is none."""
        return next(reversed(self.known(index)), None)

    def open(self, index: str, keep_alive: str = KEEP_ALIVE, sliced: bool = False) -> Snapshot:
        """Opens one, and writes it down.

        Args:
            keep_alive: as of `Snapshot`.
            sliced: as of `Snapshot`: the server must have such a thing then.

        Raises:
            ServerError: it has none, and `sliced` is set.
        """
        opened = self._opened_id(index, keep_alive, sliced)
        snapshot = Snapshot(
            index=index, id=opened, opened=time.time(), keep_alive=keep_alive, sliced=sliced
        )
        name = f"{_FOLDER}/{_file_name(index)}@{uuid.uuid4().hex}"
        try:
            self._scratch.write_json(name, snapshot.model_dump(mode="json"))
        except BaseException:
            self._close(snapshot)  # nobody would know of it
            raise
        return snapshot

    def _read(self, path: str) -> Snapshot:
        return Snapshot.model_validate(self._scratch.read_json(path))

    def _opened_id(self, index: str, keep_alive: str, needed: bool) -> str:
        ending = "_search/point_in_time" if self._server.version.is_opensearch else "_pit"
        path = f"/{quote(index, safe='')}/{ending}"
        params = {"keep_alive": keep_alive}
        try:
            found = self._server.ask("POST", path, POINT_IN_TIME, params=params)
        except ServerError as error:
            if needed or error.status not in (400, 405):
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
                    f"by itself {snapshot.keep_alive} after it was last used"
                ) from error
