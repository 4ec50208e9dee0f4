"""Azure Blob Storage on this machine: Azurite, Microsoft's own emulator."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from base64 import b64encode
from pathlib import Path
from typing import Any

from .cache import cached_folder
from .errors import LocalServerError
from .port_server import PortServer
from .ports import LOOPBACK

VERSION = "3.35.0"
_INSTALL_SECONDS = 900


class Azurite(PortServer):
    """One Azurite, blobs only, with an account and a key of its own; also a context manager.

    :param directory: the blobs and the log are in it.

    :attr:`endpoint_url` and the credentials stay the same across kill() and restart().
    """

    NAME = "azurite"
    TITLE = "Azurite"

    account = "airliftaccount"

    def __init__(self, directory: str | Path) -> None:
        super().__init__(directory)
        self.account_key = b64encode(secrets.token_bytes(64)).decode()

    @property
    def endpoint_url(self) -> str:
        """e.g. http://127.0.0.1:40123/airliftaccount"""
        return f"http://{LOOPBACK}:{self.port}/{self.account}"

    def start(self) -> Azurite:
        """Start the server and return when it answers to our credentials."""
        if self.running:
            return self
        main = _installed() / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
        (self.directory / "blobs").mkdir(parents=True, exist_ok=True)
        log = self.directory / "azurite.log"
        environment = {**os.environ, "AZURITE_ACCOUNTS": f"{self.account}:{self.account_key}"}
        command: list[str | Path] = [_program("node"), main, "--silent", "--disableTelemetry"]
        command += ["--blobHost", LOOPBACK, "--blobPort", str(self._own_port())]
        # Clients may be newer than it.
        command += ["--location", self.directory / "blobs", "--skipApiVersionCheck"]
        self._serve(command, log, environment)
        return self

    def _settle(self) -> None:
        list(self.client().list_containers())

    def make_bucket(self, name: str) -> None:
        """Make a container; it is no error if we have it already."""
        container = self.client().get_container_client(name)
        if not container.exists():
            container.create_container()

    def objects(self, bucket: str) -> dict[str, int]:
        """What is in a container, with its bytes; without the marks of empty folders."""
        blobs = self.client().get_container_client(bucket).list_blobs()
        return {blob.name: blob.size for blob in blobs if not blob.name.endswith("/")}

    def sas_token(self, permission: str, seconds: float = 3600) -> str:
        """A shared access signature of the account.

        :param permission: letters as Azure has them, such as `rl`: read, list.
        """
        from datetime import UTC, datetime, timedelta

        from azure.storage.blob import ResourceTypes, generate_account_sas

        return generate_account_sas(
            self.account,
            self.account_key,
            ResourceTypes(service=True, container=True, object=True),
            permission,
            datetime.now(UTC) + timedelta(seconds=seconds),
        )

    def client(self) -> Any:
        """Azure's client for this server."""
        from azure.storage.blob import BlobServiceClient

        return BlobServiceClient(self.endpoint_url, credential=self.account_key)


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise LocalServerError(
            f"Azurite needs Node.js and npm, and there is no `{name}` on the PATH. On Debian or "
            "Ubuntu: apt-get install --no-install-recommends nodejs npm"
        )
    return found


def _installed() -> Path:
    """The folder in the cache that Azurite is installed in."""

    def fill(folder: Path) -> None:
        npm = [_program("npm"), "install", "--prefix", str(folder), "--omit=dev", "--no-audit"]
        try:
            done = subprocess.run(
                [*npm, "--no-fund", "--ignore-scripts", f"azurite@{VERSION}"],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=_INSTALL_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            raise LocalServerError(
                f"npm did not install azurite within {_INSTALL_SECONDS} s; is the network down?"
            ) from error
        if done.returncode:
            raise LocalServerError(
                f"npm can't install azurite@{VERSION}; which registry it asks is the business of "
                f"your .npmrc.\n{done.stderr[-2000:]}"
            )

    return cached_folder(f"azurite-{VERSION}", fill)
