"""Artifacts out of Maven repositories: `mvn` fetches them, we check them against a pinned sum."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from .cache import cache_dir, one_at_a_time
from .errors import LocalServerError

_RESOLVE = "org.apache.maven.plugins:maven-dependency-plugin:2.8:resolve"
_TIMEOUT = 1200


class Artifact(NamedTuple):
    """What to fetch: ``group:name:version`` or ``group:name:version:type``, and its SHA-256."""

    coordinates: str
    sha256: str

    @property
    def path(self) -> Path:
        """Where it lies in a local repository."""
        group, name, version, kind = self._parts()
        return Path(*group.split("."), name, version, f"{name}-{version}.{kind}")

    @property
    def dependency(self) -> str:
        """As it stands in a pom.xml: itself, without what it depends on in turn."""
        group, name, version, kind = self._parts()
        return (
            f"<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId>"
            f"<version>{version}</version><type>{kind}</type>"
            "<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion>"
            "</exclusions></dependency>"
        )

    def _parts(self) -> tuple[str, str, str, str]:
        group, name, version, *kind = self.coordinates.split(":")
        return group, name, version, kind[0] if kind else "jar"


def fetch(artifacts: Sequence[Artifact]) -> list[Path]:
    """The artifacts' files in our own local repository, downloaded if needed.

    Which registry they come from is the business of your Maven settings. Raises LocalServerError
    when Maven is missing or fails, or when a file isn't the one whose sum we know.
    """
    repository = cache_dir() / "maven"
    # Maven 3.8 doesn't keep two processes from writing the same file.
    with one_at_a_time("maven"):
        missing = [item for item in artifacts if not (repository / item.path).is_file()]
        if missing:
            _download(missing, repository)
        for artifact in artifacts:
            _check(artifact, repository / artifact.path)
    return [repository / artifact.path for artifact in artifacts]


def unpack(file: Path, folder: Path) -> None:
    """Unpack a zip; programs in it stay executable."""
    with zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            path = Path(archive.extract(entry, folder))
            if mode := entry.external_attr >> 16 & 0o777:
                path.chmod(mode)


def _check(artifact: Artifact, file: Path) -> None:
    with open(file, "rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != artifact.sha256:
        shutil.rmtree(file.parent, ignore_errors=True)
        raise LocalServerError(
            f"{artifact.coordinates} from the Maven repository is not what it was: its SHA-256 is "
            f"{found}, expected {artifact.sha256}. It was deleted; try again, and if that gives "
            "the same, find out what your Maven repository serves."
        )


def _download(artifacts: Sequence[Artifact], repository: Path) -> None:
    names = ", ".join(artifact.coordinates for artifact in artifacts)
    maven = shutil.which("mvn")
    if maven is None:
        raise LocalServerError(
            f"Maven is not installed (no `mvn` on the PATH), and {names} must be fetched. "
            "On Debian or Ubuntu: apt-get install --no-install-recommends maven"
        )
    # Not --strict-checksums: some files have none there, and all are checked against ours.
    options = ["--batch-mode", f"-Dmaven.repo.local={repository}"]
    with tempfile.TemporaryDirectory() as folder:
        # A project of its own: one run of Maven fetches everything.
        (Path(folder) / "pom.xml").write_text(
            "<project><modelVersion>4.0.0</modelVersion><groupId>airlift</groupId>"
            "<artifactId>wanted</artifactId><version>1</version><dependencies>"
            f"{''.join(artifact.dependency for artifact in artifacts)}</dependencies></project>"
        )
        try:
            done = subprocess.run(
                [maven, *options, _RESOLVE],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=_TIMEOUT,
            )
        except subprocess.TimeoutExpired as error:
            raise LocalServerError(
                f"Maven did not fetch {names} within {_TIMEOUT} s; is the network down?"
            ) from error
    still_missing = [item for item in artifacts if not (repository / item.path).is_file()]
    if done.returncode != 0 or still_missing:
        raise LocalServerError(
            f"Maven could not fetch {names}. Behind a mirror, name it in "
            f"~/.m2/settings.xml.\n{done.stdout[-2000:]}{done.stderr[-500:]}"
        )
