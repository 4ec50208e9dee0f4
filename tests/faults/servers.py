"""Servers that are killed under a migration, and started again with the same data and address."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from localservers import MilvusLite, MilvusOnS3


def mortal_config() -> dict[str, Any]:
    """Settings of a Milvus that is killed.

    How long a job that a killed server had begun is waited for by the next one is a quarter of an
    hour unless told otherwise.
    """
    return {
        "queryCoord.distPullInterval": 100,
        "proxy.timeTickInterval": 50,
        "rootCoord.importTaskExpiration": 10,
    }


def ends_of(milvus: MilvusOnS3, lite: MilvusLite) -> dict[str, Callable[[], None]]:
    """What kills each server, by what a point calls its victim.

    Milvus is started again at once; the others stay away until the migration is run again, or for
    a while.
    """

    def restart_milvus() -> None:
        milvus.kill()
        milvus.start()

    return {"milvus": restart_milvus, "s3": milvus.s3.kill, "source": lite.kill}


def revive(server: Any) -> None:
    """Starts a server again, and its store, if they do not run."""
    for one in (getattr(server, "s3", server), server):
        if not one.running:
            one.start()
