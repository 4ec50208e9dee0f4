"""What Milvus', pymilvus' and gRPC's errors mean to the person who runs a migration."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from airlift.errors import AirliftError


class Unavailable(AirliftError):
    """The server can't do it now; the very same call may work later."""


class RateLimited(Unavailable):
    """The server did nothing, as too much was asked of it in a short time."""


class TooLarge(AirliftError):
    """The message, or the answer, is larger than the server sends at once; ask for less."""


@dataclass(frozen=True)
class _Meaning:
    """One kind of failure.

    Attributes:
        advice: what it means, and what to do.
        words: a pattern in what was said.
        codes: Milvus' error codes.
        states: gRPC's status names.
        refines: Milvus' error codes that have several meanings, which the words tell apart.
        kind: the error to raise, for those who can help themselves.
    """

    advice: str
    words: str = ""
    codes: frozenset[int] = frozenset()
    states: frozenset[str] = frozenset()
    refines: frozenset[int] = frozenset()
    kind: type[AirliftError] = AirliftError

    def fits(self, said: _Said) -> bool:
        """Whether it is meant; where the server gave a code that is known, words don't count."""
        if self.codes & said.codes:
            return True
        if said.codes & _KNOWN_CODES and not self.refines & said.codes:
            return False
        if self.states & said.states:
            return True
        return bool(self.words) and bool(re.search(self.words, said.own_words, re.IGNORECASE))


@dataclass(frozen=True)
class _Said:
    """Everything that an error and its causes tell.

    Attributes:
        own_words: the text without what users have named: only that is looked at for words.
    """

    text: str
    own_words: str
    codes: frozenset[int]
    states: frozenset[str]


_QUOTA = frozenset({9})
# The first that fits is taken, so the special ones stand before the general ones.
_MEANINGS = (
    # TLS
    _Meaning(
        "no TLS is spoken there; switch TLS off in the connection, or use the port with TLS",
        r"WRONG_VERSION_NUMBER",
    ),
    _Meaning(
        "the certificate is made for another name than the host's; connect by that name, or give "
        "it as server_name in the connection",
        r"peer name .* is not in peer certificate|hostname verification",
    ),
    _Meaning(
        "the server demands a client certificate that it knows; set client_cert_file, "
        "client_key_file and ca_file in the connection",
        r"certificate.required|bad.certificate|unknown.ca\b|alert.*certificate|handshake.failure",
    ),
    _Meaning(
        "the server's certificate is not trusted; give the CA that signed it as ca_file in the "
        "connection",
        r"CERTIFICATE_VERIFY_FAILED|self.signed|unable to get.*issuer",
    ),
    _Meaning(
        "TLS failed; check ca_file, client_cert_file, client_key_file and server_name in the "
        "connection",
        r"\bssl\b|tls handshake|SSL_ERROR|invalid cert|pem_root_certs",
    ),
    # Who may
    _Meaning(
        "the server demands a login; put user and password, or a token, into the connection",
        r"missing authorization",
    ),
    _Meaning(
        "the login is refused: user, password or token is wrong; check the connection",
        r"auth check failure|not authenticated|invalid api.?key",
        codes=frozenset({1400}),
        states=frozenset({"UNAUTHENTICATED"}),
    ),
    _Meaning(
        "the user may not do that; grant the privilege to its role",
        r"permission den(y|ied)|privilege not permitted",
        codes=frozenset({1401}),
        states=frozenset({"PERMISSION_DENIED"}),
    ),
    # What isn't there
    _Meaning(
        "there is no such collection in that database; on the target, clear the task create, "
        "which makes it again",
        r"collection not found|can't find collection|collection '[^']*' does not exist",
        codes=frozenset({100}),
    ),
    _Meaning(
        "there is no such partition in that collection; on the target, clear the task create, "
        "which makes it again",
        r"partition (ID )?not found",
        codes=frozenset({200}),
    ),
    _Meaning(
        "there is no such database; create it, or check its name in the connection and params",
        r"database not found|database '?[^' ]*'? (does not|doesn't|not) exist",
        codes=frozenset({800}),
    ),
    # What is too much
    _Meaning(
        "the server's memory is used up; give it more memory, release collections that are not "
        "needed, or migrate less at once",
        r"memory (quota|limit)|out of memory|\boom\b",
        refines=_QUOTA,
    ),
    _Meaning(
        "the server's disk quota is used up; raise it or free space, then run again",
        r"disk (quota|limit)|no space left",
        refines=_QUOTA,
    ),
    _Meaning(
        "a quota of the server is used up, so it denies writing; raise the quota or free space",
        r"quota exceeded|force deny|denied to write",
        codes=_QUOTA,
    ),
    _Meaning(
        "one message was larger than the server takes; raise proxy.grpc.serverMaxRecvSize and "
        "serverMaxSendSize of Milvus, or write by write_mode bulk_insert",
        r"larger than max|message too large|exceed the limit size|max output size",
        kind=TooLarge,
    ),
    _Meaning(
        "the server's rate limit was hit, again and again; run fewer tasks at once, or raise it",
        r"rate[ -]?limit|too many requests",
        codes=frozenset({8}),
        states=frozenset({"RESOURCE_EXHAUSTED"}),
        kind=RateLimited,
    ),
    # Nobody there
    _Meaning(
        "the Milvus Lite file cannot be opened; another process has it open, or the disk is full "
        "or not writable",
        r"open local milvus failed",
        kind=Unavailable,
    ),
    _Meaning(
        "the host's name is not known; check the host in the connection",
        r"errors resolving|Domain name not found|name or service not known|DNS resolution",
    ),
    _Meaning(
        "what answers there is no Milvus; give the port of Milvus' gRPC service (19530 unless "
        "changed), not of its web page or of another program",
        r"Failed parsing HTTP/2|http2 header|illegal header",
    ),
    _Meaning(
        "the server lacks that call; it is older than Milvus 2.2.9, a Milvus Lite before 3, or no "
        "Milvus; use a newer one",
        r"UNIMPLEMENTED|unknown method",
        states=frozenset({"UNIMPLEMENTED"}),
    ),
    _Meaning(
        "nothing listens at that port; check host and port in the connection, and that the server "
        "runs",
        r"connection refused",
        kind=Unavailable,
    ),
    _Meaning(
        "the server did not answer in time; check host and port in the connection, the network "
        "and the server's health, or raise the connection's timeout",
        r"deadline exceeded|retry timeout|timed? ?out",
        states=frozenset({"DEADLINE_EXCEEDED"}),
        kind=Unavailable,
    ),
    _Meaning(
        "the connection was dropped; check that the server runs, and whether it wants TLS",
        r"socket closed|connection reset|recvmsg|GOAWAY|broken pipe",
        kind=Unavailable,
    ),
    _Meaning(
        "the server cannot be reached; check host and port in the connection, and that it runs",
        r"fail connecting to server|failed to connect|server unavailable|no route to host",
        states=frozenset({"UNAVAILABLE"}),
        kind=Unavailable,
    ),
)


