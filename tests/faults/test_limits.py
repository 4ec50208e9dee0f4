"""Limits of the servers around: they are waited for, or told with what to do; nothing is lost."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from airlift.errors import AirliftError
from airlift.storage import Storage, open_storage
from localservers import Elasticsearch, Milvus, S3Server
from samples.milvus1x_tables import TableSpec
from tests.http_proxy import Answer, HttpProxy, Request
from tests.paths.place import Place, bucket_of, lite_place, local_place
from tests.paths.truth import assert_holds
from tests.servers.search_place import (
    connection_to,
    make_index,
    planned,
    read_all,
    source_of,
    vector_field,
    vectors,
    write,
)

SLOW_DOWN = Answer(
    503,
    b'<?xml version="1.0"?><Error><Code>SlowDown</Code>'
    b"<Message>Please reduce your request rate.</Message></Error>",
    {"Content-Type": "application/xml"},
)
SONGS = TableSpec("songs", 4_000, dim=128, segments=2, deleted_fraction=0.05, seed=3)


class Refusing:
    """A rule that refuses the first few requests that it is asked for."""

    def __init__(self, answer: Answer, times: int) -> None:
        self.answer = answer
        self.times = times

    def __call__(self, request: Request) -> Answer | None:
        if self.times == 0:
            return None
        self.times -= 1
        return self.answer


@pytest.fixture
def slow_bucket(s3_server: S3Server) -> Iterator[tuple[HttpProxy, Storage]]:
    s3_server.make_bucket(f"slow-{time.time_ns()}")
    with HttpProxy(s3_server.endpoint_url) as proxy:
        connection = bucket_of(s3_server).model_copy(update={"endpoint_url": proxy.url})
        names = [one["Name"] for one in s3_server.client().list_buckets()["Buckets"]]
        newest = max(name for name in names if name.startswith("slow-"))
        yield proxy, open_storage(f"s3://{newest}/staging", connection)


def test_a_bucket_that_asks_for_fewer_requests_is_given_time(slow_bucket) -> None:
    proxy, folder = slow_bucket
    for action in (
        lambda: folder.write_bytes("a", b"whole"),
        lambda: folder.read_bytes("a"),
        lambda: folder.list(),
        lambda: folder.delete_file("a"),
    ):
        proxy.rule = Refusing(SLOW_DOWN, 3)
        action()
    assert len(proxy.refused) == 12
    assert folder.list() == {}


def test_a_bucket_that_never_takes_more_is_told(slow_bucket) -> None:
    proxy, folder = slow_bucket
    proxy.rule = Refusing(SLOW_DOWN, -1)
    with pytest.raises(AirliftError, match="asks for fewer requests; run again with fewer"):
        folder.write_bytes("a", b"whole")


TOO_MANY = b'{"error":{"type":"es_rejected_execution_exception","reason":"queue"},"status":429}'


@pytest.mark.parametrize("asked", [0, 4])
def test_an_elasticsearch_that_is_overloaded(
    elasticsearch_8: Elasticsearch, tmp_path: Path, asked: int
) -> None:
    """It is given the time that it asks for, and no document is lost or read twice."""
    name = f"busy-{asked}"
    make_index(elasticsearch_8, name, {"v": vector_field(elasticsearch_8)})
    documents = {f"d{row}": {"v": vector} for row, vector in enumerate(vectors(3_000))}
    write(elasticsearch_8, name, documents)
    headers = {"Content-Type": "application/json"} | ({"Retry-After": str(asked)} if asked else {})
    times: list[float] = []

    def busy(request: Request) -> Answer | None:
        if b"_seq_no" not in request.body:
            return None
        times.append(time.monotonic())
        # Of every two pages the first is refused, product header and all.
        return (
            Answer(429, TOO_MANY, {**headers, "X-Elastic-Product": "Elasticsearch"})
            if len(times) % 2
            else None
        )

    with HttpProxy(elasticsearch_8.url) as proxy:
        there = connection_to(elasticsearch_8, hosts=(proxy.url,))
        source = source_of(elasticsearch_8, tmp_path, [name], there)
        _, chunks = planned(source)
        proxy.rule = busy
        rows, bad = read_all(source, chunks)
        source.finish()
        source.close()
    assert rows.keys() == documents.keys() and not bad
    assert len(proxy.refused) > 0
    waited = [after - before for before, after in zip(times[::2], times[1::2], strict=False)]
    assert min(waited) >= asked


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own, which is full soon; mounting it takes root."""
    folder.mkdir()
    options = f"size={size}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_stops_the_run_and_leaves_no_half_file(milvus_lite, tmp_path: Path) -> None:
    with (
        small_disk(tmp_path / "staging", "1m") as staging,
        lite_place(milvus_lite, tmp_path / "source") as place,
    ):
        truth = place.write(SONGS)["songs"]
        place.staging_url = place.defaults["staging_url"] = str(staging)
        with pytest.raises(AirliftError, match="the disk is full; free space or stage else"):
            place.run()
        assert not place.client.has_collection("songs")
        assert not list(staging.rglob("*.part-*"))
        # Space is made, and the run goes on.
        subprocess.run(["mount", "-o", "remount,size=64m", str(staging)], check=True)
        place.run(verify="full")
        assert_holds(place.client, "songs", truth)


