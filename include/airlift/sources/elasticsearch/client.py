"""One way to ask an Elasticsearch or an OpenSearch; the server says which of them it is."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

import orjson
from pydantic import BaseModel, ConfigDict, TypeAdapter
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_delay
from tenacity.wait import wait_random_exponential

from airlift.connections import AwsSigning, ElasticsearchConnection
from airlift.sources.elasticsearch.answers import RESOLUTION, ROOT, Shape, parsed, understood
from airlift.sources.elasticsearch.refusals import ServerError

log = logging.getLogger("airlift")

_SLOWEST = 30.0
_SERVERLESS_IS_LIKE = "2"
"""The version of OpenSearch that clients of Serverless must be compatible with, says AWS."""


class Version(BaseModel):
    """What a server says of itself.

    Attributes:
        is_serverless: it is a collection of Amazon OpenSearch Serverless, which has no number.
    """

    model_config = ConfigDict(frozen=True)

    product: str
    number: str
    is_serverless: bool = False

    @property
    def is_opensearch(self) -> bool:
        """Whether it is an OpenSearch."""
        return self.product == "OpenSearch"

    @property
    def name(self) -> str:
        """For people: `Elasticsearch 8.19.21`."""
        if self.is_serverless:
            return "Amazon OpenSearch Serverless"
        return f"{self.product} {self.number}"

    @property
    def order(self) -> tuple[int, ...]:
        """Its number, to compare by."""
        parts = self.number.split("-", 1)[0].split(".")
        return tuple(int(part) for part in parts if part.isdigit())


class Wire(Protocol):
    """A client library that sends one request; what goes wrong becomes a ServerError."""

    def send(self, method: str, path: str, params: Mapping[str, str], body: bytes | None) -> bytes:
        """The answer's body."""
        ...

    def close(self) -> None:
        """Closes its connections."""
        ...


class SearchServer:
    """An Elasticsearch or OpenSearch.

    Args:
        wire: how requests are sent.
        version: what the server says of itself.
        patience: seconds to go on trying while it is overloaded, or away.
    """

    def __init__(self, wire: Wire, version: Version, patience: float) -> None:
        self._wire = wire
        self.version = version
        self.patience = patience

    def ask(
        self,
        method: str,
        path: str,
        shape: TypeAdapter[Shape],
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> Shape:
        """The answer, in the form that it must have. Only for requests that may be sent twice.

        Args:
            shape: that form; see `answers`.

        Raises:
            ServerError: it refuses, does not answer for as long as patience lasts, or answers what
                is no such thing.
        """
        what = f"{method} {path}"
        return understood(parsed(self.raw(method, path, body, params), what), shape, what)

    def raw(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
        unless: Collection[str] = (),
    ) -> bytes:
        """The answer's bytes; see `ask`.

        Args:
            unless: kinds of refusals that are raised at once, also where they may pass.
        """
        data = None if body is None else orjson.dumps(body)
        return with_patience(
            lambda: self._wire.send(method, path, params or {}, data), self.patience, unless
        )

    def close(self) -> None:
        """Closes the connections."""
        self._wire.close()


def with_patience(
    send: Callable[[], bytes], patience: float, unless: Collection[str] = ()
) -> bytes:
    """Sends until it is answered: waits at random, and ever longer, between two tries.

    Args:
        unless: kinds of refusals that are not tried again.
    """

    def may_pass(error: BaseException) -> bool:
        return isinstance(error, ServerError) and error.passes and error.kind not in unless

    retrying = Retrying(
        retry=retry_if_exception(may_pass),
        wait=_Pause(patience),
        stop=stop_after_delay(patience),
        before_sleep=_tell,
        reraise=True,
    )
    return retrying(send)


class _Pause:
    """At random, and ever longer; at least as long as the server asks for, while patience lasts."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._at_random = wait_random_exponential(multiplier=0.5, max=_SLOWEST)

    def __call__(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.pause if isinstance(error, ServerError) else 0.0
        left = max(self._patience - (state.seconds_since_start or 0.0), 0.0)
        return min(max(self._at_random(state), asked), left)


def _tell(state: RetryCallState) -> None:
    if state.outcome and state.next_action:
        error, seconds = state.outcome.exception(), state.next_action.sleep
        log.warning("%s; tried again in %.1f s", error, seconds)


def connect(connection: ElasticsearchConnection, patience: float) -> SearchServer:
    """Connects, with the client that fits the server.

    Raises:
        ServerError: it does not answer, refuses the login, or shows a certificate not trusted.
    """
    from airlift.sources.elasticsearch.wires import ElasticsearchWire, OpenSearchWire, OtherProduct

    if connection.aws:
        return _connect_aws(OpenSearchWire(connection), connection, connection.aws, patience)
    wire: Wire = ElasticsearchWire(connection)
    try:
        found = with_patience(lambda: wire.send("GET", "/", {}, None), patience)
    except OtherProduct:
        # The official client refuses everything that is not an Elasticsearch of its kind.
        wire.close()
        wire = OpenSearchWire(connection)
        found = with_patience(lambda: wire.send("GET", "/", {}, None), patience)
    return SearchServer(wire, _version(found, connection), patience)


def _connect_aws(
    wire: Wire, connection: ElasticsearchConnection, signing: AwsSigning, patience: float
) -> SearchServer:
    """Connects to what AWS runs: OpenSearch, and Elasticsearch up to 7.10, which has no client."""
    if signing.service == "es":
        answer = with_patience(lambda: wire.send("GET", "/", {}, None), patience)
        return SearchServer(wire, _version(answer, connection), patience)
    # Serverless answers 404 to GET /; this is what the reading asks for next.
    version = Version(product="OpenSearch", number=_SERVERLESS_IS_LIKE, is_serverless=True)
    server = SearchServer(wire, version, patience)
    server.ask("GET", "/_resolve/index/*", RESOLUTION)
    return server


def _version(answer: bytes, connection: ElasticsearchConnection) -> Version:
    try:
        facts = understood(parsed(answer, "GET /"), ROOT, "GET /").version
    except ServerError as error:
        raise ServerError(
            f"{connection.address} answers, but is neither an Elasticsearch nor an OpenSearch; "
            "check the host and port of the connection"
        ) from error
    product = "OpenSearch" if facts.distribution == "opensearch" else "Elasticsearch"
    return Version(product=product, number=facts.number)
