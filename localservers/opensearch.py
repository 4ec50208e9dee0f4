"""A real OpenSearch node with k-NN on this machine, from the zips that its own tests use."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from .cache import cached_folder
from .errors import LocalServerError
from .jdk import java_home, write_properties
from .maven import Artifact, fetch, unpack
from .search_server import SearchServer

if TYPE_CHECKING:
    import opensearchpy

_ZIPS = {
    "2.19.1": (
        Artifact(
            "org.opensearch.distribution.integ-test-zip:opensearch:2.19.1:zip",
            "af7152d8b7f6f1cee09d47276b32b70479fe6dd8cdbb61213f84eb7f8098b261",
        ),
        Artifact(
            "org.opensearch.plugin:opensearch-knn:2.19.1.0:zip",
            "eab8c9818865bc035212eab5068cdacae164baa09d4c152f49b736d6f6b0e85c",
        ),
    ),
}
# The module lang-painless, which k-NN needs and the zip lacks.
_PAINLESS = {
    "2.19.1": (
        Artifact(
            "org.opensearch.plugin:lang-painless:2.19.1",
            "3cf5e02efa40ff5b88e74e1ab66a0bc462de3509fab4a6a4ffe90b8d13777a9a",
        ),
        Artifact(
            "org.opensearch.plugin:opensearch-scripting-painless-spi:2.19.1",
            "c2598797a5f6f897ce7e8d05f593ff96de3fbc56c52f299d63cddcae41556dda",
        ),
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
    default is faiss) must be made with :attr:`INDEX_SETTINGS`, so that it is searched exactly and
    no graph is built; a document in one without ends the server. The engine lucene needs nothing.

    :param directory: configuration, log and data go here; starting again with the same folder
        gives the same data. Without one, a temporary folder that :meth:`stop` removes.
    :param version: "2.19.1".
    :param heap: Java's memory, e.g. "512m" or "1g".
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
    ) -> None:
        if version not in _ZIPS:
            raise LocalServerError(
                f"OpenSearch {version} is not among those that can be started here: "
                f"{', '.join(sorted(_ZIPS))}."
            )
        super().__init__(directory, version, heap)

    def distribution(self) -> Path:
        """The unpacked zip with k-NN and the script language that k-NN needs."""
        name = f"opensearch-{self.version}"

        def fill(folder: Path) -> None:
            server, knn, *jars = fetch([*_ZIPS[self.version], *_PAINLESS[self.version]])
            unpack(server, folder)
            unpack(knn, folder / name / "plugins" / "opensearch-knn")
            _add_painless(folder / name, self.version, jars)

        return cached_folder(name, fill) / name

    def java(self) -> Path:
        """The folder of a Java that it runs on."""
        return java_home(11, 23)  # 24 is without the security manager

    def settings(self) -> dict[str, Any]:
        """Settings of its own."""
        return {}

    def java_options(self) -> list[str]:
        """Threads that the security manager can tell apart, as its own jvm.options has it."""
        factory = "org.opensearch.secure_sm.SecuredForkJoinWorkerThreadFactory"
        return [f"-Djava.util.concurrent.ForkJoinPool.common.threadFactory={factory}"]

    def client(self, **options: Any) -> opensearchpy.OpenSearch:
        """The official client for this server."""
        from opensearchpy import OpenSearch as Client

        return Client(self.url, **options)


def _add_painless(distribution: Path, version: str, jars: list[Path]) -> None:
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
            "classname": "org.opensearch.painless.PainlessPlugin",
        },
    )