QUOTAS: dict[str, tuple[dict[str, Any], str]] = {
    "denied": ({"quotaAndLimits.limitWriting.forceDeny": True}, "it denies writing"),
    "disk": ({"quotaAndLimits.limitWriting.diskProtection.diskQuota": 1}, "disk quota is used up"),
    "memory": (
        {
            f"quotaAndLimits.limitWriting.memProtection.{node}Memory{level}WaterLevel": share
            for node in ("dataNode", "queryNode")
            for level, share in (("Low", 0.0001), ("High", 0.0002))
        },
        "memory is used up",
    ),
}


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Milvus]:
    server = Milvus(tmp_path_factory.mktemp("limited"))
    try:
        yield server
    finally:
        server.stop()


@pytest.mark.parametrize("quota", list(QUOTAS))
def test_a_quota_of_milvus_stops_the_run(limited: Milvus, tmp_path: Path, quota: str) -> None:
    """What to do is said; once it is done, the run goes on, and no row is there twice."""
    config, told = QUOTAS[quota]
    enabled = {"quotaAndLimits.quotaCenterCollectInterval": 1, "quotaAndLimits.dml.enabled": True}
    limited.stop()
    limited.config = {**enabled, **config}
    limited.start()
    with local_place(limited, tmp_path / "source") as place:
        target = f"songs_{quota}"
        place.defaults |= {"write_mode": "insert", "mapping": {"songs": {"target": target}}}
        truth = place.write(SONGS)["songs"]
        refused = wait_until_refused(place, target, told)
        limited.config = {}
        limited.restart()
        place.run(verify="full", **refused)
        assert_holds(place.client, target, truth)


def wait_until_refused(place: Place, target: str, told: str) -> dict[str, Any]:
    """Moves the rows once, and over themselves again and again until the server refuses them.

    It looks every second, and denies writing to those collections only that it has seen by then; a
    small one is filled sooner than that.

    Returns:
        The params of the run that was refused.
    """
    over: dict[str, Any] = {"if_exists": "append", "write_mode": "upsert"}
    deadline, number, params = time.monotonic() + 180, 0, {}
    while time.monotonic() < deadline:
        params = {"migration_id": f"{place.migration_id}_{number}", **(over if number else {})}
        try:
            place.run(verify="counts", **params)
        except AirliftError as error:
            assert told in str(error), str(error)
            return params
        place.client.flush(target)  # only what is flushed counts for the disk
        number += 1
    raise AssertionError("the server took everything")
