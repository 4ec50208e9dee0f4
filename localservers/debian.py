"""Server programs out of Debian's packages, installed when they are missing and we may."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from .errors import LocalServerError

_SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")
_VERSIONED = Path("/usr/lib/postgresql")


def installed(program: str, package: str) -> Path:
    """The path of a server's program.

    Args:
        program: its name.
        package: Debian's package that has it; installed by apt-get when it is missing and we are
            root. What Debian would start then is not started.

    Raises:
        LocalServerError: it is not there and can't be installed.
    """
    if found := _find(program):
        return found
    apt = shutil.which("apt-get")
    if os.geteuid() != 0 or apt is None:
        raise LocalServerError(
            f"`{program}` is not installed. As root on Debian or Ubuntu: apt-get update && "
            f"apt-get install --no-install-recommends {package}"
        )
    said = _install(apt, package)
    if found := _find(program):
        return found
    raise LocalServerError(
        f"apt-get could not install {package}; run `apt-get install {package}` yourself to see "
        f"why.\n{said[-2000:]}"
    )


def _find(program: str) -> Path | None:
    versions = sorted(_VERSIONED.glob("*/bin"), key=lambda path: path.parent.name, reverse=True)
    folders = [os.environ.get("PATH", ""), *_SBIN, *map(str, versions)]
    found = shutil.which(program, path=":".join(folders))
    return Path(found) if found else None


def _install(apt: str, package: str) -> str:
    """Installs a package; returns what apt-get said."""
    with tempfile.TemporaryDirectory() as folder:
        # Debian starts a freshly installed server by itself; this keeps it from doing so here.
        for name in ("invoke-rc.d", "systemctl"):
            stub = Path(folder) / name
            stub.write_text("#!/bin/sh\nexit 0\n")
            stub.chmod(0o755)
        path = ":".join([folder, os.environ.get("PATH", ""), *_SBIN])
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "PATH": path}
        said = ""
        for words in (["update"], ["install", "-y", "--no-install-recommends", package]):
            done = subprocess.run(
                [apt, *words], env=env, capture_output=True, text=True, check=False
            )
            said += done.stdout + done.stderr
    return said
