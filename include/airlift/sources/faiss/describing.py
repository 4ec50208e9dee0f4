"""What is told of an index before it is moved: schema, notes, and what stands against it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from airlift.errors import Refused
from airlift.repeated_keys import RepeatedKeys
from airlift.schema import CollectionSchema, Field, SourceCollection
from airlift.sources.faiss.beside import Beside
from airlift.sources.faiss.columns import floats, vector_type
from airlift.sources.faiss.index_file import IndexFile
from airlift.sources.faiss.layout import Layout
from airlift.sources.faiss.params import FaissParams
from airlift.sources.faiss.transforms import rounding

_KEYS = "ids: "
_SAMPLE_ROWS = 1000
_EXAMPLES = 5


def reasons_against(files: Sequence[IndexFile], params: FaissParams) -> list[str]:
    """Why the files can't make a collection together, or may not without `allow_lossy`."""
    reasons = []
    if not params.allow_lossy:
        reasons += [
            f"{file.address} holds {what_is_lost(file.layout)}; set allow_lossy to move what is "
            "left"
            for file in files
            if file.layout.lossy
        ]
    reasons += _shared_lists(files)
    first = files[0]
    for file in files[1:]:
        ours, theirs = _must_agree(first), _must_agree(file)
        if ours != theirs:
            reasons.append(
                f"{first.address} and {file.address} can't make one collection: {ours} and {theirs}"
            )
    return reasons


def _shared_lists(files: Sequence[IndexFile]) -> list[str]:
    """Reasons against indexes that name the same file of inverted lists.

    The file's length does not show whose it is: Faiss doubles it as it grows, so the files of two
    shards often have the same length.
    """
    reasons = []
    first_of: dict[tuple[str, str], IndexFile] = {}
    for file in files:
        if lists := file.ref.lists:
            other = first_of.setdefault((lists.root, lists.path), file)
            if other is not file:
                name = lists.path.rpartition("/")[2]
                reasons.append(
                    f"{other.address} and {file.address} both have their inverted lists in "
                    f"{name!r}, which can hold those of one index only: expected a file of its own "
                    "for each; put each index with its lists into a folder of its own, and name "
                    "all of them in index_url"
                )
    return reasons


def _must_agree(file: IndexFile) -> str:
    layout = file.layout
    ids = "ids of its own" if file.has_ids else "no ids of its own"
    return f"{vector_type(layout)} of dimension {layout.dim}, {layout.metric}, {ids}"


def what_is_lost(layout: Layout) -> str:
    """In which way the vectors are not those that were added."""
    made = [transform.lost for transform in layout.transforms if transform.lost]
    if made and layout.codec is not None:
        return f"an {layout.kind}: {'; '.join(made)}"
    return f"an {layout.kind}, whose codes stand for vectors near those that were added"


def schema_of(
    name: str, layout: Layout, key: Field, scalars: tuple[Field, ...], params: FaissParams
) -> CollectionSchema:
    """The collection's fields. Raises Refused when two have one name."""
    taken = {params.primary_key, params.vector_field}
    twice = sorted(field.name for field in scalars if field.name in taken)
    if twice:
        raise Refused(
            [
                f"the scalars have columns {twice}, as the index's own fields are called; give "
                "these other names by primary_key and vector_field"
            ]
        )
    vector = Field(
        name=params.vector_field,
        type=vector_type(layout),
        dim=layout.dim,
        metric_type=layout.metric,
        index=layout.index,
        unlike_index="" if layout.index else layout.kind,
    )
    return CollectionSchema(name=name, fields=(key, vector, *scalars))


def notes_of(files: Sequence[IndexFile]) -> list[str]:
    """What the user should know of the files."""
    kinds: dict[str, int] = {}
    for file in files:
        kinds[file.layout.kind] = kinds.get(file.layout.kind, 0) + 1
    notes = [
        f"read from {kind}" + (f" ({count} files)" if count > 1 else "")
        for kind, count in kinds.items()
    ]
    if len({str(file.layout.index) for file in files}) > 1:
        notes.append(
            f"the files are indexes of different kinds; with index source, {files[0].address} is "
            "the model"
        )
    for file in files:
        codec = file.layout.codec
        if codec and codec.note and codec.note not in notes:
            notes.append(codec.note)
        if file.layout.transforms:
            notes.append(_rounding_note(file))
        if file.layout.lossy:
            notes.append(f"lossy: {file.address} holds {what_is_lost(file.layout)}; {_error(file)}")
    return notes


