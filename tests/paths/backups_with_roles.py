"""Backups that hold users, roles and grants, in milvus-backup's public format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from samples.milvus_backups import (
    BackupCollection,
    BackupField,
    BackupSegment,
    vectors,
    write_backup,
)

HASH = "$2a$04$5GT5tgfJWXM7.nI4FwGPVuAWHLkTQw2PJqFm3YTuYsE3Mv6sA1Tkm"
"""What a server keeps of a password; no message, report or staging file may hold it."""


def user(name: str, *roles: str) -> dict[str, Any]:
    return {"user": name, "password": HASH, "roles": [{"name": role} for role in roles]}


def grant(
    role: str, privilege: str, name: str, database: str = "", kind: str = "Collection"
) -> dict[str, Any]:
    """A grant as the metadata has it; without a database it is of Milvus 2.2."""
    return {
        "role": {"name": role},
        "object": {"name": kind},
        "object_name": name,
        "grantor": {"user": {"name": "root"}, "privilege": {"name": privilege}},
        **({"db_name": database} if database else {}),
    }


def rbac(
    grants: list[dict[str, Any]],
    users: tuple[dict[str, Any], ...] = (),
    groups: dict[str, list[str]] | None = None,
) -> dict[str, Any]:
    """The roles are those of the grants; what is empty is left out, as milvus-backup does."""
    roles = sorted({one["role"]["name"] for one in grants})
    told: dict[str, Any] = {
        "users": list(users),
        "roles": [{"name": role} for role in roles],
        "grants": grants,
        "privilege_groups": [
            {"group_name": name, "privileges": [{"name": one} for one in privileges]}
            for name, privileges in (groups or {}).items()
        ],
    }
    return {name: many for name, many in told.items() if many}


def small(name: str, database: str = "default", **more: Any) -> BackupCollection:
    """A collection of three rows."""
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    columns = {"id": pa.array([1, 2, 3], pa.int64()), "v": vectors(values)}
    fields = [BackupField("id", "INT64"), BackupField("v", "FLOAT_VECTOR", {"dim": 4})]
    segment = BackupSegment(columns=columns, times=[5, 5, 5])
    return BackupCollection(name, fields, [segment], database=database, more=more)


def backup(folder: Path, held: dict[str, Any] | None, *collections: BackupCollection) -> str:
    """Writes a backup; returns its address."""
    name = "without_roles" if held is None else "with_roles"
    return str(write_backup(folder / name, collections, held))
