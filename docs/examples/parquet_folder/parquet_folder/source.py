"""The source: which collections there are, in which chunks they are read, and their rows."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from airlift.chunk import Chunk, chunk_id
from airlift.connections import Connections
from airlift.datatypes import TYPES, DataType
from airlift.errors import Refused
from airlift.schema import CollectionSchema, Field, SourceCollection
from airlift.sources.base import FILE_BATCH_BYTES, FileSource, SourceFile
from airlift.sources.choosing import choose
from airlift.sources.unchanged import DescribedFile
from airlift.storage import Storage, open_storage
from parquet_folder.params import ParquetFolderParams

# Arrow type -> Milvus type, of those that have one width or are plain text.
_TYPES = {facts.arrow(0): name for name, facts in reversed(TYPES.items()) if not facts.is_vector}
_TYPES[pa.string()] = DataType.VARCHAR


class ParquetFolderSource(FileSource):
    """Reads Parquet files as they are. See `airlift.sources.base.Source`."""

    batch_bytes = FILE_BATCH_BYTES

    def __init__(self, params: ParquetFolderParams, connections: Connections, scratch: Storage):
        self._params = params
        conn_id = params.source_conn_id
        connection = connections.storage(conn_id) if conn_id else None
        self._original = open_storage(params.folder_url, connection)

    def check(self) -> list[str]:
        """Every reason why nothing can be read."""
        return self._chosen()[1]

    def describe(self) -> list[SourceCollection]:
        """The collections that the params choose: fields, rows, and what `cut` needs."""
        chosen, reasons = self._chosen()
        if reasons:
            raise Refused(reasons)
        return [self._described(name, files) for name, files in chosen]

    def files(self, collections: list[SourceCollection]) -> list[SourceFile]:
        """What is copied into staging when workers elsewhere can't see the folder."""
        return [SourceFile(*file) for one in collections for file in one.detail["files"]]

    def files_of(self, chunk: Chunk) -> list[DescribedFile]:
        """What is compared with its description before and after the chunk is read."""
        return self.placed([SourceFile(*chunk.read["file"])])

    def folder(self) -> Storage:
        """Where the files lie, or a copy of them."""
        return self._copy or self._original

    def address(self) -> str:
        """For the report; without credentials."""
        return self._params.folder_url

    def cut(self, collection: SourceCollection, chunk_bytes: int) -> list[Chunk]:
        """A chunk of each file. Its id and `read` are the same whenever the files are."""
        schema, chunks = collection.collection_schema, []
        for n, file in enumerate(collection.detail["files"]):
            rows = self._open(file[0]).metadata.num_rows
            read = {"file": file, "columns": schema.model_dump(mode="json")}
            known = {"id": chunk_id(n, read), "collection": schema.name, "partition": ""}
            chunks.append(Chunk(**known, rows=rows, bytes=rows * schema.row_bytes, read=read))
        return chunks

    def rows(self, chunk: Chunk) -> Iterator[pa.RecordBatch]:
        """The rows of a chunk, in the fields' order and types."""
        path = chunk.read["file"][0]
        columns = CollectionSchema.model_validate(chunk.read["columns"]).arrow
        with self.folder().explained("read", path):
            for batch in self._open(path).iter_batches(65_536, columns=columns.names):
                yield batch.select(columns.names).cast(columns)

    def _open(self, path: str) -> pq.ParquetFile:
        with self.folder().explained("read", path):
            return pq.ParquetFile(self.folder().open_input(path))

    def _chosen(self) -> tuple[list[tuple[str, list[str]]], list[str]]:
        found: dict[str, tuple[str, list[str]]] = {}
        for path, size in self.folder().list(recursive=True).items():
            name, _, rest = path.partition("/")
            if size is not None and rest.endswith(".parquet"):
                found.setdefault(name, (name, []))[1].append(path)
        return choose(found, self._params.collections)

    def _described(self, name: str, paths: list[str]) -> SourceCollection:
        files = [list(file) for file in self.look_at(paths)]  # before they are read
        opened = {path: self._open(path) for path in paths}
        first, *others = (file.schema_arrow for file in opened.values())
        if not all(first.equals(one) for one in others):
            raise Refused([f"{name}: its files were expected to have the same columns and types"])
        schema = CollectionSchema(name=name, fields=tuple(self._field(one) for one in first))
        rows = sum(file.metadata.num_rows for file in opened.values())
        return SourceCollection(
            collection_schema=schema,
            rows=rows,
            keys_unique=False,  # so all keys are looked at before anything is written
            partition_rows={"": rows},
            detail={"files": files},
        )

    def _field(self, column: pa.Field) -> Field:
        key = column.name == self._params.primary_key
        known = {"name": column.name, "primary_key": key}
        if pa.types.is_fixed_size_list(column.type) and column.type.value_type == pa.float32():
            return Field(type=DataType.FLOAT_VECTOR, dim=column.type.list_size, **known)
        if column.type not in _TYPES:
            raise Refused([f"the column {column.name!r} is {column.type}: nothing in Milvus is so"])
        return Field(type=_TYPES[column.type], nullable=column.nullable and not key, **known)
