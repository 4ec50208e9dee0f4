"""A collection of one or several backups: described, its files found, its rows counted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from airlift.errors import AirliftError, Refused
from airlift.file_identity import FileIdentity
from airlift.reading_ahead import map_ahead
from airlift.schema import DYNAMIC_FIELD, CollectionSchema, SourceCollection
from airlift.sources.backup.cutting import CountedSegment
from airlift.sources.backup.dead import KeyReader, deleted_rows, save
from airlift.sources.backup.describing import Description
from airlift.sources.backup.meta import CollectionMeta
from airlift.sources.backup.rows import dynamic_id
from airlift.sources.backup.segments import Segment, SegmentFinder, StoredLog, WideDeletes
from airlift.sources.unchanged import DescribedFile
from airlift.storage import Storage

_NO_SEGMENTS = "the backup has no segment of it: it was empty, or its metadata alone was backed up"


class Taken(NamedTuple):
    """A collection in one of the backups.

    Attributes:
        prefix: of the backup's paths in the folder of backups.
        older: how many of the backups are newer.
        database: that its name begins with; "" for none.
    """

    prefix: str
    older: int
    meta: CollectionMeta
    database: str


class Detail(BaseModel):
    """What `SourceCollection.detail` holds.

    Attributes:
        ids: field name -> id; the dynamic field's only where the files tell it.
        wide: deletes of level 0.
        meta_files: what the metadata was read from, by path; None for one that was not there.
    """

    model_config = ConfigDict(frozen=True)

    ids: dict[str, int]
    segments: tuple[CountedSegment, ...]
    wide: tuple[WideDeletes, ...] = ()
    meta_files: dict[str, FileIdentity | None] = {}

    @property
    def files(self) -> list[StoredLog]:
        """All log files."""
        return all_logs([one.segment for one in self.segments], self.wide)

    def keys(self, storage: Storage, schema: CollectionSchema) -> KeyReader:
        """A reader of the collection's keys."""
        key = schema.primary_key
        declared = set(self.ids.values())
        return KeyReader(storage, key, self.ids[key.name], declared, bool(schema.dynamic_field))


def all_logs(segments: Iterable[Segment], wide: Iterable[WideDeletes]) -> list[StoredLog]:
    """The log files of segments and of deletes, each once."""
    own = [log for segment in segments for log in segment.files]
    # A later backup's deletes of a segment may be named twice: they hit older backups too.
    return list(dict.fromkeys([*own, *(log for deletes in wide for log in deletes.logs)]))


@dataclass
class Looked:
    """What metadata and folder say of a collection, before a row is read."""

    schema: CollectionSchema
    ids: dict[str, int]
    segments: list[Segment] = field(default_factory=list)
    wide: list[WideDeletes] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


def looked_at(files: Storage, name: str, backups: Sequence[Taken]) -> Looked:
    """Describes a collection and finds its files.

    Args:
        files: the folder of backups, or a copy of it.
        backups: those that have it, oldest first.
    """
    descriptions = [Description(one.meta, name, one.database) for one in backups]
    newest = descriptions[-1]
    looked = Looked(newest.schema, dict(newest.ids), notes=newest.notes, reasons=newest.reasons)
    for one, taken in zip(descriptions, backups, strict=True):
        if one is not newest:
            looked.reasons += one.reasons or _unlike(name, taken.prefix, one, newest)
    partitions = {part for one in descriptions for part in one.schema.partitions}
    looked.schema = newest.schema.model_copy(update={"partitions": tuple(sorted(partitions))})
    if looked.reasons:
        return looked
    seen: set[int] = set()
    # A later backup has the same segment with the same rows, and all deletes since.
    for one, taken in reversed(list(zip(descriptions, backups, strict=True))):
        found = SegmentFinder(files, taken.prefix, taken.meta, one.partitions, taken.older).found()
        looked.segments += [segment for segment in found.segments if segment.id not in seen]
        seen |= {segment.id for segment in found.segments}
        looked.wide += found.wide
        if one is not descriptions[0]:
            looked.wide += _of_earlier(found.segments)
        looked.reasons += found.reasons
    looked.segments.sort(key=lambda segment: (-segment.older, segment.id))
    if not looked.reasons:
        _look_at_fields(name, looked)
    return looked


def _of_earlier(segments: Sequence[Segment]) -> list[WideDeletes]:
    """The deletes of a later backup's segments: they hit the rows of earlier backups too."""
    return [
        WideDeletes(origin=one.origin, logs=one.deltas, older=one.older + 1)
        for one in segments
        if one.deltas
    ]


def _unlike(name: str, prefix: str, one: Description, other: Description) -> list[str]:
    """How an older backup's fields differ from the newest one's."""

    def shape(of: Description) -> dict[str, tuple[object, ...]]:
        return {
            field.name: (
                *(of.ids.get(field.name), field.type, field.dim, field.element_type),
                *(field.primary_key, field.partition_key),
            )
            for field in of.schema.fields
        }

    mine, its = shape(one), shape(other)
    if differ := sorted(key for key in mine.keys() | its if mine.get(key) != its.get(key)):
        return [
            f"collection {name!r}: the fields {differ} of the backup {prefix.rstrip('/')!r} are "
            "others in the newest one; move the backups one by one"
        ]
    return []


