"""What a disk's or bucket's refusal means to the person who set the connection up."""

from __future__ import annotations

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
_S3_ADVICE = {
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
    "No space left on device": _NO_SPACE,
}


@contextmanager
def explained(action: str, address: str) -> Iterator[None]:
    """Turns what pyarrow raises into an AirliftError that says what to look at."""
    try:
        yield
    except FileNotFoundError as error:
        raise AirliftError(f"cannot {action} {address}: it does not exist") from error
    except (OSError, pa.ArrowException) as error:
        text = str(error)
        advice = next((said for word, said in _S3_ADVICE.items() if word in text), None)
        raise AirliftError(f"cannot {action} {address}: {advice or text}") from error
