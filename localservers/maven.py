"""Artifacts out of Maven repositories: `mvn` fetches them, we check them against a pinned sum."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import NamedTuple

from .cache import cache_dir, one_at_a_time
from .errors import LocalServerError

_GET = "org.apache.maven.plugins:maven-dependency-plugin:2.8:get"
_TIMEOUT = 1200


class Artifact(NamedTuple):
    """What to fetch: ``group:name:version`` or ``group:name:version:type``, and its SHA-256."""

    coordinates: str
    sha256: str

    @property
    def path(self) -> Path:
        """Where it lies in a local repository."""
        group, name, version, *kind = self.coordinates.split(":")
        file = f"{name}-{version}.{kind[0] if kind else 'jar'}"
        return Path(*group.split("."), name, version, file)


def fetch(artifact: Artifact) -> Path:
    """The artifact's file in our own local repository, downloaded if needed.

    Which registry it comes from is the business of your Maven settings. Raises LocalServerError
    when Maven is missing or fails, or when the file isn't the one whose sum we know.
    """
    repository = cache_dir() / "maven"
    file = repository / artifact.path
    # Maven 3.8 doesn't keep two processes from writing the same file.
    with one_at_a_time("maven"):
        if not file.is_file():
            _download(artifact, repository)
    with open(file, "rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != artifact.sha256:
        shutil.rmtree(file.parent, ignore_errors=True)
        raise LocalServerError(
            f"{artifact.coordinates} from the Maven repository is not what it was: its SHA-256 is "
            f"{found}, expected {artifact.sha256}. It was deleted; try again, and if that gives "
            "the same, find out what your Maven repository serves."
        )
    return file


def unpack(artifact: Artifact, folder: Path) -> None:
    """Fetch a zip and unpack it; programs in it stay executable."""
    with zipfile.ZipFile(fetch(artifact)) as archive:
        for entry in archive.infolist():
            path = Path(archive.extract(entry, folder))
            if mode := entry.external_attr >> 16 & 0o777:
                path.chmod(mode)


def _download(artifact: Artifact, repository: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise LocalServerError(
            f"Maven is not installed (no `mvn` on the PATH) and {artifact.coordinates} is not in "
            f"{repository} yet. On Debian or Ubuntu: apt-get install --no-install-recommends maven"
        )
    options = ["--batch-mode", "--strict-checksums", f"-Dmaven.repo.local={repository}"]
    options += ["-Dtransitive=false", f"-Dartifact={artifact.coordinates}"]
    try:
        done = subprocess.run(
            [maven, *options, _GET],
            cwd=cache_dir(),  # a pom.xml where we happen to be must not count
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT,
        )
    except subprocess.TimeoutExpired as error:
        raise LocalServerError(
            f"Maven did not fetch {artifact.coordinates} within {_TIMEOUT} s; is the network down?"
        ) from error
    if done.returncode != 0 or not (repository / artifact.path).is_file():
        raise LocalServerError(
            f"Maven could not fetch {artifact.coordinates}. Behind a mirror, name it in "
            f"~/.m2/settings.xml.\n{done.stdout[-2000:]}{done.stderr[-500:]}"
        )
