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
FAKE_GCS_VERSION = "v1.56.1"
_FAKE_GCS = "github.com/fsouza/fake-gcs-server"
COMPOSE_GO_VERSION = "v2.16.2"
_COMPOSE_GO = "github.com/compose-spec/compose-go/v2/cmd"


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


def go_program(package: str, version: str, name: str) -> Path:
    """A program of Go's module proxy; built with `go install` when the cache doesn't have it.

    Args:
        package: the main package, as `github.com/owner/module/cmd/program`.
        version: the module's version, as `v1.8.0`.
        name: what the cache calls it.
    """
    folder = cache_dir() / "bin"
    program = folder / name
    if program.is_file():
        return program
    with one_at_a_time(name):
        if program.is_file():
            return program
        go = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
        if go is None:
            raise LocalServerError(
                f"{name} is neither in {folder} nor can it be built: Go is not installed. Install "
                f"Go 1.24 or newer (https://go.dev/dl), or put {package} {version} there yourself."
            )
        with tempfile.TemporaryDirectory(dir=cache_dir()) as scratch:
            build = subprocess.run(
                [go, "install", "-ldflags=-s -w", f"{package}@{version}"],
                env={**os.environ, "GOBIN": scratch, "GOFLAGS": "-mod=mod", "CGO_ENABLED": "0"},
                cwd=scratch,
                capture_output=True,
                text=True,
                check=False,
            )
            if build.returncode != 0:
                raise LocalServerError(
                    f"`go install {package}@{version}` failed; it needs the Go module proxy "
                    f"(GOPROXY) and Go 1.24 or newer.\n{build.stderr[-2000:]}"
                )
            folder.mkdir(exist_ok=True)
            os.replace(Path(scratch) / package.rsplit("/", 1)[-1], program)
    return program


def versitygw_binary() -> Path:
    """The S3 server `versitygw`."""
    return go_program(_VERSITYGW, VERSITYGW_VERSION, "versitygw")


def fake_gcs_server_binary() -> Path:
    """The emulator of Google Cloud Storage, fake-gcs-server."""
    return go_program(_FAKE_GCS, FAKE_GCS_VERSION, f"fake-gcs-server-{FAKE_GCS_VERSION}")


def compose_go_binary() -> Path:
    """The Compose Specification's own reader, which prints the model of a file or what is wrong."""
    return go_program(_COMPOSE_GO, COMPOSE_GO_VERSION, f"compose-go-{COMPOSE_GO_VERSION}")
