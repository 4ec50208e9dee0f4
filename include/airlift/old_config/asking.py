"""The old tool's configuration, and which of its keys were asked for.

What nobody asked for has no counterpart here, and is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from airlift.declared.yaml_lines import Document, YamlError, read_yaml
from airlift.errors import Refused

# Prefixes of keys that have no counterpart -> why.
_REASONS = {
    "dumper.worker.limit": "Airflow says how much runs at once (parallelism, pools)",
    "loader.worker.limit": "the target imports files one after the other",
    "dumper.worker.reader.buffersize": "memory is bounded by itself; see chunk_mb",
    "dumper.worker.writer.buffersize": "memory is bounded by itself; see chunk_mb",
    "meta.mode": "",
    "meta.version": "read from the server",
    "source.mode": "",
    "source.es.security": "told by what the connection has",
    "target.remote.checkbucket": "the bucket must exist; `check` looks",
    "target.create.collection.dim": "read from the index",
    "target.local.checkbucket": "",
}


class OldConfig:
    """Reads keys, which the old tool takes in any case of letters.

    Args:
        text: of a `migration.yaml`.
        name: of the file, for messages.

    Raises:
        Refused: it is no YAML.
    """

    def __init__(self, text: bytes, name: str) -> None:
        try:
            document: Document = read_yaml(text)
        except YamlError as error:
            raise Refused([f"{name}, line {error.line}: {error}"]) from None
        self.name = name
        self._values = dict(_leaves(document.data))
        self._asked: set[str] = set()
        self.notes: list[str] = []

    def text(self, key: str, needed: bool = False) -> str:
        """A key's value as text; "" when it is not there.

        Raises:
            Refused: it is needed and missing, or it is a list or a mapping.
        """
        self._asked.add(key.lower())
        value = self._values.get(key.lower())
        if isinstance(value, list):
            raise Refused([f"{self.name}: {key} was expected to be one value, found a list"])
        if value in (None, ""):
            if any(one.startswith(f"{key.lower()}.") for one in self._values):
                raise Refused([f"{self.name}: {key} was expected to be one value, found keys"])
            if needed:
                raise Refused([f"{self.name}: {key} is needed, and missing"])
            return ""
        return str(value).lower() if isinstance(value, bool) else str(value).strip()

    def flag(self, key: str) -> bool:
        """Whether a key says true."""
        return self.text(key).lower() in ("true", "1", "yes", "on")

    def number(self, key: str) -> int:
        """A key's whole number; 0 when it is not there."""
        text = self.text(key) or "0"
        if not text.isdigit():
            raise Refused([f"{self.name}: {key} was expected to be a whole number"])
        return int(text)

    def items(self, key: str) -> list[Any]:
        """A key's list; empty when it is not there. A single text is a list of one."""
        self._asked.add(key.lower())
        value = self._values.get(key.lower()) or []
        return value if isinstance(value, list) else [value]

    def note(self, text: str) -> None:
        """Tells what the user should know of the result."""
        self.notes.append(text)

    def left_out(self) -> list[str]:
        """The keys with values that nobody asked for, and why; never their values."""
        return [
            f"{key}: {_REASONS.get(key, '') or 'there is nothing like it here'}"
            for key, value in self._values.items()
            if key not in self._asked and value not in (None, "", []) and _REASONS.get(key) != ""
        ]


def _leaves(value: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict):
        yield at, value
        return
    for key, below in value.items():
        yield from _leaves(below, f"{at}.{key}".lstrip(".").lower())
