"""The cases of `bench.records`."""

from __future__ import annotations

from typing import Any

from airlift.chunk import ChunkFile, Manifest
from airlift.plan import ChunkRef
from airlift.staging import ImportRecord, Staging
from airlift.storage import open_storage
from airlift.target_changes import Created, CreatedCollection
from bench.bucket import connection_of
from bench.timed import timed


def _staging(s3: dict[str, str]) -> Staging:
    return Staging(open_storage("s3://bench/staging/records", connection_of(s3)))


def _chunks(count: int) -> list[ChunkRef]:
    return [ChunkRef(collection="songs", chunk=f"{n:06d}-0123456789ab") for n in range(count)]


def records_write(chunks: int, s3: dict[str, str]) -> dict[str, Any]:
    """Writes a manifest and an import record of each chunk."""
    staging = _staging(s3)
    made = CreatedCollection(name="songs", collection_id="7", made=True)
    staging.write("created.json", Created(collections=(made,)))
    for n, ref in enumerate(_chunks(chunks)):
        manifest = Manifest(
            chunk=ref.chunk,
            rows_read=1_000_000,
            rows=1_000_000,
            bad_rows=0,
            bytes=520_000_000,
            files=tuple(ChunkFile(name=f"{name}.npy", size=1) for name in ("id", "vector")),
            fingerprint="00ff" * 8,
            pk_min=n,
            pk_max=n,
        )
        staging.write(f"{ref.collection}/{ref.chunk}/manifest.json", manifest)
        record = ImportRecord(collection_id="7", job=str(n), done=True, rows=1_000_000)
        staging.write_import_record(ref.collection, ref.chunk, record)
    return {}


def records_read(chunks: int, at_once: bool, s3: dict[str, str]) -> dict[str, Any]:
    """Reads them, many at once or one after the other."""
    staging = _staging(s3)
    refs = _chunks(chunks)
    found: dict[str, Any] = {}
    with timed(found):
        if at_once:
            manifests, imports = list(staging.manifests(refs)), list(staging.current_imports(refs))
        else:
            manifests = [staging.manifest(ref.collection, ref.chunk) for ref in refs]
            imports = [staging.import_record(ref.collection, ref.chunk) for ref in refs]
    assert None not in manifests and None not in imports
    return found


RECORD_CASES = (records_write, records_read)
