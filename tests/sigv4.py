"""Checks AWS Signature Version 4 as a service of AWS does, by its documentation alone.

Nothing here comes from botocore, which signs: what AWS publishes as examples is checked in
`tests/unit/test_elasticsearch_signing.py`. The rules: "Create a signed AWS API request" in AWS' IAM
User Guide; what is refused, and in which words, as Amazon OpenSearch Service answers.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

from tests.http_proxy import Answer, HttpProxy, Request

_UNRESERVED = "-_.~"
_LATE = timedelta(minutes=5)
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, "
    r"SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})"
)


@dataclass(frozen=True)
class Keys:
    """Keys that AWS knows; temporary ones have a token."""

    access: str
    secret: str
    token: str = ""


def canonical_request(
    method: str, path: str, query: str, headers: Mapping[str, str], signed: str, body_hash: str
) -> str:
    """The canonical request of a service other than S3, whose path is encoded twice.

    Args:
        path: as it was sent, so encoded once.
        signed: names of headers with `;` between.
    """
    twice = "/".join(quote(part, safe=_UNRESERVED) for part in path.split("/"))
    pairs = sorted(
        (quote(name, safe=_UNRESERVED), quote(value, safe=_UNRESERVED))
        for name, value in parse_qsl(query.replace("+", "%2B"), keep_blank_values=True)
    )
    names = signed.split(";")
    return "\n".join(
        [
            method,
            twice or "/",
            "&".join(f"{name}={value}" for name, value in pairs),
            *(f"{name}:{' '.join(headers[name].split())}" for name in names),
            "",
            signed,
            body_hash,
        ]
    )


def signature(secret: str, stamp: str, region: str, service: str, canonical: str) -> str:
    """The signature of a canonical request.

    Args:
        stamp: the time, as `20150830T123600Z`.
    """
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashed}"
    key = f"AWS4{secret}".encode()
    for part in (*scope.split("/"), to_sign):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key.hex()


@dataclass
class Gate:
    """What stands before a domain or a collection: lets only requests pass that are signed.

    Attributes:
        keys: those that it knows, by access key.
        clock: by how much its clock differs from this machine's.
        passed: the requests that it has let through.
    """

    keys: dict[str, Keys]
    region: str = "eu-west-1"
    service: str = "es"
    clock: timedelta = timedelta()
    passed: list[Request] = field(default_factory=list)

    def __call__(self, request: Request) -> Answer | None:
        """A rule of `HttpProxy`."""
        said = self._refusal(request)
        if said is None:
            self.passed.append(request)
            return None
        body = json.dumps({"message": said}).encode()
        return Answer(403, body, {"content-type": "application/json"})

    def _refusal(self, request: Request) -> str | None:
        found = _AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
        if found is None:
            return "Missing Authentication Token"
        access, day, region, service, signed, given = found.groups()
        if region != self.region:
            return f"Credential should be scoped to a valid region, not '{region}'. "
        if service != self.service:
            return f"Credential should be scoped to correct service: '{self.service}'. "
        keys = self.keys.get(access)
        if keys is None or request.headers.get("x-amz-security-token", "") != keys.token:
            return "The security token included in the request is invalid."
        stamp = request.headers["x-amz-date"]
        sent = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        now = datetime.now(UTC) + self.clock
        if sent < now - _LATE:
            return f"Signature expired: {stamp} is now earlier than {_stamp(now - _LATE)}"
        if sent > now + _LATE:
            return f"Signature not yet current: {stamp} is still later than {_stamp(now + _LATE)}"
        needed = {"host", "x-amz-date", *(["x-amz-security-token"] if keys.token else [])}
        assert needed <= set(signed.split(";")), signed
        assert day == stamp[:8]
        body_hash = hashlib.sha256(request.body).hexdigest()
        stated = request.headers.get("x-amz-content-sha256")
        if stated != body_hash and (stated or self.service == "aoss"):
            return "The Content-SHA256 header is missing or is not that of the body."
        path, _, query = request.path.partition("?")
        canonical = canonical_request(
            request.method, path, query, request.headers, signed, body_hash
        )
        # A node on the way may write the path in its strict form: that must not matter.
        strict = "/".join(quote(unquote(part), safe=_UNRESERVED) for part in path.split("/"))
        again = canonical_request(request.method, strict, query, request.headers, signed, body_hash)
        for form in (canonical, again):
            if signature(keys.secret, stamp, region, service, form) != given:
                return (
                    "The request signature we calculated does not match the signature you "
                    "provided. Check your AWS Secret Access Key and signing method. Consult the "
                    "service documentation for details.\n\nThe Canonical String for this request "
                    f"should have been\n'{form}'\n"
                )
        return None


class Roles:
    """AWS STS: gives keys of one role to those who may assume it.

    Args:
        gate: lets the requests pass that it answers.
        known_to: the gate that lets the keys pass; it forgets those that were given before.
        arn: the role.

    Attributes:
        given: all keys.
        seconds: how long they are valid.
        away: how many requests are answered by a failure first.
    """

    def __init__(self, gate: Gate, known_to: Gate, arn: str) -> None:
        self.gate, self._known_to, self._arn = gate, known_to, arn
        self._proxy = HttpProxy("http://127.0.0.1:1")
        self._proxy.rule = self._answer
        self.given: list[Keys] = []
        self.seconds = 3600
        self.away = 0
        self.url = self._proxy.url

    def __enter__(self) -> Roles:
        self._proxy.__enter__()
        return self

    def __exit__(self, *reason: Any) -> None:
        self._proxy.__exit__(*reason)

    def _answer(self, request: Request) -> Answer:
        if self.away:
            self.away -= 1
            return Answer(503, b"")
        if refused := self.gate(request):
            return _sts_error("SignatureDoesNotMatch", json.loads(refused.body)["message"])
        asked = dict(parse_qsl(request.body.decode()))
        if asked["Action"] != "AssumeRole" or asked["RoleArn"] != self._arn:
            return _sts_error("AccessDenied", "not authorized to perform: sts:AssumeRole")
        number = len(self.given)
        keys = Keys(f"ASIAROLE{number:08}", f"secret-of-role-{number}", f"token-of-role-{number}")
        for old in self.given:
            self._known_to.keys.pop(old.access, None)
        self.given.append(keys)
        self._known_to.keys[keys.access] = keys
        ends = datetime.now(UTC) + timedelta(seconds=self.seconds)
        return Answer(
            200,
            f"""<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
            <AssumeRoleResult><Credentials>
            <AccessKeyId>{keys.access}</AccessKeyId>
            <SecretAccessKey>{keys.secret}</SecretAccessKey>
            <SessionToken>{keys.token}</SessionToken>
            <Expiration>{ends.isoformat()}</Expiration>
            </Credentials></AssumeRoleResult></AssumeRoleResponse>""".encode(),
            {"content-type": "text/xml"},
        )


def _sts_error(code: str, message: str) -> Answer:
    return Answer(
        403,
        f"""<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error>
        <Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>""".encode(),
        {"content-type": "text/xml"},
    )


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y%m%dT%H%M%SZ")
