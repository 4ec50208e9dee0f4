"""Imports the logs of a backup by REST, as Milvus 2.4 and later can: `{"backup": "true"}`.

Reference: milvus-backup's own requests. Zilliz Cloud's import takes no such option.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import ClassVar

from airlift.targets.rest_import import RestImport

# A job tells a group for each segment: `[<folder>/insert_log/1/2/3/4 <folder>/delta_log/1/2/3/4]`.
_SEGMENT = re.compile(r"[\[\], ]*(.+?/(?:insert|delta)_log(?:/-?\d+)+)/?(?=[\], ]|$)")


class RestBackupImport(RestImport):
    """Jobs of one chunk each: two folders, of insert logs and of delta logs ("" where none are).

    The folders are those of neighbouring segments of one partition; the server looks for the
    segments in them by itself.
    """

    name: ClassVar[str] = "rest_backup_import"
    _options: ClassVar[dict[str, str]] = {"backup": "true"}

    def file_name(self, path: str) -> str:
        """A key relative to the bucket, or an absolute path; "" stays what it is."""
        return super().file_name(path) + "/" if path else ""

    def submit(self, collection: str, partition: str, files: list[str], key: str) -> str:
        """Submits a job, which must name its partition."""
        folders = [name for name in files if name]
        return super().submit(collection, partition or "_default", folders, key)

    def _names(self, group: str) -> Iterable[str]:
        """The folders above the segments that are told."""
        return {name.rpartition("/")[0] + "/" for name in _SEGMENT.findall(group)}
