"""A real OpenSearch node with k-NN on this machine, from the zips that its own tests use."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from .cache import cached_folder
from .errors import LocalServerError
from .jdk import java_home, write_properties
from .maven import Artifact, fetch, unpack
from .search_server import SearchServer

if TYPE_CHECKING:
    import opensearchpy

_SERVER = "org.opensearch.distribution.integ-test-zip:opensearch:{}:zip"
_KNN = "org.opensearch.plugin:opensearch-knn:{}.0:zip"
# k-NN needs the module lang-painless, which the zip lacks; these are its jars.
_PAINLESS = "org.opensearch.plugin:lang-painless:{}"
_PAINLESS_SPI = "org.opensearch.plugin:opensearch-scripting-painless-spi:{}"
_PAINLESS_LIBRARIES = (
    Artifact(
        "org.antlr:antlr4-runtime:4.13.1",
        "54665d2838cc66458343468efc539e454fc95b46a8a04b13c6ac43fc9be63505",
    ),
    Artifact(
        "org.ow2.asm:asm:9.7",
        "adf46d5e34940bdf148ecdd26a9ee8eea94496a72034ff7141066b3eea5c4e9d",
    ),
    Artifact(
        "org.ow2.asm:asm-analysis:9.7",
        "7bc6bcbc21379948a0c8c467fb0f864206e5b818f6bc0b546872f5c9f941556f",
    ),
    Artifact(
        "org.ow2.asm:asm-commons:9.7",
        "389bc247958e049fc9a0408d398c92c6d370c18035120395d4cba1d9d9304b7a",
    ),
    Artifact(
        "org.ow2.asm:asm-tree:9.7",
        "62f4b3bc436045c1acb5c3ba2d8ec556ec3369093d7f5d06c747eb04b56d52b1",
    ),
    Artifact(
        "org.ow2.asm:asm-util:9.7",
        "37a6414d36641973f1af104937c95d6d921b2ddb4d612c66c5a9f2b13fc14211",
    ),
)


class _Release(NamedTuple):
    """What there is to know of a version: the SHA-256 of each artifact, and how to run it.

    `java_options` are those of its own jvm.options without which it doesn't run, or not all of it.
    """

    server: str
    knn: str
    painless: str
    painless_spi: str
    painless_class: str
    oldest_java: int
    newest_java: int
    java_options: tuple[str, ...]

    def artifacts(self, version: str) -> list[Artifact]:
        """The two zips, then the jars of painless."""
        return [
            Artifact(_SERVER.format(version), self.server),
            Artifact(_KNN.format(version), self.knn),
            Artifact(_PAINLESS.format(version), self.painless),
            Artifact(_PAINLESS_SPI.format(version), self.painless_spi),
            *_PAINLESS_LIBRARIES,
        ]


_RELEASES = {
    "2.19.1": _Release(
        "af7152d8b7f6f1cee09d47276b32b70479fe6dd8cdbb61213f84eb7f8098b261",
        "eab8c9818865bc035212eab5068cdacae164baa09d4c152f49b736d6f6b0e85c",
        "3cf5e02efa40ff5b88e74e1ab66a0bc462de3509fab4a6a4ffe90b8d13777a9a",
        "c2598797a5f6f897ce7e8d05f593ff96de3fbc56c52f299d63cddcae41556dda",
        "org.opensearch.painless.PainlessPlugin",
        11,
        23,  # 24 is without the security manager
        (
            "-Djava.util.concurrent.ForkJoinPool.common.threadFactory="
            "org.opensearch.secure_sm.SecuredForkJoinWorkerThreadFactory",
        ),
    ),
    "3.3.0": _Release(
        "c3a6bf825ea05b8d9fe3758dad70ed198cf9c365700895165d310a0a9e7f48a5",
        "f331324e6cb3a99f780579eec751b1e3ac38ffdd1c7d8ec82247e7584f06b3d3",
        "1f1731d2d93dd4c578b7f55b66a4e69bdaeabc5158c0cdf3e934be9366a21a44",
        "8126078ec894e77560a7a6c76e097ffee818af0c439a05c9f873aa0b35b4e537",
        "org.opensearch.painless.PainlessModulePlugin",
        21,
        25,
        (
            "-javaagent:agent/opensearch-agent.jar",
            "--add-opens=java.base/java.nio=org.apache.arrow.memory.core,ALL-UNNAMED",
        ),
    ),
}
# What the scripts' compiler may do.
_PAINLESS_POLICY = """grant {
  permission java.lang.RuntimePermission "createClassLoader";
  permission java.lang.RuntimePermission "getClassLoader";
};
"""


class OpenSearch(SearchServer):
    """One OpenSearch node with k-NN, which lets everybody in; also a context manager.

    The native libraries of k-NN are not published. An index for the engines faiss and nmslib (the
    default is faiss; 3 has no nmslib) must be made with :attr:`INDEX_SETTINGS`, so that it is
    searched exactly and no graph is built; a document in one without ends the server. The engine
    lucene needs nothing.

    :param directory: configuration, log and data go here; starting again with the same folder
        gives the same data. Without one, a temporary folder that :meth:`stop` removes.
    :param version: "2.19.1", or "3.3.0", which needs Java 21 or newer.
    :param heap: Java's memory, e.g. "512m" or "1g".
    :param short_lived: a quicker start, for less speed later.
    """

    NAME = "opensearch"
    PREFIX = "OPENSEARCH"
    INDEX_SETTINGS: ClassVar[dict[str, Any]] = {
        "index.knn": True,
        "index.knn.advanced.approximate_threshold": -1,
    }

    def __init__(
        self,
        directory: str | Path | None = None,
        version: str = "2.19.1",
        heap: str = "512m",
        short_lived: bool = False,
    ) -> None:
        if version not in _RELEASES:
            raise LocalServerError(
                f"OpenSearch {version} is not among those that can be started here: "
                f"{', '.join(sorted(_RELEASES))}."
            )
        super().__init__(directory, version, heap, short_lived)

    def distribution(self) -> Path:
        """The unpacked zip with k-NN and the script language that k-NN needs."""
        name = f"opensearch-{self.version}"
        release = _RELEASES[self.version]

        def fill(folder: Path) -> None:
            server, knn, *jars = fetch(release.artifacts(self.version))
            unpack(server, folder)
            unpack(knn, folder / name / "plugins" / "opensearch-knn")
            _add_painless(folder / name, self.version, release.painless_class, jars)

        return cached_folder(name, fill) / name

    def java(self) -> Path:
        """The folder of a Java that it runs on."""
        release = _RELEASES[self.version]
        return java_home(release.oldest_java, release.newest_java)

    def settings(self) -> dict[str, Any]:
        """Settings of its own."""
        return {}

    def java_options(self) -> list[str]:
        """Further options of Java."""
        return list(_RELEASES[self.version].java_options)

    def client(self, **options: Any) -> opensearchpy.OpenSearch:
        """The official client for this server."""
        from opensearchpy import OpenSearch as Client

        return Client(self.url, **options)


def _add_painless(distribution: Path, version: str, plugin: str, jars: list[Path]) -> None:
    module = distribution / "modules" / "lang-painless"
    module.mkdir()
    for jar in jars:
        shutil.copy(jar, module)
    (module / "plugin-security.policy").write_text(_PAINLESS_POLICY)
    write_properties(
        module / "plugin-descriptor.properties",
        {
            "name": module.name,
            "description": "The script language",
            "version": version,
            "opensearch.version": version,
            "java.version": "11",
            "classname": plugin,
        },
    )
