"""The ways into Milvus, by name; see `airlift.milvus.capabilities` for who has which."""

from airlift.targets.base import ImportWay, WriteWay
from airlift.targets.grpc_bulk_insert import GrpcBackupImport, GrpcBulkInsert
from airlift.targets.insert import Insert, Upsert
from airlift.targets.rest_backup_import import RestBackupImport
from airlift.targets.rest_import import RestImport

IMPORT_WAYS: dict[str, type[ImportWay]] = {
    way.name: way for way in (GrpcBulkInsert, RestImport, GrpcBackupImport, RestBackupImport)
}
"""Ways in through files that the target reads by itself."""

WRITE_WAYS: dict[str, type[WriteWay]] = {way.name: way for way in (Insert, Upsert)}
"""Ways in through requests that carry the rows."""
