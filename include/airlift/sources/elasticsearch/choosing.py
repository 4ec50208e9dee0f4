"""Which indices are moved, and into which collections."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict

from airlift.sources.elasticsearch.answers import (
    ALIASES,
    MAPPED_INDICES,
    MAPPING,
    NEEDED_SETTINGS,
    RESOLUTION,
    SETTINGS,
    AliasOfIndex,
    IndexAliases,
    Resolution,
    ResolvedAlias,
    part_of,
    understood,
)
from airlift.sources.elasticsearch.client import SearchServer
from airlift.sources.elasticsearch.outside_source import has_no_numbers
from airlift.sources.elasticsearch.params import ElasticsearchParams
from airlift.sources.elasticsearch.refusals import ServerError
from airlift.sources.elasticsearch.serverless import serverless_reasons
from airlift.sources.elasticsearch.spans import IndexPart, ReadBy


class Found(BaseModel):
    """A collection of the source: its indices, their mappings and settings.

    Attributes:
        originals: the mappings as the server has them, where `explode` has changed `mappings`.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    parts: tuple[IndexPart, ...]
    mappings: tuple[dict[str, Any], ...]
    settings: tuple[dict[str, Any], ...]
    originals: tuple[dict[str, Any], ...] = ()


def choose(server: SearchServer, params: ElasticsearchParams) -> tuple[list[Found], list[str]]:
    """The collections that the params name, and a reason for each name that finds none."""
    named: dict[str, dict[str, list[Any]]] = {}
    reasons: list[str] = []
    for name in params.indices:
        for collection, indices in _resolved(server, name, reasons).items():
            if any(fnmatchcase(collection, pattern) for pattern in params.collections):
                named.setdefault(collection, indices)
    reasons += [
        f"no collection {pattern!r} among {sorted(named)}; check `collections`"
        for pattern in params.collections
        if "*" not in pattern and pattern not in named and not params.into_collection
    ]
    if params.into_collection and named:
        together: dict[str, list[Any]] = {}
        for indices in named.values():
            for index, filters in indices.items():
                together.setdefault(index, filters)
        named = {params.into_collection: together}
    query = [params.query] if params.query else []
    found = []
    for name, indices in named.items():
        one = _described(server, name, indices, query)
        unreadable = _closed_reasons(one) or _serverless_reasons(server, one)
        reasons += unreadable
        if not unreadable:
            found.append(one)
    return found, reasons


def _closed_reasons(found: Found) -> list[str]:
    """Why documents of an alias or a data stream can't be read: an index of it is closed."""
    return [
        f"collection {found.name!r}: its index {part.index!r} is closed; open it (POST "
        f"/{part.index}/_open), or take it out of the alias or data stream"
        for part, settings in zip(found.parts, found.settings, strict=True)
        # Servers keep it in a closed index, and remove it when that is opened.
        if str(settings.get("index.verified_before_close")).lower() == "true"
    ]


def _serverless_reasons(server: SearchServer, found: Found) -> list[str]:
    return [
        f"collection {found.name!r}: {reason}"
        for part in found.parts
        for reason in serverless_reasons(server, part)
    ]


def _resolved(
    server: SearchServer, name: str, reasons: list[str]
) -> dict[str, dict[str, list[Any]]]:
    """Collection -> index -> filters, for one name or pattern."""
    is_pattern = "*" in name
    try:
        found = server.ask("GET", f"/_resolve/index/{quote(name, safe='*')}", RESOLUTION)
    except ServerError as error:
        if error.status not in (400, 404):
            raise
        found = Resolution()
    if not found.names:
        reasons.append(f"no index, alias or data stream {name!r}{_near(server, name)}")
        return {}
    streams: dict[str, dict[str, list[Any]]] = {
        stream.name: {index: [] for index in _listed(stream.backing_indices)}
        for stream in found.data_streams
    }
    indices: dict[str, dict[str, list[Any]]] = {}
    for index in found.indices:
        closed = "closed" in index.attributes
        if closed and not is_pattern:
            reasons.append(f"the index {name!r} is closed; open it")
        if not closed and (not is_pattern or not index.name.startswith(".") or name[0] == "."):
            indices[index.name] = {index.name: []}
    if is_pattern:
        return {**indices, **streams}
    aliases = {alias.name: _alias(server, alias, reasons) for alias in found.aliases}
    return {**indices, **streams, **aliases}


def _alias(
    server: SearchServer, resolved: ResolvedAlias, reasons: list[str]
) -> dict[str, list[Any]]:
    """The indices of an alias, each with the alias's own filter."""
    name = resolved.name
    by_index = server.ask("GET", f"/_alias/{quote(name, safe='')}", ALIASES)
    found: dict[str, list[Any]] = {}
    for index in _listed(resolved.indices):
        alias = by_index.get(index, IndexAliases()).aliases.get(name, AliasOfIndex())
        if alias.search_routing or alias.index_routing:
            reasons.append(
                f"the alias {name!r} routes to some shards of {index!r} only; name the index itself"
            )
        found[index] = [alias.filter] if alias.filter else []
    return found


def _listed(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def _near(server: SearchServer, name: str) -> str:
    """What the server has instead, for the message."""
    try:
        all_there = server.ask("GET", "/_resolve/index/*", RESOLUTION)
    except ServerError:
        return "; check `indices`"
    names = [found for found in all_there.names if not found.startswith(".")]
    near = get_close_matches(name, names, n=3, cutoff=0.5) or sorted(names)[:10]
    return f" on the server; it has {', '.join(near) or 'none at all'}; check `indices`"


def _described(
    server: SearchServer, name: str, indices: dict[str, list[Any]], query: list[Any]
) -> Found:
    parts, mappings, settings = [], [], []
    for index, filters in indices.items():
        path = f"/{quote(index, safe='')}"
        mapping_path, settings_path = f"{path}/_mapping", f"{path}/_settings"
        by_index = server.ask("GET", mapping_path, MAPPED_INDICES)
        mapping = part_of(by_index, index, f"GET {mapping_path}").get("mappings", {})
        understood(mapping, MAPPING, f"GET {mapping_path}")  # it is used as it came
        mappings.append(mapping)
        wanted = {"flat_settings": "true", "include_defaults": "true"}
        settings_by_index = server.ask("GET", settings_path, SETTINGS, params=wanted)
        of_index = part_of(settings_by_index, index, f"GET {settings_path}")
        effective = {**of_index.defaults, **of_index.settings}
        settings.append(effective)
        needed = understood(effective, NEEDED_SETTINGS, f"GET {settings_path}")
        parts.append(
            IndexPart(
                index=index,
                uuid=needed.uuid,
                shards=needed.shards,
                filters=(*filters, *query),
                read_by=ReadBy.SLICES if has_no_numbers(effective) else ReadBy.RANGES,
            )
        )
    return Found(name=name, parts=tuple(parts), mappings=tuple(mappings), settings=tuple(settings))
