"""Reading what staging holds of each chunk, as `create`, `verify`, `publish` and the report do."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.child import case
from localservers import S3Server
from tests.http_proxy import HttpProxy, Request

CHUNKS = 1_000
ANSWER_SECONDS = 0.02
"""What a bucket of a cloud takes to answer, about."""

Say = Callable[..., None]


def records(work: Path, say: Say) -> None:
    """Manifests and import records of 1,000 chunks in a bucket 20 ms away, against one by one."""

    def wait(request: Request) -> None:
        time.sleep(ANSWER_SECONDS)

    with S3Server(work / "s3", bucket="bench") as server, HttpProxy(server.endpoint_url) as proxy:
        s3 = {
            "access_key": server.access_key,
            "secret_key": server.secret_key,
            "region": server.region,
        }
        near: dict[str, Any] = {"s3": {**s3, "endpoint_url": server.endpoint_url}}
        far: dict[str, Any] = {"s3": {**s3, "endpoint_url": proxy.url}}
        case("records_write", chunks=CHUNKS, **near)
        proxy.rule = wait
        one_by_one = case("records_read", chunks=CHUNKS, at_once=False, **far)
        at_once = case("records_read", chunks=CHUNKS, at_once=True, **far)
        print(f"Records of {CHUNKS:,} chunks in a bucket that answers in {ANSWER_SECONDS * 1e3} ms")
        say("one by one", one_by_one.told["wall"], "s")
        say("as the steps read them", at_once.told["wall"], "s")
        say("one by one / as the steps do", one_by_one.told["wall"] / at_once.told["wall"], "x")
        say("CPU of the client", at_once.told["cpu"], "s")
        say("process: peak memory", at_once.peak_mb, "MB")
