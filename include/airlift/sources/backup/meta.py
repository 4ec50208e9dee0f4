"""What a backup's metadata says, as milvus-backup writes it (`core/proto/backup.proto` as JSON).

Zeros and empty lists are left out by its writer, and unknown keys are of newer versions. Nothing in
it is trusted: ids become paths, and counts are compared with the files.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from airlift.errors import AirliftError
from airlift.storage import Storage

META = "meta"
FULL = "full_meta.json"
PARTS = ("backup_meta.json", "collection_meta.json", "partition_meta.json", "segment_meta.json")
_META_LIMIT = 1 << 30
_MOST_ERRORS = 5

Id = Annotated[int, Field(ge=-1, lt=1 << 63)]
# Names become folders of the staging area.
_Name = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^/\\\x00-\x1f]+$")]
_Count = Annotated[int, Field(ge=0, lt=1 << 63)]
_Parsed = TypeVar("_Parsed", bound=BaseModel)


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        return {name: value for name, value in given.items() if value is not None}


class KeyValue(_Message):
    """A pair of a list that stands for a map."""

    key: str = ""
    value: str = ""


class LogMeta(_Message):
    """A log file, by the path that it had at the source."""

    log_id: Id = 0
    log_path: str = ""
    log_size: _Count = 0

    @property
    def name(self) -> str:
        """Its name; older versions write only its path."""
        return str(self.log_id) if self.log_id else self.log_path.rpartition("/")[2]


class FieldLogs(_Message):
    """The log files of a field, or of a group of fields."""

    field_id: Id = Field(0, alias="fieldID")
    binlogs: tuple[LogMeta, ...] = ()


class SegmentMeta(_Message):
    """A segment; one of level 0 holds only deletes, which hit the other segments."""

    segment_id: Id
    collection_id: Id = 0
    partition_id: Id = 0
    num_of_rows: _Count = 0
    binlogs: tuple[FieldLogs, ...] = ()
    deltalogs: tuple[FieldLogs, ...] = ()
    is_l0: bool = False
    storage_version: int = 0


class PartitionMeta(_Message):
    """A partition."""

    partition_id: Id
    partition_name: str
    collection_id: Id = 0
    segment_backups: tuple[SegmentMeta, ...] = ()


class FieldMeta(_Message):
    """A field of a collection; types are numbers, as in Milvus' own schema.proto."""

    field_id: Id = Field(0, alias="fieldID")
    name: str
    is_primary_key: bool = False
    description: str = ""
    data_type: int = 0
    type_params: tuple[KeyValue, ...] = ()
    auto_id: bool = Field(False, alias="autoID")
    state: int = 0
    element_type: int = 0
    is_dynamic: bool = False
    is_partition_key: bool = False
    nullable: bool = False
    is_function_output: bool = False
    default_value_base64: str = ""
    default_value_proto: str = ""


class FunctionMeta(_Message):
    """What makes a field of others, such as BM25."""

    name: str = ""
    type: int = 0
    description: str = ""
    input_field_names: tuple[str, ...] = ()
    output_field_names: tuple[str, ...] = ()
    params: tuple[KeyValue, ...] = ()


class StructMeta(_Message):
    """A field that is an array of structs."""

    name: str = ""


class SchemaMeta(_Message):
    """A collection's schema."""

    description: str = ""
    auto_id: bool = Field(False, alias="autoID")
    fields: tuple[FieldMeta, ...]
    enable_dynamic_field: bool = False
    properties: tuple[KeyValue, ...] = ()
    functions: tuple[FunctionMeta, ...] = ()
    struct_array_fields: tuple[StructMeta, ...] = ()


class IndexMeta(_Message):
    """An index."""

    field_name: str = ""
    index_type: str = ""
    params: dict[str, str] = {}


class CollectionMeta(_Message):
    """A collection."""

    collection_id: Id
    db_name: Annotated[str, Field(max_length=255, pattern=r"^[^/\\\x00-\x1f]*$")] = ""
    collection_name: _Name
    schema_meta: SchemaMeta = Field(alias="schema")
    shards_num: int = 1
    consistency_level: int = 0
    partition_backups: tuple[PartitionMeta, ...] = ()
    l0_segments: tuple[SegmentMeta, ...] = ()
    index_infos: tuple[IndexMeta, ...] = ()
    properties: tuple[KeyValue, ...] = ()
    aliases: tuple[str, ...] = ()

    @property
    def database(self) -> str:
        """Its database; versions without databases name none."""
        return self.db_name or "default"


