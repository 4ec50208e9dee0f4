"""Amazon's own client for S3, for what Arrow's filesystem does not do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airlift.aws_credentials import aws_credentials
from airlift.connections import S3Connection

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def client_of(connection: S3Connection) -> S3Client:
    """A client with the connection's credentials; those of a role are renewed before they expire.

    Raises:
        AirliftError: there are no credentials, or only half of a pair of keys.
    """
    import boto3
    import botocore.session

    session = botocore.session.get_session()
    # botocore has no public way to give a session credentials that are renewed.
    session._credentials = aws_credentials(connection)  # type: ignore[attr-defined]
    # boto3 needs a region to sign for, also where the connection has an endpoint only.
    region = connection.region or ("us-east-1" if connection.endpoint_url else None)
    return boto3.Session(botocore_session=session, region_name=region).client(
        "s3", endpoint_url=connection.endpoint_url or None
    )
