"""A real Elasticsearch node on this machine, from the zips that its own tests use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .cache import cached_folder
from .errors import LocalServerError
from .jdk import build_jar, write_properties
from .maven import Artifact, unpack
from .search_server import SearchServer

if TYPE_CHECKING:
    import elasticsearch

_ZIP = "org.elasticsearch.distribution.integ-test-zip:elasticsearch:{}:zip"
_SHA256 = {
    "8.19.21": "215d5f3dbf0609a149f6218a9e47b6ae2df34ebbff3c5754e35f15a5e5393c8a",
}
_ROOT_INFO = Path(__file__).parent / "java" / "RootInfoPlugin.java"


class Elasticsearch(SearchServer):
    """One Elasticsearch node with a basic licence; also a context manager.

    :param directory: configuration, log and data go here; starting again with the same folder
        gives the same data. Without one, a temporary folder that :meth:`stop` removes.
    :param version: one of "8.19.21".
    :param heap: Java's memory, e.g. "512m" or "1g".
    """

    NAME = "elasticsearch"
    PREFIX = "ES"
    JAVA = (17, 25)

    def __init__(
        self,
        directory: str | Path | None = None,
        version: str = "8.19.21",
        heap: str = "512m",
    ) -> None:
        if version not in _SHA256:
            raise LocalServerError(
                f"Elasticsearch {version} is not among those that can be started here: "
                f"{', '.join(sorted(_SHA256))}."
            )
        super().__init__(directory, version, heap)

    def distribution(self) -> Path:
        """The unpacked zip, with a plugin that answers `GET /`."""
        artifact = Artifact(_ZIP.format(self.version), _SHA256[self.version])
        name = f"elasticsearch-{self.version}"

        def fill(folder: Path) -> None:
            unpack(artifact, folder)
            _add_root_info(folder / name, self.version)

        return cached_folder(name, fill) / name

    def settings(self) -> dict[str, Any]:
        """Settings of its own."""
        return {"xpack.security.enabled": False}

    def client(self, **options: Any) -> elasticsearch.Elasticsearch:
        """The official client for this server."""
        from elasticsearch import Elasticsearch as Client

        return Client(self.url, **options)


def _add_root_info(distribution: Path, version: str) -> None:
    """The zip lacks the module that answers `GET /`, which is what every client asks first."""
    module = distribution / "modules" / "airlift-root-info"
    module.mkdir()
    build_jar(module / "airlift-root-info.jar", _ROOT_INFO, distribution / "lib")
    write_properties(
        module / "plugin-descriptor.properties",
        {
            "name": module.name,
            "description": "Answers GET /",
            "version": version,
            "elasticsearch.version": version,
            "java.version": "17",
            "classname": f"airlift.{_ROOT_INFO.stem}",
        },
    )
