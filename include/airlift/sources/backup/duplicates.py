"""Leaves older rows of a key out: where the params ask for it, and where backups are joined."""

from __future__ import annotations

import numpy as np

from airlift.schema import SourceCollection
from airlift.sources.backup.cutting import CountedSegment
from airlift.sources.backup.dead import save
from airlift.sources.backup.inventory import Detail
from airlift.sources.backup.newest import OlderRows
from airlift.sources.backup.reading import gone_rows
from airlift.storage import Storage

_NOTE = "repeated keys: "


def leave_older_out(
    collection: SourceCollection, detail: Detail, files: Storage, scratch: Storage
) -> Detail:
    """Finds live rows that are not the newest of their key; `collection` tells how many.

    Returns:
        The detail, with the places of these rows too.
    """
    reader = detail.keys(files, collection.collection_schema)
    live = sum(sum(one.log_rows) - one.deleted for one in detail.segments)
    with OlderRows(live) as finder:
        for part, one in enumerate(detail.segments):
            gone = gone_rows(scratch, one.gone, sum(one.log_rows))
            for start, keys, times in reader.keys(one.segment):
                first, last = np.searchsorted(gone, (start, start + len(keys)))
                alive = np.ones(len(keys), np.bool_)
                alive[gone[first:last] - start] = False
                at = np.flatnonzero(alive)
                finder.add(part, at + start, keys.take(at), times[at])
        older = finder.found()
        repeated = finder.keys
    segments: list[CountedSegment] = []
    for part, one in enumerate(detail.segments):
        if part in older:
            path = f"{collection.name}/older/{one.segment.id}.npy"
            save(scratch, path, older[part])
            one = one.model_copy(update={"gone": (*one.gone, path)})
        segments.append(one)
    left = sum(map(len, older.values()))
    collection.left_out = left
    collection.keys_unique = True
    # Cutting again must not tell it twice.
    collection.notes = [note for note in collection.notes if not note.startswith(_NOTE)]
    if left:
        collection.notes.append(
            f"{_NOTE}{repeated:,} keys stand in several live rows; the newest of each is kept, "
            f"{left:,} rows are left out"
        )
    return detail.model_copy(update={"segments": tuple(segments)})
