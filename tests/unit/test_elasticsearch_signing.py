"""Requests signed for AWS: they pass a gate that checks signatures by AWS' documentation alone."""

from __future__ import annotations

import json
import logging
import re
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, unquote

import botocore.auth
import pytest
from pydantic import SecretStr

from airlift.connections import AwsCredentials, AwsSigning, ElasticsearchConnection
from airlift.sources.elasticsearch.answers import ANYTHING
from airlift.sources.elasticsearch.choosing import choose
from airlift.sources.elasticsearch.client import SearchServer, connect
from airlift.sources.elasticsearch.params import ElasticsearchParams
from airlift.sources.elasticsearch.refusals import ServerError, refusal
from airlift_airflow.hooks.elasticsearch import ElasticsearchHook
from tests.http_proxy import Answer, HttpProxy, Request
from tests.sigv4 import Gate, Keys, Roles, canonical_request, signature

SECRET, TOKEN = "hushed/secret+key", "hushed//token=="
PERMANENT = Keys("AKIAPERMANENT", SECRET)
TEMPORARY = Keys("ASIATEMPORARY", SECRET, TOKEN)
ROOT = {"name": "n", "version": {"number": "2.19.1", "distribution": "opensearch"}}
JSON = {"content-type": "application/json"}

EXAMPLE_SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
STAMP = "20150830T123600Z"
FORM = "application/x-www-form-urlencoded"
NOTHING = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize(
    ("service", "method", "query", "headers", "body_hash", "expected"),
    [
        # The example of the IAM User Guide.
        (
            "iam",
            "GET",
            "Action=ListUsers&Version=2010-05-08",
            {"content-type": f"{FORM}; charset=utf-8", "host": "iam.amazonaws.com"},
            NOTHING,
            "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
        ),
        # Of AWS' test suite for signers: get-vanilla, post-vanilla, get-vanilla-query-order-key.
        (
            "service",
            "GET",
            "",
            {"host": "example.amazonaws.com"},
            NOTHING,
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        (
            "service",
            "POST",
            "",
            {"host": "example.amazonaws.com"},
            NOTHING,
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
        ),
        (
            "service",
            "GET",
            "Param2=value2&Param1=value1",
            {"host": "example.amazonaws.com"},
            NOTHING,
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
    ],
)
def test_the_checking_proxy_calculates_the_signatures_of_aws_examples(
    service: str, method: str, query: str, headers: dict[str, str], body_hash: str, expected: str
) -> None:
    sent = {**headers, "x-amz-date": STAMP}
    signed = ";".join(sorted(sent))
    canonical = canonical_request(method, "/", query, sent, signed, body_hash)
    assert signature(EXAMPLE_SECRET, STAMP, "us-east-1", service, canonical) == expected


class Domain:
    """A search server behind a gate; it answers what a test puts there.

    Attributes:
        answers: by path, as it is when decoded.
        first: answers in place of all others, used up one by one.
    """

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.answers: dict[str, Any] = {"/": ROOT, "/_resolve/index/*": {"indices": []}}
        self.first: list[Answer] = []
        self.proxy = HttpProxy("http://127.0.0.1:1")
        self.proxy.rule = self._answer

    def _answer(self, request: Request) -> Answer:
        if self.first:
            return self.first.pop(0)
        refused = self.gate(request)
        path = unquote(request.path.partition("?")[0])
        return refused or Answer(200, json.dumps(self.answers.get(path, {})).encode(), JSON)

    def connection(self, keys: Keys, **signing: Any) -> ElasticsearchConnection:
        credentials = AwsCredentials(
            access_key=keys.access,
            secret_key=SecretStr(keys.secret),
            session_token=SecretStr(keys.token),
            region="eu-west-1",
            **signing.pop("credentials", {}),
        )
        given = {"region": "eu-west-1", "service": self.gate.service, **signing}
        aws = AwsSigning(conn_id="my_aws", credentials=credentials, **given)
        return ElasticsearchConnection(hosts=(self.proxy.url,), aws=aws, timeout=10)


@pytest.fixture
def domain() -> Iterator[Domain]:
    domain = Domain(Gate({keys.access: keys for keys in (PERMANENT, TEMPORARY)}))
    with domain.proxy:
        yield domain


Ask = tuple[str, str, dict[str, str], Any]
NAMES = ("songs-*", "索引-é", "a,b", "<logs-{now/d}>", "a b+c%d", "x!'()$&=@:;~._-")
REQUESTS: tuple[Ask, ...] = (
    ("GET", "/", {}, None),
    ("POST", "/songs/_search", {}, {"query": {"match": {"title": "Füße 東京 \U0001f600"}}}),
    ("POST", "/songs/_search", {"preference": "_shards:0"}, {"size": 0}),
    ("GET", "/songs/_settings", {"flat_settings": "true", "include_defaults": "true"}, None),
    ("GET", "/s", {"b": "2", "a": "x y+z=&/?é", "B": "", "a1": "1"}, None),
    ("DELETE", "/_search/point_in_time", {}, {"pit_id": ["a+/="]}),
)


@pytest.mark.parametrize("keys", [PERMANENT, TEMPORARY], ids=["permanent", "temporary"])
@pytest.mark.parametrize("service", ["es", "aoss"])
def test_what_is_signed_passes_and_arrives(domain: Domain, service: str, keys: Keys) -> None:
    domain.gate.service = service
    server = connect(domain.connection(keys), 0)
    for method, path, params, body in REQUESTS:
        server.ask(method, path, ANYTHING, body, params)
        arrived = domain.gate.passed[-1]
        sent_path, _, query = arrived.path.partition("?")
        assert (arrived.method, sent_path) == (method, path)
        assert dict(parse_qsl(query, keep_blank_values=True)) == params
        assert (json.loads(arrived.body) if arrived.body else None) == body
        assert "x-amz-content-sha256" in arrived.headers
    server.close()


@pytest.mark.parametrize("name", NAMES)
def test_every_index_name_is_signed_as_nodes_may_write_it(domain: Domain, name: str) -> None:
    """As they are sent, and as a node on the way may write them, the signature is the same."""
    from urllib.parse import quote

    server = connect(domain.connection(TEMPORARY), 0)
    for form in {quote(name, safe=""), quote(name, safe="*"), quote(name, safe="*,!'()$&=@:;")}:
        server.ask("GET", f"/_resolve/index/{form}", ANYTHING)
        sent = domain.gate.passed[-1].path.removeprefix("/_resolve/index/")
        assert unquote(sent) == name and "/" not in sent
    server.close()


def secrets_in(error: BaseException, log: pytest.LogCaptureFixture) -> list[str]:
    message = "".join(traceback.format_exception(error)) + log.text
    message += "".join(repr(vars(record)) for record in log.records)
    return [secret for secret in (SECRET, TOKEN) if secret in message]


@pytest.mark.parametrize(
    ("clock", "signing", "keys", "message"),
    [
        (timedelta(minutes=9), {}, TEMPORARY, "Signature expired.*set the worker's clock right"),
        (timedelta(minutes=-9), {}, TEMPORARY, "not yet current.*set the worker's clock right"),
        (timedelta(), {}, Keys(PERMANENT.access, "x"), "does not match.*check the secret key"),
        (timedelta(), {}, Keys(TEMPORARY.access, "x", TOKEN), "does not match.*the secret key"),
        (timedelta(), {}, Keys("AKIANOBODY", SECRET), "token .* is invalid.*check access key and"),
        (timedelta(), {}, Keys(TEMPORARY.access, SECRET), "is invalid.*aws_session_token"),
        (timedelta(), {"region": "us-east-1"}, TEMPORARY, "valid region.*set aws_region"),
        (timedelta(), {"service": "aoss"}, TEMPORARY, "correct service.*aws_service"),
    ],
)
def test_refusals_of_aws_say_what_to_do_and_no_secret(
    domain: Domain,
    clock: timedelta,
    signing: dict[str, Any],
    keys: Keys,
    message: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    domain.gate.clock = clock
    connection = domain.connection(keys, **signing)
    with (
        caplog.at_level(logging.DEBUG),
        pytest.raises(ServerError, match=message) as refused,
    ):
        connect(connection, 30)  # it is not tried again
    assert refused.value.status == 403 and not refused.value.passes
    assert domain.proxy.url in str(refused.value)
    assert not secrets_in(refused.value, caplog)
    assert SECRET not in f"{connection!r}{connection}{connection.model_dump()}"
    assert TOKEN not in f"{connection!r}{connection}{connection.model_dump()}"


@pytest.mark.parametrize(
    ("service", "secret", "shown"),
    [
        ("es", SECRET, (True, "Connected to OpenSearch 2.19.1.")),
        ("aoss", SECRET, (True, "Connected to Amazon OpenSearch Serverless.")),
        ("es", "x", (False, "check the secret key of the connection that aws_conn_id names")),
    ],
)
def test_the_connection_forms_test_button_signs_its_requests(
    domain: Domain,
    monkeypatch: pytest.MonkeyPatch,
    service: str,
    secret: str,
    shown: tuple[bool, str],
) -> None:
    """From Airflow's connections to requests that pass."""
    domain.gate.service = service
    extra = {"aws_conn_id": "my_aws", "aws_service": service, "aws_region": "eu-west-1"}
    search = {"conn_type": "elasticsearch", "host": domain.proxy.url, "extra": extra}
    aws = {
        "conn_type": "aws",
        "login": TEMPORARY.access,
        "password": secret,
        "extra": {"aws_session_token": TOKEN},
    }
    monkeypatch.setenv("AIRFLOW_CONN_SEARCH", json.dumps(search))
    monkeypatch.setenv("AIRFLOW_CONN_MY_AWS", json.dumps(aws))
    is_well, sentence = ElasticsearchHook("search").test_connection()
    assert is_well == shown[0] and shown[1] in sentence
    assert SECRET not in sentence and TOKEN not in sentence


def test_unsigned_requests_say_that_they_must_be_signed(domain: Domain) -> None:
    plain = domain.connection(PERMANENT).model_copy(update={"aws": None})
    with pytest.raises(ServerError, match="Missing Authentication Token.*aws_conn_id"):
        connect(plain, 0)


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"type": "x", "reason": "no such index [Signature expired]"}, "status": 403},
        {"error": "Signature expired", "message": "Signature expired"},
        {"message": ["Signature expired"]},
        {"message": "index Signature expired"},
        ["Signature expired"],
        "Signature expired",
    ],
)
def test_only_answers_of_aws_itself_are_read_so(body: Any) -> None:
    """The words of a name are not the server's own."""
    message = str(refusal(403, json.dumps(body).encode(), "GET /"))
    assert "privileges that docs/elasticsearch.md lists" in message and "clock" not in message


