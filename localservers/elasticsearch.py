"""A real Elasticsearch node on this machine, from the zips that its own tests use."""

from __future__ import annotations

import base64
import hashlib
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .cache import cached_folder
from .errors import LocalServerError
from .jdk import build_jar, java_home, write_properties
from .maven import Artifact, fetch, unpack
from .search_server import SearchServer
from .tls import certificate_in

if TYPE_CHECKING:
    import elasticsearch

_ZIP = "org.elasticsearch.distribution.integ-test-zip:elasticsearch:{}:zip"
_JAVA_SOURCES = Path(__file__).parent / "java" / "airlift"


class _Release(NamedTuple):
    """What there is to know of a version."""

    sha256: str
    plugin: str
    """The Java class of what its zip lacks and tests need."""
    oldest_java: int
    newest_java: int


_RELEASES = {
    "7.17.29": _Release(
        "841ee00be1a72ba8e707b5a2fb55f23fe7a4184369b4585393238b1c903eedaf",
        "Elasticsearch7Plugin",
        17,
        23,  # 24 is without the security manager
    ),
    "8.19.21": _Release(
        "215d5f3dbf0609a149f6218a9e47b6ae2df34ebbff3c5754e35f15a5e5393c8a",
        "Elasticsearch8Plugin",
        17,
        25,
    ),
    # Maven's repository has no checksum of this zip. All 52 jars in it that are published by
    # themselves too, with checksums, are the same byte for byte.
    "9.5.3": _Release(
        "bec49f3b8d00e75c8d1cec85c35298635ec9fbd3ae80ef5aeb6bc05abdb3db2d",
        "Elasticsearch9Plugin",
        21,
        25,
    ),
}


class Elasticsearch(SearchServer):
    """One Elasticsearch node with a basic licence; also a context manager.

    :param directory: configuration, log and data go here; starting again with the same folder
        gives the same data. Without one, a temporary folder that :meth:`stop` removes.
    :param version: "7.17.29", "8.19.21", or "9.5.3", which needs Java 21 or newer.
    :param security: demand a login: :attr:`user` (a superuser) and :attr:`password`.
    :param tls: speak HTTPS, with the certificate :attr:`ca_file`; needs `security`.
    :param heap: Java's memory, e.g. "512m" or "1g".
    :param short_lived: a quicker start, for less speed later.
    """

    NAME = "elasticsearch"
    PREFIX = "ES"

    def __init__(
        self,
        directory: str | Path | None = None,
        version: str = "8.19.21",
        security: bool = False,
        tls: bool = False,
        heap: str = "512m",
        short_lived: bool = False,
    ) -> None:
        if version not in _RELEASES:
            raise LocalServerError(
                f"Elasticsearch {version} is not among those that can be started here: "
                f"{', '.join(sorted(_RELEASES))}."
            )
        if tls and not security:
            raise LocalServerError("Elasticsearch has TLS with security only: security=True.")
        super().__init__(directory, version, heap, short_lived)
        if security:
            self.user, self.password = "admin", secrets.token_hex(16)
        if tls:
            certificate = certificate_in(self.directory / "config")
            self.ca_file, self.fingerprint = certificate.file, certificate.fingerprint

    def distribution(self) -> Path:
        """The unpacked zip, with a plugin for what it lacks."""
        name = f"elasticsearch-{self.version}"
        release = _RELEASES[self.version]

        def fill(folder: Path) -> None:
            unpack(fetch([Artifact(_ZIP.format(self.version), release.sha256)])[0], folder)
            _add_plugin(folder / name, self.version, release)

        # With other Java sources it is another folder.
        sources = sorted(_JAVA_SOURCES.glob("*.java"))
        digest = hashlib.sha256(b"".join(file.read_bytes() for file in sources)).hexdigest()
        return cached_folder(f"{name}-{digest[:8]}", fill) / name

    def java(self) -> Path:
        """The folder of a Java that it runs on."""
        release = _RELEASES[self.version]
        return java_home(release.oldest_java, release.newest_java)

    def settings(self) -> dict[str, Any]:
        """Settings of its own."""
        if not self.user:
            return {"xpack.security.enabled": False}
        settings = {
            "xpack.security.enabled": True,
            "xpack.security.authc.api_key.enabled": True,
        }
        if not self.ca_file:
            return settings
        certificate = certificate_in(self.ca_file.parent)
        self.fingerprint = certificate.fingerprint  # a new one, if its folder was a temporary one
        return settings | {
            "xpack.security.http.ssl.enabled": True,
            "xpack.security.http.ssl.certificate": str(certificate.file),
            "xpack.security.http.ssl.key": str(certificate.key),
        }

    def create_api_key(self, name: str = "airlift", **body: Any) -> str:
        """Make an API key with the rights of :attr:`user` and return it as clients take it.

        :param body: e.g. `role_descriptors`, to give it less, or `expiration`.
        """
        made = self.request("POST", "/_security/api_key", json={"name": name, **body})
        return str(made["encoded"])

    def create_service_token(self, account: str = "elastic/enterprise-search-server") -> str:
        """Make a token for the header ``Authorization: Bearer`` and return it.

        It may do what that account may, which Elasticsearch has built in: this one may read
        indices named ``search-*``, and no others.
        """
        path = f"/_security/service/{account}/credential/token"
        return str(self.request("POST", path)["token"]["value"])

    def client(self, **options: Any) -> elasticsearch.Elasticsearch:
        """The official client for this server."""
        from elasticsearch import Elasticsearch as Client

        if self.user:
            options = {"basic_auth": (self.user, self.password), **options}
        if self.ca_file:
            options = {"ca_certs": str(self.ca_file), **options}
        return Client(self.url, **options)

    def _write_config(self, template: Path) -> None:
        super()._write_config(template)
        if self.user:
            config = self.directory / "config"
            (config / "users").write_text(f"{self.user}:{_hashed(self.password)}\n")
            (config / "users_roles").write_text(f"superuser:{self.user}\n")


def _hashed(password: str) -> str:
    """As `elasticsearch-users useradd` writes it into the file, but without starting a Java."""
    salt = secrets.token_bytes(32)
    rounds = 10_000
    key = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, rounds, 32)
    return f"{{PBKDF2}}{rounds}${base64.b64encode(salt).decode()}${base64.b64encode(key).decode()}"


def _add_plugin(distribution: Path, version: str, release: _Release) -> None:
    """The zip has hardly any modules; this adds one with parts of those that tests need."""
    module = distribution / "modules" / "airlift"
    module.mkdir()
    source = _JAVA_SOURCES / f"{release.plugin}.java"
    build_jar(module / "airlift.jar", source, distribution / "lib", release.oldest_java)
    write_properties(
        module / "plugin-descriptor.properties",
        {
            "name": module.name,
            "description": "What the zip lacks and tests need",
            "version": version,
            "elasticsearch.version": version,
            "java.version": str(release.oldest_java),
            "classname": f"airlift.{release.plugin}",
        },
    )
