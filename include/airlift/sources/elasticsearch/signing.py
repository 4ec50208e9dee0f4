"""Requests to Amazon OpenSearch Service and OpenSearch Serverless, signed with AWS Signature V4.

botocore calculates signatures. This module adds what it can't know: whose credentials to use, and a
form of path and query that no node on the way writes differently.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, unquote, urlencode

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError

from airlift.aws_credentials import aws_credentials, keep_secrets_out_of_logs
from airlift.connections import AwsSigning
from airlift.sources.elasticsearch.refusals import ServerError, first_line

_CONTENT_HASH = "X-Amz-Content-SHA256"
_THROTTLED = ("Throttling", "ThrottlingException", "RequestLimitExceeded")


class RequestSigner:
    """Gives the headers that sign a request.

    `opensearch-py` calls it for each request that it sends, with the body as it is sent. So a
    request that is tried again has a new date, and keys of a role that are valid by then.

    Raises:
        AirliftError: there are no credentials, or only half of a pair of keys.
    """

    def __init__(self, signing: AwsSigning) -> None:
        # Its debug logs have answers in full, and refusals of AWS repeat the session token.
        keep_secrets_out_of_logs("opensearch", "opensearchpy.trace")
        self._signing = signing
        # A role is assumed where the service runs: in China, no other region knows it.
        in_region = signing.credentials.model_copy(update={"region": signing.region})
        self._credentials = aws_credentials(in_region)

    def __call__(self, method: str, url: str, body: bytes | None) -> dict[str, str]:
        """The headers for a request.

        Raises:
            ServerError: there are no credentials to sign with, as when a role can't be assumed.
        """
        signing = self._signing
        try:
            keys = self._credentials.get_frozen_credentials()
        except (BotoCoreError, ClientError) as error:
            raise _credentials_error(signing, error) from None
        request = AWSRequest(method=method, url=url, data=body)
        signer = SigV4Auth(keys, signing.service, signing.region)
        # Serverless needs it; elsewhere it does no harm.
        request.headers[_CONTENT_HASH] = signer.payload(request)
        signer.add_auth(request)
        return dict(request.headers.items())


def signed_target(path: str, params: Mapping[str, str]) -> str:
    """A request's path and query with every reserved character encoded.

    AWS signs the path as it is sent, encoded once more: so `*` and `%2A` have different
    signatures, though RFC 3986 lets a node or proxy on the way replace one by the other, which
    would break the signature. So everything is encoded.

    Args:
        path: of the request, its parts encoded or not.
        params: of the query, not encoded.
    """
    strict = "/".join(quote(unquote(part), safe="") for part in path.split("/"))
    return f"{strict}?{urlencode(params, quote_via=quote, safe='')}" if params else strict


def _credentials_error(signing: AwsSigning, error: BotoCoreError | ClientError) -> ServerError:
    role = signing.credentials.role_arn
    passes = isinstance(error, (HTTPClientError, ConnectionError))
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        passes = status >= 500 or error.response.get("Error", {}).get("Code") in _THROTTLED
    what = f"the role {role!r} can't be assumed" if role else "AWS gives no credentials"
    return ServerError(
        f"{what}, with the aws connection {signing.conn_id!r}: {first_line(str(error))}; check its "
        "keys, that they may call sts:AssumeRole for the role, and that the role trusts them",
        passes=passes,
    )