def test_each_try_is_signed_anew(domain: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six minutes pass from one request to the next, so an old signature would be refused."""
    start, sent = datetime.now(UTC), 0

    def later() -> datetime:
        nonlocal sent
        sent += 1
        domain.gate.clock = sent * timedelta(minutes=6)
        return start + domain.gate.clock

    monkeypatch.setattr(botocore.auth, "get_current_datetime", later)
    server = connect(domain.connection(TEMPORARY), 0)
    server.patience = 30
    domain.first = [Answer(503), Answer(429)]
    server.ask("POST", "/songs/_search", ANYTHING, {"size": 1})
    assert sent == 4
    dates = [request.headers["x-amz-date"] for request in domain.proxy.refused]
    assert len(set(dates)) == 4
    server.close()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(domain: Domain, status: int) -> None:
    with HttpProxy("http://127.0.0.1:1") as other:
        other.rule = lambda request: Answer(200, json.dumps(ROOT).encode(), JSON)
        domain.first = [Answer(status, b"", {"location": f"{other.url}/"})]
        with pytest.raises(ServerError, match=f"answers {status}.*as the connection's host"):
            connect(domain.connection(TEMPORARY), 0)
        assert not other.refused  # the requests that it has answered


# --- roles ----------------------------------------------------------------------------------------

ROLE = "arn:aws:iam::123456789012:role/reader"


@pytest.fixture
def roles(domain: Domain) -> Iterator[Roles]:
    known = {keys.access: keys for keys in (PERMANENT, TEMPORARY)}
    with Roles(Gate(known, service="sts"), domain.gate, ROLE) as roles:
        yield roles


def as_role(
    domain: Domain, roles: Roles, arn: str = ROLE, keys: Keys = PERMANENT
) -> ElasticsearchConnection:
    return domain.connection(keys, credentials={"role_arn": arn, "sts_url": roles.url})


def test_the_keys_of_a_role_are_renewed_while_a_run_goes_on(
    domain: Domain, roles: Roles, caplog: pytest.LogCaptureFixture
) -> None:
    """The gate knows only the last keys; those that end soon are replaced before a request."""
    roles.seconds = 300
    with caplog.at_level(logging.DEBUG):
        server = connect(as_role(domain, roles), 0)
        for number in range(5):
            server.ask("POST", "/songs/_search", ANYTHING, {"size": number})
        server.close()
    tokens = {request.headers["x-amz-security-token"] for request in domain.gate.passed}
    assert len(tokens) == len(domain.gate.passed) == 6
    for keys in roles.given:
        assert keys.secret not in caplog.text and keys.token not in caplog.text


def test_the_keys_of_a_role_are_used_as_long_as_they_last(domain: Domain, roles: Roles) -> None:
    server = connect(as_role(domain, roles), 0)
    for number in range(5):
        server.ask("POST", "/songs/_search", ANYTHING, {"size": number})
    assert len(roles.given) == 1
    server.close()


@pytest.mark.parametrize(
    ("keys", "role", "message"),
    [
        (PERMANENT, f"{ROLE}s", "role/readers' can't be assumed.*'my_aws'.*AccessDenied.*trusts"),
        (Keys(PERMANENT.access, "x"), ROLE, "can't be assumed.*'my_aws'.*does not match"),
        (Keys(TEMPORARY.access, "x", TOKEN), ROLE, "can't be assumed.*'my_aws'.*does not match"),
        (Keys("AKIANOBODY", SECRET), ROLE, "can't be assumed.*'my_aws'.*token .* is invalid"),
        (TEMPORARY, "", "check the secret key"),
    ],
)
def test_keys_that_cannot_be_had_are_named(
    domain: Domain,
    roles: Roles,
    keys: Keys,
    role: str,
    message: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    domain.gate.keys[TEMPORARY.access] = Keys(TEMPORARY.access, "another", TOKEN)
    with (
        caplog.at_level(logging.DEBUG),
        pytest.raises(ServerError, match=message) as refused,
    ):
        connect(as_role(domain, roles, role, keys), 30)
    assert not refused.value.passes and not domain.gate.passed
    assert not secrets_in(refused.value, caplog)


def test_a_server_of_roles_that_is_away_is_tried_again(domain: Domain, roles: Roles) -> None:
    roles.away = 4
    server = connect(as_role(domain, roles), 60)
    assert server.version.name == "OpenSearch 2.19.1" and roles.away == 0
    server.close()


# --- OpenSearch Serverless ------------------------------------------------------------------------

SHARDS = {"total": 0, "successful": 0, "skipped": 0, "failed": 0}


def collection(domain: Domain, search: Any) -> SearchServer:
    """A collection of Serverless with one index, which has two shards."""
    domain.gate.service = "aoss"
    settings = {"index.uuid": "u", "index.number_of_shards": "2"}
    del domain.answers["/"]
    domain.answers |= {
        "/_resolve/index/songs": {"indices": [{"name": "songs", "attributes": ["open"]}]},
        "/songs/_mapping": {"songs": {"mappings": {"properties": {}}}},
        "/songs/_settings": {"songs": {"settings": settings}},
        "/songs/_search": search,
    }
    return connect(domain.connection(TEMPORARY), 0)


def searched(total: int, low: Any, high: Any) -> dict[str, Any]:
    return {
        "timed_out": False,
        "_shards": SHARDS,
        "hits": {"total": {"value": total, "relation": "eq"}, "hits": []},
        "aggregations": {"low": {"value": low}, "high": {"value": high}},
    }


@pytest.mark.parametrize(
    ("search", "message"),
    [
        (searched(3, 0.0, 0.0), "gives all 3 documents the same _seq_no"),
        (searched(2_000, -2.0, -2.0), "gives all 2,000 documents the same _seq_no"),
        (searched(3, None, None), "gives its documents no _seq_no"),
        ({**searched(3, 0.0, 2.0), "aggregations": {}}, "gives its documents no _seq_no"),
        (
            {"error": {"type": "x", "reason": "No mapping found for [_seq_no]"}, "status": 400},
            "can't search by _seq_no .*No mapping found",
        ),
    ],
)
def test_a_collection_without_numbers_is_refused_by_name(
    domain: Domain, search: dict[str, Any], message: str
) -> None:
    server = collection(domain, search)
    rule = domain.proxy.rule

    def with_status(request: Request) -> Answer | None:
        answer = rule(request)
        is_error = answer is not None and b'"error"' in answer.body
        return Answer(400, answer.body, JSON) if answer and is_error else answer

    domain.proxy.rule = with_status
    params = ElasticsearchParams(indices=("songs",), staging_url="/unused")
    found, reasons = choose(server, params)
    assert found == []
    [reason] = reasons
    assert re.search(message, reason)
    assert "collection 'songs': index 'songs' is in OpenSearch Serverless" in reason
    assert "copy it into a domain of Amazon OpenSearch Service" in reason
    server.close()


@pytest.mark.parametrize(
    "search", [searched(0, None, None), searched(2, 0.0, 0.0), searched(3, 0.0, 1.0)]
)
def test_a_collection_with_numbers_is_read_like_any_other(
    domain: Domain, search: dict[str, Any]
) -> None:
    """An empty one too, and one with as many documents of a number as there are shards."""
    server = collection(domain, search)
    assert (server.version.name, server.version.is_opensearch) == (
        "Amazon OpenSearch Serverless",
        True,
    )
    found, reasons = choose(server, ElasticsearchParams(indices=("songs",), staging_url="/x"))
    assert reasons == []
    assert [part.shards for collected in found for part in collected.parts] == [2]
    server.close()
