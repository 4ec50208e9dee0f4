"""What the answers of a search server must look like.

A server that is damaged, a proxy that answers in its place or a newer version may send anything.
Each answer is compared with a model of what is used of it; one that does not fit is an error that
names the request, the place in the answer, what was expected and what was found.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from airlift.sources.elasticsearch.refusals import ServerError

Shape = TypeVar("Shape")
Part = TypeVar("Part")

_SHOWN = 120
"""Bytes of an answer that a message shows."""

_EXCERPT = reprlib.Repr()
_EXCERPT.maxlevel, _EXCERPT.maxdict, _EXCERPT.maxlist = 3, 4, 4
_EXCERPT.maxstring = _EXCERPT.maxother = 60

Count = Annotated[int, Field(ge=0, lt=1 << 63)]
NumberText = Annotated[str, Field(pattern=r"^-?[0-9]{1,9}$")]

_MOST_SHARDS = 16_384
"""Elasticsearch and OpenSearch allow 1,024 for an index unless configured otherwise."""


class _Answer(BaseModel):
    """A part of an answer; servers say more than is used of it."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)


class VersionFacts(_Answer):
    """`version` of `GET /`."""

    number: str
    distribution: str = ""


class Root(_Answer):
    """`GET /`."""

    version: VersionFacts


class ResolvedIndex(_Answer):
    """An index, in `GET /_resolve/index`."""

    name: str
    attributes: list[str] = []


class ResolvedAlias(_Answer):
    """An alias there."""

    name: str
    indices: list[str] | str


class ResolvedStream(_Answer):
    """A data stream there."""

    name: str
    backing_indices: list[str] | str


class Resolution(_Answer):
    """`GET /_resolve/index/NAME`."""

    indices: list[ResolvedIndex] = []
    aliases: list[ResolvedAlias] = []
    data_streams: list[ResolvedStream] = []

    @property
    def names(self) -> list[str]:
        """The names of all that was found."""
        found: list[ResolvedIndex | ResolvedAlias | ResolvedStream] = [
            *self.indices,
            *self.aliases,
            *self.data_streams,
        ]
        return [named.name for named in found]


class AliasOfIndex(_Answer):
    """An alias, as `GET /_alias/NAME` describes it for one index."""

    filter: dict[str, Any] | None = None
    index_routing: str = ""
    search_routing: str = ""


class IndexAliases(_Answer):
    """An index in that answer."""

    aliases: dict[str, AliasOfIndex] = {}


class FieldDefinition(_Answer):
    """A field of a mapping, with what lies below it; all else of it is read as it is."""

    type: str | None = None
    properties: dict[str, FieldDefinition] = {}
    fields: dict[str, FieldDefinition] = {}
    copy_to: str | list[str] | None = None
    format: str | None = None
    dims: int | NumberText | None = None
    dimension: int | NumberText | None = None
    method: dict[str, Any] | None = None


class IndexMapping(_Answer):
    """A mapping, in `GET /INDEX/_mapping`."""

    properties: dict[str, FieldDefinition] = {}
    runtime: dict[str, FieldDefinition] = {}
    source: dict[str, Any] | None = Field(None, alias="_source")
    routing: dict[str, Any] | None = Field(None, alias="_routing")


class IndexSettings(_Answer):
    """An index, in `GET /INDEX/_settings` with flat settings."""

    settings: dict[str, Any]
    defaults: dict[str, Any] = {}


class NeededSettings(BaseModel):
    """The settings without which an index can't be read; their values are texts."""

    model_config = ConfigDict(frozen=True)

    uuid: str = Field(alias="index.uuid")
    shards: int = Field(alias="index.number_of_shards", ge=1, le=_MOST_SHARDS)


class PointInTime(_Answer):
    """`POST /INDEX/_pit` of Elasticsearch, `POST /INDEX/_search/point_in_time` of OpenSearch."""

    id: str = ""
    pit_id: str = ""


class Shards(_Answer):
    """How many shards took part in a search."""

    total: Count = 0
    failed: Count = 0


class Total(_Answer):
    """How many documents a search has found."""

    value: Count


