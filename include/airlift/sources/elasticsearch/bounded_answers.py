"""Answers of a bounded size.

Both client libraries keep whatever arrives in memory, and unpack it when it is compressed. Nothing
compressed is asked for here, so that what comes is what it takes; and no answer may be larger than
any right one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from airlift.sources.elasticsearch.refusals import ServerError

MAX_BYTES = 512 << 20
"""Pages are of some 8 MB; a document has 100 MB at most, unless the server allows more."""

TOO_LARGE = "answer_too_large"
"""The kind of the error for such an answer, beside those that servers name."""

_PIECE = 1 << 20
_SHOWN = 100


class Answer(NamedTuple):
    """What the libraries use of an answer."""

    status: int
    headers: Mapping[str, str]
    data: bytes


def bound(pool: Any) -> None:
    """Lets a pool of urllib3 give bounded answers.

    What is too large, or compressed, raises ServerError inside of the library, which makes it the
    cause of an error of its own.
    """
    urlopen = pool.urlopen

    def bounded(*args: Any, **options: Any) -> Answer:
        response = urlopen(*args, preload_content=False, decode_content=False, **options)
        try:
            data = _read(response)
        except BaseException:
            response.close()
            raise
        response.release_conn()
        return Answer(response.status, response.headers, data)

    pool.urlopen = bounded


def _read(response: Any) -> bytes:
    encoding = response.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise ServerError(
            f"the answer is compressed ({encoding[:_SHOWN]}), which was not asked for; switch that "
            "off in the proxy before the server"
        )
    pieces: list[bytes] = []
    size = 0
    for piece in response.stream(_PIECE, decode_content=False):
        pieces.append(piece)
        size += len(piece)
        if size > MAX_BYTES:
            raise ServerError(
                f"the answer has more than {MAX_BYTES:,} bytes; leave large fields out by "
                "mapping, or read fewer documents at a time (page_rows)",
                kind=TOO_LARGE,
            )
    return b"".join(pieces)
