"""What a disk's or bucket's refusal means to the person who set the connection up."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from airlift.errors import AirliftError

# What a bucket's own words mean to the person who set the connection up.
_NO_BUCKET = "the bucket does not exist; check its name, region and endpoint"
_NO_KEY = "the access key is not known there; check the connection"
_NO_SECRET = "the secret key is wrong; check the connection"  # noqa: S105
_NO_TOKEN = "the session token has expired; put a fresh one into the connection"  # noqa: S105
_NO_RIGHTS = "access is denied; the key needs list, read and (for staging) write rights"
_NO_ANSWER = "the endpoint does not answer; check endpoint_url and the network"
_NO_PATIENCE = "the bucket asks for fewer requests; run again with fewer parallel tasks"
_NO_SPACE = "the disk is full; free space or stage elsewhere, then clear the task"
_NO_LOGIN = "the login is not accepted there; check the connection's key or token"
_NO_SHARED_KEY = "the storage account takes no account keys; log in by an application or identity"
_BUSY = "another upload of the same file was faster; clear the task"
_ADVICE = {
    # S3
    "NoSuchBucket": _NO_BUCKET,
    "NO_SUCH_BUCKET": _NO_BUCKET,
    "InvalidAccessKeyId": _NO_KEY,
    "INVALID_ACCESS_KEY_ID": _NO_KEY,
    "XAdminUserNotFound": _NO_KEY,  # versitygw
    "SignatureDoesNotMatch": _NO_SECRET,
    "SIGNATURE_DOES_NOT_MATCH": _NO_SECRET,
    "ExpiredToken": _NO_TOKEN,
    "ACCESS_DENIED": _NO_RIGHTS,
    "AccessDenied": _NO_RIGHTS,
    "curlCode": _NO_ANSWER,
    "NETWORK_CONNECTION": _NO_ANSWER,
    "SlowDown": _NO_PATIENCE,
    "SLOW_DOWN": _NO_PATIENCE,
    # Google Cloud Storage, by the C++ library
    "CURL error": _NO_ANSWER,
    "UNAUTHENTICATED": _NO_LOGIN,
    "PERMISSION_DENIED": _NO_RIGHTS,
    "RESOURCE_EXHAUSTED": _NO_PATIENCE,
    # Azure Blob Storage, by the C++ library and by Python's
    "[ContainerNotFound]": _NO_BUCKET,
    "[ContainerBeingDeleted]": _NO_BUCKET,
    "[AuthenticationFailed]": _NO_LOGIN,
    "[AuthorizationFailure]": _NO_LOGIN,  # also where the account's firewall refuses
    "[InvalidAuthenticationInfo]": _NO_LOGIN,
    "[AuthorizationPermissionMismatch]": _NO_RIGHTS,
    "[AuthorizationResourceTypeMismatch]": _NO_RIGHTS,
    "[AuthorizationServiceMismatch]": _NO_RIGHTS,
    "[KeyBasedAuthenticationNotPermitted]": _NO_SHARED_KEY,
    "[ClientAuthenticationError]": _NO_LOGIN,
    "[ServerBusy]": _NO_PATIENCE,
    "[InvalidBlockList]": _BUSY,
    "Fail to get a new connection": _NO_ANSWER,
    "[ServiceRequestError]": _NO_ANSWER,
    "[ServiceResponseError]": _NO_ANSWER,
    # a disk
    "No space left on device": _NO_SPACE,
}
# Arrow's messages hold the whole address that it asked: with Azure's shared access signature.
_SIGNATURE = re.compile(r"([?&]sig=)[^&\s'\"]+")
# Names in quotes, and paths: both are the user's, and may hold any word.
_NAMED = re.compile(r"'[^']*'|\b[a-z][a-z0-9]*://\S+|(?<!\S)/?[^\s/:\[\]()=,]+(?:/[^\s/]+)+/?")
# Where Google says that what is to be written is not there.
_UPLOAD = "function=CreateResumableUpload"


def own_words(text: str, address: str) -> str:
    """What a store says in its own words: buckets, keys and addresses are taken out.

    Args:
        address: the address that was asked; it may stand in the text.
    """
    return _NAMED.sub("''", text.replace(address, "''"))


@contextmanager
def explained(action: str, address: str) -> Iterator[None]:
    """Turns what pyarrow raises into an AirliftError that says what to look at."""
    try:
        yield
    except FileNotFoundError as error:
        advice = _NO_BUCKET if _UPLOAD in str(error) else "it does not exist"
        raise AirliftError(f"cannot {action} {address}: {advice}") from error
    except (OSError, pa.ArrowException) as error:
        text = str(error)
        words = own_words(text, address)
        known = next((said for word, said in _ADVICE.items() if word in words), None)
        shown = _SIGNATURE.sub(r"\1…", text)
        # Who logs the cause logs what it says.
        cause = error if shown == text else None
        raise AirliftError(f"cannot {action} {address}: {known or shown}") from cause
