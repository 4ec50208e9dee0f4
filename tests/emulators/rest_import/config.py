"""What a test can set: faults to inject, and the Zilliz Cloud mode."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from .storage import Storage

Answer = Literal[
    "500_before",
    "429_before",
    "drop_before",
    "rate_limit",
    "500_after",
    "429_after",
    "drop_after",
    "hang_after",
]
# What happens to one request. `*_before`: nothing is done. `*_after`: the request is carried out (a
# create is accepted, its job runs), only the answer is lost. `rate_limit` is Milvus' own refusal:
# HTTP 200 with code 8. `hang_after` never answers; the connection closes with the server.


@dataclass
class Faults:
    """Faults by number, counted from 1. A test may change them while the server runs.

    ``fail_job``: job number -> reason; it ends Failed at ``fail_at`` percent.
    ``hang_job``: job number -> percent at which it stays until ``RestImportServer.release()``.
    ``die_at_job``: job number -> percent at which the whole server goes away (see ``restart()``).
    ``create`` / ``describe`` / ``list``: request number -> `Answer`; key 0 means every request.
    """

    fail_job: dict[int, str] = field(default_factory=dict)
    fail_at: int = 55
    hang_job: dict[int, int] = field(default_factory=dict)
    die_at_job: dict[int, int] = field(default_factory=dict)
    create: dict[int, Answer] = field(default_factory=dict)
    describe: dict[int, Answer] = field(default_factory=dict)
    list: dict[int, Answer] = field(default_factory=dict)


@dataclass
class Zilliz:
    """Makes the server a Zilliz Cloud control plane plus one cluster.

    ``buckets`` maps the bucket of an object URL to its storage, ``volumes`` a volume's name to
    its. ``access_key`` / ``secret_key`` / ``session_token`` are what a create must carry (None:
    unchecked; a ``session_token`` of "" must be absent). ``description`` is what Connect (and,
    unless ``get_version`` is set, GetVersion) answers; some clusters answer GetVersion with a
    build tag such as "unknown-20260608-7ea6e3526". ``requests_per_second`` answers HTTP 429 above
    that rate (the documented limit is 20).
    """

    cluster_id: str = "in01-0123456789abcde"
    api_key: str = "zilliz-api-key"
    buckets: Mapping[str, Storage] = field(default_factory=dict)
    volumes: Mapping[str, Storage] = field(default_factory=dict)
    access_key: str | None = None
    secret_key: str | None = None
    session_token: str | None = None
    description: str = "Zilliz Cloud Vector Database(Compatible with Milvus 2.6)"
    get_version: str | None = None
    requests_per_second: float | None = None
