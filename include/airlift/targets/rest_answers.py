"""What an answer of Milvus' REST interface means: done, refused, or unknown.

References: Milvus `pkg/util/merr/errors.go` (the codes) and
`internal/distributed/proxy/httpserver/status_projection.go` (which HTTP statuses refusals get when
`proxy.http.standardErrorStatus` is on, from 3.x). The body is the same either way, so it is read
before the status.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

import httpx

from airlift.errors import AirliftError

# Not ready, unavailable, its queue is full, its rate limit was hit (8), so was that of REST (1807).
# Milvus marks all of them as worth another try.
_BUSY = frozenset({1, 2, 4, 8, 1807})
# Cancelled, or out of time: the server may have done what was asked, or not.
_GIVEN_UP = frozenset({10_000, 10_001})
# The same for these (internal, unexpected), where the HTTP status says that the server failed.
_UNCLEAR = frozenset({5, 65_535})
_LOGIN = frozenset({1400, 1800})
# Milvus up to 2.6.18 has one code for whatever is wrong with an import; later ones have 2101 for
# what fails at the server. Both stand for an unknown job, and for too many unfinished ones.
_IMPORT = frozenset({2100, 2101})
# Both at the start of a sentence: what comes behind may hold names of files and collections.
_UNKNOWN_JOB = re.compile(r"(?:^|: )(?:import )?job does not exist")
_FULL = re.compile(r"(?:^|: )the number of jobs has reached the limit", re.IGNORECASE)

_ADVICE = {
    100: "the collection does not exist any more; clear the task create, which makes it again",
    200: "the partition does not exist any more; clear the task create, which makes it again",
    800: "check target_database, `database` in mapping, and the database in the connection",
    1401: "the user may not do that; grant the privilege to its role",
    21119: "check the token (the API key) in the connection",
}
"""What to do about a refusal, by its code."""


class NoAnswer(Exception):
    """The server is busy, or its answer was lost: it may have done what was asked, or not."""

    advice: ClassVar[str] = "check the connection's REST address"


class Busy(NoAnswer):
    """The server did nothing: it has too many requests, or is not ready."""

    advice: ClassVar[str] = "wait until it is ready, run fewer tasks at once, or raise its limits"


class RestRefusal(AirliftError):
    """The server understood and said no.

    Args:
        where: the call's address.
        answer: the JSON that came, with `code` and `message`.
    """

    def __init__(self, where: str, answer: dict[str, Any]) -> None:
        self.code: int = answer["code"]
        self.said = str(answer.get("message", answer))
        advice = _ADVICE.get(answer["code"])
        super().__init__(f"{where} was refused: {self.said}{f'; {advice}' if advice else ''}")

    @property
    def is_unknown_job(self) -> bool:
        """Whether the server does not know the import job (any more)."""
        return self.code in _IMPORT and bool(_UNKNOWN_JOB.search(self.said))

    @property
    def is_full(self) -> bool:
        """Whether the server takes no import job until some have ended."""
        return bool(_FULL.search(self.said))


def data_of(where: str, answer: httpx.Response) -> dict[str, Any]:
    """The `data` of a call that was done.

    Args:
        where: the call's address, for messages.

    Raises:
        NoAnswer: whether it was done is not known; it may be asked again.
        RestRefusal: it was not done.
        AirliftError: the login is refused, or what answers there is no Milvus.
    """
    status, value = answer.status_code, _envelope(answer)
    code = value.get("code")
    said = f": {value['message']}" if value.get("message") else ""
    # 200 stands for success in the first servers of REST v2, and in all for a missing partition.
    is_done = code == 0 or (code == 200 and "data" in value and not said)
    if status == 429 or code in _BUSY:
        raise Busy(f"the server is busy (HTTP {status}, code {code}){said}")
    server_failed = status == 408 or status >= 500
    if code in _GIVEN_UP or (server_failed and (code is None or is_done or code in _UNCLEAR)):
        raise NoAnswer(f"HTTP {status}{said}")
    if code in _LOGIN or (status in (401, 403) and code not in _ADVICE):
        raise AirliftError(f"{where} refused the login (HTTP {status}){said}; check the connection")
    data = value.get("data") or {}
    if code is None or (is_done and not (status == 200 and isinstance(data, dict))):
        raise AirliftError(
            f"{where} did not answer as Milvus' REST interface does (HTTP {status}); check the "
            "connection's REST address"
        )
    if not is_done:
        raise RestRefusal(where, value)
    return dict(data)


def _envelope(answer: httpx.Response) -> dict[str, Any]:
    """The JSON object that says how it went; empty where the body is none."""
    try:
        value = answer.json()
    except ValueError:  # also what is no UTF-8
        return {}
    return value if isinstance(value, dict) and isinstance(value.get("code"), int) else {}
