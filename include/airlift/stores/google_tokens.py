"""Access tokens of a Google Cloud connection.

Arrow's filesystem takes neither the JSON of a key nor a chain of impersonation, only a token that
was made of them and that ends after an hour; google-auth makes it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson

from airlift.connections import GoogleConnection
from airlift.errors import AirliftError

_SCOPES = "https://www.googleapis.com/auth/devstorage."
WRITE = f"{_SCOPES}read_write"
READ = f"{_SCOPES}read_only"


class Token(NamedTuple):
    """An access token, and when it ends."""

    value: str
    ends: datetime


def new_token(connection: GoogleConnection, scope: str) -> Token:
    """A fresh access token.

    Args:
        scope: `READ` or `WRITE`.

    Raises:
        AirliftError: the connection's key is none, or Google does not accept it.
    """
    from google.auth.exceptions import GoogleAuthError
    from google.auth.transport.requests import Request

    try:
        credentials = _credentials(connection, scope)
        credentials.refresh(Request())
    except (GoogleAuthError, ValueError, OSError) as error:
        # The other arguments hold the whole answer of the token service.
        said = error.args[0] if error.args else type(error).__name__
        raise AirliftError(
            f"cannot log in to Google Cloud{_as_whom(connection)}: {said}; check the connection's "
            "key, and that its service account is enabled"
        ) from error
    return Token(credentials.token, credentials.expiry.replace(tzinfo=UTC))


def _credentials(connection: GoogleConnection, scope: str) -> Any:
    import google.auth
    from google.auth import impersonated_credentials

    key = _key(connection)
    # Who impersonates asks another service for tokens, which the scope of storage does not cover.
    own = "https://www.googleapis.com/auth/cloud-platform" if connection.impersonate else scope
    if key:
        credentials, _ = google.auth.load_credentials_from_dict(key, scopes=[own])
    elif connection.key_file:
        credentials, _ = google.auth.load_credentials_from_file(connection.key_file, scopes=[own])
    else:
        credentials, _ = google.auth.default(scopes=[own])
    if not connection.impersonate:
        return credentials
    *delegates, account = connection.impersonate
    return impersonated_credentials.Credentials(
        source_credentials=credentials,
        target_principal=account,
        delegates=delegates,
        target_scopes=[scope],
    )


def _key(connection: GoogleConnection) -> dict[str, Any]:
    text = connection.key_json.get_secret_value()
    if not text:
        return {}
    try:
        key = orjson.loads(text)
    except orjson.JSONDecodeError:
        key = None
    if not isinstance(key, dict):
        raise ValueError("the key was expected to be a JSON object, as Google gives it")
    return key


def _as_whom(connection: GoogleConnection) -> str:
    try:
        account = connection.impersonate or (_key(connection).get("client_email"),)
    except ValueError:
        return ""
    return f" as {account[-1]}" if account[-1] else ""
