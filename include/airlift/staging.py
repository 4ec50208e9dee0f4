"""The staging folder of one migration: what is known, planned, written and imported.

    <staging_url>/<migration_id>/
        meta.json                        the source's collections
        plan.json                        chunks and batches
        changes.json                     what has changed at the source meanwhile
        claimed.json                     the names that no other run may work on meanwhile
        set_back.json                    that Airflow's database knew less than staging
        unfinished.json                  import jobs that outlived the run
        created.json                     the collections that this migration made on the target
        target_notes.json                settings and indexes of the target that are not as planned
        published.json                   the aliases that it has moved to them
        access_plan.json                 users, roles and grants that are to be restored
        restored_rbac.json               those that are, or are about to be
        versions.json                    which versions of what took part
        steps/, failures/                how long each task took, and how it failed
        verification.json                what was compared, and how it came out
        assessment.json, draft.json      of a dry run: what it would take; a refused plan
        report.json, report.html
        earlier/                         reports of what was done, before a later run's
        progress/                        how far each task is, for the migration page
        buckets/<batch>/<collection>.arrow   fingerprints of rows by buckets of the key's hash
        scratch/                         what the source found while planning
        source/                          copied source files
        <collection>/<chunk id>/         data files, sample.parquet, keys.npy,
                                         appended_keys.parquet, then manifest.json
        <collection>/<chunk id>/import.json
        <collection>/bad_rows/<chunk id>.parquet

Staging, not Airflow's database, is what a resumed migration goes by.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from airlift.chunk import Manifest
from airlift.errors import AirliftError
from airlift.fingerprint import CONSTRUCTION
from airlift.plan import ChunkRef, Plan
from airlift.reading_ahead import map_ahead
from airlift.schema import SourceCollection
from airlift.storage import Storage
from airlift.target_changes import Created

Model = TypeVar("Model", bound=BaseModel)

log = logging.getLogger("airlift")

_WRITTEN_BY = {
    "meta.json": "export_meta",
    "plan.json": "plan",
    "manifest.json": "convert",
    "changes.json": "create",
    "target_notes.json": "create",
    "verification.json": "verify",
    "versions.json": "check",
    "assessment.json": "plan",
    "draft.json": "plan",
}
"""The task that writes a file again, from what is elsewhere."""

_LOST = {
    "created.json": "If the task create has not run yet, clear the task create. Else only this "
    "file says which collections this migration has made: drop these on the target, remove the "
    "file if it is there, and run again with the same migration_id; what is converted stays",
    "import.json": "Only it says how far the chunk has got: drop the collection on the target, "
    "remove the file, and clear the task create",
    "published.json": "Only it says which aliases were moved: look at the target's aliases, remove "
    "the file, and clear the task publish",
}
_LOST_OTHER = "Restore it from a copy, or use a new migration_id"


class Meta(BaseModel):
    """`meta.json`: the source's collections.

    Attributes:
        since: what earlier runs had moved when this one began: source collection -> value.
    """

    model_config = ConfigDict(frozen=True)

    source: str
    since: dict[str, int | str] = {}
    collections: tuple[SourceCollection, ...]

    @property
    def digest(self) -> str:
        """A hash of all of it."""
        return hashlib.blake2b(self.model_dump_json().encode(), digest_size=16).hexdigest()


class ImportRecord(BaseModel):
    """`import.json`: how far a chunk got on the target.

    Attributes:
        collection_id: the target collection's id; a collection dropped and made anew has another,
            and what was imported into the old one does not count.
        job: the import job's id; empty for an insert.
        done: whether all rows are in.
        rows: rows that the target says it took.
        adopted: whether the job was found on the target rather than submitted by this record.
    """

    model_config = ConfigDict(frozen=True)

    collection_id: str
    job: str = ""
    done: bool = False
    rows: int = 0
    adopted: bool = False
    started: str = ""
    seconds: float = 0.0


def is_import_record(path: str) -> bool:
    """Whether a file of a staging folder says how far a chunk got on the target."""
    return path.rpartition("/")[2] == "import.json"


class SourceChanges(BaseModel):
    """`changes.json`: what has changed at the source while it was read.

    Attributes:
        described: which description of the source it was compared with: a hash of it.
    """

    model_config = ConfigDict(frozen=True)

    told: tuple[str, ...]
    described: str = ""


class SetBack(BaseModel):
    """`set_back.json`: what Airflow began although staging says that it was done."""

    model_config = ConfigDict(frozen=True)

    told: str


class Staging:
    """Reads and writes a migration's staging folder.

    Args:
        folder: `<staging_url>/<migration_id>`.
    """

    def __init__(self, folder: Storage) -> None:
        self.folder = folder

    @property
    def scratch(self) -> Storage:
        """Where the source keeps what it found while planning."""
        return self.folder.folder("scratch")

    @property
    def copied_source(self) -> Storage:
        """Where source files are copied to."""
        return self.folder.folder("source")

    def chunk_folder(self, collection: str, chunk: str) -> Storage:
        """The folder of a chunk's files."""
        return self.folder.folder(f"{collection}/{chunk}")

    def read(self, name: str, model: type[Model]) -> Model | None:
        """A JSON file of the folder; None when there is none yet.

        A damaged file of those that a task writes anew counts as none: that task is to run again.

        Raises:
            AirliftError: another version has written it; or it is damaged, and nothing else holds
                what it says.
        """
        if not self.folder.exists(name):
            return None
        data = self.folder.read_bytes(name)
        try:
            return model.model_validate_json(data)
        except ValidationError as error:
            self._refuse_unreadable(name, data, error)
            return None

    def read_for_people(self, name: str, model: type[Model]) -> Model | None:
        """As `read` of what only the report and the page show: a damaged file counts as none."""
        try:
            return self.read(name, model)
        except AirliftError as error:
            log.warning("%s", error)
            return None

    def _refuse_unreadable(self, name: str, data: bytes, error: ValidationError) -> None:
        """Raises AirliftError, but for a damaged file that a task writes anew."""
        address, last = self.folder.address(name), name.rpartition("/")[2]
        found = error.errors(include_url=False, include_input=False, include_context=False)
        task = _WRITTEN_BY.get(last)
        if any(one["type"] == "json_invalid" for one in found):
            what = f"{address} is damaged: its {len(data):,} bytes are no JSON"
            if task:
                log.warning("%s; the task %s writes it again", what, task)
                return
            raise AirliftError(f"{what}. {_LOST.get(last, _LOST_OTHER)}") from error
        problems = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in found[:3])
        instead = f", or remove the file and clear the task {task}" if task else ""
        if lost := _LOST.get(last):
            instead = f". {lost}"
        raise AirliftError(
            f"{address} was not written by this version: {problems}; finish with the version that "
            f"began the migration, or use a new migration_id{instead}"
        ) from error

    def write(self, name: str, value: BaseModel) -> None:
        """Writes a JSON file of the folder."""
        self.folder.write_bytes(name, value.model_dump_json(indent=2).encode())

    def meta(self) -> Meta:
        """The source's collections, once they are described."""
        return self._needed(self.read("meta.json", Meta), "meta.json", "export_meta")

    def plan(self) -> Plan:
        """The plan, once it is made. Raises AirliftError as `earlier_plan` does."""
        return self._needed(self.earlier_plan(), "plan.json", "plan")

    def earlier_plan(self) -> Plan | None:
        """The plan that a run of this migration has made; None when none came so far.

        Raises:
            AirliftError: its fingerprints are made in another way, so that chunks which are
                converted can't be compared.
        """
        plan = self.read("plan.json", Plan)
        for collection in plan.collections if plan else ():
            construction = collection.fingerprint_key.construction
            if construction != CONSTRUCTION:
                raise AirliftError(
                    f"{self.folder.address('plan.json')}: this migration was begun with another "
                    f"kind of fingerprint ({construction}) than this version has ({CONSTRUCTION}); "
                    "finish it with the version that began it, or use a new migration_id (and "
                    "rollback_migration for what this one has made)"
                )
        return plan

    def created(self) -> Created:
        """The collections made, once they are."""
        return self._needed(self.read("created.json", Created), "created.json", "create")

    def _needed(self, value: Model | None, name: str, task: str) -> Model:
        if value is None:
            lost = _LOST.get(name) or f"Clear the task {task} to write it again"
            raise AirliftError(f"{self.folder.address(name)} is missing or damaged. {lost}")
        return value

    def manifest(self, collection: str, chunk: str) -> Manifest | None:
        """What was written for a chunk; its data files may have been cleaned away since."""
        manifest = self.read(f"{collection}/{chunk}/manifest.json", Manifest)
        return manifest if manifest and manifest.chunk == chunk else None

    def has_files(self, collection: str, manifest: Manifest) -> bool:
        """Whether every data file that a manifest lists is there in full length."""
        folder = f"{collection}/{manifest.chunk}"
        sizes = self.folder.sizes(f"{folder}/{file.name}" for file in manifest.files)
        return sizes == [file.size for file in manifest.files]

    def manifests(self, chunks: Iterable[ChunkRef]) -> Iterator[Manifest | None]:
        """As `manifest` for each, in order; in a bucket many are read at the same time."""
        return self._each(lambda one: self.manifest(one.collection, one.chunk), chunks)

    def current_import(self, collection: str, chunk: str) -> ImportRecord | None:
        """How far a chunk got in the collection as it is now; None when nothing was sent to it."""
        return next(self.current_imports([ChunkRef(collection=collection, chunk=chunk)]))

    def is_imported(self, collection: str, chunk: str) -> bool:
        """Whether a chunk's rows are in the collection that this migration made or found."""
        record = self.current_import(collection, chunk)
        return record is not None and record.done

    def current_imports(self, chunks: Iterable[ChunkRef]) -> Iterator[ImportRecord | None]:
        """As `current_import` for each, in order."""
        created = self.read("created.json", Created) or Created()
        ids = {one.name: one.collection_id for one in created.collections}

        def read(one: ChunkRef) -> ImportRecord | None:
            record = self.import_record(one.collection, one.chunk)
            return record if record and record.collection_id == ids.get(one.collection) else None

        return self._each(read, chunks)

    def import_records(self, chunks: Iterable[ChunkRef]) -> Iterator[ImportRecord | None]:
        """As `import_record` for each, in order."""
        return self._each(lambda one: self.import_record(one.collection, one.chunk), chunks)

    def _each(
        self, read: Callable[[ChunkRef], Model | None], chunks: Iterable[ChunkRef]
    ) -> Iterator[Model | None]:
        return map_ahead(read, chunks, self.folder.small_files_ahead)

    def import_record(self, collection: str, chunk: str) -> ImportRecord | None:
        """How far a chunk got on the target; None when nothing is known."""
        return self.read(f"{collection}/{chunk}/import.json", ImportRecord)

    def write_import_record(self, collection: str, chunk: str, record: ImportRecord) -> None:
        """Keeps how far a chunk got on the target."""
        self.write(f"{collection}/{chunk}/import.json", record)
