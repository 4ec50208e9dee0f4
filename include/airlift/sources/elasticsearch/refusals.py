"""What a server's refusals mean."""

from __future__ import annotations

from typing import Any

import orjson

from airlift.errors import AirliftError

# 429 is also what circuit breakers answer; the others come from proxies and nodes that restart.
_PASSING = (429, 502, 503, 504)


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
    if status == 401:
        message += "; check login and password, or the API key or token, of the connection"
    elif status == 403:
        message += "; give the user the privileges that docs/elasticsearch.md lists"
    elif passes:
        message += "; it is overloaded or restarting: look at its log, then clear the task"
    pause = float(retry_after) if retry_after.isascii() and retry_after.isdigit() else 0.0
    return ServerError(message, status, kind, passes, pause)


def _cause(body: bytes) -> tuple[str, str]:
    """The innermost type and reason that an error's body names."""
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
