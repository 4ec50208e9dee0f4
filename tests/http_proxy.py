"""A reverse proxy that tests put before a real server, to delay or refuse some of its requests."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    body: bytes
    headers: Mapping[str, str]

    @property
    def range_bytes(self) -> int | None:
        """How many bytes of an object it asks for; None for all."""
        wanted = self.headers.get("range", "")
        if not wanted.startswith("bytes="):
            return None
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        return int(last) - int(first) + 1


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


_STOP_WITHIN = 0.05  # seconds

Rule = Callable[[Request], Answer | None]
"""Answers in the server's place, or with None lets the request through; it may wait first."""


class HttpProxy:
    """Listens on 127.0.0.1 and passes requests on, headers and all, so that signatures hold.

    Args:
        target: the server's URL.

    Attributes:
        rule: asked for every request; may be set at any time.
        refused: the requests that the rule has answered.
        change: what becomes of the server's answers; may be set at any time.
    """

    def __init__(self, target: str) -> None:
        self._target = urlsplit(target)
        self.rule: Rule = lambda request: None
        self.refused: list[Request] = []
        self.change: Callable[[Request, Answer], Answer] = lambda request, answer: answer
        proxy = self

        class Handler(_Handler):
            def answer(self, request: Request) -> Answer:
                return proxy._answer(request)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_STOP_WITHIN,), daemon=True
        )
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def _answer(self, request: Request) -> Answer:
        refusal = self.rule(request)
        if refusal is not None:
            self.refused.append(request)
            return refusal
        # The whole body is sent at once, whose length http.client tells by itself.
        unsent = ("transfer-encoding", "content-length", "expect")
        headers = {name: value for name, value in request.headers.items() if name not in unsent}
        connection = http.client.HTTPConnection(self._target.netloc, timeout=120)
        try:
            connection.request(request.method, request.path, request.body, headers)
            found = connection.getresponse()
            answer = Answer(found.status, found.read(), dict(found.getheaders()))
            return self.change(request, answer)
        finally:
            connection.close()

    def __enter__(self) -> HttpProxy:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, request: Request) -> Answer:
        raise NotImplementedError

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass  # trailers
        return b"".join(parts)

    def _handle(self) -> None:
        body = self._body()
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.answer(Request(self.command, self.path, body, headers))
        try:
            self.send_response_only(answer.status)
            # Of a HEAD, the length is that of the object.
            told = {name.lower(): value for name, value in answer.headers.items()}
            length = told.get("content-length") if self.command == "HEAD" else None
            for name, value in answer.headers.items():
                if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                    self.send_header(name, value)
            self.send_header("Content-Length", length or str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)
        except ConnectionError:
            self.close_connection = True

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _handle

    def log_message(self, *_: object) -> None:
        """Nothing is told of each request."""
