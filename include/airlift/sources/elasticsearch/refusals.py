"""What a server's refusals mean."""

from __future__ import annotations

from typing import Any

import orjson

from airlift.errors import AirliftError

# 429 is also what circuit breakers answer; the others come from proxies and nodes that restart.
_PASSING = (429, 502, 503, 504)

# What AWS answers before the search server sees a request, by how the text begins.
_AWS_MEANINGS = (
    (
        ("Signature expired", "Signature not yet current"),
        "the worker's clock and that of AWS differ by more than five minutes; set the worker's "
        "clock right (NTP), then clear the task",
    ),
    (
        ("The request signature we calculated does not match",),
        "check the secret key of the connection that aws_conn_id names; where it is right, a proxy "
        "on the way changes requests after they were signed",
    ),
    (
        ("The security token included in the request is expired",),
        "the aws_session_token of the connection that aws_conn_id names has ended; give it a new "
        "one, or a role_arn, whose keys are renewed",
    ),
    (
        ("The security token included in the request is invalid",),
        "AWS does not know the keys; check access key and aws_session_token of the connection that "
        "aws_conn_id names",
    ),
    (
        ("Credential should be scoped to",),
        "set aws_region and aws_service of the connection to those of the domain or collection",
    ),
    (
        ("Missing Authentication Token", "User: anonymous is not authorized"),
        "requests must be signed; let the connection's aws_conn_id name an aws connection",
    ),
    (
        ("User: ",),
        "let this user or role do what docs/elasticsearch.md lists (IAM policy, and the domain's "
        "access policy)",
    ),
)

LOST_POINTS = ("search_context_missing_exception", "no_shard_available_action_exception")
"""The kinds of refusals that say that a point in time is not there any more."""


class ServerError(AirliftError):
    """The server refused a request, or did not answer.

    Attributes:
        status: of the HTTP answer; 0 when there was none.
        kind: the server's name for it, such as `index_not_found_exception`.
        passes: whether it may well work a little later.
        pause: seconds that the server asks to be left alone (`Retry-After`); 0 where it says none.
    """

    def __init__(
        self,
        message: str,
        status: int = 0,
        kind: str = "",
        passes: bool = False,
        pause: float = 0.0,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.passes = passes
        self.pause = pause


def refusal(status: int, body: bytes, what: str, retry_after: str = "") -> ServerError:
    """What an answer that is an error means.

    Args:
        retry_after: that header of the answer. RFC 9110 allows a date there too; search servers
            and the proxies before them send seconds.
    """
    kind, reason = _cause(body)
    passes = status in _PASSING
    message = f"{what}: the server answers {status} {kind}: {reason}"
    aws = _aws_message(body)
    if meaning := next((said for texts, said in _AWS_MEANINGS if aws.startswith(texts)), ""):
        message += f"; {meaning}"
    elif status == 401:
        message += "; check login and password, or the API key or token, of the connection"
    elif 300 <= status < 400:
        message += (
            "; it redirects, which is not followed; set the address that it redirects to as the "
            "connection's host"
        )
    elif status == 403:
        message += "; give the user the privileges that docs/elasticsearch.md lists"
    elif passes:
        message += "; it is overloaded or restarting: look at its log, then clear the task"
    pause = float(retry_after) if retry_after.isascii() and retry_after.isdigit() else 0.0
    return ServerError(message, status, kind, passes, pause)


def first_line(text: str) -> str:
    """The beginning of a text of AWS: the rest may repeat a request, with its session token."""
    return text.partition("\n")[0][:500]


def _aws_message(body: bytes) -> str:
    """What AWS itself answers: an object with a message alone. "" for all other answers."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    if not isinstance(answer, dict) or "error" in answer:
        return ""
    said = answer.get("message") or answer.get("Message")
    return first_line(said) if isinstance(said, str) else ""


def _cause(body: bytes) -> tuple[str, str]:
    """The innermost type and reason that an error's body names."""
    if aws := _aws_message(body):
        return "error", aws
    try:
        error = orjson.loads(body)["error"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return "error", body[:300].decode(errors="replace")
    if not isinstance(error, dict):
        return "error", str(error)[:300]
    causes = [cause for cause in _objects(error.get("root_cause")) if cause.get("reason")]
    cause = [*causes, error][0]
    reason = str(cause.get("reason"))
    shard = next(iter(_objects(error.get("failed_shards"))), {})
    inner = _object(_object(shard.get("reason")).get("caused_by"))
    if inner.get("reason"):
        reason += f" ({inner['reason']})"
    return str(cause.get("type") or error.get("type")), reason[:500]


def _object(found: Any) -> dict[str, Any]:
    """An object; an empty one where it is something else."""
    return found if isinstance(found, dict) else {}


def _objects(found: Any) -> list[dict[str, Any]]:
    """The objects in a list; none where it is something else."""
    return [value for value in found if isinstance(value, dict)] if isinstance(found, list) else []
