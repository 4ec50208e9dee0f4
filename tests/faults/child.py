"""A migration in a process of its own, which a point ends; see `points`.

The processes are forked from one that has imported everything, so that each costs no second.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import tests.engine_imports  # noqa: F401
from airlift.errors import AirliftError
from airlift.migration import Migration
from airlift.run import run
from airlift.sources.registry import params_class
from airlift.steps.import_chunks import BatchImport
from airlift.steps.write_chunks import write_batch
from tests.faults.points import Point, Watch, kill_me
from tests.paths.place import KnownConnections

DONE, BROKEN, REFUSED, KILLED = 0, 1, 3, -9


@dataclass(frozen=True)
class Job:
    """What a process is to do.

    Attributes:
        step: a key of STEPS.
        point: where to end it, or a server; None to let it run.
        folder: for its log, and for what it did: `actions.json`.
    """

    source: str
    params: dict[str, Any]
    migration_id: str
    connections: KnownConnections
    folder: Path
    step: str = "run"
    point: Point | None = None


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes:
        code: DONE; REFUSED: with an error of the engine's own; KILLED; all else is a defect.
        told: the error.
        actions: what it did, action -> how often; empty where it was killed.
    """

    code: int
    told: str
    actions: dict[str, int]


def submit(migration: Migration) -> None:
    """What the task `bulk_insert` does before it hands the wait to the triggerer."""
    for batch in range(len(migration.staging.plan().batches)):
        write_batch(migration, batch)
        BatchImport(migration, batch).submit()


STEPS: dict[str, Callable[[Migration], Any]] = {"run": run, "submit": submit}


def migrate(job: Job, harness: Connection) -> None:
    """Runs in the process: does the job, and says how it ended by its exit code."""
    log = os.open(job.folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)

    def end_server() -> None:
        harness.send("now")
        harness.recv()

    mine = job.point is None or job.point.victim == "process"
    watch = Watch(job.point, kill_me if mine else end_server)
    watch.begin()
    code = DONE
    try:
        params = params_class(job.source)(**job.params)
        with Migration(job.source, params, job.migration_id, job.connections) as migration:
            STEPS[job.step](migration)
    except AirliftError as error:
        (job.folder / "told").write_text(str(error))
        code = REFUSED
    except BaseException:
        traceback.print_exc()
        (job.folder / "told").write_text(traceback.format_exc())
        code = BROKEN
    (job.folder / "actions.json").write_text(json.dumps(watch.actions))
    sys.stderr.flush()
    # As threads of gRPC may not end, and nothing of the engine's is left to be done.
    os._exit(code)


_ONE_LOOKS = threading.Lock()
"""Whoever starts a process has multiprocessing look which others have ended, and how one has ended
can be read only once: of two threads that try, the later one would be told 255."""


def run_child(job: Job, end_server: Callable[[], None] | None = None) -> Ended:
    """Runs a job to its end, whichever that is.

    Args:
        end_server: called where the job's point is reached and its victim is a server.
    """
    job.folder.mkdir(parents=True, exist_ok=True)
    for left in ("told", "actions.json"):
        (job.folder / left).unlink(missing_ok=True)
    with _ONE_LOOKS:
        context = _context()
        ours, its = context.Pipe()
        process = context.Process(target=migrate, args=(job, its), daemon=True)
        process.start()
    its.close()
    with ours:
        try:
            while ours.recv() and end_server:
                end_server()
                ours.send("done")
        except (EOFError, OSError):  # it has ended
            pass
    wait([process.sentinel])
    with _ONE_LOOKS:
        process.join()
    return Ended(
        process.exitcode if process.exitcode is not None else BROKEN,
        _read(job.folder / "told") or "",
        json.loads(_read(job.folder / "actions.json") or "{}"),
    )


def _context() -> Any:
    """Forks from a process that has imported this module."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with _path_for_children():
        forkserver.ensure_running()
    return context


@contextmanager
def _path_for_children() -> Iterator[None]:
    """The process to fork from looks for modules where this one does."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def _read(file: Path) -> str | None:
    return file.read_text() if file.exists() else None
