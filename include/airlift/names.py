"""Names that Milvus accepts: `[A-Za-z_][A-Za-z0-9_]*`, at most 255 characters."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

MAX_LENGTH = 255
_VALID = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def is_valid(name: str) -> bool:
    """Whether Milvus takes the name for a collection, partition, field or alias."""
    return len(name) <= MAX_LENGTH and _VALID.fullmatch(name) is not None


def sanitized(name: str) -> str:
    """The nearest name that Milvus takes: other characters become `_`, a leading digit gets one.

    Of a name without a letter or digit of ASCII nothing would be left: its characters' numbers in
    Unicode stand for them, as `u6807_u9898` for `标题`.
    """
    changed = re.sub(r"[^A-Za-z0-9_]", "_", name)
    if name and not re.search(r"[A-Za-z0-9]", changed) and not name.isascii():
        changed = "_".join(f"u{ord(sign):04x}" for sign in name if not sign.isspace())
    if not changed or changed[0].isdigit():
        changed = "_" + changed
    return changed[:MAX_LENGTH]


def collisions(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    """Targets that several sources would share, from (source, target) pairs."""
    by_target: dict[str, list[str]] = defaultdict(list)
    for source, target in pairs:
        by_target[target].append(source)
    return [(target, sources) for target, sources in by_target.items() if len(sources) > 1]


def with_database(database: str, name: str) -> str:
    """A collection's (or an alias') name with its database before it, where one is named."""
    return f"{database}.{name}" if database else name


def without_database(database: str, name: str) -> str:
    """The name within its database; undoes `with_database`."""
    return name.removeprefix(f"{database}.") if database else name