class Hits(_Answer):
    """`hits` of the answer to a search; `pages` checks each hit."""

    hits: list[Any]
    total: Total | Count | None = None


class SearchAnswer(_Answer):
    """The answer to a search."""

    hits: Hits
    timed_out: bool = False
    shards: Shards = Field(Shards(), alias="_shards")
    aggregations: dict[str, Any] = {}

    @property
    def total(self) -> int:
        """How many documents were found; 0 where that was not asked for."""
        total = self.hits.total
        return total.value if isinstance(total, Total) else total or 0


class Value(_Answer):
    """A metric aggregation: `value_count`, `min`, `max`."""

    value: float | None = None


class Bucket(_Answer):
    """A bucket of an aggregation."""

    doc_count: Count
    key: float = 0.0
    objects: dict[str, Any] | None = None


class NamedBuckets(_Answer):
    """A `filters` aggregation."""

    buckets: dict[str, Bucket]


class SequenceLimits(_Answer):
    """The least and the largest `_seq_no` of a shard; None where it has no documents."""

    low: Value
    high: Value


class Counted(_Answer):
    """A `nested` aggregation: how many nested objects the documents have."""

    doc_count: Count


class CountedObjects(_Answer):
    """The nested objects of documents, where `explode` asks for their number."""

    objects: Counted


class HistogramBuckets(_Answer):
    """A `histogram` aggregation."""

    buckets: list[Bucket]


class SequenceCells(_Answer):
    """A shard's documents by ranges of `_seq_no`."""

    cells: HistogramBuckets


ROOT = TypeAdapter(Root)
RESOLUTION = TypeAdapter(Resolution)
ALIASES = TypeAdapter(dict[str, IndexAliases])
MAPPED_INDICES = TypeAdapter(dict[str, dict[str, Any]])
MAPPING = TypeAdapter(IndexMapping)
SETTINGS = TypeAdapter(dict[str, IndexSettings])
NEEDED_SETTINGS = TypeAdapter(NeededSettings)
POINT_IN_TIME = TypeAdapter(PointInTime)
SEARCH = TypeAdapter(SearchAnswer)
VALUES = TypeAdapter(dict[str, Value])
NAMED_BUCKETS = TypeAdapter(NamedBuckets)
COUNTED = TypeAdapter(Counted)
OBJECTS = TypeAdapter(CountedObjects)
SEQUENCE_LIMITS = TypeAdapter(SequenceLimits)
SEQUENCE_CELLS = TypeAdapter(SequenceCells)
ANYTHING: TypeAdapter[Any] = TypeAdapter(Any)


def parsed(answer: bytes, what: str) -> Any:
    """An answer as Python values; numbers may be rounded. See `pages.parse` for documents.

    Args:
        what: the request, for the message.

    Raises:
        ServerError: it is no JSON.
    """
    try:
        return orjson.loads(answer)
    except orjson.JSONDecodeError as error:
        raise unexpected(what, f"it is no JSON ({error})", answer) from error


def understood(found: Any, shape: TypeAdapter[Shape], what: str) -> Shape:
    """An answer, or a part of one, in the form that it must have.

    Args:
        found: Python values, as they were parsed.
        what: the request, for the message.

    Raises:
        ServerError: it has another form.
    """
    try:
        return shape.validate_python(found)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the answer"
        raise unexpected(what, f"{place}: {first['msg']}", first["input"]) from error


def unexpected(what: str, problem: str, found: Any) -> ServerError:
    """The error for an answer that is not as it must be; shows the beginning of what was found."""
    if isinstance(found, bytes):
        text = found[:_SHOWN].decode(errors="replace") + ("…" if len(found) > _SHOWN else "")
    else:
        text = _EXCERPT.repr(found)
    return ServerError(
        f"{what}: the answer is not that of a search server: {problem}; found {text}; check what "
        "stands between Airflow and the server (a proxy), and the server's log"
    )


def part_of(found: Mapping[str, Part], name: str, what: str) -> Part:
    """A value that an answer must have. Raises ServerError when it has none."""
    if name not in found:
        raise unexpected(what, f"{name!r} is missing", list(found))
    return found[name]
