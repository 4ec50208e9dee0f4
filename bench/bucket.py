"""The connection to a bucket that a case is told of."""

from __future__ import annotations

from pydantic import SecretStr

from airlift.connections import S3Connection


def connection_of(s3: dict[str, str]) -> S3Connection:
    """Keys, region and endpoint as `bench.__main__` passes them, as the engine takes them."""
    return S3Connection(
        access_key=s3["access_key"],
        secret_key=SecretStr(s3["secret_key"]),
        region=s3["region"],
        endpoint_url=s3["endpoint_url"],
    )