class _Named(_Message):
    """A role, an object's type, a user or a privilege."""

    name: str = ""


class UserMeta(_Message):
    """A user; the password is a bcrypt hash."""

    user: str = ""
    password: SecretStr = SecretStr("")
    roles: tuple[_Named, ...] = ()


class GrantorMeta(_Message):
    """Who granted what."""

    privilege: _Named = _Named()


class GrantMeta(_Message):
    """A privilege that a role has on an object."""

    role: _Named = _Named()
    object: _Named = _Named()
    object_name: str = ""
    grantor: GrantorMeta = GrantorMeta()
    db_name: str = ""


class PrivilegeGroupMeta(_Message):
    """Privileges with a name of their own."""

    group_name: str = ""
    privileges: tuple[_Named, ...] = ()


class RbacMeta(_Message):
    """Who may do what, of the whole server."""

    users: tuple[UserMeta, ...] = ()
    roles: tuple[_Named, ...] = ()
    grants: tuple[GrantMeta, ...] = ()
    privilege_groups: tuple[PrivilegeGroupMeta, ...] = ()


class BackupMeta(_Message):
    """A whole backup; `rbac_meta` is there when it was made with `--rbac`."""

    name: str = ""
    state_code: int = 0
    error: str = Field("", alias="errorMessage")
    milvus_version: str = ""
    collection_backups: tuple[CollectionMeta, ...] = ()
    rbac_meta: RbacMeta | None = None


class _Collections(_Message):
    infos: tuple[CollectionMeta, ...] = ()


class _Partitions(_Message):
    infos: tuple[PartitionMeta, ...] = ()


class _Segments(_Message):
    infos: tuple[SegmentMeta, ...] = ()


def read_meta(backup: Storage) -> BackupMeta:
    """The metadata of the backup in a folder: of `full_meta.json`, or of the four parts of it.

    Raises:
        AirliftError: neither is whole; it names the file.
    """
    folder = backup.folder(META)
    if folder.exists(FULL):
        return _read(folder, FULL, BackupMeta)
    missing = [name for name in PARTS if not folder.exists(name)]
    if missing:
        raise AirliftError(
            f"{backup.url} lacks {META}/{FULL}, and {', '.join(missing)} of the files that could "
            "stand for it; copy the whole folder of the backup again"
        )
    backup_file, collections_file, partitions_file, segments_file = PARTS
    whole = _read(folder, backup_file, BackupMeta)
    partitions = _read(folder, partitions_file, _Partitions).infos
    segments = _read(folder, segments_file, _Segments).infos
    collections = tuple(
        _joined(collection, partitions, segments)
        for collection in _read(folder, collections_file, _Collections).infos
    )
    return whole.model_copy(update={"collection_backups": collections})


def _joined(
    collection: CollectionMeta,
    partitions: tuple[PartitionMeta, ...],
    segments: tuple[SegmentMeta, ...],
) -> CollectionMeta:
    """A collection with its partitions and segments, which stand in files of their own."""
    mine = [one for one in segments if one.collection_id == collection.collection_id]
    found = tuple(
        one.model_copy(
            update={"segment_backups": tuple(s for s in mine if s.partition_id == one.partition_id)}
        )
        for one in partitions
        if one.collection_id == collection.collection_id
    )
    wide = {s.segment_id: s for s in (*collection.l0_segments, *mine) if s.partition_id == -1}
    return collection.model_copy(
        update={"partition_backups": found, "l0_segments": tuple(wide.values())}
    )


def _read(folder: Storage, name: str, model: type[_Parsed]) -> _Parsed:
    address = folder.address(name)
    data = folder.read_bytes(name, limit=_META_LIMIT)
    try:
        return model.model_validate(orjson.loads(data))
    except orjson.JSONDecodeError as error:
        raise AirliftError(
            f"{address} is no JSON: {error}; copy the backup again, milvus-backup writes it last"
        ) from error
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        told = "; ".join(
            f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in found[:_MOST_ERRORS]
        )
        raise AirliftError(
            f"{address} is not as milvus-backup writes it: {told}; copy the backup again"
        ) from error
