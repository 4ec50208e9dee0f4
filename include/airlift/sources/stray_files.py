"""Files that are in copied folders by accident, and folders that are copies of another kind."""

from __future__ import annotations

from airlift.storage import Storage

_NAMES = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.bz2", ".zip", ".7z", ".gz", ".zst")
_MINIO_FILE = "xl.meta"

MINIO_DISK = (
    "it is MinIO's own disk layout, in which each object is a folder with xl.meta that only MinIO "
    "reads: copy the objects through its API instead, as `mc cp --recursive` or `aws s3 cp "
    "--recursive` do"
)


def is_stray(path: str) -> bool:
    """Whether a file is one that a desktop has put beside the others."""
    name = path.rpartition("/")[2]
    return name in _NAMES or name.startswith("._")


def is_minio_disk(folder: Storage, path: str) -> bool:
    """Whether what should be a file is a folder, as MinIO has it on its disks."""
    if folder.exists(path):
        return False
    return any(name.rpartition("/")[2] == _MINIO_FILE for name in folder.list(path))


def is_archive(url: str) -> bool:
    """Whether an address is of an archive, by its name."""
    return url.lower().endswith(_ARCHIVES)
