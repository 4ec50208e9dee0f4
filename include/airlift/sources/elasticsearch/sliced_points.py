"""Points in time of indices that keep no `_seq_no`, whose chunks are slices of one of them.

A slice, and the order of its documents, mean something in their own point in time only. So a chunk
names its point in time, and is read in no other. A point in time stays open until every row was
read: while a run reads one index, it keeps those of all others alive, too. A run that failed leaves
them open; the server closes them `keep_alive_minutes` after the last request. One that is lost is
never replaced while chunks are read: only a run that describes the index again opens another, and
then cuts all of its chunks anew.
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

# Of `LOST_POINTS`, the one that is final. The other means that a node is away, which may come back
# and still have its points in time.
_GONE = "search_context_missing_exception"


class _State(StrEnum):
    """How far reading in a point in time has got."""

    UNREAD = "unread"
    BEGUN = "begun"
    WHOLE = "whole"


class _Progress(BaseModel):
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
    """Opens such points in time, keeps them alive, and knows which one each index is read in.

    Args:
        server: the server that has them.
        snapshots: opens and finds points in time.
        scratch: the folder in which it is recorded how far each is read.
        keep_alive: for how long the server keeps one after the last request, as `240m`.
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
            The point in time, and whether it replaces a lost one in which rows were read.

        Raises:
            Refused: the server opens none.
            ServerError: the server does not answer; it may do so later.
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
        """Makes later searches of the index use that point in time.

        Raises:
            Refused: it was closed.
        """
        if index in self._pinned and self._pinned[index].digest == digest:
            return
        for snapshot in self._snapshots.known(index):
            if snapshot.digest == digest:
                self._pinned[index] = snapshot
                return
        raise self._lost_refusal(index, digest, "it was closed")

    def pinned(self, index: str) -> Snapshot:
        """The point in time of an index that `begin` or `pin` has chosen."""
        return self._pinned[index]

    def lost_error(self, snapshot: Snapshot, error: ServerError) -> AirliftError:
        """The error to raise where the server answers that it does not find a point in time.

        Args:
            error: of one of the kinds `LOST_POINTS`.
        """
        if error.kind == _GONE:
            return self._lost_refusal(snapshot.index, snapshot.digest, str(error))
        return AirliftError(
            f"index {snapshot.index!r}: the node that keeps its point in time can't be reached "
            f"({error}); where it comes back without a restart, clear the task"
        )

    def _lost_refusal(self, index: str, digest: str, cause: str) -> Refused:
        what = (
            f"index {index!r} keeps no _seq_no, and the point in time that its chunks are slices "
            f"of is lost: {cause}. No other one has the same slices"
        )
        if self.is_fully_read(digest):
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

    def mark_begun(self, digest: str) -> None:
        """Records that rows are being read in a point in time."""
        if self._state(digest) is _State.UNREAD:
            self._write(digest, _State.BEGUN)

    def mark_fully_read(self, digest: str) -> None:
        """Records that every row was read in a point in time, so that it may be closed."""
        self._write(digest, _State.WHOLE)

    def is_fully_read(self, digest: str) -> bool:
        """Whether every row was read in a point in time."""
        return self._state(digest) is _State.WHOLE

    def is_needed(self, snapshot: Snapshot) -> bool:
        """Whether rows were read in it, and not all: no run can be resumed without it then."""
        return snapshot.sliced and self._state(snapshot.digest) is _State.BEGUN

    def keep_others_alive(self, index: str) -> None:
        """Renews the points in time of all indices but this one, whose own searches do that.

        An index may have to wait for hours until it is read. To be called before each page: it
        asks the server every four minutes only.

        Args:
            index: the index that is being read.
        """
        if time.monotonic() < self._touch_at:
            return
        self._touch_at = time.monotonic() + _TOUCH_SECONDS
        newest = {point.index: point for point in self._snapshots.known() if point.sliced}
        newest.pop(index, None)
        for snapshot in newest.values():
            try:
                if not self._touch(snapshot, unless=LOST_POINTS):
                    log.warning("index %r: its point in time is lost", snapshot.index)
            except ServerError as error:  # reading that index raises it, where it lasts
                log.warning(
                    "index %r: its point in time could not be kept alive: %s", snapshot.index, error
                )

    def _touch(self, snapshot: Snapshot, unless: Collection[str] = ()) -> bool:
        """Whether the server still has it; if so, its `keep_alive` begins anew.

        Args:
            unless: as of `SearchServer.raw`: kinds of errors that are not tried again.
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
        return _Progress.model_validate(self._scratch.read_json(path)).state

    def _write(self, digest: str, state: _State) -> None:
        self._scratch.write_json(
            f"{_FOLDER}/{digest}", _Progress(state=state).model_dump(mode="json")
        )