def _rounding_note(file: IndexFile) -> str:
    """How exactly the transforms were undone. Raises Refused when they were not."""
    names = ", ".join(transform.name for transform in file.layout.transforms)
    rows = min(file.layout.rows, _SAMPLE_ROWS)
    apart = 0.0
    for found in file.rows(0, rows, 0, max(rows, 1)):
        apart = rounding(file.layout.transforms, floats(found.vectors, file.layout))
    if not apart < 1e-3:  # NaN is refused too
        raise Refused([f"{file.address}: its {names} can't be undone: off by {apart:.2g}"])
    return (
        f"{file.address}: {names} undone; vectors are those that were added but for rounding "
        f"(done again, {rows:,} of them differ by at most {apart:.1g} of their length)"
    )


def _error(file: IndexFile) -> str:
    """The measured error, and what was measured: the vectors that were added are not there."""
    if file.layout.codec is not None:
        return "beyond that they are exact"
    found = file.error()
    told = [f"measured on {found['sampled']:,} rows without the original vectors, which are lost"]
    if found.get("step"):
        told.append(
            f"neighbouring numbers of the quantiser are up to {found['step']:.3g} apart, so a "
            f"number within its range is off by up to {found['step'] / 2:.3g}"
        )
    if "again" in found:
        told.append(
            f"coding and decoding once more changes them by {found['again']:.2g} of their squared "
            "length"
        )
    else:
        told.append("Faiss can't code them once more, so nothing else could be measured")
    return "; ".join(told)


def check_keys(
    collection: SourceCollection, files: Sequence[IndexFile], beside: Beside, auto_id: bool
) -> None:
    """Looks at the ids of all rows, where they are not just positions.

    Raises:
        Refused: ids repeat, or are not in the files that go by them.
    """
    collection.notes = [note for note in collection.notes if not note.startswith(_KEYS)]
    own = any(file.has_ids for file in files)
    if not (own or beside.has_ids or beside.joins):
        return
    looker = _KeyLook(collection, beside, own)
    with RepeatedKeys(keep_last=False) as finder:
        base = 0
        for place, file in enumerate(files):
            for numbers, ids in file.ids(base):
                keys = looker.take(numbers, ids)
                if beside.keys_are_ids:  # `convert` looks at others
                    finder.add(place, np.arange(len(keys)), keys)
            base += file.layout.rows
        finder.finish()
        looker.finish(finder, auto_id)


class _KeyLook:
    """Gathers what is wrong with the ids."""

    def __init__(self, collection: SourceCollection, beside: Beside, own: bool) -> None:
        self._collection = collection
        self._beside = beside
        self._own = own
        self._rows = collection.rows
        self._missing = 0
        self._examples: list[int] = []

    def take(self, numbers: Any, ids: Any) -> Any:
        """The keys of some rows."""
        if self._own and self._beside.by_number and len(numbers):
            low, high = int(numbers.min()), int(numbers.max())
            if low < 0 or high >= self._rows:
                wrong = low if low < 0 else high
                raise Refused(
                    [
                        f"collection {self._collection.name!r}: the index has the id {wrong}, but "
                        f"{self._beside.by_number} has rows 0 to {self._rows - 1:,} in the order "
                        "in which vectors were added; give scalars_id_column, and leave ids_url out"
                    ]
                )
        keys = self._beside.ids(numbers, ids)
        missing = self._beside.missing(keys)
        self._missing += len(missing)
        self._examples += missing[: _EXAMPLES - len(self._examples)].tolist()
        return keys

    def finish(self, finder: RepeatedKeys, auto_id: bool) -> None:
        """Raises Refused with every reason; else notes what should be known."""
        what, reasons = f"collection {self._collection.name!r}", []
        if finder.keys and not auto_id:
            examples = ", ".join(map(str, finder.examples))
            reasons.append(
                f"{what}: {finder.keys:,} ids stand in several rows ({finder.extra:,} rows too "
                f"many), such as {examples}; Milvus expects one row for an id; give other ids by "
                "ids_url, or set mapping.<collection>.auto_id to have new ones"
            )
        found = f"{self._missing:,} vectors have ids that the scalars don't have"
        if self._missing and self._beside.missing_fails:
            examples = ", ".join(map(str, self._examples))
            reasons.append(
                f"{what}: {found}, such as {examples}; set on_missing_scalars to null to have them "
                "without values"
            )
        if reasons:
            raise Refused(reasons)
        if self._missing:
            self._collection.notes.append(f"{_KEYS}{found}: their fields are null")
        unused = self._beside.joined_rows - (self._rows - self._missing - finder.extra)
        if self._beside.joins and unused > 0:
            self._collection.notes.append(f"{_KEYS}{unused:,} rows of the scalars have no vector")
