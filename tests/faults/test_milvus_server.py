"""Milvus itself gets in the way: rate limits, a right taken away, killed while it imports."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from pymilvus import MilvusClient

from airlift.connections import MilvusConnection
from airlift.errors import AirliftError
from airlift.run import run
from localservers import Milvus, MilvusLite, MilvusOnS3
from localservers.ports import wait_until
from samples.milvus_collection import songs, write_songs
from tests.paths.place import lite_place, local_place
from tests.paths.rights import is_denied, once_allowed
from tests.paths.test_milvus_to_milvus import MILVUS, make_songs, rows_of

LIMITS = {
    "quotaAndLimits.dml.enabled": True,
    "quotaAndLimits.dml.insertRate.max": 0.04,
    "quotaAndLimits.dql.enabled": True,
    "quotaAndLimits.dql.queryRate.collection.max": 2,
    # How long a job that a killed server had begun is waited for by the next one.
    "rootCoord.importTaskExpiration": 10,
}


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Milvus]:
    """A Milvus with low rate limits; it may be killed."""
    with Milvus(tmp_path_factory.mktemp("strict"), config=LIMITS) as server:
        yield server


def test_rate_limits_are_waited_for(strict, milvus_lite, tmp_path, monkeypatch):
    """Reading and inserting go on as fast as they may, and no row is sent twice."""
    monkeypatch.setattr("airlift.steps.write_chunks._INSERT_BYTES", 40_000)
    monkeypatch.setattr("airlift.milvus.rows._MAX_PAGE_ROWS", 100)
    refused = []
    monkeypatch.setattr(
        "airlift.milvus.database.RateLimited.__init__",
        lambda self, *told: (refused.append(told[0]), Exception.__init__(self, *told))[1],
        raising=False,
    )
    with (
        closing(milvus_lite.client()) as source,
        local_place(strict, tmp_path, MILVUS) as place,
    ):
        write_songs(source, "songs", 1_000)
        place.connections.servers["milvus_source"] = MilvusConnection(uri=milvus_lite.uri)
        report = place.run(write_mode="insert", verify="full")
        source.drop_collection("songs")
        assert report["collections"][0]["rows_counted"] == 1_000
        assert {row["id"]: row for row in songs(1_000)} == rows_of(place.client, "songs")
    told = "\n".join(refused)
    assert "read rows of 'songs'" in told and "insert into 'songs'" in told


def test_a_server_that_is_killed_while_it_imports(strict, milvus_lite, tmp_path, monkeypatch):
    with (
        closing(milvus_lite.client()) as source,
        local_place(strict, tmp_path, MILVUS) as place,
    ):
        write_songs(source, "killed", 1_000)
        place.connections.servers["milvus_source"] = MilvusConnection(uri=milvus_lite.uri)
        place.connections.servers["milvus_default"] = MilvusConnection(uri=strict.uri, timeout=10)
        with monkeypatch.context() as patch, pytest.raises(AirliftError):

            def kill_and_ask(ask: Any, *_: Any, **__: Any) -> Any:
                strict.kill()
                return ask()

            patch.setattr("airlift.run.wait_for", kill_and_ask)
            place.run(collections=["killed"])
        strict.start()
        report = place.run(collections=["killed"], verify="full")
        source.drop_collection("killed")
        assert report["collections"][0]["rows_counted"] == 1_000
        assert {row["id"]: row for row in songs(1_000)} == rows_of(place.client, "killed")


RIGHTS = (
    *(("Collection", one) for one in ("Query", "IndexDetail", "Load", "ShowPartitions")),
    *(("Global", one) for one in ("DescribeCollection", "ShowCollections")),
)
"""What a user of the source needs; see docs/milvus.md."""


def grant(root: MilvusClient) -> None:
    root.grant_role("reader", "readers")
    for kind, right in RIGHTS:
        root.grant_privilege("readers", kind, right, "*")


def test_a_right_that_is_taken_away(
    milvus_on_s3: MilvusOnS3, milvus_lite: MilvusLite, tmp_path: Path, monkeypatch
) -> None:
    """The run says which right is missing, and goes on where it was once it is given back."""
    monkeypatch.setattr("airlift.milvus.rows._MAX_PAGE_ROWS", 100)
    with closing(milvus_on_s3.client()) as root:
        make_songs(root, "guarded", 1_000)
        root.create_user("reader", "Secret_123")
        root.create_role("readers")
        grant(root)
        with lite_place(milvus_lite, tmp_path / "none", MILVUS) as place:
            place.connections.servers["milvus_source"] = MilvusConnection(
                uri=milvus_on_s3.uri, user="reader", password=SecretStr("Secret_123")
            )
            try:
                with closing(
                    MilvusClient(milvus_on_s3.uri, user="reader", password="Secret_123")
                ) as reader:
                    again = partial(grant, root)
                    once_allowed(reader.list_partitions, "guarded", again=again)
                    once_allowed(reader.get_load_state, "guarded", again=again)
                    once_allowed(reader.query, "guarded", "id > 0", limit=1, again=again)
                    _take_away_and_give_back(root, reader, place)
                assert rows_of(place.client, "guarded") == rows_of(root, "guarded")
            finally:
                for kind, right in RIGHTS:
                    root.revoke_privilege("readers", kind, right, "*")
                root.revoke_role("reader", "readers")
                root.drop_role("readers")
                root.drop_user("reader")
                root.drop_alias("guarded_alias")
                root.drop_collection("guarded")


def _take_away_and_give_back(root: MilvusClient, reader: MilvusClient, place: Any) -> None:
    give = partial(root.grant_privilege, "readers", "Collection", "Query", "*")
    take = partial(root.revoke_privilege, "readers", "Collection", "Query", "*")
    query = partial(reader.query, "guarded", "id > 0", limit=1)

    def is_taken() -> bool:
        take()
        return is_denied(query)

    with place.migration(collections=["guarded"], verify="full") as migration:
        read = migration.source.read

        def read_and_revoke(chunk: Any) -> Iterator[Any]:
            for number, batch in enumerate(read(chunk)):
                if number == 2:
                    wait_until(is_taken, 60, lambda: "the right is not taken away", interval=0.2)
                yield batch

        migration.source.read = read_and_revoke
        with pytest.raises(AirliftError, match="the user may not do that; grant") as refused:
            run(migration)
    assert "Secret_123" not in str(refused.value)
    assert not place.client.has_collection("guarded")
    give()
    once_allowed(query, again=give)
    place.run(collections=["guarded"], verify="full")
