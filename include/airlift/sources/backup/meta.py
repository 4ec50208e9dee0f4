"""What a backup's metadata says, as milvus-backup writes it (`core/proto/backup.proto` as JSON).

Zeros and empty lists are left out by its writer. Each message lists the keys that are read (its
fields), and those of milvus-backup 0.1 to 0.5.16 that say nothing about rows (`harmless`). A key
beyond them that holds a value is kept by name: it is of a newer version, and what it says may
change what the rows are (see `airlift.sources.backup.unknown_keys`).

Nothing in it is trusted: ids become paths, and counts are compared with the files.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

META = "meta"
FULL = "full_meta.json"
PARTS = ("backup_meta.json", "collection_meta.json", "partition_meta.json", "segment_meta.json")
SNAPSHOT = "snapshot"
FORMATS = ("", "binlog")
"""What `format` may say: versions before 0.6 write none, and nothing but binlogs."""


Id = Annotated[int, Field(ge=-1, lt=1 << 63)]
# Names become folders of the staging area.
_Name = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^/\\\x00-\x1f]+$")]
_Count = Annotated[int, Field(ge=0, lt=1 << 63)]


class Message(BaseModel):
    """What all parts of the metadata have in common.

    Attributes:
        harmless: keys that are known, and not needed.
        known_by: the field by which messages show which of several one is; "" for none.
        unknown_keys: all other keys that hold something.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    harmless: ClassVar[frozenset[str]] = frozenset()
    known_by: ClassVar[str] = ""

    unknown_keys: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        held = {name: value for name, value in given.items() if value is not None}
        unknown = held.keys() - _known_keys(cls)
        held["unknown_keys"] = tuple(sorted(key for key in unknown if _says_something(held[key])))
        return held


@cache
def _known_keys(model: type[Message]) -> frozenset[str]:
    fields = {name: field for name, field in model.model_fields.items() if name != "unknown_keys"}
    aliases = {field.alias for field in fields.values() if field.alias}
    return frozenset(fields) | aliases | model.harmless


def _says_something(value: Any) -> bool:
    """Whether a value is another than zero, nothing, and an object of nothing but such."""
    return any(value.values()) if isinstance(value, dict) else bool(value)


class KeyValue(Message):
    """A pair of a list that stands for a map."""

    known_by: ClassVar[str] = "key"

    key: str = ""
    value: str = ""


class LogMeta(Message):
    """A log file, by the path that it had at the source."""

    harmless: ClassVar[frozenset[str]] = frozenset(
        ("entries_num", "timestamp_from", "timestamp_to")
    )

    log_id: Id = 0
    log_path: str = ""
    log_size: _Count = 0

    @property
    def name(self) -> str:
        """Its name; older versions write only its path."""
        return str(self.log_id) if self.log_id else self.log_path.rpartition("/")[2]


class FieldLogs(Message):
    """The log files of a field, or of a group of fields."""

    field_id: Id = Field(0, alias="fieldID")
    binlogs: tuple[LogMeta, ...] = ()


class SegmentMeta(Message):
    """A segment; one of level 0 holds only deletes, which hit the other segments."""

    harmless: ClassVar[frozenset[str]] = frozenset(
        ("statslogs", "size", "group_id", "backuped", "v_channel")
    )
    known_by: ClassVar[str] = "segment_id"

    segment_id: Id
    collection_id: Id = 0
    partition_id: Id = 0
    num_of_rows: _Count = 0
    binlogs: tuple[FieldLogs, ...] = ()
    deltalogs: tuple[FieldLogs, ...] = ()
    is_l0: bool = False
    storage_version: int = 0


class PartitionMeta(Message):
    """A partition."""

    harmless: ClassVar[frozenset[str]] = frozenset(("load_state",))
    known_by: ClassVar[str] = "partition_name"

    partition_id: Id
    partition_name: str
    collection_id: Id = 0
    size: _Count = 0
    segment_backups: tuple[SegmentMeta, ...] = ()


class FieldMeta(Message):
    """A field of a collection; types are numbers, as in Milvus' own schema.proto."""

    harmless: ClassVar[frozenset[str]] = frozenset(("index_params",))
    known_by: ClassVar[str] = "name"

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


class FunctionMeta(Message):
    """What makes a field of others, such as BM25."""

    harmless: ClassVar[frozenset[str]] = frozenset(("id", "input_field_ids", "output_field_ids"))
    known_by: ClassVar[str] = "name"

    name: str = ""
    type: int = 0
    description: str = ""
    input_field_names: tuple[str, ...] = ()
    output_field_names: tuple[str, ...] = ()
    params: tuple[KeyValue, ...] = ()


class StructMeta(Message):
    """A field that is an array of structs; a collection that has one is refused."""

    harmless: ClassVar[frozenset[str]] = frozenset(("fieldID", "description", "fields"))
    known_by: ClassVar[str] = "name"

    name: str = ""


