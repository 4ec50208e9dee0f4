"""The source backup: folders that milvus-backup wrote, on a disk or in a bucket."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import ClassVar
from urllib.parse import unquote

import pyarrow as pa

from airlift.access import AccessControl, HeldCollection
from airlift.chunk import Chunk
from airlift.connections import Connections, StorageConnection
from airlift.errors import AirliftError, Refused
from airlift.file_identity import FileIdentity
from airlift.milvus.descriptions import own_properties
from airlift.names import with_database
from airlift.params import OnDuplicateId
from airlift.schema import SourceCollection
from airlift.sources.backup.access import access_of, counts_of
from airlift.sources.backup.cutting import ReadPlan, chunks_of, chunks_to_import
from airlift.sources.backup.duplicates import leave_older_out
from airlift.sources.backup.finding import find_backups, place_in_yaml
from airlift.sources.backup.inventory import Detail, Taken, counted, looked_at
from airlift.sources.backup.meta import FULL, META, PARTS, BackupMeta, CollectionMeta
from airlift.sources.backup.meta_files import read_meta
from airlift.sources.backup.own_files import own_files
from airlift.sources.backup.params import BackupParams
from airlift.sources.backup.reading import gone_rows, read_rows
from airlift.sources.backup.validation import refuse_backup
from airlift.sources.base import FILE_BATCH_BYTES, FileSource, SourceFile
from airlift.sources.choosing import choose
from airlift.sources.unchanged import DescribedFile, ensure_unchanged
from airlift.storage import Storage, open_storage


class BackupSource(FileSource):
    """Reads the collections of a backup, or of several. See `airlift.sources.base.Source`."""

    batch_bytes: ClassVar[int] = FILE_BATCH_BYTES

    def __init__(self, params: BackupParams, connections: Connections, scratch: Storage) -> None:
        self._params = params
        self._connections = connections
        self._scratch = scratch
        self._meta_files: dict[str, FileIdentity | None] = {}

    def check(self) -> list[str]:
        """Reads the metadata and compares it with the folder; every reason against going on."""
        try:
            chosen, reasons = self._chosen()
            for name, backups in chosen:
                reasons += looked_at(self._original, name, backups).reasons
            return reasons
        except Refused as error:
            return error.reasons
        except AirliftError as error:
            return [str(error)]

    def describe(self) -> list[SourceCollection]:
        """The chosen collections, their rows and deletes counted from the logs. Raises Refused."""
        chosen, reasons = self._chosen()
        # Not of a copy: that has only the files that are read.
        files = self._original
        looked = [looked_at(files, name, backups) for name, backups in chosen]
        reasons += [reason for one in looked for reason in one.reasons]
        if reasons:
            raise Refused(reasons)
        found: list[SourceCollection] = []
        for one in looked:
            try:
                lossy = self._params.allow_lossy
                found.append(counted(one, files, self._scratch, lossy, self._meta_files))
            except Refused as refused:
                reasons += refused.reasons
        if reasons:
            raise Refused(reasons)
        for collection in found:
            newest_only = self._newest_only(collection.name)
            collection.own_files = own_files(collection, len(self._prefixes), newest_only)
        if found:
            found[0].notes.extend(_told(self._metas))
        return found

    def files(self, collections: list[SourceCollection]) -> list[SourceFile]:
        """The log files."""
        return [
            log
            for collection in collections
            for log in Detail.model_validate(collection.detail).files
        ]

    def files_of(self, chunk: Chunk) -> list[DescribedFile]:
        """The logs of its segments."""
        return self.placed(ReadPlan.model_validate(chunk.read).logs)

    def described_files(self, collection: SourceCollection) -> list[DescribedFile]:
        """All logs and, unless copies are read, the metadata."""
        meta = {} if self._copy else Detail.model_validate(collection.detail).meta_files
        return [*super().described_files(collection), *self._placed_meta(meta)]

    def folder(self) -> Storage:
        """The folder that holds the backups, or its copy."""
        return self._copy or self._original

    def address(self) -> str:
        """Where the backup is."""
        names = ", ".join(prefix.rstrip("/") for prefix in self._prefixes if prefix)
        return f"{self._original.url}{f': {names}' if names else ''}"

    def version(self) -> str:
        """The Milvus that the backups are of, as far as they say."""
        told = dict.fromkeys(meta.milvus_version for meta in self._metas if meta.milvus_version)
        return ", ".join(f"a backup of Milvus {version}" for version in told)

    def cut(self, collection: SourceCollection, chunk_bytes: int) -> list[Chunk]:
        """Cuts a collection into chunks of whole logs; see `Source.cut`."""
        ensure_unchanged(self.described_files(collection))
        detail = Detail.model_validate(collection.detail)
        if self._newest_only(collection.name):
            detail = leave_older_out(collection, detail, self.folder(), self._scratch)
        segments = [
            (one, gone_rows(self._scratch, one.gone, sum(one.log_rows))) for one in detail.segments
        ]
        schema = collection.collection_schema
        if collection.imports_own_files:
            chunks = chunks_to_import(schema, detail.ids, segments)
        else:
            chunks = chunks_of(schema, detail.ids, segments, chunk_bytes)
        rows = dict.fromkeys(["", *schema.partitions], 0)
        for chunk in chunks:
            rows[chunk.partition] += chunk.rows
        collection.partition_rows = rows
        return chunks

    def rows(self, chunk: Chunk) -> Iterator[pa.RecordBatch]:
        """Yields a chunk's live rows, in the order of the logs."""
        plan = ReadPlan.model_validate(chunk.read)
        return read_rows(self.folder(), self._scratch, plan)

    def access(self) -> AccessControl | None:
        """Users, roles and grants of the newest backup, which has them all. Raises Refused."""
        if not self._params.with_rbac:
            return None
        held = {
            (one.database, one.collection_name): HeldCollection(
                source=_name(one, one.database if self._has_databases else ""),
                database=one.database,
                name=one.collection_name,
                aliases=one.aliases,
            )
            for meta in self._metas
            for one in meta.collection_backups
        }
        return access_of(self._metas[-1], list(held.values()))

    def _newest_only(self, name: str) -> bool:
        """Whether of rows that share a primary key the newest alone is moved."""
        mapping = self._params.mapping.get(name)
        asked = len(self._prefixes) > 1 or self._params.on_duplicate_id is OnDuplicateId.KEEP_ONE
        return asked and not (mapping and mapping.auto_id)

    @cached_property
    def _found(self) -> tuple[Storage, list[str]]:
        url, endpoint = self._place()
        names = self._params.backup_names
        return find_backups(self._storage(url, endpoint), names, url)

    @property
    def _original(self) -> Storage:
        return self._found[0]

    @property
    def _prefixes(self) -> list[str]:
        return self._found[1]

    @cached_property
    def _metas(self) -> list[BackupMeta]:
        """Of each backup, oldest first."""
        metas = []
        for prefix in self._prefixes:
            folder = self._original.folder(prefix.rstrip("/")) if prefix else self._original
            paths = [f"{prefix}{META}/{name}" for name in (FULL, *PARTS)]
            known = dict(zip(paths, self._original.identities(paths), strict=True))
            if known[paths[0]]:
                known = {paths[0]: known[paths[0]]}  # then the other four are not read
            meta = read_meta(folder)
            ensure_unchanged(self._placed_meta(known))
            self._meta_files |= known
            refuse_backup(folder, meta)
            metas.append(meta)
        return metas

    def _placed_meta(self, files: Mapping[str, FileIdentity | None]) -> list[DescribedFile]:
        return [DescribedFile(self._original, *file) for file in files.items()]

    def _place(self) -> tuple[str, str]:
        """The address of the folder that was named, and the endpoint that backup.yaml names."""
        if self._params.backup_url:
            return self._params.backup_url, ""
        url = self._params.backup_yaml_url
        folder, slash, name = url.rpartition("/")
        if not name or not slash:
            raise AirliftError(f"backup_yaml_url {url!r}: expected the whole address of a file")
        name = unquote(name) if folder.startswith("file:") else name
        return place_in_yaml(self._storage(folder + slash, ""), name)

    def _storage(self, url: str, endpoint: str) -> Storage:
        conn_id = self._params.source_conn_id
        connection = self._connections.storage(conn_id) if conn_id else StorageConnection()
        if endpoint and not connection.endpoint_url:
            connection = connection.model_copy(update={"endpoint_url": endpoint})
        return open_storage(url, connection)

    @cached_property
    def _has_databases(self) -> bool:
        """Whether collections are told apart by their databases."""
        return len({c.database for meta in self._metas for c in meta.collection_backups}) > 1

    def _chosen(self) -> tuple[list[tuple[str, list[Taken]]], list[str]]:
        """The chosen collections by name, each with the backups that have it, oldest first."""
        by_name: dict[str, list[Taken]] = {}
        last = len(self._metas) - 1
        for number, meta in enumerate(self._metas):
            for one in meta.collection_backups:
                database = one.database if self._has_databases else ""
                taken = Taken(self._prefixes[number], last - number, one, database)
                by_name.setdefault(_name(one, database), []).append(taken)
        names = {name: (name, taken) for name, taken in sorted(by_name.items())}
        return choose(names, self._params.collections)


def _name(one: CollectionMeta, database: str) -> str:
    """A collection's name: with its database where there are several."""
    return with_database(database, one.collection_name)


def _told(metas: list[BackupMeta]) -> list[str]:
    """What the user should know of the backups as a whole."""
    notes = []
    for meta in metas:
        of = f" of Milvus {meta.milvus_version}" if meta.milvus_version else ""
        notes.append(f"from the backup {meta.name!r}{of}")
        notes += [
            f"the properties {own} of the database {one.db_name!r} are not carried; set them on "
            "the target with alter_database_properties"
            for one in meta.database_backups
            if (own := own_properties({pair.key: pair.value for pair in one.properties}))
        ]
        held = counts_of(meta.rbac_meta)
        if held:  # told with and without with_rbac, so that it can be changed on resuming
            notes.append(
                f"the backup {meta.name!r} holds users, roles or grants ({held}); with_rbac "
                "restores them"
            )
    return notes