_KNOWN_CODES = frozenset(code for meaning in _MEANINGS for code in meaning.codes)
# `[collection=ssl_certs]`, 'ssl_certs', "ssl_certs", `ssl_certs`: as Milvus writes names.
_NAMED = re.compile(r"(\[(?!reason=)[\w ]+=)[^\]]*\]|'[^']*'|\"[^\"]*\"|`[^`]*`")
# Names that stand bare. Constants of TLS libraries and gRPC are in capitals.
_BARE = re.compile(r"(?<![\w.])(?!pem_root_certs\b)[a-z\d]+(?:_[a-z\d]+)+(?!\w)")
_QUOTED = re.compile(r"'([^']+)'|\"([^\"]+)\"")


def _own_words(text: str, what: str) -> str:
    """What a server says in its own words: names are taken out.

    Args:
        what: what was being done; names that are quoted in it are taken out everywhere.
    """
    for name in {part for match in _QUOTED.findall(what) for part in match if part}:
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "", text)
    text = _NAMED.sub(lambda match: f"{match[1]}]" if match[1] else "''", text)
    return _BARE.sub("''", text)


def explained(error: BaseException, what: str) -> AirliftError:
    """Turns an error of pymilvus or gRPC into one that a user understands.

    Args:
        error: what was raised.
        what: what was being done, as in "cannot <what>": `create the collection docs`.

    Returns:
        the error to raise (`from error`); an `Unavailable` where trying again may help.
    """
    if isinstance(error, AirliftError):
        return error
    said = _said(error, what)
    meaning = next((meaning for meaning in _MEANINGS if meaning.fits(said)), None)
    if meaning is None:
        return AirliftError(f"cannot {what}: {said.text or type(error).__name__}")
    answer = said.text or ", ".join(sorted(said.states)) or type(error).__name__
    return meaning.kind(f"cannot {what}: {meaning.advice} (it said: {answer})")


@contextmanager
def explaining(what: str) -> Iterator[None]:
    """Runs a block whose pymilvus and gRPC errors are `explained`; others pass unchanged."""
    try:
        yield
    except Exception as error:
        if not _is_milvus_error(error):
            raise
        raise explained(error, what) from error


def is_permission_denied(error: BaseException) -> bool:
    """Whether the server knows the user, and forbids the call."""
    said = _said(error)
    return bool("PERMISSION_DENIED" in said.states or 1401 in said.codes)


def _is_milvus_error(error: BaseException) -> bool:
    # pymilvus lets gRPC's own errors through for some failures (PERMISSION_DENIED is one).
    import grpc
    from pymilvus.exceptions import MilvusException

    return isinstance(error, MilvusException | grpc.RpcError | grpc.FutureTimeoutError)


def _said(error: BaseException, what: str = "") -> _Said:
    """Collects along the causes; pymilvus raises errors that are their own cause."""
    texts: list[str] = []
    codes: set[int] = set()
    states: set[str] = set()
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        details, code = getattr(cause, "details", None), getattr(cause, "code", None)
        if callable(details) and callable(code):  # gRPC
            states.add(getattr(code(), "name", ""))
            text = str(details() or "")
        else:
            text = str(getattr(cause, "message", "") or cause)
            if isinstance(code, int):
                codes.add(code)
            else:
                states.add(getattr(code, "name", ""))
        text = " ".join(text.split())
        if text and not any(text in known for known in texts):
            texts.append(text)
        cause = cause.__cause__
    # pymilvus' own words hide the reason; where gRPC gave one, that is the one to show.
    told = [text for text in texts if "illegal connection params" not in text] or texts
    said = "; ".join(told)[:1000]
    return _Said(said, _own_words(said, what), frozenset(codes), frozenset(states - {""}))