class SchemaMeta(Message):
    """A collection's schema."""

    harmless: ClassVar[frozenset[str]] = frozenset(("name",))

    description: str = ""
    auto_id: bool = Field(False, alias="autoID")
    fields: tuple[FieldMeta, ...]
    enable_dynamic_field: bool = False
    properties: tuple[KeyValue, ...] = ()
    functions: tuple[FunctionMeta, ...] = ()
    struct_array_fields: tuple[StructMeta, ...] = ()


class IndexMeta(Message):
    """An index."""

    harmless: ClassVar[frozenset[str]] = frozenset(
        (
            *("index_name", "index_id", "field_id", "create_time", "type_params", "index_params"),
            *("user_index_params", "is_auto_index", "min_index_version", "max_index_version"),
        )
    )
    known_by: ClassVar[str] = "field_name"

    field_name: str = ""
    index_type: str = ""
    params: dict[str, str] = {}


class SnapshotMeta(Message):
    """Where the bundle of a collection lies that Milvus itself has exported (format 0.6)."""

    harmless: ClassVar[frozenset[str]] = frozenset(("total_files", "total_bytes"))

    metadata_path: str = ""


class CollectionMeta(Message):
    """A collection."""

    harmless: ClassVar[frozenset[str]] = frozenset(
        (
            *("id", "start_time", "end_time", "progress", "size", "has_index"),
            *("backup_timestamp", "backup_physical_timestamp", "channel_checkpoints", "db_id"),
            *("created_timestamp", "virtual_channel_names", "physical_channel_names"),
        )
    )

    collection_id: Id
    db_name: Annotated[str, Field(max_length=255, pattern=r"^[^/\\\x00-\x1f]*$")] = ""
    collection_name: _Name
    schema_meta: SchemaMeta = Field(alias="schema")
    shards_num: int = 1
    consistency_level: int = 0
    load_state: str = ""
    partition_backups: tuple[PartitionMeta, ...] = ()
    l0_segments: tuple[SegmentMeta, ...] = ()
    index_infos: tuple[IndexMeta, ...] = ()
    properties: tuple[KeyValue, ...] = ()
    aliases: tuple[str, ...] = ()
    snapshot_backup: SnapshotMeta | None = None
    state_code: int = 0
    error: str = Field("", alias="errorMessage")

    @property
    def database(self) -> str:
        """Its database; versions without databases name none."""
        return self.db_name or "default"


class _Named(Message):
    """A role, an object's type, a user or a privilege."""

    known_by: ClassVar[str] = "name"

    name: str = ""


class UserMeta(Message):
    """A user; the password is a bcrypt hash."""

    known_by: ClassVar[str] = "user"

    user: str = ""
    password: SecretStr = SecretStr("")
    roles: tuple[_Named, ...] = ()


class GrantorMeta(Message):
    """Who granted what."""

    harmless: ClassVar[frozenset[str]] = frozenset(("user",))

    privilege: _Named = _Named()


class GrantMeta(Message):
    """A privilege that a role has on an object."""

    role: _Named = _Named()
    object: _Named = _Named()
    object_name: str = ""
    grantor: GrantorMeta = GrantorMeta()
    db_name: str = ""


class PrivilegeGroupMeta(Message):
    """Privileges with a name of their own."""

    known_by: ClassVar[str] = "group_name"

    group_name: str = ""
    privileges: tuple[_Named, ...] = ()


class RbacMeta(Message):
    """Who may do what, of the whole server."""

    users: tuple[UserMeta, ...] = ()
    roles: tuple[_Named, ...] = ()
    grants: tuple[GrantMeta, ...] = ()
    privilege_groups: tuple[PrivilegeGroupMeta, ...] = ()


class DatabaseMeta(Message):
    """A database. Its key of encryption says nothing here: encrypted logs show as such."""

    harmless: ClassVar[frozenset[str]] = frozenset(("db_id", "ezk"))
    known_by: ClassVar[str] = "db_name"

    db_name: str = ""
    properties: tuple[KeyValue, ...] = ()


class BackupMeta(Message):
    """A whole backup; `rbac_meta` is there when it was made with `--rbac`."""

    harmless: ClassVar[frozenset[str]] = frozenset(
        (
            *("id", "start_time", "end_time", "progress", "backup_timestamp", "size"),
            *("rpc_channel_info", "flush_all_tss", "flush_all_msgs_base64"),
            *("control_channel_name", "physical_channel_names"),
        )
    )

    name: str = ""
    format: str = ""
    state_code: int = 0
    error: str = Field("", alias="errorMessage")
    milvus_version: str = ""
    collection_backups: tuple[CollectionMeta, ...] = ()
    database_backups: tuple[DatabaseMeta, ...] = ()
    rbac_meta: RbacMeta | None = None
