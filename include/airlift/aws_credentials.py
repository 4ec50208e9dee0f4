"""Credentials of AWS that stay valid: those of a role are renewed before they expire."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airlift.connections import AwsCredentials
from airlift.errors import AirliftError

if TYPE_CHECKING:
    from botocore.credentials import Credentials

_SESSION_NAME = "milvus-airlift"
"""What AWS CloudTrail calls the session of an assumed role."""


def aws_credentials(connection: AwsCredentials) -> Credentials:
    """What requests to AWS are signed with; its `get_frozen_credentials` gives keys valid now.

    Keys of the connection come first, then what the machine has (environment, files, role). With
    `role_arn` these only serve to assume that role.

    Raises:
        AirliftError: there are none, or only half of a pair of keys.
    """
    from botocore.session import Session

    keep_secrets_out_of_logs()
    if connection.has_one_key_only:
        raise AirliftError(
            "the aws connection has only one of access key and secret key; give both, or neither "
            "to use the machine's own role"
        )
    own = _keys(connection) if connection.access_key else Session().get_credentials()
    if own is None:
        raise AirliftError(
            "neither the aws connection nor this machine has credentials of AWS; give the "
            "connection an access key and a secret key, or the worker a role"
        )
    return _assumed(connection, own) if connection.role_arn else own


def _keys(connection: AwsCredentials) -> Credentials:
    from botocore.credentials import Credentials

    return Credentials(
        connection.access_key,
        connection.secret_key.get_secret_value(),
        connection.session_token.get_secret_value() or None,
    )


def keep_secrets_out_of_logs(*libraries: str) -> None:
    """Keeps botocore from writing keys and session tokens into its logs.

    Requests and answers are in its debug log. Its warning of keys that can't be renewed has the
    whole refusal of AWS, which may repeat the request; whoever asks for keys gets that error too.

    Args:
        libraries: names of other loggers that must write no more than INFO.
    """
    levels = {"botocore": logging.INFO, "botocore.credentials": logging.ERROR}
    for name, level in {**levels, **dict.fromkeys(libraries, logging.INFO)}.items():
        logger = logging.getLogger(name)
        logger.setLevel(max(logger.level, level))


def _assumed(connection: AwsCredentials, own: Credentials) -> Credentials:
    """Credentials of the connection's role: fetched when first asked for, and renewed in time.

    Args:
        own: what the role is assumed with.
    """
    from botocore.config import Config
    from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials
    from botocore.session import Session

    session = Session()
    # Roles can be assumed in any region.
    region = connection.region or session.get_config_variable("region") or "us-east-1"
    config = Config(connect_timeout=10, read_timeout=30, retries={"max_attempts": 3})

    def client(service: str, **keys: Any) -> Any:
        return session.create_client(
            service,
            region_name=region,
            endpoint_url=connection.sts_url or None,
            config=config,
            **keys,
        )

    fetcher = AssumeRoleCredentialFetcher(
        client,
        own,
        connection.role_arn,
        extra_args={"RoleSessionName": _SESSION_NAME},
    )
    return DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")
