"""The source Faiss: index files, with ids and scalar fields beside them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import pairwise

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from airlift.chunk import Chunk, chunk_id
from airlift.connections import Connections
from airlift.errors import AirliftError, Refused
from airlift.mapping_params import CollectionMapping
from airlift.schema import CollectionSchema, SourceCollection
from airlift.sources.base import BATCH_BYTES, FILE_BATCH_BYTES, BadRows, FileSource, SourceFile
from airlift.sources.faiss.beside import Beside
from airlift.sources.faiss.columns import must_be_unit_length, vector_column
from airlift.sources.faiss.describing import (
    check_keys,
    notes_of,
    reasons_against,
    schema_of,
)
from airlift.sources.faiss.index_file import IndexFile
from airlift.sources.faiss.params import FaissParams
from airlift.sources.faiss.places import FileRef, Places, collection_name, place_of
from airlift.sources.unchanged import DescribedFile, ensure_unchanged
from airlift.storage import Storage, open_storage


class Detail(BaseModel):
    """What `SourceCollection.detail` holds.

    Attributes:
        files: of the index, in order, each with that of its inverted lists, if it has one.
        rows: of each.
        beside: the files of ids and scalars.
    """

    model_config = ConfigDict(frozen=True)

    files: tuple[FileRef, ...]
    rows: tuple[int, ...]
    beside: tuple[FileRef, ...]


class Part(BaseModel):
    """A range of a file's rows; `base` is the number of the file's first row."""

    model_config = ConfigDict(frozen=True)

    file: FileRef
    base: int
    start: int
    stop: int


class ReadPlan(BaseModel):
    """What a chunk's `read` holds."""

    model_config = ConfigDict(frozen=True)

    fields: CollectionSchema
    parts: tuple[Part, ...]
    beside: tuple[FileRef, ...]


