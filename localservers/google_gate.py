"""What stands before a Google Cloud Storage emulator: asks for access tokens, and gives them.

Follows RFC 7523 (a signed assertion for a token), as a service account's key is used with Google,
and answers 401 and 403 as Google Cloud Storage does. A process of its own:

    python -m localservers.google_gate '{"listen": 40123, "behind": 40124, …}'
"""

from __future__ import annotations

import http.client
import json
import secrets
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from .ports import LOOPBACK

_READ_ONLY = "read_only"
_PIECE = 1 << 20
_HOP = {"connection", "transfer-encoding", "keep-alive", "content-length"}


class Rules(NamedTuple):
    """What a gate is told.

    :param listen: its port on 127.0.0.1.
    :param behind: the port that requests are forwarded to.
    :param account: the only service account that it knows.
    :param public_key: of that, in PEM.
    :param token_seconds: how long a token lives.
    """

    listen: int
    behind: int
    account: str
    public_key: str
    token_seconds: float


class _Tokens:
    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._known: dict[str, tuple[float, str]] = {}

    def given(self) -> int:
        return len(self._known)

    def give(self, assertion: str) -> dict[str, Any]:
        """A token for a signed assertion; raises ValueError when it is not signed by the key."""
        from google.auth import jwt

        claims = jwt.decode(assertion, certs=self._rules.public_key)
        if claims["iss"] != self._rules.account:
            raise ValueError("Invalid issuer")
        token, seconds = secrets.token_hex(16), self._rules.token_seconds
        self._known[token] = (time.monotonic() + seconds, claims["scope"])
        return {"access_token": token, "expires_in": seconds, "token_type": "Bearer"}

    def refusal(self, method: str, token: str) -> tuple[int, str, str] | None:
        """Why a request may not pass: status, reason, message."""
        ends, scope = self._known.get(token, (0.0, ""))
        if time.monotonic() >= ends:
            return 401, "authError", "Invalid Credentials"
        if _READ_ONLY in scope and method != "GET":
            return 403, "insufficientPermissions", "Insufficient Permission"
        return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    rules: Rules
    tokens: _Tokens

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""

    def _handle(self) -> None:
        body = self._body()
        if self.path == "/token":
            self._give_token(body)
            return
        if self.path == "/tokens-given":
            self._answer(200, {"count": self.tokens.given()})
            return
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        refusal = self.tokens.refusal(self.command, token)
        if refusal:
            status, reason, message = refusal
            errors = [{"domain": "global", "reason": reason, "message": message}]
            error = {"code": status, "message": message, "errors": errors}
            self._answer(status, {"error": error})
        else:
            self._forward(body)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _handle

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _give_token(self, body: bytes) -> None:
        asked = parse_qs(body.decode())
        try:
            self._answer(200, self.tokens.give(asked["assertion"][0]))
        except (ValueError, KeyError) as error:
            said = {"error": "invalid_grant", "error_description": f"Invalid JWT: {error}"}
            self._answer(400, said)

    def _answer(self, status: int, value: dict[str, Any]) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _forward(self, body: bytes) -> None:
        headers = {key: value for key, value in self.headers.items() if key.lower() not in _HOP}
        server = http.client.HTTPConnection(LOOPBACK, self.rules.behind, timeout=120)
        try:
            try:
                server.request(self.command, self.path, body, headers)
                answer = server.getresponse()
            except OSError:
                self.close_connection = True
                return
            self._pass_on(answer)
        finally:
            server.close()

    def _pass_on(self, answer: http.client.HTTPResponse) -> None:
        self.send_response(answer.status)
        for key, value in answer.getheaders():
            if key.lower() not in _HOP:
                self.send_header(key, value)
        length = answer.getheader("Content-Length")
        if length is None:
            content = answer.read()
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            return
        self.send_header("Content-Length", length)
        self.end_headers()
        while piece := answer.read(_PIECE):
            self.wfile.write(piece)


def main() -> None:
    """Forwards what has a token, until it is killed."""
    _Handler.rules = rules = Rules(**json.loads(sys.argv[1]))
    _Handler.tokens = _Tokens(rules)
    ThreadingHTTPServer((LOOPBACK, rules.listen), _Handler).serve_forever()


if __name__ == "__main__":
    main()
