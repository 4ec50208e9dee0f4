"""Points in time of indices that keep no `_seq_no`, whose chunks are slices of one of them.

A slice, and the order of its documents, mean something in their own point in time only. So a chunk
names the one that it is a slice of, and is read in no other. A point in time that was opened stays
until every row was read: while a run reads any index it keeps all of them alive, and a run that
failed leaves them open, for as long as the server keeps what nobody asks for. One that is lost is
never replaced in the middle: only a run that describes the index anew opens another, and all chunks
of it are others then.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from airlift.errors import AirliftError, Refused
from airlift.sources.elasticsearch.client import SearchServer, Version
from airlift.sources.elasticsearch.refusals import LOST_POINTS, ServerError
from airlift.sources.elasticsearch.snapshots import Snapshot, Snapshots
from airlift.storage import Storage

log = logging.getLogger("airlift")

_OLDEST = (7, 12)
"""Of Elasticsearch: the first version with `_shard_doc` and slices of points in time."""

_FOLDER = "read_points"
_TOUCH_SECONDS = 240.0

# What the server can't find on a node may be there again when the network is.
_GONE = "search_context_missing_exception"


class _State(StrEnum):
    """How far reading in a point in time has got."""

    UNREAD = "unread"
    BEGUN = "begun"
    WHOLE = "whole"


class _Read(BaseModel):
    """A file of `_FOLDER`, named by a point in time's digest."""

    model_config = ConfigDict(frozen=True)

    state: _State


def reason_against_slices(version: Version) -> str:
    """Why an index can't be read by slices of a point in time; "" where it can."""
    if version.is_opensearch or version.order < _OLDEST:
        return (
            f"it keeps no _seq_no, and {version.name} has no slices of a point in time in the "
            "order of _shard_doc to read it by instead; reindex it into an index with _seq_no"
        )
    return ""


class SlicedPoints:
    """Opens them, and holds those that are read in.

    Args:
        server: whose they are.
        snapshots: which opens and finds them.
        scratch: where it is written down how far each is read.
        keep_alive: for how long the server keeps one that nobody asks for, in the server's words.
    """

    def __init__(
        self, server: SearchServer, snapshots: Snapshots, scratch: Storage, keep_alive: str
    ) -> None:
        self._server = server
        self._snapshots = snapshots
        self._scratch = scratch
        self._keep_alive = keep_alive
        self._pinned: dict[str, Snapshot] = {}
        self._touch_at = 0.0

    def begin(self, index: str) -> tuple[Snapshot, bool]:
        """The point in time that an index is described in.

        Returns:
            It, and whether it takes the place of one that was read in and is lost.

        Raises:
            Refused: the server opens none.
        """
        known = self._snapshots.newest(index)
        lost = False
        if known is None or not known.sliced or not self._touch(known):
            lost = known is not None and self._state(known.digest) is not _State.UNREAD
            try:
                known = self._snapshots.open(index, self._keep_alive, sliced=True)
            except ServerError as error:
                if error.passes or not error.status:
                    raise
                raise Refused(
                    [
                        f"index {index!r} keeps no _seq_no, so it is read in a point in time, and "
                        f"the server opens none for {self._keep_alive} (keep_alive_minutes): "
                        f"{error}"
                    ]
                ) from error
        self._pinned[index] = known
        return known, lost

    def pin(self, index: str, digest: str) -> None:
        """Searches the index in that point in time from now on. Raises Refused when it is lost."""
        if index in self._pinned and self._pinned[index].digest == digest:
            return
        for snapshot in self._snapshots.known(index):
            if snapshot.digest == digest:
                self._pinned[index] = snapshot
                return
        raise self._refused(index, digest, "it was closed")

    def pinned(self, index: str) -> Snapshot:
        """The point in time of an index that `begin` or `pin` has chosen."""
        return self._pinned[index]

    def lost(self, snapshot: Snapshot, error: ServerError) -> AirliftError:
        """What to raise where the server says that it has lost one."""
        if error.kind == _GONE:
            return self._refused(snapshot.index, snapshot.digest, str(error))
        return AirliftError(
            f"index {snapshot.index!r}: the node that keeps its point in time can't be reached "
            f"({error}); where it comes back without a restart, clear the task"
        )

    def _refused(self, index: str, digest: str, cause: str) -> Refused:
        what = (
            f"index {index!r} keeps no _seq_no, and the point in time that its chunks are slices "
            f"of is lost: {cause}. No other one has the same slices"
        )
        if self.is_read_whole(digest):
            return Refused(
                [
                    f"{what}. Every row had been read before, and a chunk is to be read again: its "
                    "files in staging are gone, or chunk_mb or the params that shape rows are "
                    "others. Restore them, or use a new migration_id (and drop the collections "
                    "that the old one made)"
                ]
            )
        return Refused(
            [
                f"{what}. Nothing was written to the target yet: trigger the migration again with "
                "the same migration_id, and every document is read anew, in a new point in time. "
                "The server keeps one for keep_alive_minutes after the last request, and none "
                "when its node is restarted"
            ]
        )

    def reading_begins(self, digest: str) -> None:
        """Writes down that rows are read in a point in time."""
        if self._state(digest) is _State.UNREAD:
            self._write(digest, _State.BEGUN)

    def read_whole(self, digest: str) -> None:
        """Writes down that every row was read in a point in time, so that it may be closed."""
        self._write(digest, _State.WHOLE)

    def is_read_whole(self, digest: str) -> bool:
        """Whether every row was read in a point in time."""
        return self._state(digest) is _State.WHOLE

    def is_needed(self, snapshot: Snapshot) -> bool:
        """Whether a run that goes on can do so only while this one is open."""
        return snapshot.sliced and self._state(snapshot.digest) is _State.BEGUN

    def keep_others_alive(self, index: str) -> None:
        """Has the server keep those of the indices that nobody reads for hours, maybe.

        Every few minutes; to be called often, while an index is read.
        """
        if time.monotonic() < self._touch_at:
            return
        self._touch_at = time.monotonic() + _TOUCH_SECONDS
        newest = {one.index: one for one in self._snapshots.known() if one.sliced}
        newest.pop(index, None)
        for snapshot in newest.values():
            try:
                if not self._touch(snapshot, unless=LOST_POINTS):
                    log.warning("index %r: its point in time is lost", snapshot.index)
            except ServerError as error:  # it is told when that index is read
                log.warning("index %r: its point in time: %s", snapshot.index, error)

    def _touch(self, snapshot: Snapshot, unless: Collection[str] = ()) -> bool:
        """Whether the server still has one; where it has, it keeps it as long again.

        Args:
            unless: as of `SearchServer.raw`.
        """
        body: dict[str, Any] = {
            "size": 0,
            "track_total_hits": False,
            "pit": {"id": snapshot.id, "keep_alive": snapshot.keep_alive},
        }
        params = {"allow_partial_search_results": "false"}
        try:
            self._server.raw("POST", "/_search", body, params, unless)
        except ServerError as error:
            if error.kind not in LOST_POINTS:
                raise
            return False
        return True

    def _state(self, digest: str) -> _State:
        path = f"{_FOLDER}/{digest}"
        if not self._scratch.exists(path):
            return _State.UNREAD
        return _Read.model_validate(self._scratch.read_json(path)).state

    def _write(self, digest: str, state: _State) -> None:
        self._scratch.write_json(f"{_FOLDER}/{digest}", _Read(state=state).model_dump(mode="json"))
