"""Finds the backup that a user means: its own folder, the one above it, or the bucket's root."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from airlift.errors import AirliftError, Refused
from airlift.sources.backup.meta import FULL, META, PARTS
from airlift.sources.stray_files import is_archive
from airlift.storage import Storage

_BELOW_ROOT = "backup"  # what milvus-backup's backupRootPath is, if nobody changes it
_SHOWN = 8
_SCHEMES = {"gcp": "gs", "gcpnative": "gs", "azure": "az"}
"""Of kinds of storage that are no S3; their endpoint, and Azure's account, are the connection's."""
_YAML_LIMIT = 1 << 20


def is_backup(folder: Storage) -> bool:
    """Whether a folder holds a backup, as its metadata tells."""
    held = {path.rpartition("/")[2] for path in folder.list(META)}
    return bool(held & {FULL, *PARTS})


def find_backups(folder: Storage, names: Sequence[str], asked: str) -> tuple[Storage, list[str]]:
    """The folder that the backups' files are named from, and each backup's place below it.

    Args:
        names: of the backups, oldest first; none for the only one there.
        asked: the address as the user gave it.

    Returns:
        The folder, and prefixes: "" or `NAME/`.

    Raises:
        Refused: it is not there; with what was expected and what was found.
    """
    _refuse_files(folder, asked)
    if not names and is_backup(folder):
        return folder, [""]
    looked = [folder, folder.folder(_BELOW_ROOT)]
    for place in looked:
        held = _backups_in(place)
        if names and all(name in held for name in names):
            return place, [f"{name}/" for name in names]
        if len(held) == 1 and not names:
            return place, [f"{held[0]}/"]
        if held:
            missing = [name for name in names if name not in held]
            raise Refused(
                [
                    f"{place.url} holds no backup {name!r}; it has {_listed(held)}"
                    for name in missing
                ]
                or [
                    f"{place.url} holds {len(held)} backups: {_listed(held)}; name one with "
                    "backup_names, or with its own folder as backup_url"
                ]
            )
    found = _listed(list(folder.list())) or "nothing"
    raise Refused(
        [
            f"{asked} is no backup: expected a folder with {META}/{FULL} (and binlogs/), one that "
            f"holds such folders, or a bucket's root with {_BELOW_ROOT}/NAME below; found {found}"
        ]
    )


def _refuse_files(folder: Storage, asked: str) -> None:
    """Raises Refused where the address is of a file, not of a folder."""
    is_file = folder.is_local and Path(folder.path()).is_file()
    if not is_file and folder.list():
        return
    name = asked.rstrip("/").rpartition("/")[2]
    if is_archive(name):
        raise Refused([f"{asked} is an archive: unpack it, and give the folder that it makes"])
    if name in (FULL, *PARTS):
        place = asked.rstrip("/").removesuffix(f"/{name}").removesuffix(f"/{META}")
        raise Refused([f"{asked} is a file of a backup: give the backup's folder, {place}"])
    if is_file:
        raise Refused([f"{asked} is no backup: it is a file; give the folder that {META}/ is in"])


def _backups_in(folder: Storage) -> list[str]:
    names = [path for path, size in folder.list().items() if size is None]
    return [name for name in names if is_backup(folder.folder(name))]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def place_in_yaml(folder: Storage, name: str) -> tuple[str, str]:
    """Where the user's `backup.yaml` says that backups are.

    Returns:
        The address of the folder of all backups, and the store's endpoint ("" where it is AWS).

    Raises:
        AirliftError: it is no such file.
    """
    address = folder.address(name)
    try:
        found: Any = yaml.safe_load(folder.read_bytes(name, limit=_YAML_LIMIT))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise AirliftError(f"{address} is no YAML: {error}") from error
    minio = found.get("minio") if isinstance(found, dict) else None
    if not isinstance(minio, dict):
        raise AirliftError(
            f"{address}: expected milvus-backup's configuration, with a section `minio`; is it the "
            "backup.yaml that the backup was made with?"
        )
    kind = _text(minio, "backupStorageType") or _text(minio, "storageType") or "minio"
    root = _text(minio, "backupRootPath") or _BELOW_ROOT
    if kind == "local":
        return root, ""
    bucket = _text(minio, "backupBucketName") or _text(minio, "bucketName")
    if not bucket:
        raise AirliftError(f"{address}: minio.backupBucketName and minio.bucketName are empty")
    if kind in _SCHEMES:
        return f"{_SCHEMES[kind]}://{bucket}/{root.strip('/')}", ""
    host = _text(minio, "backupAddress") or _text(minio, "address")
    port = _text(minio, "backupPort") or _text(minio, "port")
    tls = str(minio.get("backupUseSSL", minio.get("useSSL", False))).lower() == "true"
    endpoint = ""
    if host and not host.endswith(".amazonaws.com"):
        endpoint = f"{'https' if tls else 'http'}://{host}{':' + port if port else ''}"
    return f"s3://{bucket}/{root.strip('/')}", endpoint


def _text(section: dict[Any, Any], key: str) -> str:
    value = section.get(key)
    return "" if value is None else str(value)
