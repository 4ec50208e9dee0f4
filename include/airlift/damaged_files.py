"""Chunk files of the staging folder that are lost or damaged, and the way out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from airlift.errors import AirliftError
from airlift.storage import Storage

_DAMAGES = (OSError, pa.ArrowException, ValueError, TypeError, LookupError, OverflowError)
"""What reading a damaged data file raises: its bytes may say anything."""

_SHOWN = 300
"""Characters of a reason that are shown: a damaged file may hold any text."""


class DamagedFile(AirliftError):
    """A file of the staging folder does not hold what this version writes there."""


@contextmanager
def reading_chunk_file(chunk_folder: Storage, name: str) -> Iterator[None]:
    """Within it, a chunk's file that is lost or damaged becomes an error with the way out.

    Args:
        chunk_folder: the chunk's folder in staging.
        name: the file, for the message.

    Raises:
        DamagedFile: it can't be read as what was written.
    """
    try:
        yield
    except DamagedFile:
        raise
    except (AirliftError, *_DAMAGES) as error:
        said = " ".join(str(error).split())[:_SHOWN] or type(error).__name__
        raise DamagedFile(
            f"{chunk_folder.address(name)} can't be read back as it was written ({said}); remove "
            f"{chunk_folder.address('manifest.json')} and clear the task convert, which reads the "
            "chunk from the source again, then the task that failed"
        ) from error
