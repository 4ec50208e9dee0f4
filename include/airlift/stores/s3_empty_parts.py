"""Objects of S3 whose keys have empty parts, such as `/backup/x` or `exports//x`.

S3 takes any key; Arrow's filesystem takes only those that are paths, and refuses `//`. Milvus and
milvus-backup write such keys where their root path begins or ends with a slash. Files can be read
only: what this project writes has no such keys.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.fs as pafs

from airlift.file_identity import FileIdentity

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_READ_ONLY = "keys with an empty part (//) can only be read; write to another prefix"


class EmptyPartsHandler(pafs.FileSystemHandler):  # type: ignore[misc]
    """Gives `pyarrow.fs.PyFileSystem` the objects of S3 by their keys, which it does not change.

    Paths are `bucket/key`. What writes raises OSError.

    Args:
        client: boto3's client of the service.
    """

    def __init__(self, client: S3Client) -> None:
        self._client = client

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EmptyPartsHandler) and other._client is self._client

    __hash__ = None  # type: ignore[assignment]

    def get_type_name(self) -> str:
        """The name of the kind of filesystem, for Arrow."""
        return "s3-empty-parts"

    def normalize_path(self, path: str) -> str:
        """The path, unchanged."""
        return path

    def get_file_info(self, paths: list[str]) -> list[pafs.FileInfo]:
        """What is at each path; of type `FileType.NotFound` where nothing is."""
        return [self._info(path) for path in paths]

    def get_file_info_selector(self, selector: pafs.FileSelector) -> list[pafs.FileInfo]:
        """The files and folders below a path.

        Raises:
            FileNotFoundError: there are none, and the selector does not allow that.
        """
        bucket, _ = _split(selector.base_dir)
        prefix = _below(selector.base_dir)
        folders: set[str] = set()
        files: list[pafs.FileInfo] = []
        for page in self._pages(bucket, prefix, "" if selector.recursive else "/"):
            folders |= {
                folder["Prefix"].removesuffix("/") for folder in page.get("CommonPrefixes", [])
            }
            for item in page.get("Contents", []):
                folders |= _folders_of(item["Key"], prefix)
                if not item["Key"].endswith("/"):  # such an object marks an empty folder
                    path = f"{bucket}/{item['Key']}"
                    files.append(_file(path, item["Size"], item["LastModified"]))
        if not (files or folders or selector.allow_not_found):
            raise FileNotFoundError(f"nothing is below {selector.base_dir!r}")
        return files + [
            pafs.FileInfo(f"{bucket}/{folder}", pafs.FileType.Directory)
            for folder in folders
            if not folder.endswith("/") and len(folder) > len(prefix)
        ]

    def open_input_file(self, path: str) -> pa.PythonFile:
        """Opens an object for reading at any place."""
        return pa.PythonFile(_S3Object(self._client, *_split(path)), mode="r")

    def open_input_stream(self, path: str) -> pa.PythonFile:
        """As `open_input_file`."""
        return self.open_input_file(path)

    def create_dir(self, path: str, recursive: bool) -> None:
        """Not possible: raises OSError."""
        raise OSError(_READ_ONLY)

    def delete_dir(self, path: str) -> None:
        """Not possible: raises OSError."""
        raise OSError(_READ_ONLY)

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> None:
        """Not possible: raises OSError."""
        raise OSError(_READ_ONLY)

    def delete_root_dir_contents(self) -> None:
        """Not possible: raises OSError."""
        raise OSError(_READ_ONLY)

    def delete_file(self, path: str) -> None:
        """Not possible: raises OSError."""
        raise OSError(_READ_ONLY)

    def move(self, src: str, dest: str) -> None:
        """Not possible: raises OSError."""
        raise OSError(_READ_ONLY)

    def copy_file(self, src: str, dest: str) -> None:
        """Not possible: raises OSError."""
        raise OSError(_READ_ONLY)

    def open_output_stream(self, path: str, metadata: Any) -> pa.NativeFile:
        """Not possible: raises OSError."""
        raise OSError(_READ_ONLY)

    def open_append_stream(self, path: str, metadata: Any) -> pa.NativeFile:
        """Not possible: raises OSError."""
        raise OSError(_READ_ONLY)

    def identity(self, path: str) -> FileIdentity | None:
        """An object's size, time of change, ETag and version; None where there is no object."""
        bucket, key = _split(path)
        try:
            with s3_errors():
                head = self._client.head_object(Bucket=bucket, Key=key)
        except FileNotFoundError:
            return None
        version = [f"ETag {head['ETag']}"]
        version += [f"version {head['VersionId']}"] if head.get("VersionId") else []
        changed = int(head["LastModified"].timestamp()) * 10**9
        return FileIdentity(head["ContentLength"], changed, ", ".join(version))

    def _info(self, path: str) -> pafs.FileInfo:
        bucket, key = _split(path)
        if key and not key.endswith("/"):  # else it marks a folder
            try:
                with s3_errors():
                    head = self._client.head_object(Bucket=bucket, Key=key)
            except FileNotFoundError:
                pass
            else:
                return _file(path, head["ContentLength"], head["LastModified"])
        page = next(self._pages(bucket, _below(path), "/", page_size=1))
        is_folder = "Contents" in page or "CommonPrefixes" in page
        return pafs.FileInfo(path, pafs.FileType.Directory if is_folder else pafs.FileType.NotFound)

    def _pages(
        self, bucket: str, prefix: str, delimiter: str, page_size: int = 1000
    ) -> Iterator[Any]:
        """The answers to ListObjectsV2, of `page_size` keys at most."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=bucket,
            Prefix=prefix,
            Delimiter=delimiter,
            PaginationConfig={"PageSize": page_size},
        )
        with s3_errors():
            yield from pages


class _S3Object(io.RawIOBase):
    """A file object for `pa.PythonFile`: each read is one request for a range of bytes."""

    def __init__(self, client: S3Client, bucket: str, key: str) -> None:
        super().__init__()
        self._client, self._bucket, self._key = client, bucket, key
        with s3_errors():
            head = client.head_object(Bucket=bucket, Key=key)
        self._size: int = head["ContentLength"]
        # Sent with each request: an object that is replaced meanwhile is refused, not mixed up.
        self._etag = head["ETag"]
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def size(self) -> int:
        return self._size

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        self._place = start + offset
        return self._place

    def read(self, size: int | None = -1) -> bytes:
        left = max(self._size - self._place, 0)
        size = left if size is None or size < 0 else min(size, left)
        if not size:
            return b""
        wanted = f"bytes={self._place}-{self._place + size - 1}"
        with s3_errors():
            answer = self._client.get_object(
                Bucket=self._bucket, Key=self._key, IfMatch=self._etag, Range=wanted
            )
            data = answer["Body"].read()
        if len(data) != size:
            raise OSError(f"the bucket sent {len(data):,} bytes of the {size:,} asked for")
        self._place += size
        return data


@contextmanager
def s3_errors() -> Iterator[None]:
    """Turns boto3's errors into OSError.

    Their texts have S3's code, or Arrow's word for it, by which `airlift.storage_errors` finds what
    to advise.

    Raises:
        FileNotFoundError: there is no such object.
        OSError: for all other errors.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in ("404", "NoSuchKey"):
            raise FileNotFoundError(str(error)) from error
        # Further lines repeat the whole request that was refused, with the session token.
        message, repeated, _ = str(error).partition("\n")
        cause = None if repeated else error
        # An answer to HEAD has no body, so its code is the HTTP status.
        raise OSError(f"AccessDenied: {message}" if code == "403" else message) from cause
    except BotoCoreError as error:
        raise OSError(f"NETWORK_CONNECTION: {error}") from error


def _file(path: str, size: int, changed: datetime) -> pafs.FileInfo:
    return pafs.FileInfo(path, pafs.FileType.File, size=size, mtime=changed)


def _folders_of(key: str, prefix: str) -> set[str]:
    """All folders below a prefix in which a key stands."""
    parts = key.removeprefix(prefix).split("/")[:-1]
    return {prefix + "/".join(parts[: depth + 1]) for depth in range(len(parts))}


def _below(path: str) -> str:
    """What the keys of all that stands below a path begin with; "" for a bucket."""
    return f"{path}/".partition("/")[2]


def _split(path: str) -> tuple[str, str]:
    """The bucket and the key of a path."""
    bucket, _, key = path.partition("/")
    return bucket, key
