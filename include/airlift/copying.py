"""Copies files between folders on disks and in buckets."""

from __future__ import annotations

from airlift.errors import AirliftError
from airlift.storage import Storage

_COPY_BYTES = 8 << 20


def copy_file(source: Storage, target: Storage, relative: str, size: int) -> None:
    """Copies a file of one folder to the same place in another.

    Between buckets of one store, by the same credentials, the store copies it by itself.

    Raises:
        AirliftError: a side can't be used, or the file is not `size` bytes long.
    """
    if not source.is_local and not target.is_local and source.connection == target.connection:
        _copy_in_store(source, target, relative)
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


def _copy_in_store(source: Storage, target: Storage, relative: str) -> None:
    """S3's server-side copy; boto3 divides what is too large for one CopyObject call."""
    import boto3
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    connection = target.connection
    client = boto3.client(
        "s3",
        endpoint_url=connection.endpoint_url or None,
        region_name=connection.region or None,
        aws_access_key_id=connection.access_key or None,
        aws_secret_access_key=connection.secret_key.get_secret_value() or None,
        aws_session_token=connection.session_token.get_secret_value() or None,
    )
    try:
        client.copy(
            {"Bucket": source.bucket, "Key": source.key(relative)},
            target.bucket,
            target.key(relative),
        )
    except (Boto3Error, BotoCoreError, ClientError) as error:
        raise AirliftError(
            f"cannot copy {source.address(relative)} to {target.address(relative)}: {error}; the "
            "connection needs to read the one and write the other"
        ) from error
