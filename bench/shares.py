"""Cuts a collection of a source, and reads one worker's share of it into Arrow batches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from airlift.chunk import Chunk
from airlift.sources.base import Source
from bench.timed import timed

_FILE = "chunks.json"


def cut(source: Source, scratch: str, chunk_bytes: int) -> dict[str, Any]:
    """Describes the one collection, and leaves its chunks in `scratch`."""
    found: dict[str, Any] = {}
    with timed(found):
        [collection] = source.describe()
        chunks = source.cut(collection, chunk_bytes)
    text = json.dumps([chunk.model_dump(mode="json") for chunk in chunks])
    Path(scratch, _FILE).write_text(text)
    return found | {"chunks": len(chunks)}


def read(source: Source, scratch: str, worker: int, workers: int) -> dict[str, Any]:
    """Reads every `workers`-th chunk."""
    chunks = [Chunk(**one) for one in json.loads(Path(scratch, _FILE).read_text())]
    source.check()  # imports and connects, as a task does before it reads
    found: dict[str, Any] = {"rows": 0}
    with timed(found):
        for chunk in chunks[worker::workers]:
            for batch in source.read(chunk):
                found["rows"] += batch.num_rows  # type: ignore[union-attr]
    source.close()
    return found