class FaissSource(FileSource):
    """Reads Faiss index files as one collection. See `airlift.sources.base.Source`."""

    batch_bytes = FILE_BATCH_BYTES

    def __init__(self, params: FaissParams, connections: Connections, scratch: Storage) -> None:
        self._params = params
        self._connections = connections
        self._places = Places(self._open_root)
        self._files: dict[FileRef, IndexFile] = {}
        self._beside: Beside | None = None

    def check(self) -> list[str]:
        """Finds the files and reads how they begin; returns every reason against going on."""
        try:
            refs = self._places.find(self._params.index_url)
            self._name(refs)
            beside = Beside.find(self._params, self._places)
            roots = {ref.root for ref in beside}
            if not self.folder().is_local and "/" in roots:
                return [
                    "ids_url and scalars_url lie on a disk and the index in a bucket: put all "
                    "of them into the bucket"
                ]
            files, reasons = self._open_all(refs)
            return reasons or reasons_against(files, self._params)
        except Refused as error:
            return error.reasons
        except AirliftError as error:
            return [str(error)]

    def describe(self) -> list[SourceCollection]:
        """The collection that the files make; none, if `collections` does not name it."""
        refs = self._places.find(self._params.index_url)
        name = self._name(refs)
        files, reasons = self._open_all(refs)
        reasons = reasons or reasons_against(files, self._params)
        if reasons:
            raise Refused(reasons)
        rows = tuple(file.layout.rows for file in files)
        found = Beside.find(self._params, self._places)
        beside = self._open_beside(name, found, sum(rows))
        key = beside.key_field
        schema = schema_of(name, files[0].layout, key, beside.fields, self._params)
        detail = Detail(files=tuple(file.ref for file in files), rows=rows, beside=found)
        return [
            SourceCollection(
                collection_schema=schema,
                rows=sum(rows),
                keys_unique=beside.keys_are_ids,
                partition_rows={"": sum(rows)},
                empty_because=f"{self._params.index_url} holds no vector",
                notes=[*notes_of(files), *beside.key_notes],
                detail=detail.model_dump(mode="json"),
            )
        ]

    def files(self, collections: list[SourceCollection]) -> list[SourceFile]:
        """The files of the index, and those of ids and scalars where they lie on the same disk."""
        root = place_of(self._params.index_url.split(",")[0]).root
        refs = {
            ref: None
            for collection in collections
            for detail in [Detail.model_validate(collection.detail)]
            for ref in (*_with_lists(detail.files), *detail.beside)
            if ref.root == root
        }
        return [SourceFile(ref.path, *ref.identity) for ref in refs]

    def files_of(self, chunk: Chunk) -> list[DescribedFile]:
        """The files of the index that it has rows of, and all of ids and scalars."""
        plan = ReadPlan.model_validate(chunk.read)
        files = _with_lists(part.file for part in plan.parts)
        return self._places.described((*files, *plan.beside))

    def described_files(self, collection: SourceCollection) -> list[DescribedFile]:
        """The files of the index, of ids and of scalars, on whatever disk or in whatever bucket."""
        detail = Detail.model_validate(collection.detail)
        return self._places.described((*_with_lists(detail.files), *detail.beside))

    def folder(self) -> Storage:
        """The disk or bucket that the index lies in."""
        return self._places.original(place_of(self._params.index_url.split(",")[0]).root)

    def address(self) -> str:
        """What `index_url` says."""
        return self._params.index_url

    def read_from(self, folder: Storage) -> None:
        """Reads from a copy from now on."""
        self._places.read_from(place_of(self._params.index_url.split(",")[0]).root, folder)

    def cut(self, collection: SourceCollection, chunk_bytes: int) -> list[Chunk]:
        """Cuts the files into ranges of rows. Raises Refused for ids that repeat or are missing."""
        detail = Detail.model_validate(collection.detail)
        ensure_unchanged(self.described_files(collection))
        files, reasons = self._open_all(detail.files)
        if reasons:
            raise Refused(reasons)
        beside = self._open_beside(collection.name, detail.beside, sum(detail.rows))
        mapping = self._params.mapping.get(collection.name)
        check_keys(collection, files, beside, auto_id=bool(mapping and mapping.auto_id))
        schema = collection.collection_schema
        self._look_at_first_rows(collection, detail, files)
        chunk_rows = max(chunk_bytes // max(schema.row_bytes, 1), 1)
        chunks: list[Chunk] = []
        for parts in _cut(detail, chunk_rows):
            read = ReadPlan(fields=schema, parts=tuple(parts), beside=detail.beside)
            plan = read.model_dump(mode="json")
            rows = sum(part.stop - part.start for part in parts)
            chunks.append(
                Chunk(
                    id=chunk_id(len(chunks), collection.name, plan),
                    collection=collection.name,
                    partition="",
                    rows=rows,
                    bytes=rows * schema.row_bytes,
                    read=plan,
                )
            )
        return chunks

    def rows(self, chunk: Chunk) -> Iterator[pa.RecordBatch | BadRows]:
        """Yields batches of the id, the vector and the scalar fields.

        Raises:
            AirliftError: a file is damaged, or has a vector that cosine does not fit.
        """
        plan = ReadPlan.model_validate(chunk.read)
        beside = self._open_beside(chunk.collection, plan.beside, None)
        yield from self._batches(chunk.collection, plan, beside)

    def close(self) -> None:
        """Removes what was copied to the local disk."""
        for file in self._files.values():
            file.close()
        self._files.clear()
        if self._beside is not None:
            self._beside.close()
            self._beside = None

    def _batches(
        self, name: str, plan: ReadPlan, beside: Beside
    ) -> Iterator[pa.RecordBatch | BadRows]:
        fields, schema = plan.fields.fields, plan.fields.arrow
        block = max(BATCH_BYTES // max(plan.fields.row_bytes, 1), 1)
        cosine = self._wants_cosine(name)
        for part in plan.parts:
            file = self._open(part.file)
            for rows in file.rows(part.start, part.stop, part.base, block):
                ids = beside.ids(rows.numbers, rows.ids)
                if cosine:
                    must_be_unit_length(rows.vectors, file.layout, ids, f"collection {name!r}")
                vectors = vector_column(rows.vectors, file.layout, fields[1])
                keys, scalars, reasons = beside.columns(rows.numbers, ids)
                columns = [keys, vectors, *scalars]
                yield from _parted(pa.RecordBatch.from_arrays(columns, schema=schema), reasons)

    def _look_at_first_rows(
        self, collection: SourceCollection, detail: Detail, files: Sequence[IndexFile]
    ) -> None:
        """Reads a few rows of each file, so that what can't be decoded is known before the work."""
        for ref, file in zip(detail.files, files, strict=True):
            rows = min(file.layout.rows, 64)
            if rows and (file.layout.codec is None or self._wants_cosine(collection.name)):
                part = Part(file=ref, base=0, start=0, stop=rows)
                for one in file.rows(part.start, part.stop, 0, rows):
                    if self._wants_cosine(collection.name):
                        what = f"collection {collection.name!r}"
                        must_be_unit_length(one.vectors, file.layout, one.ids, what)

    def _wants_cosine(self, name: str) -> bool:
        mapping = self._params.mapping.get(name)
        return bool(mapping and mapping.metric_type == "COSINE")

    def _open_root(self, root: str) -> Storage:
        conn_id = self._params.source_conn_id
        on_disk = root == "/"
        return open_storage(
            root, self._connections.storage(conn_id) if conn_id and not on_disk else None
        )

    def _name(self, refs: Sequence[FileRef]) -> str:
        """The collection's name. Raises Refused when `collections` does not name it."""
        name = collection_name(self._params.index_url, list(refs))
        if not any(fnmatchcase(name, one) for one in self._params.collections):
            raise Refused(
                [
                    f"the index makes the collection {name!r}, which `collections` does not name; "
                    "leave it out, or give that name"
                ]
            )
        return name

    def _open(self, ref: FileRef) -> IndexFile:
        if ref not in self._files:
            self._files[ref] = IndexFile(
                self._places.folder(ref.root), ref, self._places.lists_beside
            )
        return self._files[ref]

    def _open_all(self, refs: Sequence[FileRef]) -> tuple[list[IndexFile], list[str]]:
        files, reasons = [], []
        for ref in refs:
            try:
                files.append(self._open(ref))
            except AirliftError as error:
                reasons.append(str(error))
        return files, reasons

    def _open_beside(self, name: str, found: tuple[FileRef, ...], rows: int | None) -> Beside:
        if self._beside is None:
            mapping = self._params.mapping.get(name, CollectionMapping())
            self._beside = Beside(self._params, self._places, found, mapping.takes)
        if rows is not None:
            self._beside.must_have(rows)
        return self._beside


def _with_lists(files: Iterable[FileRef]) -> list[FileRef]:
    """Index files, and those of their inverted lists."""
    return [ref for file in files for ref in file.with_lists]


def _parted(batch: pa.RecordBatch, reasons: pa.Array) -> Iterator[pa.RecordBatch | BadRows]:
    """The good rows of a batch, and the bad ones, which have a reason."""
    if reasons.null_count == len(reasons):
        yield batch
        return
    yield batch.filter(reasons.is_null())
    # A bad row lacks the value that is bad, also where the field must have one.
    nullable = pa.schema([field.with_nullable(True) for field in batch.schema])
    bad = pa.RecordBatch.from_arrays(batch.columns, schema=nullable).filter(reasons.is_valid())
    yield BadRows(bad, bad.column(0).to_pylist(), reasons.drop_null().to_pylist())


def _cut(detail: Detail, chunk_rows: int) -> Iterator[list[Part]]:
    """Ranges of rows for chunks of about equal size."""
    total = sum(detail.rows)
    count = -(-total // chunk_rows)
    bounds = [total * n // count for n in range(count + 1)] if count else []
    starts = np.concatenate(([0], np.cumsum(np.array(detail.rows, np.int64)))).tolist()
    for start, stop in pairwise(bounds):
        parts = [
            Part(file=ref, base=base, start=max(start - base, 0), stop=min(stop, end) - base)
            for ref, base, end in zip(detail.files, starts, starts[1:], strict=False)
            if base < stop and start < end
        ]
        yield parts
