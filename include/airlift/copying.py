"""Copies files between folders on disks and in buckets."""

from __future__ import annotations

from airlift.errors import AirliftError
from airlift.storage import Storage
from airlift.storage_errors import explained

_COPY_BYTES = 8 << 20


def copy_file(source: Storage, target: Storage, relative: str, size: int) -> None:
    """Copies a file of one folder to the same place in another.

    Between buckets of one store, by the same credentials, the store copies it by itself.

    Raises:
        AirliftError: a side can't be used, or the file is not `size` bytes long.
    """
    if _of_one_store(source, target) and size <= source.store.copies_up_to:
        with explained("copy", f"{source.address(relative)} to {target.address(relative)}"):
            source.store.copy(source.path(relative), target.path(relative))
        [copied] = target.sizes([relative])
        if copied != size:
            target.delete_file(relative)
            raise AirliftError(_changed(source.address(relative), copied or 0, size))
        return
    output = target.open_output(relative)
    try:
        with source.open_input(relative) as stream:
            while data := stream.read_buffer(_COPY_BYTES):
                output.write(data)
        if output.size != size:
            raise AirliftError(_changed(source.address(relative), output.size, size))
        output.commit()
    except BaseException:
        output.abandon()
        raise


def _changed(address: str, found: int, expected: int) -> str:
    return (
        f"{address} has {found:,} bytes, {expected:,} were expected: it changed while it was "
        "copied; stop writing to the source and clear the task"
    )


def _of_one_store(source: Storage, target: Storage) -> bool:
    """Whether the same credentials reach both buckets."""
    one, other = source.store, target.store
    return not one.is_local and type(one) is type(other) and one.connection == other.connection
