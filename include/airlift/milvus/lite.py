"""Milvus Lite files: one process at a time can have one open, and must let it go.

pymilvus starts a server inside the process for each file and stops it when the process ends. A
worker that stays (the API server behind the Test button, the triggerer) would so lock everybody
else out.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from airlift.errors import AirliftError
from airlift.milvus.errors import Unavailable

# Its server runs in this very process, so what takes long is not the network but its imports.
START_SECONDS = 60.0

_LOCK_FILE = "LOCK"
# Older ones are other servers, with other files.
_OLDEST = 3
_open: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
_guard = threading.Lock()


def wait_until_free(path: str, seconds: float) -> None:
    """Waits while another process has the file open; tasks of a migration take turns.

    Raises:
        AirliftError: it is not a name that Milvus Lite takes; `Unavailable`: it stays in use.
    """
    file = Path(path).absolute()
    if file.suffix != ".db":
        raise AirliftError(f"a Milvus Lite file is expected to end in .db, but {path!r} does not")
    if not file.parent.is_dir():
        raise AirliftError(f"cannot open {path}: its folder {file.parent} does not exist; make it")
    if installed := _too_old():
        raise AirliftError(
            f"cannot open {path}: milvus-lite {installed} is installed, and 3 or newer is needed "
            "(pip install -U milvus-lite)"
        )
    if file.exists() and not file.is_dir():
        raise AirliftError(
            f"cannot open {path}: Milvus Lite 3 keeps its data in a folder, and this is a file "
            "(of an older Milvus Lite, or something else); use another name"
        )
    deadline = time.monotonic() + seconds
    while _locked_elsewhere(file):
        if time.monotonic() >= deadline:
            raise Unavailable(
                f"cannot open {path}: another process has had it open for {seconds:.0f} s, and "
                "Milvus Lite serves one at a time; end that process, or run fewer tasks at once"
            )
        time.sleep(0.1)


def _too_old() -> str:
    """The version of the installed Milvus Lite where it is too old; else empty."""
    with suppress(PackageNotFoundError):
        installed = version("milvus-lite")
        return installed if int(installed.partition(".")[0]) < _OLDEST else ""
    return ""


def opened(client: Any, path: str) -> None:
    """Notes that a client uses the file; nothing is noted for an empty path."""
    if path:
        with _guard:
            _open[client] = os.path.abspath(path)


def closed(client: Any) -> None:
    """Stops the file's server when that was its last client in this process."""
    with _guard:
        path = _open.pop(client, None)
        if path is None or path in _open.values():
            return
        with suppress(ImportError):
            from milvus_lite.server_manager import server_manager_instance

            server_manager_instance.release_server(path)


def _locked_elsewhere(file: Path) -> bool:
    """Whether another process holds Milvus Lite's lock (which a crash lets go)."""
    with _guard:
        if str(file) in _open.values():
            return False
    try:
        import fcntl

        descriptor = os.open(file / _LOCK_FILE, os.O_RDONLY)
    except (ImportError, OSError):
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return not _served_here(str(file))
    else:
        return False
    finally:
        os.close(descriptor)


def _served_here(path: str) -> bool:
    """Whether this process itself serves the file, for a client that is not one of ours."""
    try:
        from milvus_lite.server_manager import server_manager_instance
    except ImportError:
        return False
    return path in server_manager_instance._servers
