"""Files that are often given in place of an index or of scalars, by how they begin."""

from __future__ import annotations

_BEGINNINGS: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "a Git LFS pointer: run `git lfs pull` where it comes from"),
    (b"version ", "perhaps a Git LFS pointer: run `git lfs pull` where it comes from"),
    (b"\x1f\x8b", "packed by gzip: unpack it"),
    (b"PK\x03\x04", "a zip archive: unpack it"),
    (b"\x28\xb5\x2f\xfd", "packed by zstd: unpack it"),
    (b"BZh", "packed by bzip2: unpack it"),
    (b"\x80\x02", "a Python pickle, which runs code when it is read: write it in another form"),
    (b"\x80\x03", "a Python pickle, which runs code when it is read: write it in another form"),
    (b"\x80\x04", "a Python pickle, which runs code when it is read: write it in another form"),
    (b"\x80\x05", "a Python pickle, which runs code when it is read: write it in another form"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"PAR1", "a Parquet file"),
    (b"SQLite format 3", "a SQLite database"),
    (b"<", "HTML or XML, such as a page that says why there is no file"),
    (b"{", "JSON"),
    (b"[", "JSON"),
)


def what_begins_with(begin: bytes) -> str:
    """What a file probably is, as a part of a sentence; "" for what is not known.

    Args:
        begin: its first bytes, eight or more.
    """
    return next((what for sign, what in _BEGINNINGS if begin.startswith(sign)), "")