def _look_at_fields(name: str, looked: Looked) -> None:
    """Finds the dynamic field among the logs' fields, and fields without logs."""
    declared = set(looked.ids.values())
    plain = [one for one in looked.segments if not one.packed]
    held = {key for one in plain for logs in one.logs[:1] for key in logs}
    try:
        found = dynamic_id(held, declared, f"collection {name!r}")
    except AirliftError as error:
        looked.reasons.append(str(error))
        return
    if found is not None and not looked.schema.dynamic_field:
        looked.reasons.append(
            f"collection {name!r}: the schema in the backup lacks the field {found}, which has "
            "log files; make the backup again"
        )
    elif found is not None:
        looked.ids[DYNAMIC_FIELD] = found
    for one in looked.schema.fields:
        if one.is_dynamic or one.nullable or one.is_function_output or one.default is not None:
            continue
        bare = [segment.id for segment in plain if looked.ids[one.name] not in segment.logs[0]]
        if bare:
            looked.reasons.append(
                f"collection {name!r}: {len(bare)} segments, such as {bare[0]}, have no log files "
                f"of the field {one.name!r}, which can't be null; copy the backup again"
            )


def _identify(looked: Looked, files: Storage) -> None:
    """Asks what tells the states of the logs apart, before any of them is read.

    Raises:
        Refused: a log is not as it was listed.
    """
    known: dict[StoredLog, StoredLog] = {}
    reasons: list[str] = []
    logs = all_logs(looked.segments, looked.wide)
    identities = files.identities(log.path for log in logs)
    for log, identity in zip(logs, identities, strict=True):
        changed = DescribedFile(files, log.path, log.identity).change(identity)
        if changed or identity is None:
            reasons.append(f"collection {looked.schema.name!r}: {changed}")
        else:
            known[log] = StoredLog(log.path, *identity)
    if reasons:
        raise Refused(reasons)
    looked.segments = [
        segment.model_copy(
            update={
                "logs": tuple({key: known[log] for key, log in at.items()} for at in segment.logs),
                "deltas": tuple(known[log] for log in segment.deltas),
            }
        )
        for segment in looked.segments
    ]
    looked.wide = [
        deletes.model_copy(update={"logs": tuple(known[log] for log in deletes.logs)})
        for deletes in looked.wide
    ]


def counted(
    looked: Looked,
    files: Storage,
    scratch: Storage,
    lossy: bool,
    meta_files: Mapping[str, FileIdentity | None],
) -> SourceCollection:
    """Counts the rows of a collection's logs, and finds those that are deleted.

    Args:
        scratch: keeps the places of deleted rows.
        lossy: whether metadata may count other rows than the logs hold.
        meta_files: as of `Detail`.

    Raises:
        Refused: they count differently.
        AirliftError: a log can't be read.
    """
    schema = looked.schema
    _identify(looked, files)
    segments, notes = looked.segments, list(looked.notes)
    reader = Detail(ids=looked.ids, segments=()).keys(files, schema)
    rows = list(map_ahead(reader.log_rows, segments, files.ranges_ahead))
    reasons = [
        f"collection {schema.name!r}, segment {one.id}: the metadata counts {one.rows:,} rows, its "
        f"log files hold {sum(has):,}; copy the backup again, or take what they hold with "
        "allow_lossy"
        for one, has in zip(segments, rows, strict=True)
        if sum(has) != one.rows
    ]
    if reasons and not lossy:
        raise Refused(reasons)
    notes += reasons
    deleted = deleted_rows(reader, segments, looked.wide)
    made = []
    for one, has, places in zip(segments, rows, deleted, strict=True):
        path = f"{schema.name}/deleted/{one.id}.npy" if len(places) else ""
        if path:
            save(scratch, path, places)
        made.append(
            CountedSegment(
                segment=one,
                log_rows=tuple(has),
                deleted=len(places),
                gone=(path,) if path else (),
            )
        )
    total, dead = sum(map(sum, rows)), sum(map(len, deleted))
    notes.append(
        f"the backup's own metadata counts {sum(one.rows for one in segments):,} rows in "
        f"{len(segments):,} segments; their logs hold {total:,}, of which {dead:,} are deleted"
    )
    detail = Detail(
        ids=looked.ids,
        segments=tuple(made),
        wide=tuple(looked.wide),
        meta_files=dict(meta_files),
    )
    live = dict.fromkeys(["", *schema.partitions], 0)
    for segment in made:
        live[segment.segment.partition] += sum(segment.log_rows) - segment.deleted
    return SourceCollection(
        collection_schema=schema,
        rows=total,
        deleted=dead,
        # Milvus takes several rows with one key without a word; convert looks at all keys.
        keys_unique=False,
        partition_rows=live,
        empty_because="" if segments else _NO_SEGMENTS,
        notes=notes,
        detail=detail.model_dump(mode="json"),
    )
