"""Reading a chunk's own files back from staging, where they may be lost or damaged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from airlift.damaged_files import DamagedFile
from airlift.errors import AirliftError
from airlift.migration import Migration
from airlift.plan import CollectionPlan


@contextmanager
def reading_chunk(
    migration: Migration, collection: str, chunk: str, file: str = ""
) -> Iterator[None]:
    """Says of a chunk's files that can't be read what writes them again.

    Args:
        file: which; "" for its data files.

    Raises:
        AirliftError: they can't.
    """
    try:
        yield
    except DamagedFile:
        raise  # it says so already
    except (pa.ArrowException, OSError, ValueError, EOFError, AirliftError) as error:
        folder = migration.staging.chunk_folder(collection, chunk)
        raise AirliftError(
            f"collection {collection!r}, chunk {chunk}: {folder.address(file)} can't be read "
            f"({error}). If it is lost or damaged, remove {folder.address('manifest.json')} and "
            "clear the task convert, which writes the chunk's files again; else clear this task"
        ) from error


def ensure_recorded(migration: Migration, collection: CollectionPlan) -> None:
    """Makes sure that every chunk is known to be converted and imported.

    Raises:
        AirliftError: one is not, or staging has lost what says so.
    """
    staging = migration.staging
    staging.created()  # raises, where it is lost: without it no import counts
    for chunk, manifest, record in zip(
        collection.chunks,
        staging.manifests(collection.chunk_refs),
        staging.current_imports(collection.chunk_refs),
        strict=True,
    ):
        what = f"collection {collection.name!r}, chunk {chunk.id}"
        if manifest is None:
            raise AirliftError(f"{what}: not converted; clear the task convert")
        if record is None or not record.done:
            address = staging.chunk_folder(collection.name, chunk.id).address("import.json")
            raise AirliftError(
                f"{what}: not imported, as far as {address} says. Clear the task bulk_insert; "
                "but if that file was there and is lost, drop the collection on the target, and "
                "clear the task create"
            )
