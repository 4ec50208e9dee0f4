"""A blob that is written in blocks, and is there once their list is committed."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_BLOCK_BYTES = 8 << 20
"""A blob has at most 50,000 blocks: 390 GB."""


class BlockWriting:
    """One block at a time, so that memory stays bounded; Azure forgets blocks of no blob.

    Args:
        blob: Azure's client of it.
    """

    def __init__(self, blob: Any) -> None:
        self._blob = blob
        self._pending = bytearray()
        self._blocks: list[str] = []

    def write(self, data: Any) -> int:
        """Appends bytes; returns how many."""
        view = memoryview(data).cast("B")
        taken = 0
        while taken < len(view):
            part = view[taken : taken + _BLOCK_BYTES - len(self._pending)]
            self._pending += part
            taken += len(part)
            if len(self._pending) == _BLOCK_BYTES:
                self._stage()
        return taken

    def _stage(self) -> None:
        # Names are of one length, and no other writer's: then the last one to commit wins whole.
        name = uuid.uuid4().hex
        with _as_os_error():
            self._blob.stage_block(name, bytes(self._pending), len(self._pending))
        self._blocks.append(name)
        self._pending.clear()

    def commit(self) -> None:
        """Makes the blob of the blocks, or at one stroke where it is small."""
        from azure.storage.blob import BlobBlock

        if not self._blocks:
            with _as_os_error():
                self._blob.upload_blob(bytes(self._pending), overwrite=True)
            return
        if self._pending:
            self._stage()
        with _as_os_error():
            self._blob.commit_block_list([BlobBlock(block_id=name) for name in self._blocks])

    def abandon(self, whole: bool = False) -> None:
        """Nothing is seen of blocks that were not committed."""
        self._pending.clear()
        self._blocks.clear()


@contextmanager
def _as_os_error() -> Iterator[None]:
    """Azure's errors, as Arrow's are; the code in brackets, as Arrow writes it."""
    from azure.core.exceptions import AzureError

    try:
        yield
    except AzureError as error:
        code = getattr(error, "error_code", None) or type(error).__name__
        raise OSError(f"[{getattr(code, 'value', code)}] {error.message}") from error
