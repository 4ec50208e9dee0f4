"""The HTTP side: a threaded server that can lose an answer after doing the work."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from . import contract as C
from .config import Answer, Faults
from .handlers import MilvusApi


class RestServer(ThreadingHTTPServer):
    """Serves `api` on 127.0.0.1; remembers every request, cuts all connections when it stops."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(
        self, port: int, api: MilvusApi, faults: Faults, requests: list[dict[str, Any]]
    ) -> None:
        self.api, self.faults, self.requests = api, faults, requests
        self.counts = {"create": 0, "describe": 0, "list": 0}
        self.closing = threading.Event()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", port), _Handler)
        threading.Thread(
            target=self.serve_forever, args=(0.05,), daemon=True, name="emulator-rest"
        ).start()

    def fault(self, call: str) -> Answer | None:
        """What is to happen to the next request of a call, if it is one that has faults."""
        if call not in self.counts:
            return None
        with self._lock:
            self.counts[call] += 1
            table = getattr(self.faults, call)
            return table.get(self.counts[call]) or table.get(0)

    def process_request(self, request, client_address):
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request, client_address):
        """A client that went away is no news."""

    def stop(self) -> None:
        self.closing.set()
        self.shutdown()
        self.server_close()
        with self._lock:
            still = list(self._open)
        for connection in still:
            _cut(connection)


def _cut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body are two writes: the second would wait 40 ms for the first one's acknowledgement.
    disable_nagle_algorithm = True
    server: RestServer

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.split("?")[0]
        name = path.removeprefix(C.PREFIX)
        call = self.server.api.calls.get(name) if name != path else None
        if call is None:
            return self._send(404, b"404 page not found", "text/plain")
        fault = self.server.fault(call)
        if fault and fault.endswith("_before"):
            return self._lose(fault)
        if fault == "rate_limit":
            return self._answer(
                200,
                C.refusal(
                    C.RestError(
                        C.RATE_LIMIT,
                        "request is rejected by grpc RateLimiter middleware, please retry later: "
                        "rate limit exceeded[rate=0.1]",
                    )
                ),
            )
        try:
            self.server.api.authenticate(self.headers)
            body = self._parse(raw)
            self.server.requests.append({"path": path, "body": body, "headers": dict(self.headers)})
            status, answer = 200, getattr(self.server.api, call)(body, self.headers)
        except C.RestError as err:
            status, answer = err.http_status, C.refusal(err)
        except C.ImportFailed as err:
            status, answer = 200, {"code": C.IMPORT_FAILED, "message": str(err)}
        except Exception as err:
            status, answer = (
                500,
                {"code": 65535, "message": f"emulator error: {type(err).__name__}: {err}"},
            )
        if fault:
            return self._lose(fault)
        self._answer(status, answer)

    def do_GET(self) -> None:
        self._send(404, b"404 page not found", "text/plain")

    def _parse(self, raw: bytes) -> dict[str, Any]:
        try:
            body = json.loads(raw)
            if not isinstance(body, dict):
                raise ValueError("not an object")
        except ValueError as err:
            raise C.RestError(
                C.BAD_FORMAT, f"can only accept json format request, error: {err}"
            ) from None
        return body

    def _lose(self, fault: str) -> None:
        kind = fault.rsplit("_", 1)[0]
        if kind == "hang":
            self.server.closing.wait(600)
        if kind in ("500", "429"):
            return self._answer(
                int(kind),
                {"code": 65535 if kind == "500" else 429, "message": f"injected: {fault}"},
            )
        self.close_connection = True
        _cut(self.connection)

    def _answer(self, status: int, answer: Any) -> None:
        self._send(status, json.dumps(answer).encode(), "application/json; charset=utf-8")

    def _send(self, status: int, data: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        """Quiet."""
