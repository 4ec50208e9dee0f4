"""Finding a Java of the right age, and building with it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from .errors import LocalServerError

_JVM_FOLDERS = ("/usr/lib/jvm", "/opt", "/opt/java", "/usr/local")


def java_home(at_least: int, at_most: int = 99, program: str = "java") -> Path:
    """The folder of an installed Java, the oldest within the bounds.

    Looked for in JAVA_HOME, on the PATH, and where distributions put theirs.

    :param at_least: the oldest version that will do, e.g. 17.
    :param at_most: the newest one.
    :param program: what it must have: `java`, or `javac` to compile with.

    Raises LocalServerError when there is none, saying what there is.
    """
    found = {home: version for home in _homes() if (version := _version(home))}
    good = [
        (version, str(home))
        for home, version in found.items()
        if at_least <= version <= at_most and (home / "bin" / program).is_file()
    ]
    if good:
        return Path(min(good)[1])
    wanted = f"Java {at_least}" + (" or newer" if at_most == 99 else f" to {at_most}")
    there = ", ".join(f"Java {version} in {home}" for home, version in sorted(found.items()))
    raise LocalServerError(
        f"{wanted} with `{program}` is needed and was not found. Here is: {there or 'no Java'}. "
        f"On Debian or Ubuntu: apt-get install openjdk-{max(at_least, 17)}-jdk-headless (if your "
        "release has it); or unpack any JDK and name its folder in JAVA_HOME."
    )


def _homes() -> set[Path]:
    programs = [Path(path) for name in ("java", "javac") if (path := shutil.which(name))]
    if home := os.environ.get("JAVA_HOME"):
        programs.append(Path(home) / "bin" / "java")
    for folder in _JVM_FOLDERS:
        programs += Path(folder).glob("*/bin/java")
    return {program.resolve().parent.parent for program in programs}


def _version(home: Path) -> int | None:
    """What the `release` file says, as every JDK since 8 has one; None without it."""
    try:
        release = (home / "release").read_text()
    except OSError:
        return None
    match = re.search(r'^JAVA_VERSION="(?:1\.)?(\d+)', release, re.MULTILINE)
    return int(match[1]) if match else None


def build_jar(jar: Path, source: Path, libraries: Path, release: int) -> None:
    """Compile a Java file, and what it needs of its folder, against jars; pack it all into `jar`.

    :param source: ``.../package/Class.java``, in a package of one name.
    :param libraries: the folder with the jars.
    :param release: the oldest Java that it shall run on.
    """
    javac = java_home(release, program="javac") / "bin" / "javac"
    with tempfile.TemporaryDirectory() as classes:
        command = [str(javac), "-proc:none", "--release", str(release), "-d", classes]
        command += ["-cp", f"{libraries}/*", "-sourcepath", str(source.parent.parent), str(source)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise LocalServerError(
                f"{source.name} does not compile against the jars in {libraries}:\n"
                f"{done.stderr[-2000:]}"
            )
        with zipfile.ZipFile(jar, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(Path(classes).rglob("*.class")):
                archive.write(file, file.relative_to(classes))


def write_properties(file: Path, properties: Mapping[str, str]) -> None:
    """Write a Java properties file."""
    file.write_text("".join(f"{key}={value}\n" for key, value in properties.items()))
