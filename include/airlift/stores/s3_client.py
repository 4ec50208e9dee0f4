"""Amazon's own client for S3, for what Arrow's filesystem does not do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airlift.connections import S3Connection

if TYPE_CHECKING:
    from botocore.session import Session
    from mypy_boto3_s3 import S3Client


def client_of(connection: S3Connection) -> S3Client:
    """A client with the connection's credentials; a role is assumed, again when it has expired."""
    import boto3
    import botocore.session

    session = botocore.session.get_session()
    if connection.access_key:
        session.set_credentials(
            connection.access_key,
            connection.secret_key.get_secret_value(),
            connection.session_token.get_secret_value() or None,
        )
    if connection.role_arn:
        _assume(session, connection.role_arn)
    region = connection.region or ("us-east-1" if connection.endpoint_url else None)
    return boto3.Session(botocore_session=session, region_name=region).client(
        "s3", endpoint_url=connection.endpoint_url or None
    )


def _assume(session: Session, role_arn: str) -> None:
    from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials

    fetcher = AssumeRoleCredentialFetcher(
        session.create_client, session.get_credentials(), role_arn
    )
    # botocore has no public way to give a session credentials that are renewed.
    session._credentials = DeferredRefreshableCredentials(  # type: ignore[attr-defined]
        fetcher.fetch_credentials, method="assume-role"
    )
