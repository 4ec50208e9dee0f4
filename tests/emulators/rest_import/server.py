"""`RestImportServer`: a Milvus server, or a Zilliz Cloud cluster with its control plane."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from typing import Any

from milvus_lite.db import MilvusLite
from pymilvus.grpc_gen import milvus_pb2

from .clock import Clock, SimulatedClock
from .config import Faults, Zilliz
from .engine import Engine
from .grpc_server import Servicer, start_grpc
from .handlers import MilvusApi, ZillizApi
from .jobs import Job, JobRunner
from .one_port import OnePort
from .rest_server import RestServer
from .storage import LocalStorage, Storage
from .versions import behaviour_of


class RestImportServer:
    """Starts on entering, stops on leaving; all ports are free ones of 127.0.0.1.

    Args:
        base_dir: where Milvus Lite keeps its data, and, unless `storage` is given, the bucket
            (``<base_dir>/bucket``). One server at a time per folder.
        version: what GetVersion and Connect answer (a Milvus server), and how it behaves: see
            `versions`. Compared with real servers: 2.5.27 and 2.6.20.
        zilliz: makes it a Zilliz Cloud control plane and cluster instead.
        storage: the bucket that ``files`` are keys of: a folder, or a `Storage`.
        data_dir: absolute local paths are allowed below it too (``common.storageType: local``).
        faults: see `Faults`; may be changed while running (``server.faults``).
        token: wanted by REST (``Bearer``) and gRPC; None: no check. With `zilliz` the API key.
        delay: how many seconds a job takes at least.
        clock: a `SimulatedClock` makes jobs go through their stages when a real server's did, and
            only when a test moves it on; `delay` doesn't count then.
    """

    def __init__(
        self,
        base_dir: str | os.PathLike[str],
        version: str = "2.6.4",
        zilliz: Zilliz | None = None,
        storage: Storage | str | os.PathLike[str] | None = None,
        faults: Faults | None = None,
        *,
        data_dir: str | None = None,
        token: str | None = "root:Milvus",
        delay: float = 0.0,
        clock: Clock | None = None,
    ) -> None:
        self.base_dir, self.version, self.zilliz = os.fspath(base_dir), version, zilliz
        self.faults = faults or Faults()
        self.token = zilliz.api_key if zilliz else token
        self.requests: list[dict[str, Any]] = []
        """Every authenticated REST request: path, body, headers."""
        self.behaviour = behaviour_of(zilliz.description if zilliz else version)
        if zilliz:
            self.behaviour = replace(self.behaviour, idempotency=False)
        self.clock = clock or Clock()
        if storage is None:
            storage = os.path.join(self.base_dir, "bucket")
        if isinstance(storage, (str, os.PathLike)):
            os.makedirs(storage, exist_ok=True)
            storage = LocalStorage(os.fspath(storage), data_dir)
        self.storage = storage
        self._runner = JobRunner(
            self.faults, delay, self.behaviour, self.clock, self.die, "job-" if zilliz else ""
        )
        self._api = (
            ZillizApi(self._runner, zilliz, self.behaviour)
            if zilliz
            else MilvusApi(self._runner, storage, token, self.behaviour)
        )
        self._ports = [0, 0, 0]
        self._engine: Engine | None = None
        self.rbac = milvus_pb2.RBACMeta()
        """Users, roles and grants; a test may look, and put some there."""
        self._lock = threading.RLock()
        self._counts: dict[str, int] | None = None
        self.running = False

    @property
    def jobs(self) -> list[Job]:
        """All jobs, oldest first."""
        return list(self._runner.jobs)

    @property
    def delay(self) -> float:
        return self._runner.steady.delay

    @delay.setter
    def delay(self, seconds: float) -> None:
        self._runner.steady.delay = seconds

    @property
    def engine(self) -> Engine:
        """The Lite database behind; for a test that wants to look under the hood."""
        assert self._engine is not None, "not started"
        return self._engine

    @property
    def grpc_address(self) -> str:
        """``http://127.0.0.1:<port>``, for ``MilvusClient(uri=..., token=...)``."""
        return f"http://127.0.0.1:{self._ports[0]}"

    @property
    def rest_url(self) -> str:
        return f"http://127.0.0.1:{self._ports[1]}"

    @property
    def uri(self) -> str:
        """One address for both, as a Milvus server has."""
        return f"http://127.0.0.1:{self._ports[2]}"

    def start(self) -> RestImportServer:
        with self._lock:
            database = os.path.join(self.base_dir, "lite")
            os.makedirs(database, exist_ok=True)
            old = self._engine
            self._engine = engine = Engine(MilvusLite(database))
            if old is not None:
                engine.inherit(old)
            self._runner.engine = self._api.engine = engine
            cloud = self.zilliz
            build_tags = cloud.description if cloud else self.version
            version = (cloud.get_version or cloud.description) if cloud else self.version
            servicer = Servicer(engine, version, build_tags, self.behaviour)
            servicer.rbac.CopyFrom(self.rbac)
            self.rbac = servicer.rbac
            self._grpc, self._ports[0] = start_grpc(servicer, self._ports[0], self.token)
            self._rest = RestServer(self._ports[1], self._api, self.faults, self.requests)
            if self._counts:
                self._rest.counts = self._counts
            self._counts = self._rest.counts
            self._ports[1] = self._rest.server_address[1]
            self._mux = OnePort(self._ports[2], self._ports[0], self._ports[1])
            self._ports[2] = self._mux.port
            self.running = True
            self._runner.resume()
        return self

    def stop(self, grace: float | None = 1.0) -> None:
        with self._lock:
            if not self.running:
                return
            self.running = False
            self._mux.stop()
            self._rest.stop()
            self._grpc.stop(grace).wait()
            self._runner.stop()
            self.engine.db.close()

    def die(self) -> None:
        """Goes away without a word, in the middle of everything; `restart()` brings it back."""
        self.stop(grace=None)

    def restart(self) -> None:
        """Comes up again on the same ports with the same data; unfinished jobs run again."""
        self.stop()
        self.start()

    def release(self, number: int) -> None:
        """Lets the job that hangs (``faults.hang_job``) go on."""
        self._runner.release(number)

    def forget(self, job_id: str) -> None:
        """Makes the server forget a job, as it does some hours after its end."""
        self._runner.forget(job_id)

    def wait_jobs(self, timeout: float = 60) -> list[Job]:
        """Waits until no job runs; for assertions about what the server did."""
        end = time.monotonic() + timeout
        while any(not j.done for j in self.jobs):
            if time.monotonic() > end:
                raise TimeoutError([j for j in self.jobs if not j.done])
            if isinstance(self.clock, SimulatedClock):
                self.clock.advance_to_next()
            else:
                time.sleep(0.01)
        return self.jobs

    def __enter__(self) -> RestImportServer:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()
