"""The Milvus servers that PyPI has as wheels: 2.3.5 is installed, others are fetched and cached."""

from __future__ import annotations

import hashlib
import importlib.util
import lzma
import shutil
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .cache import cached_folder
from .errors import LocalServerError

INSTALLED = "2.3.5"

_SHA256 = {"2.2.16": "ea5bd32251b7bcad629d7e46c307414a586c96b4a50491d04a08db42fca8fba9"}
"""Of the wheels that are not in the lock file; for 64-bit Linux on x86-64."""


def milvus_binaries(version: str) -> Path:
    """The folder with the `milvus` program and its libraries, unpacked from the wheel."""

    def fill(folder: Path) -> None:
        packed = milvus_wheel_data(version) / "bin"
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda file: _unpack(file, folder), packed.glob("*.lzma")))

    return cached_folder(f"milvus-{version}", fill)


def milvus_wheel_data(version: str) -> Path:
    """The `data` folder of a wheel: packed programs, and templates of the configuration."""
    if version != INSTALLED:
        return cached_folder(f"milvus-wheel-{version}", lambda folder: _fetch(version, folder))
    spec = importlib.util.find_spec("milvus")
    folder = Path(spec.origin).parent / "data" if spec and spec.origin else None
    if folder is None or not (folder / "bin" / "milvus.lzma").is_file():
        raise LocalServerError(
            f"The Milvus server wheel is not installed: pip install milvus=={INSTALLED} "
            "(64-bit Linux on x86-64 only)."
        )
    return folder


def _fetch(version: str, folder: Path) -> None:
    """Downloads a wheel by pip and unpacks its `data` folder."""
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--dest", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", *options, f"milvus=={version}"],
        capture_output=True,
        text=True,
        check=False,
    )
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        raise LocalServerError(f"pip can't download milvus=={version}: {done.stderr[-2000:]}")
    [wheel] = wheels
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != _SHA256[version]:
        raise LocalServerError(
            f"the wheel of milvus=={version} has the SHA-256 {found}, expected {_SHA256[version]}"
        )
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(folder)
    for file in (folder / "milvus" / "data").iterdir():
        file.rename(folder / file.name)
    shutil.rmtree(folder / "milvus")
    wheel.unlink()


def _unpack(packed: Path, folder: Path) -> None:
    program = folder / packed.name.removesuffix(".lzma")
    with lzma.open(packed) as source, open(program, "wb") as out:
        shutil.copyfileobj(source, out, 1 << 20)
    program.chmod(0o755)
