"""Downloaded, built and unpacked server programs, kept outside the tree for the next run.

They live in ``~/.cache/milvus-airlift`` (or ``$XDG_CACHE_HOME/milvus-airlift``).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from .errors import LocalServerError

VERSITYGW_VERSION = "v1.8.0"
_VERSITYGW = "github.com/versity/versitygw/cmd/versitygw"


def cache_dir() -> Path:
    """The cache folder; made if needed."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "milvus-airlift"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def one_at_a_time(name: str) -> Iterator[None]:
    """Only one process at a time fills the cache."""
    with open(cache_dir() / f".{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def cached_folder(name: str, fill: Callable[[Path], None]) -> Path:
    """A folder of the cache, made by `fill` when it isn't there: whole or not at all.

    `fill` gets an empty folder to write into; what it raises, this raises.
    """
    target = cache_dir() / name
    if target.is_dir():
        return target
    with one_at_a_time(name):
        if target.is_dir():
            return target
        scratch = Path(tempfile.mkdtemp(dir=cache_dir()))
        try:
            fill(scratch)
            scratch.chmod(0o755)
            scratch.rename(target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return target


def versitygw_binary() -> Path:
    """The `versitygw` program; built with `go install` when the cache doesn't have it."""
    folder = cache_dir() / "bin"
    program = folder / "versitygw"
    if program.is_file():
        return program
    with one_at_a_time("versitygw"):
        if program.is_file():
            return program
        go = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
        if go is None:
            raise LocalServerError(
                f"The S3 server versitygw is neither in {folder} nor can it be built: Go is not "
                "installed. Install Go 1.24 or newer (https://go.dev/dl), or put a versitygw "
                f"{VERSITYGW_VERSION} program there yourself."
            )
        with tempfile.TemporaryDirectory(dir=cache_dir()) as scratch:
            build = subprocess.run(
                [go, "install", "-ldflags=-s -w", f"{_VERSITYGW}@{VERSITYGW_VERSION}"],
                env={**os.environ, "GOBIN": scratch, "GOFLAGS": "-mod=mod", "CGO_ENABLED": "0"},
                cwd=scratch,
                capture_output=True,
                text=True,
                check=False,
            )
            if build.returncode != 0:
                raise LocalServerError(
                    f"`go install {_VERSITYGW}@{VERSITYGW_VERSION}` failed; it needs the Go module "
                    f"proxy (GOPROXY) and Go 1.24 or newer.\n{build.stderr[-2000:]}"
                )
            folder.mkdir(exist_ok=True)
            os.replace(Path(scratch) / "versitygw", program)
    return program
